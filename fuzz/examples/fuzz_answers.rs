//! What services answer in JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| passage_fuzz::answers::play(input));
