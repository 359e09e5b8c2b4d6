//! One connection: the engine's descriptor, its peer's stream, and the operations under way on it.
#![expect(unsafe_code, reason = "the kernel writes into the memory that entries name")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use super::NOISE;
use super::door::Retort;
use super::kernel::{FLAG_BUFFER, FLAG_MORE, Kernel};
use super::tube::answer;

/// What the engine's peer may have sent before the engine has received it.
const INBOUND_MAX: u64 = 96 * 1024;

/// One connection, the engine's end and the peer's.
pub(in crate::engine) struct Line {
    pub(super) fd: RawFd,
    /// Learns when the engine shuts its side of the descriptor.
    probe: UnixStream,
    /// Who the peer is, if it came by itself.
    pub(super) address: Option<SocketAddr>,
    /// What the peer's stream begins with,
    pub(super) speech: Vec<u8>,
    /// and goes on with once it has heard something,
    pub(super) retort: Option<Retort>,
    /// Bytes of what it has heard that it has answered.
    pub(super) answered: usize,
    /// and where the rest lies in the noise.
    pub(super) start: usize,
    /// Bytes that the peer has sent.
    pub(super) pushed: u64,
    /// Bytes of them that the kernel has received for the engine.
    pub(super) received: u64,
    /// Bytes of them which the engine was shown before the first failure,
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
    pub(super) room: usize,
    /// The engine has ended its side.
    pub(super) shut: bool,
    pub(super) closed: bool,
    /// The first end or failure that the engine was told.
    pub(super) told: Option<Told>,
    /// Whether it was told of a failure.
    pub(super) failed: bool,
    pub(super) receive: Option<Receiving>,
    pub(super) send: Option<Sending>,
    /// Who waits for input, and who for room.
    pub(super) polls: [Option<u64>; 2],
}

/// What the engine was told of a connection's end, and as which of all such news.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) order: usize,
    pub(super) failed: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Receiving {
    pub(super) user_data: u64,
    /// The group of buffers that it takes from.
    pub(super) group: usize,
    /// It goes on until it is told otherwise.
    pub(super) many: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Sending {
    pub(super) user_data: u64,
    pub(super) at: *const u8,
    pub(super) len: usize,
    pub(super) waits: bool,
    /// Completes only if it does not send everything.
    pub(super) quiet: bool,
}

impl Line {
    /// A connection whose end for the engine is this descriptor's number, and that descriptor.
    pub(super) fn new(start: usize, room: usize) -> (Self, OwnedFd) {
        use std::os::fd::AsRawFd;
        let (engines, probe) = UnixStream::pair().unwrap();
        probe.set_nonblocking(true).unwrap();
        let line = Self {
            fd: engines.as_raw_fd(),
            probe,
            address: None,
            speech: Vec::new(),
            retort: None,
            answered: 0,
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
            polls: [None; 2],
        };
        (line, engines.into())
    }

    /// Looks whether the engine has ended its side meanwhile.
    pub(super) fn look(&mut self) {
        let mut end = [0];
        if self.shut || self.closed {
            return;
        }
        match self.probe.read(&mut end) {
            Ok(0) => {
                let busy = self.send.is_some() || self.polls[1].is_some();
                assert!(!busy || self.is_closed(), "ended before everything was sent");
                self.shut = true;
            }
            Ok(_) => panic!("bytes went around the ring"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    /// Whether the engine has let go of the descriptor, through the ring or by itself.
    pub(super) fn is_closed(&mut self) -> bool {
        if !self.closed
            && self
                .probe
                .write(&[1])
                .is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
        {
            let busy = self.is_busy();
            assert!(!busy, "closed with an operation under way");
            self.closed = true;
        }
        self.closed
    }

    pub(super) fn is_busy(&self) -> bool {
        self.receive.is_some() || self.send.is_some() || self.polls.iter().any(Option::is_some)
    }

    /// Bytes that are there to be received.
    pub(super) fn waiting(&self) -> u64 {
        self.pushed - self.received
    }

    /// Whether a receive would bring anything, an end or a failure included.
    pub(super) fn has_news(&self) -> bool {
        self.waiting() > 0 || self.ended || self.broken
    }

    /// Bytes that a send could bring to the peer.
    pub(super) fn free(&self) -> usize {
        self.room.saturating_sub(self.queued)
    }

    /// Hands up to so many bytes of the peer's stream over.
    pub(super) fn bring(&mut self, into: &mut [u8]) {
        let position = usize::try_from(self.received).unwrap();
        let words = self.speech.get(position..).unwrap_or_default();
        let spoken = words.len().min(into.len());
        into[..spoken].copy_from_slice(&words[..spoken]);
        let rest = (position + spoken).saturating_sub(self.speech.len());
        copy_noise(self.start, rest as u64, &mut into[spoken..]);
        self.received += into.len() as u64;
    }

    /// Takes bytes that the engine sends.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.taken.extend_from_slice(bytes);
        self.queued += bytes.len();
    }
}

impl Kernel {
    /// A new connection: its number, and the engine's descriptor.
    pub(super) fn connect(&mut self) -> (usize, OwnedFd) {
        let room = self.choices.one_of(&[64 * 1024, 300, 4_000, 200_000]);
        let start = usize::try_from(self.choices.below(NOISE.len() as u64)).unwrap();
        let (line, fd) = Line::new(start, room);
        self.lines.push(line);
        (self.lines.len() - 1, fd)
    }

    /// The peer sends up to so many bytes. How many there was room for.
    pub(super) fn peer_sends(&mut self, number: usize, bytes: u64) -> u64 {
        let line = &mut self.lines[number];
        let room = INBOUND_MAX - line.waiting();
        let sent = bytes.min(room);
        line.pushed += sent;
        sent
    }

    /// The peer reads up to so many bytes. How many it has to say to that.
    pub(super) fn peer_reads(&mut self, number: usize, bytes: usize) -> usize {
        let line = &mut self.lines[number];
        line.queued -= line.queued.min(bytes);
        if line.pushed > line.speech.len() as u64 {
            // It has said something else already.
            line.retort = None;
        }
        let heard = &line.taken[..line.taken.len() - line.queued];
        let mut said = 0;
        while let Some(retort) = &line.retort
            && let Some(answer) = retort(&heard[line.answered..])
        {
            line.answered += answer.heard;
            line.speech.extend_from_slice(&answer.words);
            said += answer.words.len();
            if answer.is_last {
                line.retort = None;
            }
        }
        said
    }

    /// Whether bytes from one line's peer could go to the other line's.
    pub(super) fn could_move(&self, from: usize, to: usize) -> bool {
        let (source, sink) = (&self.lines[from], &self.lines[to]);
        let whole = !source.failed && !sink.failed;
        whole && source.waiting() > 0 && sink.queued < sink.room
    }

    pub(super) fn receive(&mut self, number: usize) {
        let faulty = self.faulty;
        let line = &self.lines[number];
        let Some(receiving) = line.receive else { return };
        if !line.has_news() {
            return;
        }
        if faulty && self.choices.once_in(40) {
            return self.complete_receive(number, -libc::EINTR, 0);
        }
        let line = &self.lines[number];
        if line.waiting() == 0 {
            let result = if line.broken { -libc::ECONNRESET } else { 0 };
            return self.complete_receive(number, result, 0);
        }
        let most = usize::try_from(line.waiting()).unwrap();
        let Some((buffer, capacity, id)) = self.take_buffer(receiving.group) else {
            return self.complete_receive(number, -libc::ENOBUFS, 0);
        };
        let len = self.some_of(most.min(capacity));
        let ends = !receiving.many || faulty && self.choices.once_in(6);
        // SAFETY: the engine has given this buffer to the kernel and does not look at it until it is told.
        let memory = unsafe { std::slice::from_raw_parts_mut(buffer, capacity) };
        memory.fill(0xEE);
        self.lines[number].bring(&mut memory[..len]);
        let flags = FLAG_BUFFER | u32::from(id) << 16 | if ends { 0 } else { FLAG_MORE };
        self.complete_receive(number, i32::try_from(len).unwrap(), flags);
    }

    pub(super) fn send(&mut self, number: usize) {
        let faulty = self.faulty;
        let line = &self.lines[number];
        let Some(sending) = line.send else { return };
        if line.broken {
            return self.complete_send(number, -libc::EPIPE);
        }
        let room = line.free();
        if room == 0 {
            if !sending.waits {
                self.complete_send(number, -libc::EAGAIN);
            }
            return;
        }
        if faulty && self.choices.once_in(40) {
            return self.complete_send(number, -libc::EINTR);
        }
        let len = self.some_of(sending.len.min(room));
        // SAFETY: the engine promises that the bytes stay where they are until the send completes.
        let bytes = unsafe { std::slice::from_raw_parts(sending.at, len) };
        self.lines[number].take(bytes);
        self.complete_send(number, i32::try_from(len).unwrap());
    }

    /// A send that is no operation of the ring: takes what there is room for, and says at once how much.
    pub(in crate::engine) fn send_at_once(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        let number = self.number_of(fd);
        let line = &self.lines[number];
        assert!(!line.shut && !line.closed, "a send after the end");
        assert!(line.send.is_none(), "it overtakes a send");
        let room = line.free();
        let result = if line.broken {
            -libc::EPIPE
        } else if room == 0 {
            -libc::EAGAIN
        } else if self.faulty && self.choices.once_in(12) {
            self.choices.one_of(&[-libc::EAGAIN, -libc::EINTR])
        } else {
            let len = self.some_of(bytes.len().min(room));
            self.lines[number].take(&bytes[..len]);
            i32::try_from(len).unwrap()
        };
        self.told(number, false, result);
        answer(result)
    }

    /// Tells who waits for input or for room that there is some: now and then without a reason.
    pub(super) fn poll(&mut self, number: usize, what: usize) {
        let line = &self.lines[number];
        if line.polls[what].is_none() {
            return;
        }
        let ready = line.broken
            || match what {
                0 => line.has_news(),
                _ => line.free() > 0,
            };
        if ready || self.faulty && self.choices.once_in(20) {
            let events = [libc::POLLIN, libc::POLLOUT][what];
            self.complete_poll(number, what, i32::from(events));
        }
    }

    /// So many, or fewer but at least one.
    pub(super) fn some_of(&mut self, most: usize) -> usize {
        if self.faulty && self.choices.once_in(3) {
            let fewer = 1 + usize::try_from(self.choices.below(most as u64)).unwrap();
            return fewer.min(most);
        }
        most
    }

    pub(super) fn complete_receive(&mut self, number: usize, result: i32, flags: u32) {
        let line = &mut self.lines[number];
        let Some(Receiving { user_data, .. }) = line.receive else {
            return;
        };
        if flags & FLAG_MORE == 0 {
            line.receive = None;
        }
        self.complete(user_data, Some(number), result, flags);
    }

    pub(super) fn complete_send(&mut self, number: usize, result: i32) {
        match self.lines[number].send.take() {
            Some(send) if send.quiet => self.quiet.conclude(number, &send, result),
            Some(send) => self.complete(send.user_data, Some(number), result, 0),
            None => {}
        }
    }

    pub(super) fn complete_poll(&mut self, number: usize, what: usize, result: i32) {
        if let Some(user_data) = self.lines[number].polls[what].take() {
            self.complete(user_data, Some(number), result, 0);
        }
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
