//! AES-128 in 8-bit cipher feedback mode, which encrypts a connection from the encryption response on.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};

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
        for byte in bytes {
            self.0.encrypt_block(std::array::from_mut(byte).into());
        }
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
        for byte in bytes {
            self.0.decrypt_block(std::array::from_mut(byte).into());
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
