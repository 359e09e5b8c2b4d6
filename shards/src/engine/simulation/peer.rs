//! The other ends of the engine's connections.

use super::kernel::Kernel;
use crate::choices::Choices;

/// What a peer does once it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ending {
    Ends,
    Breaks,
    /// Keeps the connection, and says nothing.
    Stays,
}

/// How a peer reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    All,
    Slowly(usize),
    /// Reads so many more bytes.
    Until(usize),
}

/// The other end of one line.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) left: u64,
    pub(super) burst: u64,
    pub(super) ending: Ending,
    pub(super) reading: Reading,
}

impl Peer {
    pub(super) fn new(choices: &mut Choices) -> Self {
        let most = choices.one_of(&[2_000, 0, 200, 40_000, 40_000, 600_000]);
        Self {
            left: choices.below(most + 1),
            burst: choices.one_of(&[16_384, 1, 100, 1_460]).max(most / 300),
            ending: choices.one_of(&[
                Ending::Ends,
                Ending::Ends,
                Ending::Ends,
                Ending::Breaks,
                Ending::Stays,
            ]),
            reading: match choices.below(8) {
                0..=3 => Reading::All,
                4..=6 => Reading::Slowly(1 + usize::try_from(choices.below(6_000)).unwrap()),
                _ => Reading::Until(usize::try_from(choices.below(60_000)).unwrap()),
            },
        }
    }

    /// A peer that says this much, and perhaps a little more or less.
    pub(super) fn saying(words: u64, choices: &mut Choices) -> Self {
        let peer = Self::new(choices);
        let left = match choices.below(8) {
            0 => choices.below(words + 1),
            1 => words + peer.left,
            _ => words,
        };
        Self { left, ..peer }
    }

    /// Reads and sends what it would on its line, and ends it if that was all.
    pub(super) fn step(&mut self, kernel: &mut Kernel, number: usize) {
        let line = &kernel.lines[number];
        if line.broken {
            return;
        }
        let (queued, ended) = (line.queued, line.ended);
        let reads = match &mut self.reading {
            Reading::All => queued,
            Reading::Slowly(bytes) => queued.min(*bytes),
            Reading::Until(left) => {
                let reads = queued.min(*left);
                *left -= reads;
                reads
            }
        };
        self.left += kernel.peer_reads(number, reads) as u64;
        if !ended && self.left > 0 {
            self.left -= kernel.peer_sends(number, self.left.min(self.burst));
        }
        if self.left == 0 && kernel.lines[number].retort.is_none() {
            match self.ending {
                Ending::Ends => kernel.lines[number].ended = true,
                Ending::Breaks => kernel.lines[number].broken = true,
                Ending::Stays => {}
            }
        }
    }
}
