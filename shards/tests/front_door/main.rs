//! The whole front door on loopback: real shards, a control thread that is under the test's control, and
//! clients made of raw bytes.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bounds;
mod choosing;
mod client;
mod crowds;
mod hostile;
mod lifecycle;
mod login;
mod player;
mod queues;
mod relay;
mod relay_bounds;
mod reports;
mod retries;
mod shared_status;
mod status;
mod traces;
mod words;
mod world;
