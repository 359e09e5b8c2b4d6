//! Connections for their own sake: opened and closed, opened and left alone, opened to ping.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Attack, Ground, Move, Origin, Plan, Strike, said};
use crate::flow::{Hello, status};
use crate::random::Random;
use crate::wire::{Frames, put_packet};

/// Opens and closes at once.
pub(super) struct Connects(pub(super) Origin);

impl Attack for Connects {
    fn plan(&self) -> Plan {
        Plan {
            origin: self.0,
            ..Plan::flood(5_000.0)
        }
    }

    fn strike(
        &mut self,
        _: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        _: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        let (strike, _) = said();
        (strike, Move::Close)
    }
}

/// Opens and says nothing.
pub(super) struct Silence {
    pub(super) rate: f64,
    pub(super) at_once: usize,
}

impl Attack for Silence {
    fn plan(&self) -> Plan {
        Plan {
            at_once: self.at_once,
            lifetime: Duration::from_secs(60),
            ..Plan::flood(self.rate)
        }
    }

    fn strike(
        &mut self,
        _: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        _: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        said()
    }
}

/// Whole pings, as many as there can be.
pub(super) struct Pings(Hello);

impl Pings {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(hello(ground, &ground.relay_host))
    }
}

/// What a current client says first.
pub(super) fn hello(ground: &Ground, host: &str) -> Hello {
    Hello {
        protocol: 772,
        host: host.to_owned(),
        port: ground.server.port(),
    }
}

impl Attack for Pings {
    fn plan(&self) -> Plan {
        Plan::flood(4_000.0)
    }

    fn strike(
        &mut self,
        number: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        output.extend_from_slice(&status::opening(&self.0));
        put_packet(output, 0x01, |body| body.extend_from_slice(&number.to_be_bytes()));
        (Box::new(Answers::new(2)), Move::Stay)
    }
}

/// Closes after so many packets.
pub(super) struct Answers {
    frames: Frames,
    left: u32,
}

impl Answers {
    pub(super) fn new(count: u32) -> Self {
        Self {
            frames: Frames::default(),
            left: count,
        }
    }
}

impl Strike for Answers {
    fn receive(&mut self, bytes: &[u8], _: &mut Vec<u8>) -> Move {
        self.frames.push(bytes);
        while let Ok(Some(_)) = self.frames.take() {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return Move::Close;
            }
        }
        Move::Stay
    }
}
