//! The Minecraft: Java Edition protocol as far as Passage speaks it, without any I/O.
//!
//! A [`session::Session`] takes bytes, answers and the time, and gives back bytes and [`session::Effect`]s.
//! It knows no clock, socket, runtime or random source: [`Now`] and [`Entropy`] are arguments, and whatever
//! needs the network or a private key leaves as a [`question::Question`]. The crate's `Cargo.toml` names no
//! I/O crate, so that this stays true. The one file with `unsafe` is the cipher for the AES instructions.
// Nothing that a peer sends may panic.
#![warn(clippy::indexing_slicing)]

pub mod cipher;
pub mod cookie;
pub mod fault;
pub mod hostname;
pub mod identity;
pub mod limits;
pub mod packet;
pub mod proxy_header;
pub mod question;
pub mod session;
pub mod status;
pub mod text;
pub mod version;
pub mod wire;

use std::time::Instant;

/// The time at which something is handed to a session: a monotonic reading for deadlines, and the wall clock
/// for what is signed and compared across machines.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time.
    pub instant: Instant,
    /// Seconds since the Unix epoch.
    pub unix_seconds: u64,
}

/// Random bytes that a session may use once, for its verify token, its session id and its keep-alive ids.
#[derive(Clone)]
pub struct Entropy(pub [u8; 32]);
