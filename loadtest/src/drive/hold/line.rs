//! One kept connection: what was sent on it, and whether the same comes back.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use crate::failure::{Failure, Kind};
use crate::random::Random;

/// Messages begin at so many different places of the block.
const OFFSETS: usize = 4096;

/// Seeded random bytes. Every message is a piece of them, so that sending and comparing need no copy.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    message_bytes: usize,
}

impl Block {
    pub(super) fn new(message_bytes: usize, random: &mut Random) -> Self {
        let mut bytes = vec![0; message_bytes + OFFSETS];
        random.fill(&mut bytes);
        Self { bytes, message_bytes }
    }

    /// Where message number `number` of connection `line` lies: different for neighbours of both kinds.
    fn place(&self, line: u64, number: u64) -> Range<usize> {
        let drawn = Random::split(line, number).next_u64() % OFFSETS as u64;
        let start = usize::try_from(drawn).unwrap_or(0);
        start..start + self.message_bytes
    }

    /// A message's bytes.
    pub(super) fn message(&self, place: Range<usize>) -> &[u8] {
        self.bytes.get(place).unwrap_or_default()
    }
}

/// A message that was sent and is not back yet.
#[derive(Debug)]
struct Sent {
    start: Instant,
    /// What of it is not back.
    left: Range<usize>,
}

/// What received bytes were.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A part of what is due.
    Part,
    /// The end of the greeting of a connection that was begun then.
    Greeting(Instant),
    /// The end of a message that was due then.
    Message(Instant),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    id: u64,
    opened_at: Instant,
    /// What of the greeting is not back.
    greeting: Vec<u8>,
    sent: VecDeque<Sent>,
    number: u64,
}

impl Line {
    /// A connection that expects `greeting` back first; nothing if it is empty.
    pub(super) fn new(id: u64, greeting: Vec<u8>, opened_at: Instant) -> Self {
        Self {
            id,
            opened_at,
            greeting,
            sent: VecDeque::new(),
            number: 0,
        }
    }

    /// Notes the next message, due at `start`, and says where its bytes are.
    pub(super) fn begin(&mut self, start: Instant, block: &Block) -> Range<usize> {
        let place = block.place(self.id, self.number);
        self.number += 1;
        self.sent.push_back(Sent {
            start,
            left: place.clone(),
        });
        place
    }

    /// Takes off `bytes` what belongs to the oldest thing that is due.
    pub(super) fn hear(&mut self, bytes: &mut &[u8], block: &Block) -> Result<Heard, Failure> {
        if !self.greeting.is_empty() {
            let count = take_equal(bytes, &self.greeting, "the greeting")?;
            self.greeting.drain(..count);
            if self.greeting.is_empty() {
                self.greeting = Vec::new();
                return Ok(Heard::Greeting(self.opened_at));
            }
            return Ok(Heard::Part);
        }
        let Some(sent) = self.sent.front_mut() else {
            return Err(Failure::new(
                Kind::Mismatch,
                format!("{} bytes that nobody sent", bytes.len()),
            ));
        };
        sent.left.start += take_equal(bytes, block.message(sent.left.clone()), "a message")?;
        if !sent.left.is_empty() {
            return Ok(Heard::Part);
        }
        let start = sent.start;
        self.sent.pop_front();
        Ok(Heard::Message(start))
    }

    /// Whether its greeting is back.
    pub(super) fn stands(&self) -> bool {
        self.greeting.is_empty()
    }

    /// Messages that are not back.
    pub(super) fn outstanding(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Whether anything is due.
    pub(super) fn waits(&self) -> bool {
        self.oldest().is_some()
    }

    /// Since when the oldest thing is due.
    pub(super) fn oldest(&self) -> Option<Instant> {
        if self.stands() {
            self.sent.front().map(|sent| sent.start)
        } else {
            Some(self.opened_at)
        }
    }
}

/// Compares as much as there is of both, and takes it off `bytes`.
fn take_equal(bytes: &mut &[u8], expected: &[u8], what: &str) -> Result<usize, Failure> {
    let count = bytes.len().min(expected.len());
    let (heard, rest) = bytes.split_at(count);
    if heard != &expected[..count] {
        return Err(Failure::new(
            Kind::Mismatch,
            format!("{what} came back different"),
        ));
    }
    *bytes = rest;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Block, Heard, Line};
    use crate::failure::Kind;
    use crate::random::Random;

    #[test]
    fn hears_greeting_and_messages_however_they_are_cut() {
        let block = Block::new(100, &mut Random::new(1));
        let start = Instant::now();
        for cut in 1..209 {
            let mut line = Line::new(7, b"greetings".to_vec(), start);
            let mut stream = b"greetings".to_vec();
            for _ in 0..2 {
                let place = line.begin(start, &block);
                stream.extend_from_slice(block.message(place));
            }
            let mut messages = 0;
            for mut part in [&stream[..cut], &stream[cut..]] {
                while !part.is_empty() {
                    messages += u32::from(line.hear(&mut part, &block) == Ok(Heard::Message(start)));
                }
            }
            assert_eq!((messages, line.waits()), (2, false), "cut at {cut}");
        }
    }

    #[test]
    fn one_wrong_byte_is_a_mismatch() {
        let block = Block::new(16, &mut Random::new(1));
        let mut line = Line::new(1, Vec::new(), Instant::now());
        let mut echo = block.message(line.begin(Instant::now(), &block)).to_vec();
        echo[15] ^= 1;
        let heard = line.hear(&mut echo.as_slice(), &block);
        assert_eq!(heard.map_err(|failure| failure.kind), Err(Kind::Mismatch));
    }

    #[test]
    fn bytes_that_nobody_sent_are_a_mismatch() {
        let block = Block::new(16, &mut Random::new(1));
        let heard = Line::new(1, Vec::new(), Instant::now()).hear(&mut &b"x"[..], &block);
        assert_eq!(heard.map_err(|failure| failure.kind), Err(Kind::Mismatch));
    }
}
