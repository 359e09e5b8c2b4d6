//! AES-128-CFB8 with the AES instructions of x86-64 processors.
//!
//! A stream is a register of the last 16 encrypted bytes. The first byte of its encryption is the next byte
//! of the key stream. To encrypt is therefore one block after the other; but who decrypts knows the registers
//! of the next eight bytes as soon as they have come, and works on eight blocks at once. There are no tables
//! and no branches here that depend on a secret.
#![expect(
    unsafe_code,
    reason = "instructions that not every processor has may only be used where they were found"
)]

use std::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_aeskeygenassist_si128, _mm_alignr_epi8,
    _mm_cvtsi32_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si32, _mm_cvtsi128_si64, _mm_shuffle_epi32,
    _mm_slli_si128, _mm_srli_si128, _mm_unpacklo_epi8, _mm_unpacklo_epi16, _mm_unpacklo_epi32, _mm_xor_si128,
};

use zeroize::Zeroize;

/// Bytes that are decrypted at once: their blocks and a round key fit into the sixteen registers.
const LANES: usize = 8;

/// Round keys of AES-128.
const KEYS: usize = 11;

/// One direction of a connection. Exists only where the processor has the instructions; wiped when dropped.
pub(super) struct Stream {
    keys: [__m128i; KEYS],
    register: __m128i,
}

impl Stream {
    /// Starts a stream, or `None` where the processor lacks an instruction.
    pub(super) fn new(key: [u8; 16], iv: [u8; 16]) -> Option<Self> {
        let able = is_x86_feature_detected!("aes") && is_x86_feature_detected!("ssse3");
        able.then(|| Self {
            // SAFETY: the processor has the instructions, as was just found out.
            keys: unsafe { expand(register_of(key)) },
            register: register_of(iv),
        })
    }

    /// Encrypts the next bytes of the stream in place.
    pub(super) fn encrypt(&mut self, bytes: &mut [u8]) {
        // SAFETY: `new` makes a stream only where the processor has the instructions.
        self.register = unsafe { encrypt(&self.keys, self.register, bytes) };
    }

    /// Decrypts the next bytes of the stream in place.
    pub(super) fn decrypt(&mut self, bytes: &mut [u8]) {
        // SAFETY: `new` makes a stream only where the processor has the instructions.
        self.register = unsafe { decrypt(&self.keys, self.register, bytes) };
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.keys.zeroize();
        self.register.zeroize();
    }
}

fn register_of(bytes: [u8; 16]) -> __m128i {
    // SAFETY: both have 16 bytes, and every value of these is a valid register.
    unsafe { std::mem::transmute::<[u8; 16], __m128i>(bytes) }
}

/// Gives the register after these bytes.
#[target_feature(enable = "aes,ssse3")]
fn encrypt(keys: &[__m128i; KEYS], mut register: __m128i, bytes: &mut [u8]) -> __m128i {
    let [first, middle @ .., last] = keys;
    let mut block = _mm_xor_si128(register, *first);
    for byte in bytes {
        // All but the newest byte of the next register is known before this byte is encrypted, so that what
        // every byte waits for is as little as possible.
        let older = _mm_srli_si128::<1>(register);
        let masked = _mm_xor_si128(*last, _mm_cvtsi32_si128(i32::from(*byte)));
        for key in middle {
            block = _mm_aesenc_si128(block, *key);
        }
        let sealed = _mm_aesenclast_si128(block, masked);
        let newest = _mm_slli_si128::<15>(sealed);
        [*byte, ..] = _mm_cvtsi128_si32(sealed).to_le_bytes();
        register = _mm_xor_si128(older, newest);
        block = _mm_xor_si128(_mm_xor_si128(older, *first), newest);
    }
    register
}

/// Gives the register after these bytes.
#[target_feature(enable = "aes,ssse3")]
fn decrypt(keys: &[__m128i; KEYS], mut register: __m128i, bytes: &mut [u8]) -> __m128i {
    let (whole, rest) = bytes.as_chunks_mut::<LANES>();
    for chunk in whole {
        let sealed = _mm_cvtsi64_si128(i64::from_le_bytes(*chunk));
        let plain = _mm_xor_si128(sealed, key_stream(keys, register, sealed));
        *chunk = _mm_cvtsi128_si64(plain).to_le_bytes();
        register = _mm_alignr_epi8::<8>(sealed, register);
    }
    if rest.is_empty() {
        return register;
    }
    let mut padded = [0; LANES];
    padded.iter_mut().zip(&*rest).for_each(|(to, from)| *to = *from);
    let sealed = _mm_cvtsi64_si128(i64::from_le_bytes(padded));
    let plain = _mm_xor_si128(sealed, key_stream(keys, register, sealed));
    for (byte, plain) in rest.iter_mut().zip(_mm_cvtsi128_si64(plain).to_le_bytes()) {
        let newest = _mm_slli_si128::<15>(_mm_cvtsi32_si128(i32::from(*byte)));
        register = _mm_xor_si128(_mm_srli_si128::<1>(register), newest);
        *byte = plain;
    }
    register
}

/// The key stream for the eight bytes in the lower half of `sealed`, which follow the sixteen in `register`;
/// in the lower half of the result.
#[target_feature(enable = "aes,ssse3")]
fn key_stream(keys: &[__m128i; KEYS], register: __m128i, sealed: __m128i) -> __m128i {
    let [first, middle @ .., last] = keys;
    let mut blocks = [
        register,
        _mm_alignr_epi8::<1>(sealed, register),
        _mm_alignr_epi8::<2>(sealed, register),
        _mm_alignr_epi8::<3>(sealed, register),
        _mm_alignr_epi8::<4>(sealed, register),
        _mm_alignr_epi8::<5>(sealed, register),
        _mm_alignr_epi8::<6>(sealed, register),
        _mm_alignr_epi8::<7>(sealed, register),
    ];
    for block in &mut blocks {
        *block = _mm_xor_si128(*block, *first);
    }
    for key in middle {
        for block in &mut blocks {
            *block = _mm_aesenc_si128(*block, *key);
        }
    }
    for block in &mut blocks {
        *block = _mm_aesenclast_si128(*block, *last);
    }
    // The first byte of each, side by side.
    let [b0, b1, b2, b3, b4, b5, b6, b7] = blocks;
    let (b01, b23) = (_mm_unpacklo_epi8(b0, b1), _mm_unpacklo_epi8(b2, b3));
    let (b45, b67) = (_mm_unpacklo_epi8(b4, b5), _mm_unpacklo_epi8(b6, b7));
    _mm_unpacklo_epi32(_mm_unpacklo_epi16(b01, b23), _mm_unpacklo_epi16(b45, b67))
}

/// The round keys (FIPS 197, section 5.2).
#[target_feature(enable = "aes,ssse3")]
fn expand(key: __m128i) -> [__m128i; KEYS] {
    let k1 = next_key::<0x01>(key);
    let k2 = next_key::<0x02>(k1);
    let k3 = next_key::<0x04>(k2);
    let k4 = next_key::<0x08>(k3);
    let k5 = next_key::<0x10>(k4);
    let k6 = next_key::<0x20>(k5);
    let k7 = next_key::<0x40>(k6);
    let k8 = next_key::<0x80>(k7);
    let k9 = next_key::<0x1b>(k8);
    let k10 = next_key::<0x36>(k9);
    [key, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10]
}

#[target_feature(enable = "aes,ssse3")]
fn next_key<const ROUND_CONSTANT: i32>(key: __m128i) -> __m128i {
    let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<ROUND_CONSTANT>(key));
    let pairs = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    let prefixes = _mm_xor_si128(pairs, _mm_slli_si128::<8>(pairs));
    _mm_xor_si128(prefixes, word)
}
