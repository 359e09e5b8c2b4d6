//! The control plane of Passage: configuration, localization, the control thread with its adapters,
//! telemetry, and the composition of it all with the shards.

pub mod adapters;
pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod localization;
mod redaction;
pub mod telemetry;
pub mod tls;
pub mod watch;
