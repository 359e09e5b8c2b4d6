//! The fuzz target `session` over its committed corpus, where no fuzzer is at hand.

use std::fs;
use std::path::Path;

use crate::client::Event;
use crate::script;
use crate::world::{End, Run};

#[test]
fn every_input_of_the_corpus_ends_well() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/session");
    let mut inputs = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (world, mut events) = script::decode(&fs::read(&path).unwrap()).unwrap();
        events.push(Event::HangUp);
        let transcript = Run::play(world, &events);
        assert!(transcript.is_over(), "{}", path.display());
        assert_ne!(transcript.end, Some(End::Bug), "{}", path.display());
        inputs += 1;
    }
    assert!(
        inputs >= 50,
        "the corpus has only {inputs} inputs: write it anew (fuzz/README.md)"
    );
}
