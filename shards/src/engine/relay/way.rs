//! One direction of a relay: what waits for its sink, and how its source is received from.

use std::mem::offset_of;

use super::super::buffers::{Buffers, Lease};
use super::super::pipes::{Pipe, Pipes};
use super::super::pool::Pool;
use super::super::slot::Outgoing;

/// Receive buffers that wait in one direction at most; what comes then is copied.
const PIECES_MAX: usize = 4;

/// Waiting pieces of together at most this many bytes are sent as one.
const MERGED_MAX: usize = 8 * 1024;

/// Full reads in a row after which a source is received from into large buffers.
const FULL_READS: u8 = 2;

/// Reads in a row that a common buffer would have held, after which it is received from into those again.
const SMALL_READS: u8 = 16;

/// One direction. What is being sent belongs to the sink's slot, the rest waits here. What each message
/// changes comes first.
#[derive(Default)]
#[repr(C)]
pub(super) struct Way {
    /// Bytes waiting or being sent.
    pub(super) waiting: usize,
    /// Bytes that the sink took.
    pub(super) taken: u64,
    /// The tick at which it last took some.
    pub(super) taken_at: u64,
    /// Too much is waiting: the source is not received from.
    pub(super) paused: bool,
    /// The source will bring no more.
    pub(super) ended: bool,
    /// The sink was told so.
    pub(super) shut: bool,
    /// The source fills its buffers: it is received from as bulk.
    pub(super) bulk: bool,
    /// Reads in a row that say it should be otherwise.
    odd_reads: u8,
    /// How many of the waiting bytes were copied out of the shard's buffers.
    pub(super) copied: usize,
    /// What waits behind what is being sent, while something does, which is seldom.
    behind: Option<Box<Behind>>,
    /// Or this, which holds some bytes.
    pub(super) pipe: Option<Pipe>,
}

/// Waiting, in order.
#[derive(Default)]
struct Behind {
    /// First these,
    pieces: [Option<Lease>; PIECES_MAX],
    /// then these.
    spill: Vec<u8>,
}

impl Way {
    /// Bytes from the beginning that hold all that a message changes where none waits.
    pub(super) const HOT_BYTES: usize = offset_of!(Self, copied);

    /// Takes a read into account that was `full` or not. Whether the kind of buffers to use changed by it.
    pub(super) fn judge(&mut self, full: bool) -> bool {
        if full == self.bulk {
            self.odd_reads = 0;
            return false;
        }
        self.odd_reads += 1;
        let enough = if self.bulk { SMALL_READS } else { FULL_READS };
        if self.odd_reads < enough {
            return false;
        }
        (self.bulk, self.odd_reads) = (full, 0);
        true
    }

    /// Whether nothing is left to do in this direction, for now, once the sink has taken `sent` bytes.
    pub(super) fn is_done_with(&self, sent: usize) -> bool {
        self.waiting == sent && !self.paused && !self.ended && !self.bulk
    }

    /// Queues a received buffer, or a copy of its bytes. How many bytes were copied.
    pub(super) fn queue(&mut self, lease: Lease, buffers: &mut Buffers) -> usize {
        let behind = self.behind.get_or_insert_default();
        let free = behind.pieces.iter_mut().find(|piece| piece.is_none());
        match free {
            Some(free) if behind.spill.is_empty() && !buffers.are_scarce(lease.kind()) => {
                self.waiting += lease.len();
                *free = Some(lease);
                0
            }
            _ => {
                let copied = self.spill(lease.bytes());
                buffers.give_back(lease);
                copied
            }
        }
    }

    /// Queues a copy of some bytes. How many they are.
    pub(super) fn spill(&mut self, bytes: &[u8]) -> usize {
        if !bytes.is_empty() {
            let behind = self.behind.get_or_insert_default();
            behind.spill.extend_from_slice(bytes);
        }
        self.waiting += bytes.len();
        self.copied += bytes.len();
        bytes.len()
    }

    /// What to send next, and how many bytes of it were copied just now: small pieces are merged.
    pub(super) fn next(&mut self, buffers: &mut Buffers, pool: &mut Pool) -> (Outgoing, usize) {
        let Some(behind) = &mut self.behind else {
            return (Outgoing::Nothing, 0);
        };
        let (next, copied) = behind.next(buffers, pool);
        if behind.is_empty() {
            self.behind = None;
        }
        self.copied += copied;
        (next, copied)
    }

    pub(super) fn discard(self, buffers: &mut Buffers, pipes: &mut Pipes) {
        self.pipe.into_iter().for_each(|pipe| pipes.put(pipe));
        let pieces = self.behind.into_iter().flat_map(|behind| behind.pieces);
        for lease in pieces.flatten() {
            buffers.give_back(lease);
        }
    }
}

impl Behind {
    fn is_empty(&self) -> bool {
        self.pieces[0].is_none() && self.spill.is_empty()
    }

    /// Takes what comes next, and says how many bytes of it were copied.
    fn next(&mut self, buffers: &mut Buffers, pool: &mut Pool) -> (Outgoing, usize) {
        let queued = self.pieces.iter().flatten().count();
        let bytes: usize = self.pieces.iter().flatten().map(Lease::len).sum();
        if queued > 1 && bytes <= MERGED_MAX {
            let mut merged = pool.take();
            for lease in self.pieces.iter_mut().filter_map(Option::take) {
                merged.extend_from_slice(lease.bytes());
                buffers.give_back(lease);
            }
            return (Outgoing::Bytes(merged, 0), bytes);
        }
        if let Some(first) = self.pieces[0].take() {
            self.pieces.rotate_left(1);
            return (Outgoing::Piece(first), 0);
        }
        match std::mem::take(&mut self.spill) {
            spill if spill.is_empty() => (Outgoing::Nothing, 0),
            spill => (Outgoing::Bytes(spill, 0), 0),
        }
    }
}
