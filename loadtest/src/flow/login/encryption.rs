//! The client's side of the encryption: the server's key, and the cipher after it.

use std::rc::Rc;

use aes::Aes128;
use cfb8::cipher::KeyIvInit;

use crate::failure::Failure;
use crate::rsa::PublicKey;
use crate::wire::malformed;

/// The server's key, read once as long as it stays the same.
#[derive(Debug, Default)]
pub(crate) struct Keys(Option<(Vec<u8>, Rc<PublicKey>)>);

impl Keys {
    /// The key in these bytes.
    pub(crate) fn read(&mut self, der: &[u8]) -> Result<Rc<PublicKey>, Failure> {
        if let Some((known, key)) = &self.0
            && known == der
        {
            return Ok(Rc::clone(key));
        }
        let key = PublicKey::from_der(der).map_err(|error| malformed(&format!("a key that is {error}")))?;
        let key = Rc::new(key);
        self.0 = Some((der.to_vec(), Rc::clone(&key)));
        Ok(key)
    }
}

/// AES-128-CFB8 both ways, with the secret as key and as initialisation vector.
pub(crate) struct Cipher {
    encryptor: cfb8::Encryptor<Aes128>,
    decryptor: cfb8::Decryptor<Aes128>,
}

impl Cipher {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        let secret = secret.into();
        Self {
            encryptor: cfb8::Encryptor::new(&secret, &secret),
            decryptor: cfb8::Decryptor::new(&secret, &secret),
        }
    }

    pub(crate) fn encrypt(&mut self, bytes: &mut [u8]) {
        self.encryptor.encrypt(bytes);
    }

    pub(crate) fn decrypt(&mut self, bytes: &mut [u8]) {
        self.decryptor.decrypt(bytes);
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}
