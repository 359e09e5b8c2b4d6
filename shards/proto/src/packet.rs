//! The packets that Passage reads and writes, by phase.
//!
//! `decode` takes one packet as [`crate::wire::split_frame`] finds it: id and fields without the length
//! prefix. `encode` appends a whole frame. What is decoded borrows from the input.
//!
//! Each phase has the serverbound packets that a client sends (decoded by a session, encoded by replays,
//! tests and load generators) and the clientbound ones (the other way round).

pub mod configuration;
pub mod handshake;
pub mod legacy;
pub mod login;
pub mod status;

pub use cookie::{CookieRequest, CookieResponse};

mod cookie;

#[cfg(test)]
mod tests;
