//! The fuzz targets `session` and `conversation` over their committed corpora, where no fuzzer is at hand.

use std::fs;
use std::path::{Path, PathBuf};

use crate::client::Event;
use crate::script;
use crate::simulation::{self, choices::Choices};
use crate::world::{End, Run};

#[test]
fn every_input_of_the_corpus_ends_well() {
    let mut inputs = 0;
    for path in corpus("session") {
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

#[test]
fn every_conversation_of_the_corpus_goes_as_the_model_does() {
    let mut inputs = 0;
    for path in corpus("conversation") {
        simulation::play(&mut Choices::written(&fs::read(&path).unwrap()));
        inputs += 1;
    }
    assert!(inputs >= 50, "the corpus has only {inputs} inputs");
}

fn corpus(target: &str) -> impl Iterator<Item = PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}
