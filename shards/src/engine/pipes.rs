//! Pipes: through them bulk goes from socket to socket without being copied, because the kernel moves
//! references to its own pages (splice).
//!
//! The ring has an operation for that too, but hands it to a worker thread of the kernel. The system calls
//! here never wait: neither for the pipe (`NONBLOCK`) nor for the sockets, which their relay has made
//! non-blocking. (The ring's own operations on sockets do not look at that.) Splicing into a socket whose
//! peer is gone raises SIGPIPE, which Rust's runtime ignores from the start; the error is what counts.

#[cfg(test)]
use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
#[cfg(test)]
use std::rc::Rc;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::limits::PIPE_BYTES;

#[cfg(test)]
use super::simulation::{kernel::Kernel, tube::Tube};

/// Bytes that are moved at once at most.
const MOVED_MAX: usize = 1024 * 1024;

/// One pipe and what is in it.
pub(super) struct Pipe {
    exit: OwnedFd,
    entrance: OwnedFd,
    held: usize,
    /// What takes the place of both in a simulation.
    #[cfg(test)]
    tube: Option<Tube>,
}

/// The pipes of a shard: whoever carries bulk borrows one for as long as something is in it.
pub(super) struct Pipes {
    empty: Vec<Pipe>,
    /// How many there are.
    open: u16,
    /// How many there may be; 0 once the kernel has refused to splice.
    max: u16,
    /// Pipes that have been empty ever since the last look.
    spare: usize,
    /// What takes the real kernel's place.
    #[cfg(test)]
    simulated: Option<Rc<RefCell<Kernel>>>,
    /// How often one was wanted and there was none.
    missed: u64,
}

impl Pipes {
    pub(super) fn new(max: u16) -> Self {
        Self {
            empty: Vec::new(),
            open: 0,
            max,
            spare: 0,
            #[cfg(test)]
            simulated: None,
            missed: 0,
        }
    }

    /// From now on a simulated kernel makes the pipes.
    #[cfg(test)]
    pub(super) fn simulate(&mut self, kernel: Rc<RefCell<Kernel>>) {
        self.simulated = Some(kernel);
    }

    /// An empty pipe. `None` while all are in use, the process has too many open files, or the kernel does
    /// not splice.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        let pipe = self.empty.pop();
        self.spare = self.spare.min(self.empty.len());
        pipe.or_else(|| {
            let made = (self.open < self.max).then(|| self.make().ok()).flatten();
            self.open += u16::from(made.is_some());
            self.missed += u64::from(made.is_none());
            made
        })
    }

    fn make(&self) -> io::Result<Pipe> {
        let pipe = Pipe::new()?;
        #[cfg(test)]
        if let Some(kernel) = &self.simulated {
            let tube = Some(Tube::open(kernel)?);
            return Ok(Pipe { tube, ..pipe });
        }
        Ok(pipe)
    }

    /// How often one was wanted and there was none, so far.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Takes a pipe back. One that is not empty is closed, and another may be made.
    pub(super) fn put(&mut self, pipe: Pipe) {
        match pipe.held {
            0 if !self.are_gone() => self.empty.push(pipe),
            _ => self.open -= 1,
        }
    }

    /// Closes the pipes that nobody has needed since the last call.
    pub(super) fn close_spare(&mut self) {
        for _ in 0..self.spare {
            self.open -= u16::from(self.empty.pop().is_some());
        }
        self.spare = self.empty.len();
    }

    /// Pipes that are open now.
    pub(super) fn open(&self) -> u16 {
        self.open
    }

    /// Whether there is none and will be none.
    pub(super) fn are_gone(&self) -> bool {
        self.max == 0
    }

    /// The kernel cannot splice these sockets: no more pipes.
    pub(super) fn give_up(&mut self) {
        self.spare = self.empty.len();
        self.close_spare();
        self.max = 0;
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (exit, entrance) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // If that is more than this user may have, a smaller pipe will do.
        let _ = fcntl_setpipe_size(&entrance, PIPE_BYTES);
        Ok(Self {
            exit,
            entrance,
            held: 0,
            #[cfg(test)]
            tube: None,
        })
    }

    /// Bytes in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Moves what `source` has received into the pipe; 0 bytes are the end of its stream.
    pub(super) fn fill(&mut self, source: BorrowedFd<'_>) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(tube) = &self.tube {
            return tube.fill(source).inspect(|moved| self.held += moved);
        }
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
        #[cfg(test)]
        if let Some(tube) = &self.tube {
            return tube.drain(sink, self.held).inspect(|moved| self.held -= moved);
        }
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
