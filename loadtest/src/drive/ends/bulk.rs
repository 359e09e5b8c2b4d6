//! One end pours as fast as the relay takes it, the other one throws it away.
//!
//! Both cost little, so that the relay is what limits: large writes of one block, and reads that copy
//! nothing. Now and then a piece is read and compared, so that bytes that are lost, added or swapped do not
//! go unseen.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::{End, Side, Traffic};
use crate::event_loop::{EventLoop, Received};
use crate::failure::{Failure, Kind};
use crate::random::Random;
use crate::tally::Tally;

/// What is poured, over and over.
const BLOCK_BYTES: usize = 256 * 1024;
/// Written to one end before others have their turn.
const POUR_BYTES: usize = 4 * BLOCK_BYTES;
/// The first [`BLOCK_BYTES`] out of so many are compared. A multiple of the block.
const COMPARED_EVERY: usize = 256 * BLOCK_BYTES;
/// The unit.
const MEBIBYTE: u64 = 1024 * 1024;

/// What one end did.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pours: bool,
    /// Where it is, modulo [`COMPARED_EVERY`].
    position: usize,
    /// Whether its turn to pour is noted.
    is_noted: bool,
}

/// The traffic.
pub(crate) struct Bulk {
    pours: Side,
    block: Vec<u8>,
    /// Ends that may have room.
    roomy: VecDeque<usize>,
    /// From the start of load to its end.
    is_pouring: bool,
    started_at: Option<Instant>,
    stopped_at: Option<Instant>,
    /// Bytes that arrived since counting began.
    arrived: u64,
}

impl Bulk {
    /// This side pours.
    pub(crate) fn new(pours: Side, mut random: Random) -> Self {
        let mut block = vec![0; BLOCK_BYTES];
        random.fill(&mut block);
        Self {
            pours,
            block,
            roomy: VecDeque::new(),
            is_pouring: false,
            started_at: None,
            stopped_at: None,
            arrived: 0,
        }
    }

    fn note(&mut self, ends: &mut EventLoop<End<Flow>>, key: usize) {
        if let Some(end) = ends.state(key).filter(|end| !end.state.is_noted) {
            end.state.is_noted = true;
            self.roomy.push_back(key);
        }
    }

    /// Writes until there is no room, or it is the next one's turn. `false` if there is no room.
    fn pour(&self, ends: &mut EventLoop<End<Flow>>, key: usize) -> io::Result<bool> {
        let mut left = POUR_BYTES;
        while left > 0 {
            let Some(end) = ends.state(key) else {
                return Ok(false);
            };
            let start = end.state.position % BLOCK_BYTES;
            let written = ends.pour(key, self.block.get(start..).unwrap_or_default())?;
            if written == 0 {
                return Ok(false);
            }
            left = left.saturating_sub(written);
            advance(ends, key, written);
        }
        Ok(true)
    }

    /// Compares what was received, or has it thrown away. `None` once there is nothing more.
    fn drink(&self, ends: &mut EventLoop<End<Flow>>, key: usize) -> Result<Option<usize>, Failure> {
        let Some(end) = ends.state(key) else {
            return Ok(None);
        };
        let position = end.state.position;
        let received = if position < BLOCK_BYTES {
            ends.receive(key)
        } else {
            ends.discard(key, COMPARED_EVERY - position)
        };
        let count = match received.map_err(|error| Failure::socket(&error, "on a stream"))? {
            Received::Blocked => return Ok(None),
            Received::Ended => return Err(Failure::new(Kind::Closed, "a stream")),
            Received::Bytes(count) => count,
        };
        if position < BLOCK_BYTES
            && let Some((bytes, ..)) = ends.received(key, count)
            && !is_cycle(bytes, &self.block, position)
        {
            return Err(Failure::new(Kind::Mismatch, "a stream came out different"));
        }
        advance(ends, key, count);
        Ok(Some(count))
    }
}

impl Traffic for Bulk {
    type State = Flow;

    fn join(&mut self, ends: &mut EventLoop<End<Flow>>, client: usize, target: usize) {
        let key = match self.pours {
            Side::Client => client,
            Side::Target => target,
        };
        if let Some(end) = ends.state(key) {
            end.state.pours = true;
        }
        self.note(ends, key);
    }

    fn start(&mut self, now: Instant) {
        self.is_pouring = true;
        self.started_at = Some(now);
    }

    fn due(&self) -> Option<Instant> {
        self.started_at
            .filter(|_| self.is_pouring && !self.roomy.is_empty())
    }

    fn send_due(&mut self, ends: &mut EventLoop<End<Flow>>) -> Result<(), (usize, Failure)> {
        for _ in 0..self.roomy.len() {
            let Some(key) = self.roomy.pop_front() else { break };
            if let Some(end) = ends.state(key) {
                end.state.is_noted = false;
            }
            let has_room = self
                .pour(ends, key)
                .map_err(|error| (key, Failure::socket(&error, "pouring")))?;
            if has_room {
                self.note(ends, key);
            }
        }
        Ok(())
    }

    fn serve(
        &mut self,
        ends: &mut EventLoop<End<Flow>>,
        key: usize,
        _tally: &mut Tally,
    ) -> Result<(), Failure> {
        if ends.state(key).is_some_and(|end| end.state.pours) {
            self.note(ends, key);
            return Ok(());
        }
        // What the kernel holds is bounded, and nothing is poured meanwhile: this ends.
        while let Some(count) = self.drink(ends, key)? {
            if self.stopped_at.is_none() {
                self.arrived += count as u64;
            }
        }
        Ok(())
    }

    fn renew(&mut self) {
        self.arrived = 0;
    }

    fn stop(&mut self) {
        self.is_pouring = false;
        self.stopped_at = Some(Instant::now());
    }

    /// What is in the kernel's buffers counts for nobody.
    fn under_way(&self) -> u64 {
        0
    }

    fn conclude(&self, tally: &mut Tally) {
        tally.completed = self.arrived / MEBIBYTE;
        tally.last = self.stopped_at;
    }
}

fn advance(ends: &mut EventLoop<End<Flow>>, key: usize, count: usize) {
    if let Some(end) = ends.state(key) {
        end.state.position = (end.state.position + count) % COMPARED_EVERY;
    }
}

/// Whether `bytes` are what repetitions of `block` have at `position`.
fn is_cycle(mut bytes: &[u8], block: &[u8], position: usize) -> bool {
    let mut start = position % block.len();
    while !bytes.is_empty() {
        let expected = block.get(start..).unwrap_or_default();
        let (one, rest) = bytes.split_at(bytes.len().min(expected.len()));
        if !expected.starts_with(one) {
            return false;
        }
        (bytes, start) = (rest, 0);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_cycle;

    #[test]
    fn a_cycle_is_told_from_what_lost_a_byte() {
        let block = b"0123456789";
        for position in 0..30 {
            let stream: Vec<u8> = block
                .iter()
                .cycle()
                .skip(position % 10)
                .take(25)
                .copied()
                .collect();
            assert!(is_cycle(&stream, block, position), "{position}");
            for lost in 0..24 {
                let mut damaged = stream.clone();
                damaged.remove(lost);
                assert!(!is_cycle(&damaged, block, position), "{position} without {lost}");
            }
        }
    }
}
