//! Players: both ends of each relay send messages of their own accord, whether the other one answers or not.
//!
//! The messages of all ends come from one seeded schedule with a random end for each. So every end sends at
//! random times, independently of all others. A message says when it was due, and its latency counts from
//! then to its arrival at the other end.

use std::time::{Duration, Instant};

use super::{End, Side, Traffic};
use crate::event_loop::{EventLoop, Received};
use crate::failure::{Failure, Kind};
use crate::random::Random;
use crate::schedule::{Arrivals, Schedule};
use crate::tally::Tally;

/// Length of a message.
pub(crate) const MESSAGE_BYTES: usize = 100;
/// When it was due, and its number on its way: eight bytes each.
const HEADER_BYTES: usize = 16;

type Message = [u8; MESSAGE_BYTES];

/// What one end sent and heard.
#[derive(Debug, Default)]
pub(crate) struct Mouth {
    /// What all of its messages contain; tells relays and directions apart.
    own: u64,
    /// What all that it hears contain.
    others: u64,
    sent: u64,
    heard: u64,
    /// The beginning of a message whose end has not come.
    part: Vec<u8>,
}

/// The traffic.
pub(crate) struct Players {
    /// Messages a second that each end sends.
    rate: f64,
    random: Random,
    schedule: Option<Schedule>,
    /// Keys of all ends that stand.
    ends: Vec<usize>,
    /// What due times are counted from.
    begun_at: Instant,
    under_way: u64,
}

impl Players {
    /// Each end sends so many messages a second.
    pub(crate) fn new(rate: f64, random: Random) -> Self {
        Self {
            rate,
            random,
            schedule: None,
            ends: Vec::new(),
            begun_at: Instant::now(),
            under_way: 0,
        }
    }

    fn any_end(&mut self) -> Option<usize> {
        let count = self.ends.len().max(1) as u64;
        let drawn = usize::try_from(self.random.next_u64() % count).ok()?;
        self.ends.get(drawn).copied()
    }

    /// Takes whole messages off what was received.
    fn hear(&mut self, end: &mut End<Mouth>, mut bytes: &[u8], tally: &mut Tally) -> Result<(), Failure> {
        let now = Instant::now();
        let mouth = &mut end.state;
        while !bytes.is_empty() {
            let whole: Message = match bytes.split_first_chunk() {
                Some((message, rest)) if mouth.part.is_empty() => {
                    bytes = rest;
                    *message
                }
                _ => {
                    let (piece, rest) = bytes.split_at(bytes.len().min(MESSAGE_BYTES - mouth.part.len()));
                    mouth.part.extend_from_slice(piece);
                    bytes = rest;
                    let Some(message) = mouth.part.first_chunk() else {
                        return Ok(());
                    };
                    let message = *message;
                    mouth.part.clear();
                    message
                }
            };
            let due = read(&whole, mouth.heard, mouth.others)
                .ok_or_else(|| Failure::new(Kind::Mismatch, "a message came out different, or twice"))?;
            mouth.heard += 1;
            self.under_way = self.under_way.saturating_sub(1);
            tally.complete(self.begun_at + due, now);
        }
        Ok(())
    }
}

impl Traffic for Players {
    type State = Mouth;

    fn join(&mut self, ends: &mut EventLoop<End<Mouth>>, client: usize, target: usize) {
        let [to_target, to_client] = [self.random.next_u64(), self.random.next_u64()];
        for key in [client, target] {
            if let Some(end) = ends.state(key) {
                (end.state.own, end.state.others) = match end.side {
                    Side::Client => (to_target, to_client),
                    Side::Target => (to_client, to_target),
                };
                self.ends.push(key);
            }
        }
    }

    fn start(&mut self, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "some thousand ends")]
        let rate = self.rate * self.ends.len() as f64;
        self.begun_at = now;
        let random = Random::new(self.random.next_u64());
        self.schedule = Some(Schedule::new(rate, Arrivals::Poisson, random));
    }

    fn due(&self) -> Option<Instant> {
        let schedule = self.schedule.as_ref()?;
        Some(self.begun_at + schedule.next())
    }

    fn send_due(&mut self, ends: &mut EventLoop<End<Mouth>>) -> Result<(), (usize, Failure)> {
        let now = Instant::now();
        loop {
            let Some(schedule) = self.schedule.as_mut() else {
                return Ok(());
            };
            let due = schedule.next();
            if self.begun_at + due > now {
                return Ok(());
            }
            schedule.advance();
            let Some(key) = self.any_end() else { return Ok(()) };
            let Some(end) = ends.state(key) else {
                let what = "a message was due on a relay that is gone";
                return Err((key, Failure::new(Kind::NotStarted, what)));
            };
            let message = write(due, end.state.sent, end.state.own);
            end.state.sent += 1;
            self.under_way += 1;
            ends.send(key, &message)
                .map_err(|error| (key, Failure::socket(&error, "sending a message")))?;
        }
    }

    fn serve(
        &mut self,
        ends: &mut EventLoop<End<Mouth>>,
        key: usize,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let socket = |error: std::io::Error| Failure::socket(&error, "on a relay with messages");
        ends.flush(key).map_err(socket)?;
        loop {
            let count = match ends.receive(key).map_err(socket)? {
                Received::Blocked => return Ok(()),
                Received::Ended => return Err(Failure::new(Kind::Closed, "a relay with messages")),
                Received::Bytes(count) => count,
            };
            if let Some((bytes, end, _)) = ends.received(key, count) {
                self.hear(end, bytes, tally)?;
            }
            if ends.emptied(count) {
                return Ok(());
            }
        }
    }

    fn renew(&mut self) {}

    fn stop(&mut self) {
        self.schedule = None;
    }

    fn under_way(&self) -> u64 {
        self.under_way
    }

    fn conclude(&self, _tally: &mut Tally) {}
}

/// A message: when it was due, its number, and bytes that only its end sends.
fn write(due: Duration, number: u64, mark: u64) -> Message {
    let mut message = [0; MESSAGE_BYTES];
    let nanoseconds = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
    let (header, body) = message.split_at_mut(HEADER_BYTES);
    let (first, second) = header.split_at_mut(8);
    first.copy_from_slice(&nanoseconds.to_le_bytes());
    second.copy_from_slice(&number.to_le_bytes());
    Random::new(mark ^ number).fill(body);
    message
}

/// When the message was due; `None` if it is not the one with this number and mark.
fn read(message: &Message, number: u64, mark: u64) -> Option<Duration> {
    let due = Duration::from_nanos(u64::from_le_bytes(*message.first_chunk()?));
    (*message == write(due, number, mark)).then_some(due)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{End, Mouth, Players, Side, read, write};
    use crate::failure::Kind;
    use crate::random::Random;
    use crate::tally::Tally;

    fn end(mark: u64) -> End<Mouth> {
        let mut end: End<Mouth> = End::new(Side::Client, Some(0));
        end.state.others = mark;
        end
    }

    #[test]
    fn messages_are_heard_however_they_are_cut() {
        let stream: Vec<u8> = (0..3)
            .flat_map(|number| write(Duration::from_millis(number), number, 7))
            .collect();
        for cut in 0..=stream.len() {
            let mut players = Players::new(1.0, Random::new(1));
            players.begun_at = Instant::now();
            let (mut end, mut tally) = (end(7), Tally::new());
            for part in [&stream[..cut], &stream[cut..]] {
                assert_eq!(players.hear(&mut end, part, &mut tally), Ok(()), "cut at {cut}");
            }
            assert_eq!((tally.completed, end.state.part.len()), (3, 0), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_the_next_message_of_its_relay_is_a_mismatch() {
        let due = Duration::from_millis(5);
        let mut damaged = write(due, 0, 7);
        damaged[99] ^= 1;
        let wrong = [damaged, write(due, 1, 7), write(due, 0, 8)];
        for message in wrong {
            let mut players = Players::new(1.0, Random::new(1));
            let heard = players.hear(&mut end(7), &message, &mut Tally::new());
            assert_eq!(heard.map_err(|failure| failure.kind), Err(Kind::Mismatch));
        }
        assert_eq!(read(&write(due, 0, 7), 0, 7), Some(due));
    }
}
