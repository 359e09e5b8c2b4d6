//! RSA as a Minecraft client needs it: PKCS#1 v1.5 encryption with the server's public key.
//!
//! A client has nothing to hide in a load test, so this is neither constant-time nor blinded. It takes the
//! 1024-bit keys of Minecraft servers, which common libraries refuse, and costs a few microseconds, so that
//! the load that it makes is the server's.

mod modulus;

use std::fmt;

pub use self::modulus::Modulus;
use crate::random::Random;

/// DER of the algorithm identifier of an RSA key: `rsaEncryption` with NULL parameters (RFC 8017, appendix
/// A.1).
const RSA_ENCRYPTION: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// DER tags.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// A server's public key.
#[derive(Clone, Debug)]
pub struct PublicKey {
    modulus: Modulus,
    exponent: Vec<u8>,
}

/// Why bytes are not a public key, or cannot be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaError {
    /// Not a DER `SubjectPublicKeyInfo` of an RSA key with an odd modulus of 512 to 8192 bits.
    NotAKey,
    /// More bytes than the padding leaves room for.
    TooLong,
}

impl fmt::Display for RsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAKey => "not a DER public key for RSA",
            Self::TooLong => "too long for the RSA key",
        })
    }
}

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
    ///
    /// # Errors
    /// [`RsaError::NotAKey`].
    pub fn from_der(der: &[u8]) -> Result<Self, RsaError> {
        let (info, rest) = element(SEQUENCE, der)?;
        let bits = info.strip_prefix(&RSA_ENCRYPTION).ok_or(RsaError::NotAKey)?;
        let (bits, after) = element(BIT_STRING, bits)?;
        let key = bits.strip_prefix(&[0]).ok_or(RsaError::NotAKey)?;
        let (key, behind) = element(SEQUENCE, key)?;
        let (modulus, key) = element(INTEGER, key)?;
        let (exponent, key) = element(INTEGER, key)?;
        if !(rest.is_empty() && after.is_empty() && behind.is_empty() && key.is_empty()) {
            return Err(RsaError::NotAKey);
        }
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        if !(64..=1024).contains(&modulus.len()) || exponent.len() > 8 {
            return Err(RsaError::NotAKey);
        }
        let modulus = Modulus::new(modulus).ok_or(RsaError::NotAKey)?;
        Ok(Self {
            modulus,
            exponent: exponent.to_vec(),
        })
    }

    /// Encrypts with PKCS#1 v1.5 padding (RFC 8017, section 7.2.1).
    ///
    /// # Errors
    /// [`RsaError::TooLong`].
    pub fn encrypt(&self, message: &[u8], random: &mut Random) -> Result<Vec<u8>, RsaError> {
        let length = self.modulus.bytes();
        let padding = length
            .checked_sub(message.len() + 3)
            .filter(|count| *count >= 8)
            .ok_or(RsaError::TooLong)?;
        let mut block = vec![0, 2];
        block.resize(2 + padding, 0);
        random.fill(&mut block[2..]);
        for byte in &mut block[2..] {
            *byte = (*byte).max(1);
        }
        block.push(0);
        block.extend_from_slice(message);
        Ok(self.modulus.power(&block, &self.exponent))
    }
}

/// Splits one DER element with this tag off `der`: its content and what follows.
fn element(tag: u8, der: &[u8]) -> Result<(&[u8], &[u8]), RsaError> {
    let read = || {
        let rest = der.strip_prefix(&[tag])?;
        let (&first, rest) = rest.split_first()?;
        if first < 0x80 {
            return rest.split_at_checked(usize::from(first));
        }
        // The long form: so many bytes of length. Two hold any key that is taken here.
        let (length, rest) = rest
            .split_at_checked(usize::from(first & 0x7F))
            .filter(|(head, _)| head.len() <= 2)?;
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest.split_at_checked(length)
    };
    read().ok_or(RsaError::NotAKey)
}

#[cfg(test)]
mod tests {
    use super::{PublicKey, RsaError};
    use crate::double::login::{KEY_DER, decrypt};
    use crate::random::Random;

    #[test]
    fn the_owner_of_the_key_reads_what_was_encrypted() {
        let key = PublicKey::from_der(&KEY_DER).expect("a key that OpenSSL made");
        let mut random = Random::new(1);
        for length in [0, 1, 16, 117] {
            let message = vec![length; usize::from(length)];
            let encrypted = key.encrypt(&message, &mut random).expect("fits");
            assert_eq!(encrypted.len(), 128);
            assert_eq!(decrypt(&encrypted), Some(message));
        }
        assert_eq!(key.encrypt(&[0; 118], &mut random), Err(RsaError::TooLong));
    }

    #[test]
    fn no_prefix_of_a_key_is_a_key() {
        for length in 0..KEY_DER.len() {
            assert!(PublicKey::from_der(&KEY_DER[..length]).is_err(), "{length} bytes");
        }
        assert!(PublicKey::from_der(&[&KEY_DER[..], &[0]].concat()).is_err());
    }
}
