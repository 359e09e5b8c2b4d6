//! A simulated kernel behind the ring: it reads the same submission entries and the same ring of buffers as
//! the real one, and does with them whatever a kernel may do.
#![expect(
    unsafe_code,
    reason = "a kernel reads and writes the memory that entries name"
)]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use io_uring::squeue::Entry;
use io_uring::types::BufRingEntry;

use super::NOISE;
use super::submission::{OP_CANCEL, OP_CLOSE, OP_RECEIVE, OP_SEND, Submission};
use crate::choices::Choices;
use crate::engine::ring::Completion;
use crate::engine::tag::{Key, Op, decode, encode};

const FLAG_BUFFER: u32 = 1;
const FLAG_MORE: u32 = 2;

/// What the engine's peer may have sent before the engine has received it.
const INBOUND_MAX: u64 = 96 * 1024;

/// One connection, the engine's end and the peer's.
pub(super) struct Line {
    fd: RawFd,
    /// Learns when the engine shuts its side of the descriptor.
    probe: UnixStream,
    /// Where the peer's stream lies in the noise.
    pub(super) start: usize,
    /// Bytes that the peer has sent.
    pub(super) pushed: u64,
    /// Bytes of them that the kernel has received for the engine.
    pub(super) received: u64,
    /// Bytes of them whose completions the engine has reaped before the first failure,
    pub(super) reaped: u64,
    /// and at all.
    pub(super) reaped_ever: u64,
    /// The peer has ended its side.
    pub(super) ended: bool,
    /// The peer has broken the connection.
    pub(super) broken: bool,
    /// Everything that the engine has sent.
    pub(super) taken: Vec<u8>,
    /// How much of it lies in the kernel, because the peer has not read it.
    pub(super) queued: usize,
    room: usize,
    /// The engine has ended its side.
    pub(super) shut: bool,
    pub(super) closed: bool,
    /// The first end or failure that the engine was told.
    pub(super) told: Option<Told>,
    /// Whether it was told of a failure.
    pub(super) failed: bool,
    receive: Option<Receiving>,
    send: Option<Sending>,
    /// Completions on their way, by operation: receives and sends.
    ready: [VecDeque<Completion>; 2],
}

/// What the engine was told of a connection's end, and as which of all such news.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) order: usize,
    pub(super) failed: bool,
}

#[derive(Clone, Copy)]
struct Receiving {
    user_data: u64,
    /// The buffers that it takes.
    group: usize,
    /// It goes on until it is told otherwise.
    many: bool,
}

#[derive(Clone, Copy)]
struct Sending {
    user_data: u64,
    at: *const u8,
    len: usize,
    waits: bool,
}

/// All connections, and the buffers that the engine has given.
pub(in crate::engine) struct Kernel {
    pub(super) lines: Vec<Line>,
    pub(super) choices: Choices,
    /// Whether the kernel does odd things of its own accord.
    pub(super) faulty: bool,
    /// The rings of buffers, and how far they are read.
    groups: [(*const BufRingEntry, u16); 2],
    heads: [u16; 2],
    submitted: VecDeque<Entry>,
    /// Completions of requests that nobody waits for.
    forgotten: VecDeque<Completion>,
    news: usize,
    /// Completions with bytes in them that were reaped since the last look, by line.
    pub(super) moved: Vec<usize>,
}

impl Kernel {
    pub(super) fn new(groups: [(*const BufRingEntry, u16); 2], choices: Choices) -> Self {
        Self {
            lines: Vec::new(),
            choices,
            faulty: true,
            groups,
            heads: [0; 2],
            submitted: VecDeque::new(),
            forgotten: VecDeque::new(),
            news: 0,
            moved: Vec::new(),
        }
    }

    /// A new connection: its number, and the engine's descriptor.
    pub(super) fn connect(&mut self) -> (usize, OwnedFd) {
        use std::os::fd::AsRawFd;
        let (engines, probe) = UnixStream::pair().unwrap();
        probe.set_nonblocking(true).unwrap();
        let room = self.choices.one_of(&[64 * 1024, 300, 4_000, 200_000]);
        let start = usize::try_from(self.choices.below(NOISE.len() as u64)).unwrap();
        self.lines.push(Line {
            fd: engines.as_raw_fd(),
            probe,
            start,
            pushed: 0,
            received: 0,
            reaped: 0,
            reaped_ever: 0,
            ended: false,
            broken: false,
            taken: Vec::new(),
            queued: 0,
            room,
            shut: false,
            closed: false,
            told: None,
            failed: false,
            receive: None,
            send: None,
            ready: [VecDeque::new(), VecDeque::new()],
        });
        (self.lines.len() - 1, engines.into())
    }

    pub(in crate::engine) fn push(&mut self, entry: Entry) {
        self.submitted.push_back(entry);
    }

    pub(in crate::engine) fn has_unsubmitted(&self) -> bool {
        !self.submitted.is_empty()
    }

    /// Takes what was submitted.
    pub(in crate::engine) fn enter(&mut self) {
        if std::thread::panicking() {
            return;
        }
        while let Some(entry) = self.submitted.pop_front() {
            let entry = Submission::of(&entry);
            self.submit(&entry);
        }
        for line in &mut self.lines {
            let mut end = [0];
            if !line.shut && !line.closed {
                match line.probe.read(&mut end) {
                    Ok(0) => {
                        assert!(line.send.is_none(), "ended before everything was sent");
                        line.shut = true;
                    }
                    Ok(_) => panic!("bytes went around the ring"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        }
    }

    /// Hands completions over: those of one operation in their order, all others in any.
    pub(in crate::engine) fn reap(&mut self, into: &mut Vec<Completion>, limit: usize) {
        into.extend(self.forgotten.drain(..));
        for _ in 0..limit {
            let mut queues = Vec::new();
            for (number, line) in self.lines.iter().enumerate() {
                queues.extend(
                    (0..2)
                        .filter(|op| !line.ready[*op].is_empty())
                        .map(|op| (number, op)),
                );
            }
            if queues.is_empty() || self.faulty && self.choices.once_in(24) {
                return;
            }
            let (number, op) = self.choices.one_of(&queues);
            let Some(completion) = self.lines[number].ready[op].pop_front() else {
                return;
            };
            self.told(number, op, &completion);
            into.push(completion);
        }
    }

    /// Whether bytes from one line's peer could go to the other line's.
    pub(super) fn could_move(&self, from: usize, to: usize) -> bool {
        let (source, sink) = (&self.lines[from], &self.lines[to]);
        let whole = !source.failed && !sink.failed;
        whole && source.pushed > source.received && sink.queued < sink.room
    }

    /// Lets every operation go on that can, or some of them.
    pub(super) fn perform(&mut self, all: bool) {
        for number in 0..self.lines.len() {
            if all || self.choices.once_in(2) {
                self.receive(number);
            }
            if all || self.choices.once_in(2) {
                self.send(number);
            }
        }
    }

    /// The peer sends up to so many bytes. How many there was room for.
    pub(super) fn peer_sends(&mut self, number: usize, bytes: u64) -> u64 {
        let line = &mut self.lines[number];
        let room = INBOUND_MAX - (line.pushed - line.received);
        let sent = bytes.min(room);
        line.pushed += sent;
        sent
    }

    /// The peer reads up to so many bytes.
    pub(super) fn peer_reads(&mut self, number: usize, bytes: usize) {
        let line = &mut self.lines[number];
        line.queued -= line.queued.min(bytes);
    }

    /// Whether nothing is under way and nothing is left to say.
    pub(super) fn is_idle(&self) -> bool {
        let busy = |line: &Line| {
            line.receive.is_some() || line.send.is_some() || line.ready.iter().any(|ready| !ready.is_empty())
        };
        self.submitted.is_empty() && !self.lines.iter().any(busy)
    }

    fn submit(&mut self, entry: &Submission) {
        match entry.opcode {
            OP_RECEIVE => {
                let line = self.line_of(entry.fd);
                assert!(line.receive.is_none(), "two receives on one connection");
                assert!(!line.closed, "a receive on a closed connection");
                line.receive = Some(Receiving {
                    user_data: entry.user_data,
                    group: entry.group,
                    many: entry.many,
                });
            }
            OP_SEND => {
                let line = self.line_of(entry.fd);
                assert!(line.send.is_none(), "two sends on one connection");
                assert!(!line.shut && !line.closed, "a send after the end");
                line.send = Some(Sending {
                    user_data: entry.user_data,
                    at: entry.address as *const u8,
                    len: entry.len as usize,
                    waits: entry.op_flags & libc::MSG_DONTWAIT.cast_unsigned() == 0,
                });
            }
            OP_CANCEL => self.cancel(entry.address),
            OP_CLOSE => {
                let line = self.line_of(entry.fd);
                let busy = line.receive.is_some() || line.send.is_some();
                assert!(!busy, "closed with an operation under way");
                line.closed = true;
                // SAFETY: the engine has handed its descriptor over with this entry.
                drop(unsafe { OwnedFd::from_raw_fd(entry.fd) });
            }
            other => panic!("no kernel of ours knows operation {other}"),
        }
    }

    /// A cancellation races with what it cancels: that may go on once more, or be over already.
    fn cancel(&mut self, user_data: u64) {
        let (op, key) = decode(user_data);
        let found = self.lines.iter().position(|line| match op {
            Op::Receive | Op::ReceiveBulk => line.receive.is_some_and(|it| it.user_data == user_data),
            Op::Send => line.send.is_some_and(|send| send.user_data == user_data),
            _ => panic!("cancels {op:?} of {key:?}"),
        });
        let Some(number) = found else {
            return self.forget(key, -libc::ENOENT);
        };
        if self.choices.once_in(3) {
            match op {
                Op::Send => self.send(number),
                _ => self.receive(number),
            }
        }
        let line = &mut self.lines[number];
        match op {
            Op::Send if line.send.is_some() => line.complete_send(-libc::ECANCELED),
            Op::Receive | Op::ReceiveBulk if line.receive.is_some() => {
                line.complete_receive(-libc::ECANCELED, 0);
            }
            _ => self.forget(key, -libc::ENOENT),
        }
    }

    fn forget(&mut self, key: Key, result: i32) {
        self.forgotten.push_back(Completion {
            user_data: encode(Op::Forget, key),
            result,
            flags: 0,
        });
    }

    fn receive(&mut self, number: usize) {
        let faulty = self.faulty;
        let line = &self.lines[number];
        let waiting = line.pushed - line.received;
        let Some(receiving) = line.receive else { return };
        if waiting == 0 && !line.ended && !line.broken {
            return;
        }
        if faulty && self.choices.once_in(40) {
            return self.lines[number].complete_receive(-libc::EINTR, 0);
        }
        if waiting == 0 {
            let line = &mut self.lines[number];
            let result = if line.broken { -libc::ECONNRESET } else { 0 };
            return line.complete_receive(result, 0);
        }
        let Some((buffer, capacity, id)) = self.take_buffer(receiving.group) else {
            return self.lines[number].complete_receive(-libc::ENOBUFS, 0);
        };
        let mut len = usize::try_from(waiting).unwrap().min(capacity);
        if faulty && self.choices.once_in(3) {
            len = 1 + usize::try_from(self.choices.below(len as u64)).unwrap();
            len = len.min(capacity).min(usize::try_from(waiting).unwrap());
        }
        let ends = !receiving.many || faulty && self.choices.once_in(6);
        let line = &mut self.lines[number];
        // SAFETY: the engine has given this buffer to the kernel and does not look at it until it is told.
        let memory = unsafe { std::slice::from_raw_parts_mut(buffer, capacity) };
        memory.fill(0xEE);
        copy_noise(line.start, line.received, &mut memory[..len]);
        line.received += len as u64;
        let flags = FLAG_BUFFER | u32::from(id) << 16 | if ends { 0 } else { FLAG_MORE };
        line.complete_receive(i32::try_from(len).unwrap(), flags);
    }

    fn send(&mut self, number: usize) {
        let faulty = self.faulty;
        let line = &self.lines[number];
        let Some(sending) = line.send else { return };
        if line.broken {
            return self.lines[number].complete_send(-libc::EPIPE);
        }
        let room = line.room.saturating_sub(line.queued);
        if room == 0 {
            if !sending.waits {
                self.lines[number].complete_send(-libc::EAGAIN);
            }
            return;
        }
        if faulty && self.choices.once_in(40) {
            return self.lines[number].complete_send(-libc::EINTR);
        }
        let mut len = sending.len.min(room);
        if faulty && self.choices.once_in(3) {
            len = 1 + usize::try_from(self.choices.below(len as u64)).unwrap();
        }
        // SAFETY: the engine promises that the bytes stay where they are until the send completes.
        let bytes = unsafe { std::slice::from_raw_parts(sending.at, len) };
        let line = &mut self.lines[number];
        line.taken.extend_from_slice(bytes);
        line.queued += len;
        line.complete_send(i32::try_from(len).unwrap());
    }

    /// The next buffer that the engine has given, with its size and its number.
    fn take_buffer(&mut self, group: usize) -> Option<(*mut u8, usize, u16)> {
        let ((descriptors, count), head) = (self.groups[group], &mut self.heads[group]);
        // SAFETY: the engine keeps the ring's memory mapped for as long as there is a kernel to read it, and
        // both are on this thread.
        unsafe {
            let tail = *BufRingEntry::tail(descriptors);
            if *head == tail {
                return None;
            }
            let entry = &*descriptors.add(usize::from(*head & (count - 1)));
            *head = head.wrapping_add(1);
            Some((entry.addr() as *mut u8, entry.len() as usize, entry.bid()))
        }
    }

    /// Notes what the engine gets to know with this completion.
    fn told(&mut self, number: usize, op: usize, completion: &Completion) {
        let line = &mut self.lines[number];
        let received = op == 0;
        match completion.result {
            1.. => {
                self.moved.push(number);
                if received {
                    let bytes = u64::from(completion.result.unsigned_abs());
                    line.reaped_ever += bytes;
                    line.reaped += if line.told.is_none() { bytes } else { 0 };
                }
            }
            0 if received => self.note(number, false),
            0 => {}
            error => {
                let passes = [libc::EAGAIN, libc::EINTR, libc::ECANCELED, libc::ENOBUFS];
                if !passes.contains(&-error) {
                    self.note(number, true);
                }
            }
        }
    }

    fn note(&mut self, number: usize, failed: bool) {
        let order = self.news;
        self.news += 1;
        let line = &mut self.lines[number];
        line.told.get_or_insert(Told { order, failed });
        line.failed |= failed;
    }

    fn line_of(&mut self, fd: RawFd) -> &mut Line {
        // Descriptors are used again: the newest line of that number is meant.
        let line = self
            .lines
            .iter_mut()
            .rev()
            .find(|line| line.fd == fd && !line.closed);
        line.expect("an operation on a descriptor that is no connection")
    }
}

impl Line {
    fn complete_receive(&mut self, result: i32, flags: u32) {
        let Some(Receiving { user_data, .. }) = self.receive else {
            return;
        };
        if flags & FLAG_MORE == 0 {
            self.receive = None;
        }
        self.ready[0].push_back(Completion {
            user_data,
            result,
            flags,
        });
    }

    fn complete_send(&mut self, result: i32) {
        let Some(send) = self.send.take() else { return };
        self.ready[1].push_back(Completion {
            user_data: send.user_data,
            result,
            flags: 0,
        });
    }
}

/// The bytes of a stream that starts there in the noise, from this position on.
pub(super) fn copy_noise(start: usize, position: u64, into: &mut [u8]) {
    let mut at = (start + usize::try_from(position).unwrap()) % NOISE.len();
    let mut filled = 0;
    while filled < into.len() {
        let len = (into.len() - filled).min(NOISE.len() - at);
        into[filled..filled + len].copy_from_slice(&NOISE[at..at + len]);
        filled += len;
        at = 0;
    }
}
