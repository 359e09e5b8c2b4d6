//! A session in one of several worlds, with any input in any pieces at any pace.
#![no_main]

#[path = "../../tests/session/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../../tests/session/recordings.rs"]
#[allow(dead_code)]
mod recordings;
#[path = "../seed/script.rs"]
#[allow(dead_code)]
mod script;
#[path = "../../tests/session/transcript.rs"]
#[allow(dead_code)]
mod transcript;
#[path = "../../tests/session/world.rs"]
#[allow(dead_code)]
mod world;

use client::Event;
use libfuzzer_sys::fuzz_target;
use world::Run;

fuzz_target!(|input: &[u8]| {
    let Some((world, mut events)) = script::decode(input) else {
        return;
    };
    events.push(Event::HangUp);
    let mut run = Run::new(world);
    for event in &events {
        run.happen(event);
    }
    assert!(run.transcript.is_over(), "a session survived its client");
    assert!(run.session.deadline().is_none());
    assert_ne!(run.transcript.end, Some(world::End::Bug));
});
