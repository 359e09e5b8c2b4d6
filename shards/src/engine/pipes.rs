//! Pipes: through them bulk goes from socket to socket without being copied, because the kernel moves
//! references to its own pages (splice).
//!
//! The ring has an operation for that too, but hands it to a worker thread of the kernel. The system calls
//! here never wait: neither for the pipe (`NONBLOCK`) nor for the sockets, which their relay has made
//! non-blocking. (The ring's own operations on sockets do not look at that.)

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe should hold, in bytes of whole pages. The kernel fills each of its places with more than a
/// page where it can; 64 places are within what an unprivileged user may have.
const CAPACITY: usize = 256 * 1024;

/// Bytes that are moved at once at most.
const MOVED_MAX: usize = 1024 * 1024;

/// One pipe and what is in it.
pub(super) struct Pipe {
    exit: OwnedFd,
    entrance: OwnedFd,
    held: usize,
}

/// The pipes of a shard: whoever carries bulk borrows one for as long as something is in it.
pub(super) struct Pipes {
    empty: Vec<Pipe>,
    /// How many more may be made.
    left: u16,
    /// There is none and will be none.
    gone: bool,
}

impl Pipes {
    pub(super) fn new(max: u16) -> Self {
        Self {
            empty: Vec::new(),
            left: max,
            gone: max == 0,
        }
    }

    /// An empty pipe. `None` while all are in use, the process has too many open files, or the kernel does
    /// not splice.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        self.empty.pop().or_else(|| {
            self.left.checked_sub(1).and_then(|left| {
                let pipe = Pipe::new().ok()?;
                self.left = left;
                Some(pipe)
            })
        })
    }

    /// Takes a pipe back. One that is not empty is closed, and another may be made.
    pub(super) fn put(&mut self, pipe: Pipe) {
        match pipe.held {
            0 if !self.gone => self.empty.push(pipe),
            _ => self.left = self.left.saturating_add(1),
        }
    }

    /// Whether there is none and will be none.
    pub(super) fn are_gone(&self) -> bool {
        self.gone
    }

    /// The kernel cannot splice these sockets: no more pipes.
    pub(super) fn give_up(&mut self) {
        self.empty.clear();
        self.left = 0;
        self.gone = true;
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (exit, entrance) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // If that is more than this user may have, a smaller pipe will do.
        let _ = fcntl_setpipe_size(&entrance, CAPACITY);
        Ok(Self {
            exit,
            entrance,
            held: 0,
        })
    }

    /// Bytes in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Moves what `source` has received into the pipe; 0 bytes are the end of its stream.
    pub(super) fn fill(&mut self, source: BorrowedFd<'_>) -> io::Result<usize> {
        let moved = splice(
            source,
            None,
            &self.entrance,
            None,
            MOVED_MAX,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        )?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves what is in the pipe to `sink`, as much as it takes.
    pub(super) fn drain(&mut self, sink: BorrowedFd<'_>) -> io::Result<usize> {
        let moved = splice(
            &self.exit,
            None,
            sink,
            None,
            self.held,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        )?;
        self.held -= moved;
        Ok(moved)
    }
}
