//! What the cipher costs: ours, which uses the processor's AES instructions where there are some, next to the
//! crate that it falls back to.

use std::process::ExitCode;

use aes::Aes128Enc;
use aes::cipher::KeyIvInit;
use passage_proto::cipher::{Decryptor, Encryptor};
use passage_proto::identity::SharedSecret;

use harness::Case;

#[path = "support/harness.rs"]
mod harness;

const SECRET: [u8; 16] = [9; 16];

fn main() -> ExitCode {
    let secret = SharedSecret::new(SECRET);
    let ours = || (Encryptor::new(&secret), Decryptor::new(&secret));
    let theirs = || {
        let (key, iv) = (&SECRET.into(), &SECRET.into());
        (
            cfb8::Encryptor::<Aes128Enc>::new(key, iv),
            cfb8::Decryptor::<Aes128Enc>::new(key, iv),
        )
    };
    let (mut sealing, mut opening) = theirs();
    let (mut outward, mut inward) = ours();
    let (mut short_outward, mut short_inward) = ours();
    harness::main(vec![
        case::<16_384>("crate: encrypt 16 KiB", move |bytes| sealing.encrypt(bytes)),
        case::<16_384>("Passage: encrypt 16 KiB", move |bytes| outward.encrypt(bytes)),
        case::<16_384>("crate: decrypt 16 KiB", move |bytes| opening.decrypt(bytes)),
        case::<16_384>("Passage: decrypt 16 KiB", move |bytes| inward.decrypt(bytes)),
        case::<100>("Passage: encrypt 100 bytes", move |bytes| {
            short_outward.encrypt(bytes)
        }),
        case::<100>("Passage: decrypt 100 bytes", move |bytes| {
            short_inward.decrypt(bytes)
        }),
        Case::new("crate: begin both directions", move || {
            let (key, iv) = (&SECRET.into(), &SECRET.into());
            (
                cfb8::Encryptor::<Aes128Enc>::new(key, iv),
                cfb8::Decryptor::<Aes128Enc>::new(key, iv),
            )
        }),
        Case::new("Passage: begin both directions", move || {
            let secret = SharedSecret::new(SECRET);
            (Encryptor::new(&secret), Decryptor::new(&secret))
        }),
    ])
}

/// Works on the same bytes over and over, which after the first time are as good as random.
fn case<const BYTES: usize>(name: &'static str, mut work: impl FnMut(&mut [u8]) + 'static) -> Case {
    let mut bytes = [7; BYTES];
    let operation = move || {
        work(&mut bytes);
        bytes[BYTES - 1]
    };
    let mut case = Case::new(name, operation);
    case.bytes = Some(BYTES);
    case
}
