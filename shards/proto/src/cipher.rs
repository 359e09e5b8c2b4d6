//! AES-128 in 8-bit cipher feedback mode, which encrypts a connection from the encryption response on.

use std::fmt;

use aes::Aes128;
use aes::cipher::KeyIvInit;

use crate::identity::SharedSecret;

/// Encrypts what we send.
pub struct Encryptor(cfb8::Encryptor<Aes128>);

/// Decrypts what we receive.
pub struct Decryptor(cfb8::Decryptor<Aes128>);

impl Encryptor {
    /// Starts a stream; the secret is both key and initialisation vector.
    #[must_use]
    pub fn new(secret: &SharedSecret) -> Self {
        Self(cfb8::Encryptor::new(
            secret.expose().into(),
            secret.expose().into(),
        ))
    }

    /// Encrypts the next bytes of the stream in place.
    pub fn encrypt(&mut self, bytes: &mut [u8]) {
        self.0.encrypt(bytes);
    }
}

impl Decryptor {
    /// Starts a stream; the secret is both key and initialisation vector.
    #[must_use]
    pub fn new(secret: &SharedSecret) -> Self {
        Self(cfb8::Decryptor::new(
            secret.expose().into(),
            secret.expose().into(),
        ))
    }

    /// Decrypts the next bytes of the stream in place.
    pub fn decrypt(&mut self, bytes: &mut [u8]) {
        self.0.decrypt(bytes);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// NIST SP 800-38A, F.3.7 (CFB8-AES128.Encrypt): key, IV and plaintext differ there, so that the cipher
    /// is checked below the secret that serves as both.
    #[test]
    fn agrees_with_the_published_vector() {
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let iv = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes();
        let mut bytes = *b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a\xae\x2d";
        Encryptor(cfb8::Encryptor::new(&key.into(), &iv.into())).encrypt(&mut bytes);
        assert_eq!(
            &bytes,
            b"\x3b\x79\x42\x4c\x9c\x0d\xd4\x36\xba\xce\x9e\x0e\xd4\x58\x6a\x4f\x32\xb9"
        );
    }

    #[test]
    fn never_prints_its_state() {
        let secret = SharedSecret::new([7; 16]);
        assert_eq!(
            format!("{:?} {:?}", Encryptor::new(&secret), Decryptor::new(&secret))
                .matches("07")
                .count(),
            0
        );
    }

    proptest! {
        #[test]
        fn decrypts_what_it_encrypts_however_it_is_cut(
            secret: [u8; 16], text: Vec<u8>, cut: prop::sample::Index,
        ) {
            let secret = SharedSecret::new(secret);
            let mut whole = text.clone();
            Encryptor::new(&secret).encrypt(&mut whole);

            let mut parts = text.clone();
            let (mut encryptor, at) = (Encryptor::new(&secret), cut.index(text.len() + 1));
            encryptor.encrypt(&mut parts[..at]);
            encryptor.encrypt(&mut parts[at..]);
            prop_assert_eq!(&whole, &parts);

            let mut decryptor = Decryptor::new(&secret);
            decryptor.decrypt(&mut parts[..at]);
            decryptor.decrypt(&mut parts[at..]);
            prop_assert_eq!(parts, text);
        }
    }
}
