//! What a shard counts: plain slots, no atomics, handed over as boxes of deltas.
//!
//! A [`Meter`] counts into a box of [`Deltas`]. Once a second the shard sends the box to the telemetry thread
//! through its [`Outlet`] and goes on with an empty one; that thread merges the counts and gives the box
//! back. Without an empty box the shard goes on with the one it has: it never waits, and nothing is lost or
//! counted twice.

mod deltas;
mod durations;
mod labels;
mod meter;
mod outlet;
mod reason;
mod table;

pub use deltas::{ConnectionCounts, ConnectionSet, Deltas, TargetCounts, TargetSet, Totals};
pub use durations::{ANSWERS, Bounds, Durations, Exemplar, RELAYS, TURNS};
pub use labels::{
    AdapterName, AdapterType, Bound, ConnectionLabels, Cut, ERROR_TYPES, RequestType, Shortage, error_type,
};
pub use meter::{HAND_OVER_INTERVAL, Meter};
pub use outlet::{Options, Outlet, SHARDS_MAX};
pub use reason::{FailureStage, Reason};
