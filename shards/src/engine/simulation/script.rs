//! What a task sends on its connection, and whether that is what its peer gets.

use super::kernel::Kernel;
use super::line::copy_noise;

/// How a message begins; no noise does.
const MAGIC: u64 = 0x2E65_6761_7373_654D;

/// It and the number, by which messages are told apart.
const NAME: usize = 16;

/// Before the body: the name, and the length of the body.
const HEADER: usize = 24;

/// Messages in order, and after them the stream of another line, if it is relayed.
#[derive(Default)]
pub(super) struct Script {
    messages: Vec<Message>,
    tail: Option<Tail>,
    /// The connection was found broken.
    pub(super) failed: bool,
    /// Bytes of the line that were checked,
    checked: usize,
    /// and the message that they end in.
    current: usize,
    /// Bytes of it that were checked.
    within: usize,
    /// Where the relay's bytes begin.
    tail_from: Option<usize>,
}

struct Message {
    bytes: Vec<u8>,
    /// Whether the engine has it, and so must send it.
    owned: bool,
    /// Whether the engine said that it is sent.
    sent: bool,
}

/// What a relay sends.
struct Tail {
    first: Vec<u8>,
    source: usize,
    /// Bytes of the source that went elsewhere.
    skipped: u64,
}

impl Script {
    /// A new message with its number. If it `is_free` to be sent the engine takes it when it is first asked.
    pub(super) fn write(&mut self, body: usize, is_free: bool) -> (usize, Vec<u8>) {
        let number = self.messages.len();
        let mut bytes = vec![0; HEADER + body];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..NAME].copy_from_slice(&(number as u64).to_le_bytes());
        bytes[NAME..HEADER].copy_from_slice(&(body as u64).to_le_bytes());
        copy_noise(number * 977, 0, &mut bytes[HEADER..]);
        self.messages.push(Message {
            bytes: bytes.clone(),
            owned: is_free,
            sent: false,
        });
        (number, bytes)
    }

    pub(super) fn sent(&mut self, number: usize) {
        self.messages[number].sent = true;
    }

    /// From now on a relay sends this, and then the rest of the source's stream.
    pub(super) fn relays(&mut self, first: Vec<u8>, source: usize, skipped: u64) {
        self.tail = Some(Tail {
            first,
            source,
            skipped,
        });
    }

    /// Holds what the peer got to what was sent.
    pub(super) fn check(&mut self, kernel: &Kernel, line: usize) {
        let taken = &kernel.lines[line].taken;
        while self.checked < taken.len() {
            let rest = &taken[self.checked..];
            if self.is_undecided(rest.len()) {
                break;
            }
            let checked = match self.in_message(rest) {
                Some(bytes) => bytes,
                None => self.in_tail(kernel, taken),
            };
            self.checked += checked;
        }
        let came = self.current;
        for (number, message) in self.messages.iter().enumerate() {
            let whole = number < came || number == came && self.within == message.bytes.len();
            assert!(!message.sent || whole, "message {number} is said to be sent");
        }
    }

    /// The engine has ended the stream in good order: nothing that it had taken may be missing.
    pub(super) fn check_end(&self) {
        for (number, message) in self.messages.iter().enumerate() {
            let whole = number < self.current || number == self.current && self.within == message.bytes.len();
            assert!(!message.owned || whole, "message {number} is missing at the end");
            let begun = number == self.current && self.within > 0;
            assert!(!begun || whole, "message {number} was cut");
        }
    }

    /// Whether so few bytes may be the beginning of this message, or of a later one if it was left out.
    fn is_undecided(&self, bytes: usize) -> bool {
        let message = self.messages.get(self.current);
        self.within == 0 && bytes < NAME && message.is_some_and(|message| !message.owned)
    }

    /// Checks what belongs to a message; `None` if the rest does not.
    fn in_message(&mut self, rest: &[u8]) -> Option<usize> {
        let message = self.messages.get(self.current)?;
        let left = &message.bytes[self.within..];
        let len = left.len().min(rest.len());
        if len > 0 && left[..len] == rest[..len] {
            self.within += len;
            return Some(len);
        }
        assert!(
            self.within == 0 || left.is_empty(),
            "message {} came otherwise",
            self.current
        );
        // Gone past, or left out: who did not want to wait for its turn took it back.
        assert!(
            left.is_empty() || !message.owned,
            "message {} was left out",
            self.current
        );
        self.current += 1;
        self.within = 0;
        Some(0)
    }

    /// Checks what a relay has sent.
    fn in_tail(&mut self, kernel: &Kernel, taken: &[u8]) -> usize {
        let tail = self.tail.as_ref().expect("bytes came that nobody sent");
        let rest = &taken[self.checked..];
        let at = self.checked - *self.tail_from.get_or_insert(self.checked);
        if at < tail.first.len() {
            let len = rest.len().min(tail.first.len() - at);
            assert!(
                rest[..len] == tail.first[at..at + len],
                "the relay began otherwise"
            );
            return len;
        }
        let source = &kernel.lines[tail.source];
        let position = tail.skipped + (at - tail.first.len()) as u64;
        let mut expected = vec![0; rest.len()];
        copy_noise(source.start, position, &mut expected);
        assert!(rest == expected, "other bytes were relayed than came");
        assert!(
            position + rest.len() as u64 <= source.received,
            "bytes were relayed that nobody sent"
        );
        rest.len()
    }
}
