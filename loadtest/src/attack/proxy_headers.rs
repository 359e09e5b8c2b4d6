//! PROXY headers: from peers who may not send any, and malformed ones from those who may.

use std::net::Ipv4Addr;

use super::floods::hello;
use super::{Attack, Ground, Move, Origin, Plan, Strike, said};
use crate::address::CLIENTS;
use crate::flow::status;
use crate::random::Random;

/// The signature of version 2 (`proxy-protocol.txt`, section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Headers of peers who are no balancer, in the name of clients that mean well.
pub(super) struct Spoofed(Vec<u8>);

impl Spoofed {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(status::opening(&hello(ground, &ground.relay_host)))
    }
}

impl Attack for Spoofed {
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
        let offset = u32::try_from(number % 256).unwrap_or(0);
        let victim = Ipv4Addr::from_bits(CLIENTS.to_bits() + offset);
        if number.is_multiple_of(2) {
            let line = format!("PROXY TCP4 {victim} 127.0.0.1 40000 25565\r\n");
            output.extend_from_slice(line.as_bytes());
        } else {
            put_v2(output, victim);
        }
        output.extend_from_slice(&self.0);
        (Box::new(Unanswered), Move::Stay)
    }
}

/// A header of version 2 for a TCP connection over IPv4.
fn put_v2(output: &mut Vec<u8>, source: Ipv4Addr) {
    output.extend_from_slice(&SIGNATURE);
    output.extend_from_slice(&[0x21, 0x11, 0, 12]);
    output.extend_from_slice(&source.octets());
    output.extend_from_slice(&Ipv4Addr::LOCALHOST.octets());
    output.extend_from_slice(&[0x9C, 0x40, 0x63, 0xDD]);
}

/// Must get no answer.
struct Unanswered;

impl Strike for Unanswered {
    fn receive(&mut self, _: &[u8], _: &mut Vec<u8>) -> Move {
        Move::Breach("a PROXY header of a peer that is not trusted was believed".to_owned())
    }
}

/// Headers of a balancer that are none.
pub(super) struct Malformed;

impl Attack for Malformed {
    fn plan(&self) -> Plan {
        Plan {
            origin: Origin::Balancer,
            ..Plan::flood(3_000.0)
        }
    }

    fn strike(
        &mut self,
        number: u64,
        _: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        match number % 7 {
            // A line without an end.
            0 => output.extend_from_slice(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat()),
            1 => output.extend_from_slice(b"PROXY TCP4 999.1.1.1 1.1.1.1 1 1\r\n"),
            2 => output.extend_from_slice(b"PROXY TCP6 1.1.1.1 1.1.1.1 70000 1\r\n"),
            3 => output.extend_from_slice(b"PROXY SCTP ::1 ::1 1 1\r\n"),
            // Version 3, a length that nothing fills, and addresses that are too short.
            4 => output.extend_from_slice(&[SIGNATURE.as_slice(), &[0x31, 0x11, 0, 12]].concat()),
            5 => output.extend_from_slice(&[SIGNATURE.as_slice(), &[0x21, 0x11, 0xFF, 0xFF, 1, 1]].concat()),
            _ => {
                output.extend_from_slice(&[SIGNATURE.as_slice(), &[0x21, 0x21, 0, 12]].concat());
                let mut noise = [0; 12];
                random.fill(&mut noise);
                output.extend_from_slice(&noise);
            }
        }
        said()
    }
}
