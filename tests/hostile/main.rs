//! The real program among hostile circumstances.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod blabbermouth;
#[expect(dead_code, reason = "the shards' tests need more of it")]
#[path = "../../shards/tests/front_door/client.rs"]
mod client;
mod descriptors;
mod grumbler;
mod process;
mod secrets;
mod visitor;
