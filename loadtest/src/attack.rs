//! What attackers do: one small type each, driven by a [`storm`].
//!
//! Loopback only, and bounded in rate, in connections at a time, in connections in all, and in time. Raw
//! packets (a SYN flood, forged addresses on the wire) need privileges that no test should ask for: those are
//! the kernel's to withstand, and are left out.

mod catalogue;
mod cookies;
mod deaf;
mod floods;
mod frames;
mod hostnames;
mod logins;
mod memory;
mod proxy_headers;
mod resets;
mod slow;
pub mod storm;
mod strangers;
pub mod target;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use self::catalogue::Kind;
use crate::random::Random;

/// Source addresses of attackers: the first of 127.66.0.0/16.
pub const ATTACKERS: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);
/// How many of them there are.
pub const ATTACKERS_COUNT: u32 = 65_000;
/// The address of a balancer whose PROXY headers count, where there is one.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);
/// Connections that one attack opens at most, whatever else is asked for.
pub const CONNECTIONS_MAX: u64 = 500_000;

/// What attackers know of the server.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Where it listens.
    pub server: SocketAddr,
    /// Host name of a route that relays to a target that answers.
    pub relay_host: String,
    /// Host name of a route that encrypts and asks a session server.
    pub login_host: String,
    /// Host name of a route that relays to a target that sends without end.
    pub faucet_host: String,
    /// Host name of a route that relays to a target that never reads.
    pub deaf_host: String,
    /// Signs the server's cookies. No attacker has it: it makes cookies that were given to somebody else.
    pub secret: Vec<u8>,
}

/// What the server has to be like for an attack to meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terrain {
    /// As it stands on the Internet.
    Open,
    /// Behind balancers that send PROXY headers; others connect directly.
    Balanced,
    /// With a low limit of open files.
    FewFiles,
}

/// Where an attack comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Many addresses, few connections each: no bound of a single address helps.
    Many,
    /// One address.
    One,
    /// A balancer, for whoever it says.
    Balancer,
}

/// How much of it there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Connections begun in a second.
    pub rate: f64,
    /// Open at a time at most.
    pub at_once: usize,
    /// An attacker closes a connection that is older.
    pub lifetime: Duration,
    /// Time between two pulses of a connection; `None` for none.
    pub pulse: Option<Duration>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Plan {
    /// So many connections a second from many addresses, each for at most two seconds.
    const fn flood(rate: f64) -> Self {
        Self {
            rate,
            at_once: 4_000,
            lifetime: Duration::from_secs(2),
            pulse: None,
            origin: Origin::Many,
        }
    }
}

/// What an attacker does next with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Keeps it.
    Stay,
    /// Reads nothing from it any more, and keeps it.
    Deafen,
    /// Closes it.
    Close,
    /// Resets it.
    Reset,
    /// The server let through what it must not: the attack has succeeded.
    Breach(String),
}

/// One connection of an attack.
pub trait Strike {
    /// Bytes came. What is appended to `output` is sent.
    fn receive(&mut self, _bytes: &[u8], _output: &mut Vec<u8>) -> Move {
        Move::Stay
    }

    /// The time of [`Plan::pulse`] has passed, and all that was appended before is sent.
    fn pulse(&mut self, _output: &mut Vec<u8>) -> Move {
        Move::Stay
    }
}

/// An attack.
pub trait Attack: Send {
    /// How much of it there is.
    fn plan(&self) -> Plan;

    /// Begins connection number `number` from `source`: what is appended to `output` is sent first.
    fn strike(
        &mut self,
        number: u64,
        source: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move);
}

/// Says its piece and waits for the server to end it.
struct Said;

impl Strike for Said {}

/// A connection that has said all.
fn said() -> (Box<dyn Strike>, Move) {
    (Box::new(Said), Move::Stay)
}
