//! Both ways to do it against the published vectors, and the processor's instructions against the crate.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KEY: [u8; 16] = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
const IV: [u8; 16] = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes();
/// NIST SP 800-38A, F.3.7 and F.3.8 (CFB8-AES128.Encrypt and .Decrypt). Key and IV differ there, so that the
/// ciphers are checked below the secret that serves as both.
const PLAIN: [u8; 18] = *b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a\xae\x2d";
const SEALED: [u8; 18] = *b"\x3b\x79\x42\x4c\x9c\x0d\xd4\x36\xba\xce\x9e\x0e\xd4\x58\x6a\x4f\x32\xb9";

/// Every way that this machine can do it, by name; the portable one first.
fn streams(key: &[u8; 16], iv: &[u8; 16]) -> Vec<(&'static str, Encryptor, Decryptor)> {
    let mut streams = vec![(
        "portable",
        Encryptor::portable(key, iv),
        Decryptor::portable(key, iv),
    )];
    #[cfg(target_arch = "x86_64")]
    streams.extend(
        aes_ni::Stream::new(*key, *iv)
            .zip(aes_ni::Stream::new(*key, *iv))
            .map(|(outward, inward)| {
                let outward = Encryptor(Encrypting::AesNi(outward));
                ("AES-NI", outward, Decryptor(Decrypting::AesNi(inward)))
            }),
    );
    streams
}

#[test]
fn agrees_with_the_published_vectors_however_they_are_cut() {
    for cut in 0..=PLAIN.len() {
        for (name, mut outward, mut inward) in streams(&KEY, &IV) {
            let mut bytes = PLAIN;
            let (before, after) = bytes.split_at_mut(cut);
            outward.encrypt(before);
            outward.encrypt(after);
            assert_eq!(bytes, SEALED, "{name}, cut at {cut}");
            let (before, after) = bytes.split_at_mut(cut);
            inward.decrypt(before);
            inward.decrypt(after);
            assert_eq!(bytes, PLAIN, "{name}, cut at {cut}");
        }
    }
}

#[test]
fn every_length_from_none_to_a_thousand_goes_the_same_way() {
    for length in 0..=1_000_u16 {
        let text: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
        let mut sealed = Vec::new();
        for (name, mut outward, mut inward) in streams(&KEY, &IV) {
            let mut bytes = text.clone();
            outward.encrypt(&mut bytes);
            if name == "portable" {
                sealed.clone_from(&bytes);
            }
            assert_eq!(bytes, sealed, "{name} encrypts {length} bytes");
            inward.decrypt(&mut bytes);
            assert_eq!(bytes, text, "{name} decrypts {length} bytes");
        }
    }
}

#[test]
fn uses_the_instructions_that_the_processor_has() {
    #[cfg(target_arch = "x86_64")]
    {
        let secret = SharedSecret::new(KEY);
        let has_them = is_x86_feature_detected!("aes") && is_x86_feature_detected!("ssse3");
        let outward = matches!(Encryptor::new(&secret).0, Encrypting::AesNi(_));
        let inward = matches!(Decryptor::new(&secret).0, Decrypting::AesNi(_));
        assert_eq!((outward, inward), (has_them, has_them));
    }
}

#[test]
fn never_prints_its_state() {
    for (name, outward, inward) in streams(&[7; 16], &[7; 16]) {
        let shown = format!("{outward:?} {inward:?}");
        assert_eq!(shown, "Encryptor(redacted) Decryptor(redacted)", "{name}");
    }
}

#[test]
fn a_stream_is_no_larger_than_its_round_keys_and_register() {
    assert!(size_of::<Encryptor>() <= 208, "{} bytes", size_of::<Encryptor>());
    assert!(size_of::<Decryptor>() <= 208, "{} bytes", size_of::<Decryptor>());
}

proptest! {
    /// One stream, cut into calls of any length, is what the crate makes of the whole.
    #[test]
    fn all_ways_agree_however_a_stream_is_cut(
        key: [u8; 16], iv: [u8; 16], chunks in vec(vec(any::<u8>(), 1..=1_000), 0..8),
    ) {
        let text = chunks.concat();
        let mut sealed = text.clone();
        Encryptor::portable(&key, &iv).encrypt(&mut sealed);
        for (name, mut outward, mut inward) in streams(&key, &iv) {
            let (mut encrypted, mut decrypted) = (Vec::new(), Vec::new());
            for chunk in &chunks {
                let mut bytes = chunk.clone();
                outward.encrypt(&mut bytes);
                encrypted.extend_from_slice(&bytes);
                inward.decrypt(&mut bytes);
                decrypted.extend_from_slice(&bytes);
            }
            prop_assert_eq!(&encrypted, &sealed, "{} encrypts", name);
            prop_assert_eq!(&decrypted, &text, "{} decrypts", name);
        }
    }

    /// A receiver cuts a stream elsewhere than its sender.
    #[test]
    fn decrypts_what_it_encrypts_however_either_side_is_cut(
        secret: [u8; 16], text in vec(any::<u8>(), 0..300),
        sent_in in 1..40_usize, received_in in 1..40_usize,
    ) {
        let secret = SharedSecret::new(secret);
        let (mut outward, mut inward) = (Encryptor::new(&secret), Decryptor::new(&secret));
        let mut bytes = text.clone();
        bytes.chunks_mut(sent_in).for_each(|chunk| outward.encrypt(chunk));
        bytes.chunks_mut(received_in).for_each(|chunk| inward.decrypt(chunk));
        prop_assert_eq!(bytes, text);
    }
}
