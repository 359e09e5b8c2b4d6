//! A session in one of several worlds, with any input in any pieces at any pace.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| passage_proto_fuzz::play(input));
