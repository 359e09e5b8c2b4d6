//! The primitive types of the protocol, and frames.
//!
//! Reading borrows from the input and is bounded by it: a claimed length is compared with the bytes that are
//! there, never allocated. Writing appends to a `Vec<u8>`. Both follow minecraft.wiki, "Java Edition
//! protocol/Data types"; golden bytes are checked in `tests/golden.rs`.

use std::ops::Range;

use uuid::Uuid;

use crate::fault::Fault;
use crate::limits::{FRAME_BYTES_MAX, FRAME_PREFIX_BYTES_MAX, UTF8_BYTES_PER_UNIT_MAX, VAR_INT_BYTES_MAX};

/// Reads fields off the front of a packet.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over a packet (or any part of one).
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes have not been read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Reads a VarInt of at most five bytes; surplus high bits of the fifth are dropped, as the game does.
    ///
    /// # Errors
    /// [`Fault::PacketTruncated`] or [`Fault::VarIntTooLong`].
    pub fn var_int(&mut self) -> Result<i32, Fault> {
        let mut value = 0_u32;
        for shift in (0..).step_by(7).take(VAR_INT_BYTES_MAX) {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value.cast_signed());
            }
        }
        Err(Fault::VarIntTooLong)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`Fault::PacketTruncated`].
    pub fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads a Boolean; every byte but 0 is true, as the game has it.
    ///
    /// # Errors
    /// [`Fault::PacketTruncated`].
    pub fn bool(&mut self) -> Result<bool, Fault> {
        self.u8().map(|byte| byte != 0)
    }

    /// Reads a big-endian `u16`.
    ///
    /// # Errors
    /// [`Fault::PacketTruncated`].
    pub fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a big-endian `i32`.
    ///
    /// # Errors
    /// [`Fault::PacketTruncated`].
    pub fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_be_bytes)
    }

    /// Reads a big-endian `i64`.
    ///
    /// # Errors
    /// [`Fault::PacketTruncated`].
    pub fn i64(&mut self) -> Result<i64, Fault> {
        self.array().map(i64::from_be_bytes)
    }

    /// Reads a UUID in its 16-byte form.
    ///
    /// # Errors
    /// [`Fault::PacketTruncated`].
    pub fn uuid(&mut self) -> Result<Uuid, Fault> {
        self.array().map(Uuid::from_bytes)
    }

    /// Reads a string of at most `units_max` UTF-16 code units, and so of at most three times as many bytes.
    ///
    /// # Errors
    /// [`Fault::StringTooLong`] as soon as the length says so, [`Fault::StringNotUtf8`],
    /// [`Fault::LengthNegative`], [`Fault::VarIntTooLong`] or [`Fault::PacketTruncated`].
    pub fn string(&mut self, units_max: usize) -> Result<&'a str, Fault> {
        let length = self.length(
            units_max.saturating_mul(UTF8_BYTES_PER_UNIT_MAX),
            Fault::StringTooLong,
        )?;
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| Fault::StringNotUtf8)?;
        // Counting is needed only where the bytes alone do not settle it.
        if length > units_max && text.encode_utf16().count() > units_max {
            return Err(Fault::StringTooLong);
        }
        Ok(text)
    }

    /// Reads a byte array with a VarInt length of at most `bytes_max`.
    ///
    /// # Errors
    /// [`Fault::ArrayTooLong`], [`Fault::LengthNegative`], [`Fault::VarIntTooLong`] or
    /// [`Fault::PacketTruncated`].
    pub fn byte_array(&mut self, bytes_max: usize) -> Result<&'a [u8], Fault> {
        let length = self.length(bytes_max, Fault::ArrayTooLong)?;
        self.bytes(length)
    }

    /// Reads a byte array with a 16-bit length of at most `bytes_max`, as before Minecraft 1.8.
    ///
    /// # Errors
    /// [`Fault::ArrayTooLong`], [`Fault::LengthNegative`] or [`Fault::PacketTruncated`].
    pub fn short_byte_array(&mut self, bytes_max: usize) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.u16()?.cast_signed()).map_err(|_| Fault::LengthNegative)?;
        if length > bytes_max {
            return Err(Fault::ArrayTooLong);
        }
        self.bytes(length)
    }

    /// Reads a VarInt count of at most `max` elements.
    ///
    /// # Errors
    /// [`Fault::ArrayTooLong`], [`Fault::LengthNegative`], [`Fault::VarIntTooLong`] or
    /// [`Fault::PacketTruncated`].
    pub fn count(&mut self, max: usize) -> Result<usize, Fault> {
        self.length(max, Fault::ArrayTooLong)
    }

    /// Reads exactly `length` bytes.
    ///
    /// # Errors
    /// [`Fault::PacketTruncated`].
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Fault::PacketTruncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Says that the packet must end here.
    ///
    /// # Errors
    /// [`Fault::PacketTrailing`].
    pub fn finish(self) -> Result<(), Fault> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Fault::PacketTrailing)
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Fault::PacketTruncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn length(&mut self, max: usize, too_long: Fault) -> Result<usize, Fault> {
        let length = usize::try_from(self.var_int()?).map_err(|_| Fault::LengthNegative)?;
        if length > max { Err(too_long) } else { Ok(length) }
    }
}

/// Finds the first frame in `bytes`: `None` if more input is needed, else where the packet (id and fields,
/// without the length prefix) lies. The next frame begins at the range's end.
///
/// A fault is reported as soon as the prefix shows it, before the packet has arrived.
///
/// # Errors
/// [`Fault::FrameLengthTooLong`], [`Fault::FrameEmpty`], or [`Fault::FrameTooLong`] if the packet takes more
/// than `bytes_max`.
pub fn split_frame(bytes: &[u8], bytes_max: usize) -> Result<Option<Range<usize>>, Fault> {
    let mut length = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(FRAME_PREFIX_BYTES_MAX) {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 != 0 {
            continue;
        }
        if length == 0 {
            return Err(Fault::FrameEmpty);
        }
        if length > bytes_max {
            return Err(Fault::FrameTooLong);
        }
        let start = index + 1;
        let end = start + length;
        return Ok((bytes.len() >= end).then_some(start..end));
    }
    if bytes.len() < FRAME_PREFIX_BYTES_MAX {
        Ok(None)
    } else {
        Err(Fault::FrameLengthTooLong)
    }
}

/// How many bytes the first frame of `bytes` still lacks, as far as its prefix tells; 0 if it does not, or
/// lacks none.
#[must_use]
pub fn missing_of_frame(bytes: &[u8], bytes_max: usize) -> usize {
    let Ok(None) = split_frame(bytes, bytes_max) else {
        return 0;
    };
    let mut prefix = Reader::new(bytes);
    let length = prefix
        .var_int()
        .ok()
        .and_then(|length| usize::try_from(length).ok());
    length.map_or(0, |length| length.saturating_sub(prefix.remaining()))
}

/// Appends a frame: `write_packet` appends id and fields, the length goes in front of them.
///
/// Callers keep packets within [`FRAME_BYTES_MAX`]; `limits.rs` proves it for all that Passage sends.
pub fn write_frame(out: &mut Vec<u8>, write_packet: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write_packet(out);
    let length = out.len() - start;
    debug_assert!(
        (1..=FRAME_BYTES_MAX).contains(&length),
        "a frame of {length} bytes"
    );
    let (prefix, prefix_length) = encode_var_int(saturating_u32(length));
    out.splice(start..start, prefix.into_iter().take(prefix_length));
}

/// Appends a VarInt.
pub fn write_var_int(out: &mut Vec<u8>, value: i32) {
    let (bytes, length) = encode_var_int(value.cast_unsigned());
    out.extend(bytes.iter().take(length));
}

/// Appends a Boolean.
pub fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends a big-endian `u16`.
pub fn write_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a big-endian `i32`.
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a big-endian `i64`.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a UUID in its 16-byte form.
pub fn write_uuid(out: &mut Vec<u8>, value: Uuid) {
    out.extend_from_slice(value.as_bytes());
}

/// Appends a string with its length in bytes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write_byte_array(out, text.as_bytes());
}

/// Appends a byte array with a VarInt length.
pub fn write_byte_array(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a VarInt length or count.
pub fn write_length(out: &mut Vec<u8>, length: usize) {
    let (bytes, bytes_length) = encode_var_int(saturating_u32(length));
    out.extend(bytes.iter().take(bytes_length));
}

/// How many bytes a length takes as a VarInt.
#[must_use]
pub fn var_int_bytes(length: usize) -> usize {
    encode_var_int(saturating_u32(length)).1
}

fn encode_var_int(mut value: u32) -> ([u8; VAR_INT_BYTES_MAX], usize) {
    let mut bytes = [0; VAR_INT_BYTES_MAX];
    let mut length = 0;
    for byte in &mut bytes {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        length += 1;
        if value == 0 {
            *byte = low & 0x7F;
            break;
        }
        *byte = low | 0x80;
    }
    (bytes, length)
}

fn saturating_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
