//! What a client has sent and no phase has read yet.

use std::ops::Range;

use crate::fault::Fault;
use crate::limits::FRAME_PREFIX_BYTES_MAX;
use crate::wire;

/// Memory that an empty inbox keeps at most, for the next packet of a conversation of small ones.
const KEPT_BYTES_MAX: usize = 256;

/// Unread input. Grows only by bytes that have arrived, and holds next to no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// How much of `bytes` is read; only ever less than its length between calls.
    read: usize,
}

impl Inbox {
    /// Takes what has arrived.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is unread.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    /// What is unread, to be deciphered where it lies.
    pub(super) fn unread_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.read..).unwrap_or_default()
    }

    /// Where the first frame's packet lies within [`Self::unread`]; `None` if it has not arrived as a whole.
    pub(super) fn frame(&self, bytes_max: usize) -> Result<Option<Range<usize>>, Fault> {
        wire::split_frame(self.unread(), bytes_max)
    }

    /// Marks the first `count` unread bytes as read.
    pub(super) fn consume(&mut self, count: usize) {
        self.read = self.read.saturating_add(count).min(self.bytes.len());
        if self.read == self.bytes.len() {
            self.discard();
        }
    }

    /// Forgets the part that is read, so that a trickle of input cannot make the rest grow.
    pub(super) fn compact(&mut self) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
    }

    /// Forgets everything.
    pub(super) fn discard(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.read = 0;
    }

    /// Takes all that is unread.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.compact();
        std::mem::take(&mut self.bytes)
    }

    /// Whether more than one frame of `frame_bytes_max` is waiting, which is more than any phase needs to go
    /// on.
    pub(super) fn is_full(&self, frame_bytes_max: usize) -> bool {
        self.unread().len() >= frame_bytes_max.saturating_add(FRAME_PREFIX_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_frames_in_order_and_keeps_little_memory_when_empty() {
        let mut inbox = Inbox::default();
        inbox.extend(&[1, 7, 2, 8]);
        assert_eq!(inbox.frame(100), Ok(Some(1..2)));
        inbox.consume(2);
        assert_eq!(inbox.frame(100), Ok(None));
        inbox.compact();
        inbox.extend(&[9]);
        assert_eq!(inbox.frame(100), Ok(Some(1..3)));
        assert_eq!(inbox.unread(), [2, 8, 9]);
        inbox.consume(3);
        assert!(inbox.unread().is_empty());
        inbox.extend(&[0; 10_000]);
        inbox.consume(10_000);
        assert!(inbox.bytes.capacity() <= KEPT_BYTES_MAX);
    }

    #[test]
    fn consuming_more_than_there_is_empties_it() {
        let mut inbox = Inbox::default();
        inbox.extend(&[1, 2, 3]);
        inbox.consume(10);
        assert!(inbox.unread().is_empty());
    }
}
