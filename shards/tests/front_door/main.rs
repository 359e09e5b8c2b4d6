//! The whole front door on loopback: real shards, a control thread that is under the test's control, and
//! clients made of raw bytes.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod hostile;
mod lifecycle;
mod login;
mod relay;
mod reports;
mod status;
mod traces;
mod world;
