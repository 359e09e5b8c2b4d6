//! A seeded load generator for Passage and its peers, and the clients and doubles that tests are made of.
//!
//! Loopback only: every target is checked before a socket is opened. Each worker thread is one epoll loop; a
//! run is made of a flow (what a connection says), a pace (when connections begin) and a bound (when it
//! ends).
#![forbid(unsafe_code)]

pub mod address;
pub mod attack;
pub mod client;
pub mod cookie;
pub mod double;
mod drive;
mod event_loop;
pub mod failure;
pub mod flow;
pub mod measure;
pub mod pin;
pub mod random;
pub mod report;
pub mod rsa;
pub mod schedule;
pub mod server;
pub mod tally;
pub mod wire;
