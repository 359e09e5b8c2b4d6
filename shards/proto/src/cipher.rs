//! AES-128 in 8-bit cipher feedback mode, which encrypts a connection from the encryption response on.
//!
//! Where the processor has AES instructions they are used ([`aes_ni`]), else the crate `cfb8`.

use std::fmt;

use aes::Aes128Enc;
use aes::cipher::KeyIvInit;

use crate::identity::SharedSecret;

#[cfg(target_arch = "x86_64")]
mod aes_ni;
#[cfg(test)]
mod tests;

/// Encrypts what we send. Its keys are wiped when it is dropped.
pub struct Encryptor(Encrypting);

/// Decrypts what we receive. Its keys are wiped when it is dropped.
pub struct Decryptor(Decrypting);

enum Encrypting {
    #[cfg(target_arch = "x86_64")]
    AesNi(aes_ni::Stream),
    Portable(cfb8::Encryptor<Aes128Enc>),
}

enum Decrypting {
    #[cfg(target_arch = "x86_64")]
    AesNi(aes_ni::Stream),
    Portable(cfb8::Decryptor<Aes128Enc>),
}

impl Encryptor {
    /// Starts a stream; the secret is both key and initialisation vector.
    #[must_use]
    pub fn new(secret: &SharedSecret) -> Self {
        let secret = secret.expose();
        #[cfg(target_arch = "x86_64")]
        if let Some(stream) = aes_ni::Stream::new(*secret, *secret) {
            return Self(Encrypting::AesNi(stream));
        }
        Self::portable(secret, secret)
    }

    fn portable(key: &[u8; 16], iv: &[u8; 16]) -> Self {
        Self(Encrypting::Portable(cfb8::Encryptor::new(key.into(), iv.into())))
    }

    /// Encrypts the next bytes of the stream in place.
    pub fn encrypt(&mut self, bytes: &mut [u8]) {
        match &mut self.0 {
            #[cfg(target_arch = "x86_64")]
            Encrypting::AesNi(stream) => stream.encrypt(bytes),
            Encrypting::Portable(stream) => stream.encrypt(bytes),
        }
    }
}

impl Decryptor {
    /// Starts a stream; the secret is both key and initialisation vector.
    #[must_use]
    pub fn new(secret: &SharedSecret) -> Self {
        let secret = secret.expose();
        #[cfg(target_arch = "x86_64")]
        if let Some(stream) = aes_ni::Stream::new(*secret, *secret) {
            return Self(Decrypting::AesNi(stream));
        }
        Self::portable(secret, secret)
    }

    fn portable(key: &[u8; 16], iv: &[u8; 16]) -> Self {
        Self(Decrypting::Portable(cfb8::Decryptor::new(key.into(), iv.into())))
    }

    /// Decrypts the next bytes of the stream in place.
    pub fn decrypt(&mut self, bytes: &mut [u8]) {
        match &mut self.0 {
            #[cfg(target_arch = "x86_64")]
            Decrypting::AesNi(stream) => stream.decrypt(bytes),
            Decrypting::Portable(stream) => stream.decrypt(bytes),
        }
    }
}

impl fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryptor(redacted)")
    }
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decryptor(redacted)")
    }
}
