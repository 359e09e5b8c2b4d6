//! A whole conversation, of which every decision is the input's, against a model of it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| passage_proto_fuzz::converse(input));
