//! The server's RSA-1024 key pair: made at start, shown to clients, used twice a login.
//!
//! The library is AWS-LC, whose private-key operation is blinded and runs in constant time. The PKCS #1 v1.5
//! padding is checked here instead of there: both plaintexts have a length that is known beforehand (16 bytes
//! of secret, 4 of token), so that a check reads every byte at a fixed place, takes the same time for every
//! input, and has only one way to fail (Bleichenbacher's oracle needs to tell two failures apart).
//!
//! The two operations are two calls, so that a shard can look at its sockets in between. The token comes
//! first: who does not have it has no claim on the second one ([`KeyPair::check`]).
#![expect(unsafe_code, reason = "AWS-LC is a C library")]

use std::ffi::c_int;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use aws_lc_sys as lc;
use passage_proto::identity::SharedSecret;
use passage_proto::limits::{SHARED_SECRET_BYTES, VERIFY_TOKEN_BYTES};
use passage_proto::question::EncryptedSecret;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

const MODULUS_BITS: c_int = 1024;
const MODULUS_BYTES: usize = 128;
/// `00 02`, at least eight bytes of padding, `00`.
const PADDING_BYTES_MIN: usize = 11;

/// The key pair. Every shard decrypts with a [`copy`](Self::copy) of its own, because AWS-LC keeps blinding
/// values behind a lock in the key.
pub struct KeyPair {
    key: Key,
    public: Arc<[u8]>,
}

/// A secret whose token was right, still encrypted.
pub struct Checked(Vec<u8>);

/// AWS-LC could not do something that only fails without memory or entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError(&'static str);

impl KeyPair {
    /// Makes a new key pair; takes some milliseconds.
    ///
    /// # Errors
    ///
    /// When there is no memory or no entropy.
    pub fn generate() -> Result<Self, KeyError> {
        let key = Key::new()?;
        let exponent = Number::new()?;
        // SAFETY: both objects are alive and owned here; a null callback is allowed.
        let made = unsafe {
            lc::BN_set_word(exponent.0.as_ptr(), lc::RSA_F4.unsigned_abs().into()) == 1
                && lc::RSA_generate_key_ex(key.0.as_ptr(), MODULUS_BITS, exponent.0.as_ptr(), ptr::null_mut())
                    == 1
        };
        if !made {
            return Err(KeyError("generate an RSA key pair"));
        }
        let public = key.public_der()?.into();
        Ok(Self { key, public })
    }

    /// The same key pair for another thread.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn copy(&self) -> Result<Self, KeyError> {
        // SAFETY: the key is alive; the copy is owned by nobody else.
        let copy = unsafe { lc::RSAPrivateKey_dup(self.key.0.as_ptr()) };
        let key = NonNull::new(copy)
            .map(Key)
            .ok_or(KeyError("copy the RSA key pair"))?;
        Ok(Self {
            key,
            public: Arc::clone(&self.public),
        })
    }

    /// The public key as DER-encoded `SubjectPublicKeyInfo`, as the encryption request carries it.
    #[must_use]
    pub fn public_key(&self) -> &Arc<[u8]> {
        &self.public
    }

    /// The first of a login's two operations: decrypts the token and compares it with the one that was sent.
    ///
    /// A wrong token ends the login here, before its secret costs as much again. That tells nothing: only a
    /// ciphertext of this very token goes further, whoever made one knows it, and neither time nor answer
    /// tells a bad padding from another token. What is not as long as the modulus costs no operation at all;
    /// its length is no secret.
    #[must_use]
    pub fn check(&self, encrypted: EncryptedSecret) -> Option<Checked> {
        let EncryptedSecret {
            shared_secret,
            verify_token,
            expected_token,
        } = encrypted;
        if shared_secret.len() != MODULUS_BYTES || verify_token.len() != MODULUS_BYTES {
            return None;
        }
        let (token, is_padded) = self.decrypt::<VERIFY_TOKEN_BYTES>(&verify_token);
        bool::from(is_padded & token.ct_eq(&expected_token)).then_some(Checked(shared_secret))
    }

    /// The second one: decrypts the secret.
    #[must_use]
    pub fn open(&self, checked: &Checked) -> Option<SharedSecret> {
        let (secret, is_padded) = self.decrypt::<SHARED_SECRET_BYTES>(&checked.0);
        bool::from(is_padded).then(|| SharedSecret::new(*secret))
    }

    /// The last `N` bytes of the plaintext, and whether the rest of it is a padding for exactly `N` bytes.
    fn decrypt<const N: usize>(&self, ciphertext: &[u8]) -> (Zeroizing<[u8; N]>, Choice) {
        const { assert!(N + PADDING_BYTES_MIN <= MODULUS_BYTES) };
        let mut padded = Zeroizing::new([0; MODULUS_BYTES]);
        let decrypted = self.key.decrypt_raw(ciphertext, &mut padded);
        let (padding, message) = padded.split_at(MODULUS_BYTES - N);
        let mut good = Choice::from(u8::from(decrypted));
        for (place, byte) in padding.iter().enumerate() {
            good &= match place {
                0 => byte.ct_eq(&0),
                1 => byte.ct_eq(&2),
                _ if place == padding.len() - 1 => byte.ct_eq(&0),
                _ => !byte.ct_eq(&0),
            };
        }
        let mut plain = Zeroizing::new([0; N]);
        plain.copy_from_slice(message);
        (plain, good)
    }
}

/// Encrypts at most 117 bytes for the owner of `public_key` (DER-encoded `SubjectPublicKeyInfo`), as a client
/// does. `None` if the key cannot be used or the message is too long. For load generators and tests.
#[must_use]
pub fn encrypt(public_key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let mut input = public_key.as_ptr();
    let length = public_key.len().try_into().ok()?;
    // SAFETY: `input` points to `length` readable bytes, and nothing else owns the result.
    let key = Key(NonNull::new(unsafe {
        lc::d2i_RSA_PUBKEY(ptr::null_mut(), &raw mut input, length)
    })?);
    // SAFETY: the key is alive.
    let mut encrypted = vec![0; unsafe { lc::RSA_size(key.0.as_ptr()) }.try_into().ok()?];
    let mut written = 0;
    // SAFETY: `encrypted` has room for the given size, `message` for its length; both outlive the call.
    let done = unsafe {
        lc::RSA_encrypt(
            key.0.as_ptr(),
            &raw mut written,
            encrypted.as_mut_ptr(),
            encrypted.len(),
            message.as_ptr(),
            message.len(),
            lc::RSA_PKCS1_PADDING,
        )
    };
    encrypted.truncate(written);
    forget_errors();
    (done == 1).then_some(encrypted)
}

/// An owned AWS-LC key.
struct Key(NonNull<lc::RSA>);

// SAFETY: an RSA object is plain heap memory without ties to a thread. (It is not `Sync`: each shard has its
// own.)
unsafe impl Send for Key {}

impl Key {
    fn new() -> Result<Self, KeyError> {
        // SAFETY: no preconditions.
        NonNull::new(unsafe { lc::RSA_new() })
            .map(Self)
            .ok_or(KeyError("allocate an RSA key"))
    }

    /// Decrypts without looking at the padding. The length of the ciphertext is no secret.
    fn decrypt_raw(&self, ciphertext: &[u8], out: &mut [u8; MODULUS_BYTES]) -> bool {
        let mut written = 0;
        // SAFETY: the key is alive, `out` has the room that is claimed, `ciphertext` its length.
        let done = unsafe {
            lc::RSA_decrypt(
                self.0.as_ptr(),
                &raw mut written,
                out.as_mut_ptr(),
                out.len(),
                ciphertext.as_ptr(),
                ciphertext.len(),
                lc::RSA_NO_PADDING,
            )
        };
        forget_errors();
        done == 1 && written == MODULUS_BYTES
    }

    fn public_der(&self) -> Result<Vec<u8>, KeyError> {
        let error = KeyError("encode the public key");
        // SAFETY: the key is alive; a null output only asks for the length.
        let length = unsafe { lc::i2d_RSA_PUBKEY(self.0.as_ptr(), ptr::null_mut()) };
        let mut der = vec![0; usize::try_from(length).map_err(|_| error)?];
        let mut end = der.as_mut_ptr();
        // SAFETY: `end` points to as many bytes as the same call asked for.
        let written = unsafe { lc::i2d_RSA_PUBKEY(self.0.as_ptr(), &raw mut end) };
        if written == length && length > 0 {
            Ok(der)
        } else {
            Err(error)
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { lc::RSA_free(self.0.as_ptr()) }
    }
}

struct Number(NonNull<lc::BIGNUM>);

impl Number {
    fn new() -> Result<Self, KeyError> {
        // SAFETY: no preconditions.
        NonNull::new(unsafe { lc::BN_new() })
            .map(Self)
            .ok_or(KeyError("allocate a number"))
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { lc::BN_free(self.0.as_ptr()) }
    }
}

/// Empties this thread's queue of errors, so that hostile input leaves nothing behind.
fn forget_errors() {
    // SAFETY: no preconditions.
    unsafe { lc::ERR_clear_error() }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(redacted)")
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {}: the process has no memory or no entropy left",
            self.0
        )
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 16] = *b"0123456789abcdef";
    const TOKEN: [u8; 4] = *b"toke";

    fn response(pair: &KeyPair, secret: &[u8], token: &[u8]) -> EncryptedSecret {
        EncryptedSecret {
            shared_secret: encrypt(pair.public_key(), secret).unwrap_or_default(),
            verify_token: encrypt(pair.public_key(), token).unwrap_or_default(),
            expected_token: TOKEN,
        }
    }

    fn open(pair: &KeyPair, encrypted: EncryptedSecret) -> Option<SharedSecret> {
        pair.check(encrypted).and_then(|checked| pair.open(&checked))
    }

    #[test]
    fn opens_what_was_encrypted_for_it_and_so_does_its_copy() {
        let pair = KeyPair::generate().unwrap();
        let opened = open(&pair, response(&pair, &SECRET, &TOKEN));
        assert_eq!(opened, Some(SharedSecret::new(SECRET)));
        let copy = pair.copy().unwrap();
        assert_eq!(
            open(&copy, response(&pair, &SECRET, &TOKEN)),
            Some(SharedSecret::new(SECRET))
        );
    }

    #[test]
    fn both_the_key_and_its_copy_blind_what_they_decrypt() {
        let pair = KeyPair::generate().unwrap();
        for pair in [pair.copy().unwrap(), pair] {
            // SAFETY: the key is alive.
            let unblinded = unsafe { lc::RSA_test_flags(pair.key.0.as_ptr(), lc::RSA_FLAG_NO_BLINDING) };
            assert_eq!(unblinded, 0);
        }
    }

    #[test]
    fn the_public_key_is_a_subject_public_key_info_of_1024_bits() {
        let pair = KeyPair::generate().unwrap();
        let der = pair.public_key();
        assert_eq!(der.len(), 162);
        // SEQUENCE, then AlgorithmIdentifier { rsaEncryption, NULL } (RFC 8017, A.1).
        let algorithm = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
        assert_eq!(der.get(..3), Some(&[0x30, 0x81, 0x9f][..]));
        assert_eq!(der.get(3..18), Some(&algorithm[..]));
    }

    #[test]
    fn refuses_everything_else() {
        let pair = KeyPair::generate().unwrap();
        let other = KeyPair::generate().unwrap();
        let refuses = |response: EncryptedSecret| open(&pair, response).is_none();
        assert!(refuses(response(&pair, &SECRET, b"TOKE")), "another token");
        assert!(refuses(response(&pair, &SECRET, b"tok")), "a short token");
        assert!(refuses(response(&pair, &SECRET[..15], &TOKEN)), "a short secret");
        assert!(
            refuses(response(&pair, b"0123456789abcdefg", &TOKEN)),
            "a long secret"
        );
        assert!(refuses(response(&other, &SECRET, &TOKEN)), "another key");
        for length in [0, 1, 127, 128, 129, 4096] {
            let garbage = vec![0xa5; length];
            let token = encrypt(pair.public_key(), &TOKEN).unwrap();
            let secret = garbage.clone();
            assert!(refuses(EncryptedSecret {
                shared_secret: secret,
                verify_token: token,
                expected_token: TOKEN
            }));
            let secret = encrypt(pair.public_key(), &SECRET).unwrap();
            assert!(refuses(EncryptedSecret {
                shared_secret: secret,
                verify_token: garbage,
                expected_token: TOKEN
            }));
        }
    }

    #[test]
    fn refuses_a_padding_that_is_off_by_one_byte() {
        let pair = KeyPair::generate().unwrap();
        // Encrypts a padded block as it is, so that the padding can be wrong in one place.
        let raw = |block: &[u8; MODULUS_BYTES]| {
            let mut out = vec![0; MODULUS_BYTES];
            let mut written = 0;
            // SAFETY: the key is alive and both buffers have the modulus' length.
            let done = unsafe {
                lc::RSA_encrypt(
                    pair.key.0.as_ptr(),
                    &raw mut written,
                    out.as_mut_ptr(),
                    out.len(),
                    block.as_ptr(),
                    block.len(),
                    lc::RSA_NO_PADDING,
                )
            };
            assert_eq!(done, 1);
            out
        };
        let mut block = [0xff; MODULUS_BYTES];
        block[..2].copy_from_slice(&[0, 2]);
        block[MODULUS_BYTES - 17] = 0;
        block[MODULUS_BYTES - 16..].copy_from_slice(&SECRET);
        let open_block = |block: &[u8; MODULUS_BYTES]| {
            let mut response = response(&pair, &SECRET, &TOKEN);
            response.shared_secret = raw(block);
            open(&pair, response)
        };
        assert_eq!(open_block(&block), Some(SharedSecret::new(SECRET)));
        for place in 1..MODULUS_BYTES - 16 {
            let mut wrong = block;
            wrong[place] = match place {
                1 => 1,
                _ if place == MODULUS_BYTES - 17 => 7,
                _ => 0,
            };
            assert_eq!(open_block(&wrong), None, "byte {place}");
        }
    }

    #[test]
    fn a_wrong_token_and_a_wrong_length_are_refused_without_the_second_operation() {
        let pair = KeyPair::generate().unwrap();
        assert!(pair.check(response(&pair, &SECRET, &TOKEN)).is_some());
        assert!(pair.check(response(&pair, b"no secret", &TOKEN)).is_some());
        assert!(pair.check(response(&pair, &SECRET, b"TOKE")).is_none());
        assert!(pair.check(response(&pair, &SECRET, b"tokens")).is_none());
        for shorten in [
            |response: &mut EncryptedSecret| response.shared_secret.truncate(127),
            |response: &mut EncryptedSecret| response.verify_token.truncate(127),
        ] {
            let mut response = response(&pair, &SECRET, &TOKEN);
            shorten(&mut response);
            assert!(pair.check(response).is_none());
        }
    }
}
