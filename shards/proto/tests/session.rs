//! Whole conversations with a session, under a virtual clock.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "session/client.rs"]
mod client;
#[path = "session/conversations.rs"]
mod conversations;
#[path = "session/cookies.rs"]
mod cookies;
#[path = "session/corpus.rs"]
mod corpus;
#[path = "session/deadlines.rs"]
mod deadlines;
#[path = "session/dismissal.rs"]
mod dismissal;
#[path = "session/properties.rs"]
mod properties;
#[path = "session/recordings.rs"]
mod recordings;
#[path = "../fuzz/src/script.rs"]
#[expect(dead_code, reason = "only the seeds are encoded, only inputs are decoded")]
mod script;
#[path = "session/simulated.rs"]
mod simulated;
#[path = "session/simulation.rs"]
mod simulation;
#[path = "session/split.rs"]
mod split;
#[path = "session/transcript.rs"]
mod transcript;
#[path = "session/transitions.rs"]
mod transitions;
#[path = "session/world.rs"]
mod world;
