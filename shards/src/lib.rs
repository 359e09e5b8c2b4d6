//! The data plane of Passage: one executor per core, each with its own listeners, its own io_uring and its
//! own metrics.
//!
//! [`pool::start`] takes a [`pool::Blueprint`] and gives back [`pool::Shards`]. This is the only crate that
//! names glommio; the control plane meets it through a [`route::Routes`] snapshot, the channel of
//! [`ask::Asked`] questions and the boxes of [`metrics::Deltas`].
//!
//! Architecture invariants: shards share nothing mutable but the limiter's atomics, and each writes a
//! [`pulse::Pulse`] that others read; a shard never blocks (no file, no DNS, no waiting for a lock, no
//! stdout, no HTTP); one panicking connection never takes its shard down.

mod accept;
mod admission;
pub mod ask;
#[cfg(test)]
#[path = "../proto/tests/session/simulation/choices.rs"]
mod choices;
mod connection;
mod dial;
pub mod ejection;
pub mod engine;
pub mod feed;
mod ledger;
pub mod limiter;
pub mod limits;
pub mod metrics;
mod outcome;
pub mod pool;
pub mod pulse;
pub mod report;
pub mod route;
pub mod rsa;
mod shard;
mod sync;
pub mod trace;

pub use admission::Shed;
pub use outcome::Outcome;
