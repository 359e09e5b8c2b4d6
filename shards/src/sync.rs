//! The atomics that shards share. `shards/loom` builds the same code with other ones in this module's place,
//! which play every order in which threads may come.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
