//! A configuration's file and variables, as far as everything that is built out of it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| passage_fuzz::config::play(input));
