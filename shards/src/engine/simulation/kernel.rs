//! A simulated kernel behind the ring: it reads the same submission entries and the same ring of buffers as
//! the real one, and does with them whatever a kernel may do.
#![expect(
    unsafe_code,
    reason = "a kernel reads and writes the memory that entries name"
)]

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::types::BufRingEntry;

use super::door::{Attempt, Door};
use super::line::{Line, Receiving, Sending, Told};
use super::quiet::Quiet;
use super::submission::{
    OP_ACCEPT, OP_CANCEL, OP_CLOSE, OP_CONNECT, OP_POLL, OP_READ, OP_RECEIVE, OP_SEND, Submission,
};
use super::tube::Inside;
use crate::choices::Choices;
use crate::engine::ring::Completion;
use crate::engine::tag::{Op, decode, encode};

pub(super) const FLAG_BUFFER: u32 = 1;
pub(super) const FLAG_MORE: u32 = 2;

/// All connections, and the buffers that the engine has given.
pub(in crate::engine) struct Kernel {
    pub(super) lines: Vec<Line>,
    pub(super) doors: Vec<Door>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) tubes: Vec<Inside>,
    pub(super) choices: Choices,
    /// Whether the kernel does odd things of its own accord.
    pub(super) faulty: bool,
    /// Whether it splices sockets.
    pub(super) splices: bool,
    /// The rings of buffers, and how far they are read.
    groups: [(*const BufRingEntry, u16); 2],
    heads: [u16; 2],
    /// The read of what wakes the shard: its name, descriptor and address.
    pub(super) reading: Option<(u64, RawFd, u64)>,
    submitted: VecDeque<Entry>,
    /// Completions on their way, by operation, each with its line.
    ready: BTreeMap<u64, VecDeque<(Completion, Option<usize>)>>,
    pub(super) quiet: Quiet,
    /// What was handed over and not looked at yet.
    handed: VecDeque<(Completion, Option<usize>)>,
    news: usize,
    /// Lines on which bytes have moved since the last look, as far as the engine knows.
    pub(super) moved: Vec<usize>,
    /// Accepted connections that the engine has seen.
    pub(super) shown: usize,
    /// Lines that were accepted, in order,
    pub(super) accepted: Vec<usize>,
    /// and those that the engine has made, each with the port that it was to.
    pub(super) connected: Vec<(u16, usize)>,
    pub(super) seen: Seen,
}

/// How often the kernel did what it does rarely.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) pipes_refused: u64,
    /// Bytes that went through pipes.
    pub(super) spliced: u64,
    pub(super) accepts_failed: u64,
}

impl Kernel {
    pub(super) fn new(groups: [(*const BufRingEntry, u16); 2], mut choices: Choices) -> Self {
        Self {
            lines: Vec::new(),
            doors: Vec::new(),
            attempts: Vec::new(),
            tubes: Vec::new(),
            faulty: true,
            splices: !choices.once_in(20),
            choices,
            groups,
            heads: [0; 2],
            reading: None,
            submitted: VecDeque::new(),
            ready: BTreeMap::new(),
            quiet: Quiet::default(),
            handed: VecDeque::new(),
            news: 0,
            moved: Vec::new(),
            shown: 0,
            accepted: Vec::new(),
            connected: Vec::new(),
            seen: Seen::default(),
        }
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
        self.lines.iter_mut().for_each(Line::look);
    }

    /// Hands completions over: those of one operation in their order, all others in any.
    pub(in crate::engine) fn reap(&mut self, into: &mut Vec<Completion>, limit: usize) {
        while (self.quiet.settled || self.choices.once_in(2))
            && let Some(failed) = self.quiet.failed.pop_front()
        {
            self.handed.push_back(failed);
            into.push(failed.0);
        }
        for _ in 0..limit {
            let operations: Vec<u64> = self.ready.keys().copied().collect();
            if operations.is_empty() || self.faulty && self.choices.once_in(24) {
                return;
            }
            let operation = self.choices.one_of(&operations);
            let queue = self.ready.get_mut(&operation).unwrap();
            let first = queue.pop_front().unwrap();
            if queue.is_empty() {
                self.ready.remove(&operation);
            }
            self.handed.push_back(first);
            into.push(first.0);
        }
    }

    /// The engine looks at this completion now: what it gets to know by it, and as which of all news.
    pub(in crate::engine) fn shows(&mut self, completion: &Completion) {
        if let Some(line) = self.quiet.shows(completion.user_data) {
            return self.told(line, false, completion.result);
        }
        let (handed, line) = self
            .handed
            .pop_front()
            .expect("a completion that was handed over");
        assert_eq!(
            handed.user_data, completion.user_data,
            "completions are looked at in order"
        );
        let (op, _) = decode(completion.user_data);
        if let Some(line) = line {
            match op {
                Op::Receive | Op::ReceiveBulk => self.told(line, true, completion.result),
                Op::Send => self.told(line, false, completion.result),
                Op::Accept => self.shown += 1,
                _ => {}
            }
        }
    }

    /// Lets every operation go on that can, or some of them.
    pub(super) fn perform(&mut self, all: bool) {
        for number in 0..self.lines.len() {
            if self.lines[number].closed {
                continue;
            }
            if all || self.choices.once_in(2) {
                self.receive(number);
                self.poll(number, 0);
            }
            if all || self.choices.once_in(2) {
                self.send(number);
                self.poll(number, 1);
            }
        }
        self.read();
        for number in 0..self.doors.len() {
            if all || self.choices.once_in(2) {
                self.accept(number);
            }
        }
        for at in (0..self.attempts.len()).rev() {
            if all || self.choices.once_in(3) {
                self.conclude_attempt(at);
            }
        }
    }

    /// Whether nothing is under way and nothing is left to say.
    pub(super) fn is_idle(&self) -> bool {
        let open = self.doors.iter().any(|door| door.accept.is_some());
        let quiet = self.submitted.is_empty() && self.ready.is_empty() && self.attempts.is_empty();
        quiet && self.quiet.is_empty() && !open && !self.lines.iter().any(Line::is_busy)
    }

    fn submit(&mut self, entry: &Submission) {
        match entry.opcode {
            OP_RECEIVE | OP_SEND | OP_POLL => self.begin(entry),
            OP_ACCEPT => {
                let door = self.door_of(entry.fd).expect("accepts on a listening socket");
                assert!(self.doors[door].accept.is_none(), "two accepts on one socket");
                self.doors[door].accept = Some(entry.user_data);
            }
            OP_CONNECT => self.begin_attempt(entry.user_data, entry.fd, entry.address),
            OP_CANCEL => self.cancel(entry.address),
            OP_CLOSE => self.close(entry.fd),
            OP_READ => {
                assert!(self.reading.is_none(), "two reads of one pipe");
                self.reading = Some((entry.user_data, entry.fd, entry.address));
            }
            other => panic!("no kernel of ours knows operation {other}"),
        }
    }

    /// Begins an operation on a connection.
    fn begin(&mut self, entry: &Submission) {
        let number = self.number_of(entry.fd);
        let line = &mut self.lines[number];
        assert!(!line.closed, "an operation on a closed connection");
        let user_data = entry.user_data;
        match entry.opcode {
            OP_RECEIVE => {
                let free = line.receive.is_none() && line.polls[0].is_none();
                assert!(free, "two receives on one connection");
                line.receive = Some(Receiving {
                    user_data,
                    group: entry.group,
                    many: entry.many,
                });
                return;
            }
            OP_POLL if entry.op_flags & u32::from(libc::POLLIN.cast_unsigned()) != 0 => {
                let free = line.receive.is_none() && line.polls[0].is_none();
                assert!(free, "two receives on one connection");
                line.polls[0] = Some(user_data);
                return;
            }
            _ => {}
        }
        let free = line.send.is_none() && line.polls[1].is_none();
        assert!(free, "two sends on one connection");
        assert!(!line.shut, "a send after the end");
        if entry.opcode == OP_POLL {
            line.polls[1] = Some(user_data);
        } else {
            line.send = Some(Sending {
                user_data,
                at: entry.address as *const u8,
                len: entry.len as usize,
                waits: entry.op_flags & libc::MSG_DONTWAIT.cast_unsigned() == 0,
                quiet: entry.quiet,
            });
            if entry.quiet {
                self.send_quietly(number, entry.op_flags);
            }
        }
    }

    fn close(&mut self, fd: RawFd) {
        if let Some(door) = self.door_of(fd) {
            assert!(
                self.doors[door].accept.is_none(),
                "closed with an accept under way"
            );
            self.doors[door].closed = true;
        } else if let Some(number) = self.find(fd) {
            let line = &mut self.lines[number];
            assert!(!line.is_busy(), "closed with an operation under way");
            line.closed = true;
        } else {
            // A socket that never was connected.
            let busy = self.attempts.iter().any(|attempt| attempt.fd == fd);
            assert!(!busy, "closed with a connect under way");
        }
        // SAFETY: the engine has handed its descriptor over with this entry.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }

    /// A cancellation races with what it cancels: that may go on once more, or be over already.
    fn cancel(&mut self, user_data: u64) {
        let (op, key) = decode(user_data);
        let races = self.choices.once_in(3);
        let cancelled = match op {
            Op::Accept => self.cancel_accept(user_data, races),
            Op::Connect => self.cancel_attempt(user_data, races),
            _ => self.cancel_on_line(op, user_data, races),
        };
        if !cancelled {
            self.complete(encode(Op::Forget, key), None, -libc::ENOENT, 0);
        }
    }

    fn cancel_on_line(&mut self, op: Op, user_data: u64, races: bool) -> bool {
        let found = self.lines.iter().position(|line| match op {
            Op::Receive | Op::ReceiveBulk => line.receive.is_some_and(|it| it.user_data == user_data),
            Op::Send => line.send.is_some_and(|send| send.user_data == user_data),
            Op::Readable => line.polls[0] == Some(user_data),
            Op::Writable => line.polls[1] == Some(user_data),
            _ => panic!("cancels {op:?}"),
        });
        let Some(number) = found else { return false };
        if races {
            match op {
                Op::Send => self.send(number),
                Op::Readable => self.poll(number, 0),
                Op::Writable => self.poll(number, 1),
                _ => self.receive(number),
            }
        }
        let line = &self.lines[number];
        let (what, under_way) = match op {
            Op::Send => (1, line.send.is_some()),
            Op::Readable => (0, line.polls[0].is_some()),
            Op::Writable => (1, line.polls[1].is_some()),
            _ => (0, line.receive.is_some()),
        };
        match op {
            Op::Readable | Op::Writable => self.complete_poll(number, what, -libc::ECANCELED),
            Op::Send => self.complete_send(number, -libc::ECANCELED),
            _ => self.complete_receive(number, -libc::ECANCELED, 0),
        }
        under_way
    }

    fn cancel_accept(&mut self, user_data: u64, races: bool) -> bool {
        let Some(door) = self.doors.iter().position(|door| door.accept == Some(user_data)) else {
            return false;
        };
        if races {
            self.accept(door);
        }
        let under_way = self.doors[door].accept.take().is_some();
        if under_way {
            self.complete(user_data, None, -libc::ECANCELED, 0);
        }
        under_way
    }

    fn cancel_attempt(&mut self, user_data: u64, races: bool) -> bool {
        let mut attempts = self.attempts.iter();
        let Some(at) = attempts.position(|attempt| attempt.user_data == user_data) else {
            return false;
        };
        let before = self.attempts.len();
        if races {
            self.conclude_attempt(at);
        }
        let under_way = self.attempts.len() == before;
        if under_way {
            self.attempts.swap_remove(at);
            self.complete(user_data, None, -libc::ECANCELED, 0);
        }
        under_way
    }

    pub(super) fn complete(&mut self, user_data: u64, line: Option<usize>, result: i32, flags: u32) {
        let completion = Completion {
            user_data,
            result,
            flags,
        };
        self.ready
            .entry(user_data)
            .or_default()
            .push_back((completion, line));
    }

    /// The next buffer that the engine has given, with its size and its number.
    pub(super) fn take_buffer(&mut self, group: usize) -> Option<(*mut u8, usize, u16)> {
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

    /// Notes what the engine gets to know of a line: bytes, its end, or its failure.
    pub(super) fn told(&mut self, number: usize, received: bool, result: i32) {
        let line = &mut self.lines[number];
        match result {
            1.. => {
                self.moved.push(number);
                if received {
                    let bytes = u64::from(result.unsigned_abs());
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

    pub(super) fn number_of(&self, fd: RawFd) -> usize {
        self.find(fd)
            .expect("an operation on a descriptor that is no connection")
    }

    /// The connection that a descriptor stands for. Descriptors are used again: the newest one is meant.
    pub(super) fn find(&self, fd: RawFd) -> Option<usize> {
        self.lines.iter().rposition(|line| line.fd == fd && !line.closed)
    }

    fn door_of(&self, fd: RawFd) -> Option<usize> {
        self.doors.iter().rposition(|door| door.fd == fd && !door.closed)
    }
}
