//! Server-list pings from before Minecraft 1.7 (`0xFE`), which know no frames.
//!
//! minecraft.wiki, "Java Edition protocol/Server List Ping": up to 1.3 the client sends `FE`; 1.4 and 1.5 `FE
//! 01`; 1.6 `FE 01 FA`, the string `MC|PingHost`, and its version, host and port. All are answered with a
//! kick packet: `FF` and a UTF-16BE string. Clients since 1.7 fall back to the 1.6 form if the modern ping
//! fails.

use crate::fault::Fault;
use crate::limits::{LEGACY_HOST_UNITS_MAX, LEGACY_KICK_UNITS_MAX};
use crate::wire::{Reader, write_u16};

const PING: u8 = 0xFE;
const PING_PAYLOAD: u8 = 0x01;
const PLUGIN_MESSAGE: u8 = 0xFA;
const KICK: u8 = 0xFF;
/// `MC|PingHost` in UTF-16BE, with its length in front.
const CHANNEL: &[u8] = b"\0\x0B\0M\0C\0|\0P\0i\0n\0g\0H\0o\0s\0t";

/// A legacy ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyPing {
    /// Which form it has, and so which answer it understands.
    pub form: LegacyForm,
    /// The client's protocol version, as counted before 1.7 (78 is 1.6.4); only 1.6 says it.
    pub protocol: Option<u8>,
    /// The host and port that the client connected to; only 1.6 says it.
    pub address: Option<(String, u16)>,
}

/// Which answer a legacy ping understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyForm {
    /// Up to 1.3: description, online and maximum, separated by `§`.
    Plain,
    /// Since 1.4: `§1`, protocol, version, description, online and maximum, separated by NUL.
    Versioned,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// No legacy ping: read on as frames.
    Modern,
    /// More input decides. If none comes for a moment, or the client closes its side, what there is may be a
    /// whole ping of an older form: this one. `None` if there is nothing at all.
    Incomplete(Option<LegacyPing>),
    /// A whole ping; whatever follows it has no meaning.
    Complete(LegacyPing),
}

/// Looks for a legacy ping at the very beginning of a connection.
///
/// `FE` and `FE 01` can also begin a modern frame of 126 and more bytes. What follows tells: such a frame
/// goes on with a packet id of 0, a legacy ping with `FA` or not at all.
///
/// # Errors
/// [`Fault::LegacyPingMalformed`] for a plugin message that is not the one of the 1.6 ping.
pub fn detect(bytes: &[u8]) -> Result<Detection, Fault> {
    match bytes {
        [] => Ok(Detection::Incomplete(None)),
        [PING] => Ok(Detection::Incomplete(Some(LegacyPing::bare(LegacyForm::Plain)))),
        [PING, PING_PAYLOAD] => Ok(Detection::Incomplete(Some(LegacyPing::bare(
            LegacyForm::Versioned,
        )))),
        [PING, PING_PAYLOAD, PLUGIN_MESSAGE, message @ ..] => match read_message(message) {
            Ok(ping) => Ok(Detection::Complete(ping)),
            Err(Fault::PacketTruncated) => Ok(Detection::Incomplete(Some(LegacyPing::bare(
                LegacyForm::Versioned,
            )))),
            Err(_) => Err(Fault::LegacyPingMalformed),
        },
        _ => Ok(Detection::Modern),
    }
}

impl LegacyPing {
    fn bare(form: LegacyForm) -> Self {
        Self {
            form,
            protocol: None,
            address: None,
        }
    }

    /// Appends the ping, for tests and load generators.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(PING);
        if self.form == LegacyForm::Plain {
            return;
        }
        out.push(PING_PAYLOAD);
        if let (Some(protocol), Some((host, port))) = (self.protocol, &self.address) {
            out.push(PLUGIN_MESSAGE);
            out.extend_from_slice(CHANNEL);
            let mut message = vec![protocol];
            write_utf16(&mut message, host);
            message.extend_from_slice(&u32::from(*port).to_be_bytes());
            write_u16(out, u16::try_from(message.len()).unwrap_or(u16::MAX));
            out.extend_from_slice(&message);
        }
    }
}

/// Appends a kick packet with a text of at most [`LEGACY_KICK_UNITS_MAX`].
pub fn write_kick(out: &mut Vec<u8>, text: &str) {
    debug_assert!(
        text.encode_utf16().count() <= LEGACY_KICK_UNITS_MAX,
        "a kick of {} bytes",
        text.len()
    );
    out.push(KICK);
    write_utf16(out, text);
}

/// Reads a kick packet, for tests and load generators; `None` if it is none.
#[must_use]
pub fn read_kick(bytes: &[u8]) -> Option<String> {
    let mut reader = Reader::new(bytes);
    let text = (reader.u8().ok()? == KICK)
        .then(|| read_utf16(&mut reader, LEGACY_KICK_UNITS_MAX))?
        .ok()?;
    reader.finish().ok()?;
    Some(text)
}

fn read_message(bytes: &[u8]) -> Result<LegacyPing, Fault> {
    let mut reader = Reader::new(bytes);
    // The channel is compared as it arrives, so that nothing but the ping is ever waited for.
    let arrived = bytes.len().min(CHANNEL.len());
    if CHANNEL.get(..arrived) != bytes.get(..arrived) {
        return Err(Fault::LegacyPingMalformed);
    }
    reader.bytes(CHANNEL.len())?;
    let length = usize::from(reader.u16()?);
    if !(7..=7 + 2 * LEGACY_HOST_UNITS_MAX).contains(&length) {
        return Err(Fault::LegacyPingMalformed);
    }
    let mut reader = Reader::new(reader.bytes(length)?);
    let ping = read_payload(&mut reader).and_then(|ping| reader.finish().map(|()| ping));
    // The payload is all there: what is missing in it does not come any more.
    ping.map_err(|_| Fault::LegacyPingMalformed)
}

fn read_payload(reader: &mut Reader<'_>) -> Result<LegacyPing, Fault> {
    let protocol = reader.u8()?;
    let host = read_utf16(reader, LEGACY_HOST_UNITS_MAX)?;
    let port = u16::try_from(reader.i32()?).map_err(|_| Fault::LegacyPingMalformed)?;
    Ok(LegacyPing {
        form: LegacyForm::Versioned,
        protocol: Some(protocol),
        address: Some((host, port)),
    })
}

fn read_utf16(reader: &mut Reader<'_>, units_max: usize) -> Result<String, Fault> {
    let units = usize::from(reader.u16()?);
    if units > units_max {
        return Err(Fault::StringTooLong);
    }
    let (pairs, _) = reader.bytes(2 * units)?.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    String::from_utf16(&units).map_err(|_| Fault::LegacyPingMalformed)
}

fn write_utf16(out: &mut Vec<u8>, text: &str) {
    write_u16(
        out,
        u16::try_from(text.encode_utf16().count()).unwrap_or(u16::MAX),
    );
    for unit in text.encode_utf16() {
        write_u16(out, unit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ping(host: &str) -> (LegacyPing, Vec<u8>) {
        let ping = LegacyPing {
            form: LegacyForm::Versioned,
            protocol: Some(78),
            address: Some((host.to_owned(), 25565)),
        };
        let mut bytes = Vec::new();
        ping.encode(&mut bytes);
        (ping, bytes)
    }

    #[test]
    fn every_prefix_of_a_ping_is_incomplete() {
        let (whole, bytes) = ping("play.example.net");
        for end in 0..bytes.len() {
            let fallback = match end {
                0 => None,
                1 => Some(LegacyPing::bare(LegacyForm::Plain)),
                _ => Some(LegacyPing::bare(LegacyForm::Versioned)),
            };
            assert_eq!(
                detect(&bytes[..end]),
                Ok(Detection::Incomplete(fallback)),
                "{end} bytes"
            );
        }
        assert_eq!(detect(&bytes), Ok(Detection::Complete(whole)));
    }

    #[test]
    fn a_long_modern_frame_is_no_ping() {
        for frame in [
            &[0xFE, 0x01, 0x00][..],
            &[0xFE, 0x02],
            &[0xFE, 0x05, 0x00],
            &[0x10, 0x00],
            &[0x01],
        ] {
            assert_eq!(detect(frame), Ok(Detection::Modern), "{frame:02X?}");
        }
    }

    #[test]
    fn refuses_another_channel_at_its_first_byte() {
        let (_, mut bytes) = ping("x");
        bytes[6] = b'X';
        assert_eq!(detect(&bytes[..7]), Err(Fault::LegacyPingMalformed));
    }

    #[test]
    fn refuses_lengths_that_do_not_fit() {
        let (_, bytes) = ping("x");
        let length_at = 3 + CHANNEL.len();
        for length in [0_u16, 6, 8, 10, 518, u16::MAX] {
            let mut bytes = bytes.clone();
            bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
            bytes.extend([0; 600]);
            assert_eq!(detect(&bytes), Err(Fault::LegacyPingMalformed), "{length}");
        }
        let (_, mut bytes) = ping("x");
        let port_at = bytes.len() - 4;
        bytes[port_at] = 0x80;
        assert_eq!(detect(&bytes), Err(Fault::LegacyPingMalformed));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(host in ".{0,80}", protocol: u8, port: u16) {
            let ping = LegacyPing {
                form: LegacyForm::Versioned, protocol: Some(protocol), address: Some((host, port)),
            };
            let mut bytes = Vec::new();
            ping.encode(&mut bytes);
            prop_assert_eq!(detect(&bytes), Ok(Detection::Complete(ping)));
        }

        #[test]
        fn never_panics(tail: Vec<u8>) {
            let _ = detect(&tail);
            let _ = detect(&[&[0xFE, 0x01, 0xFA], tail.as_slice()].concat());
            let _ = read_kick(&tail);
        }
    }
}
