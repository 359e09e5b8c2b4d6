//! Minecraft's wire format, from the client's side.
//!
//! Written apart from `passage-proto` on purpose: a load generator that shared the server's codec would also
//! share its mistakes, and could not find them.

use crate::failure::{Failure, Kind};

/// Longest frame taken from a server: the protocol's own limit of a three-byte length.
const FRAME_BYTES_MAX: usize = (1 << 21) - 1;

/// Appends a VarInt.
pub fn put_varint(output: &mut Vec<u8>, value: i32) {
    let mut rest = u32::from_ne_bytes(value.to_ne_bytes());
    loop {
        let low = (rest & 0x7F).to_le_bytes()[0];
        rest >>= 7;
        if rest == 0 {
            output.push(low);
            return;
        }
        output.push(low | 0x80);
    }
}

/// Appends bytes with their length before them.
pub fn put_bytes(output: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(output, i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    output.extend_from_slice(bytes);
}

/// Appends a packet as one frame; `body` writes what follows the packet id.
pub fn put_packet(output: &mut Vec<u8>, id: i32, body: impl FnOnce(&mut Vec<u8>)) {
    // A VarInt of the length goes in front once it is known. Most packets of a client are shorter than 128
    // bytes, so one byte is reserved and more are made room for where needed.
    let start = output.len();
    output.push(0);
    put_varint(output, id);
    body(output);
    let length = output.len() - start - 1;
    let mut prefix = Vec::with_capacity(5);
    put_varint(&mut prefix, i32::try_from(length).unwrap_or(i32::MAX));
    output.splice(start..=start, prefix);
}

/// Collects received bytes and cuts them into frames.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    read: usize,
}

impl Frames {
    /// Takes received bytes.
    pub fn push(&mut self, received: &[u8]) {
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
        } else if self.read > 4096 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(received);
    }

    /// The next whole frame: its packet id and what follows. `None` until it has arrived.
    ///
    /// # Errors
    /// [`Kind::Malformed`] if the length or the id is not a VarInt in its bounds.
    pub fn take(&mut self) -> Result<Option<(i32, Reader<'_>)>, Failure> {
        let pending = self.bytes.get(self.read..).unwrap_or_default();
        let mut reader = Reader(pending);
        let Some(length) = reader.varint_if_whole()? else {
            return Ok(None);
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| (1..=FRAME_BYTES_MAX).contains(length));
        let length = length.ok_or_else(|| malformed("a frame length outside of 1..2097151"))?;
        let Some(body) = reader.0.get(..length) else {
            return Ok(None);
        };
        self.read += pending.len() - reader.0.len() + length;
        let mut reader = Reader(body);
        let id = reader.varint()?;
        Ok(Some((id, reader)))
    }

    /// Takes out what was received after the last frame.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.read.min(self.bytes.len()));
        *self = Self::default();
        rest
    }
}

/// Reads fields out of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`Kind::Malformed`] if the packet ends before.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| malformed("a packet that ends early"))?;
        self.0 = tail;
        Ok(head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Kind::Malformed`] if the packet ends before.
    pub fn byte(&mut self) -> Result<u8, Failure> {
        self.bytes(1).map(|byte| byte[0])
    }

    /// Bytes with their length before them.
    ///
    /// # Errors
    /// [`Kind::Malformed`] if the packet ends before, or the length is negative.
    pub fn length_and_bytes(&mut self) -> Result<&'a [u8], Failure> {
        let length = usize::try_from(self.varint()?).map_err(|_| malformed("a negative length"))?;
        self.bytes(length)
    }

    /// A string.
    ///
    /// # Errors
    /// [`Kind::Malformed`] if the packet ends before, or it is not UTF-8.
    pub fn string(&mut self) -> Result<&'a str, Failure> {
        std::str::from_utf8(self.length_and_bytes()?).map_err(|_| malformed("a string that is not UTF-8"))
    }

    /// A VarInt.
    ///
    /// # Errors
    /// [`Kind::Malformed`] if the packet ends before, or it is longer than five bytes.
    pub fn varint(&mut self) -> Result<i32, Failure> {
        self.varint_if_whole()?
            .ok_or_else(|| malformed("a packet that ends early"))
    }

    fn varint_if_whole(&mut self) -> Result<Option<i32>, Failure> {
        let mut value = 0u32;
        for (index, byte) in self.0.iter().take(5).enumerate() {
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = self.0.get(index + 1..).unwrap_or_default();
                return Ok(Some(i32::from_ne_bytes(value.to_ne_bytes())));
            }
        }
        if self.0.len() >= 5 {
            Err(malformed("a VarInt longer than five bytes"))
        } else {
            Ok(None)
        }
    }
}

/// A failure of kind [`Kind::Malformed`].
pub(crate) fn malformed(what: &str) -> Failure {
    Failure::new(Kind::Malformed, format!("the server sent {what}"))
}

/// What a handshake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Server-list ping.
    Status = 1,
    /// Login.
    Login = 2,
    /// Login after a transfer packet.
    Transfer = 3,
}

/// Appends the handshake packet.
pub fn put_handshake(output: &mut Vec<u8>, protocol: i32, host: &str, port: u16, intent: Intent) {
    put_packet(output, 0x00, |body| {
        put_varint(body, protocol);
        put_bytes(body, host.as_bytes());
        body.extend_from_slice(&port.to_be_bytes());
        body.push(intent as u8);
    });
}

/// Appends login start as clients from protocol 764 on send it: name and UUID.
pub fn put_login_start(output: &mut Vec<u8>, name: &str, id: uuid::Uuid) {
    put_packet(output, 0x00, |body| {
        put_bytes(body, name.as_bytes());
        body.extend_from_slice(id.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::{Frames, Intent, Reader, put_bytes, put_handshake, put_packet, put_varint};

    /// The examples of the protocol documentation (minecraft.wiki, "Java Edition protocol/Data types").
    const VARINTS: [(i32, &[u8]); 8] = [
        (0, &[0x00]),
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (25565, &[0xdd, 0xc7, 0x01]),
        (2_097_151, &[0xff, 0xff, 0x7f]),
        (i32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x07]),
        (-1, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        (i32::MIN, &[0x80, 0x80, 0x80, 0x80, 0x08]),
    ];

    #[test]
    fn varints_match_the_documented_examples() {
        for (value, bytes) in VARINTS {
            let mut output = Vec::new();
            put_varint(&mut output, value);
            assert_eq!(output, bytes);
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
        }
        assert!(Reader::new(&[0xff; 6]).varint().is_err());
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut stream = Vec::new();
        put_handshake(&mut stream, 772, "localhost", 25565, Intent::Status);
        put_packet(&mut stream, 0x05, |body| put_bytes(body, &[7; 300]));
        for cut in 0..stream.len() {
            let mut frames = Frames::default();
            let mut ids = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                frames.push(part);
                while let Some((id, _)) = frames.take().expect("well-formed") {
                    ids.push(id);
                }
            }
            assert_eq!(ids, [0x00, 0x05], "cut at {cut}");
        }
    }

    #[test]
    fn refuses_frames_without_content_and_with_negative_length() {
        for bytes in [&[0x00][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
            let mut frames = Frames::default();
            frames.push(bytes);
            assert!(frames.take().is_err());
        }
    }
}
