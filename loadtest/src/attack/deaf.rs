//! Relays one side of which never reads, while the other sends as much as it can.

use std::net::Ipv4Addr;
use std::time::Duration;

use uuid::Uuid;

use super::floods::hello;
use super::{Attack, Ground, Move, Plan, Strike};
use crate::random::Random;
use crate::wire::{Intent, put_handshake, put_login_start};

/// Sent at a time where the client is the one that sends.
const CHUNK_BYTES: usize = 64 * 1024;

/// Which side does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The client; its target sends without end.
    Client,
    /// The target; the client sends without end.
    Target,
}

/// Relays of which one side never reads.
pub(super) struct Deaf {
    side: Side,
    greeting: Vec<u8>,
}

impl Deaf {
    pub(super) fn new(side: Side, ground: &Ground) -> Self {
        let host = match side {
            Side::Client => &ground.faucet_host,
            Side::Target => &ground.deaf_host,
        };
        let hello = hello(ground, host);
        let mut greeting = Vec::new();
        put_handshake(
            &mut greeting,
            hello.protocol,
            &hello.host,
            hello.port,
            Intent::Login,
        );
        put_login_start(&mut greeting, "Deaf", Uuid::from_u128(12));
        Self { side, greeting }
    }
}

impl Attack for Deaf {
    fn plan(&self) -> Plan {
        Plan {
            rate: 300.0,
            at_once: 300,
            lifetime: Duration::from_secs(60),
            pulse: (self.side == Side::Target).then_some(Duration::from_millis(10)),
            ..Plan::flood(300.0)
        }
    }

    fn strike(
        &mut self,
        _: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        output.extend_from_slice(&self.greeting);
        (Box::new(Talker), Move::Deafen)
    }
}

/// Sends whenever all before has been taken.
struct Talker;

impl Strike for Talker {
    fn pulse(&mut self, output: &mut Vec<u8>) -> Move {
        output.resize(CHUNK_BYTES, 0x55);
        Move::Stay
    }
}
