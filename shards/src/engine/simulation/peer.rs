//! The other ends of the engine's connections.

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
}
