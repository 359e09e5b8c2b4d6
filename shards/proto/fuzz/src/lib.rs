//! The recorded conversations of the session's tests, as inputs of its fuzz target.
#![expect(dead_code, reason = "the modules are the tests', which use all of them")]

#[path = "../../tests/session/client.rs"]
mod client;
#[path = "../../tests/session/cookies.rs"]
mod cookies;
#[path = "../../tests/session/recordings.rs"]
mod recordings;
mod script;
#[path = "../../tests/session/simulation.rs"]
mod simulation;
#[path = "../../tests/session/transcript.rs"]
mod transcript;
#[path = "../../tests/session/world.rs"]
mod world;

use client::Event;
use recordings::Recording;
use world::{End, Run, World};

/// Plays an input. Every packet that the session sends must be one that the client can read.
///
/// # Panics
/// If the session does anything that it never may.
pub fn play(input: &[u8]) {
    let Some((world, mut events)) = script::decode(input) else {
        return;
    };
    events.push(Event::HangUp);
    let mut run = Run::new(world);
    for event in &events {
        run.happen(event);
    }
    assert!(run.transcript.is_over(), "a session survived its client");
    assert!(
        run.session.deadline().is_none(),
        "a session that is over still waits"
    );
    assert_ne!(run.transcript.end, Some(End::Bug));
}

/// Plays an input as the decisions of a simulated conversation.
///
/// # Panics
/// If the session does anything else than its model.
pub fn converse(input: &[u8]) {
    simulation::play(&mut simulation::choices::Choices::written(input));
}

/// One committed input: its target, its name, and itself.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// The inputs that the recorded conversations make for all targets.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for Recording {
        name,
        world,
        script: events,
    } in recordings::ALL.iter()
    {
        seeds.push(("session", *name, script::encode(number(world), events)));
        if let (true, Some(Event::Bytes(first))) = (name.starts_with("proxy_"), events.first()) {
            seeds.push(("proxy_header", *name, [&[3], first.as_slice()].concat()));
        }
    }
    let cookie = cookies::cookie(world::BIRTH, world::setup().peer);
    seeds.push(("cookie", "authentication", cookies::alices_cookie()));
    seeds.push((
        "cookie",
        "authentication_json",
        serde_json::to_vec(&cookie).unwrap_or_default(),
    ));
    seeds.push(("cookie", "session", recordings::VISIT.to_vec()));
    seeds
}

/// The world of the corpus that is most like the recording's.
fn number(world: &World) -> u8 {
    let alike = |other: &World| {
        format!("{:?}", other.plan) == format!("{:?}", world.plan)
            && other.setup.proxy == world.setup.proxy
            && other.target == world.target
    };
    let number = script::worlds().iter().position(alike).unwrap_or(0);
    u8::try_from(number).unwrap_or(0)
}
