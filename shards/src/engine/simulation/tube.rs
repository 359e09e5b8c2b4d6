//! Pipes, and bytes that are spliced through them in system calls beside the ring.
#![expect(unsafe_code, reason = "asks the kernel for the flags of a descriptor")]

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use super::kernel::Kernel;

/// The engine's handle of a simulated pipe; dropping it closes the pipe.
pub(in crate::engine) struct Tube {
    kernel: Rc<RefCell<Kernel>>,
    number: usize,
}

/// What the kernel knows of a pipe.
pub(super) struct Inside {
    bytes: Vec<u8>,
    capacity: usize,
    open: bool,
}

impl Tube {
    /// A new pipe.
    pub(in crate::engine) fn open(kernel: &Rc<RefCell<Kernel>>) -> io::Result<Self> {
        let number = kernel.borrow_mut().open_tube()?;
        Ok(Self {
            kernel: Rc::clone(kernel),
            number,
        })
    }

    /// What the source has received goes into the pipe.
    pub(in crate::engine) fn fill(&self, source: BorrowedFd<'_>) -> io::Result<usize> {
        self.kernel.borrow_mut().fill_tube(self.number, source)
    }

    /// At most so many bytes go from the pipe to the sink.
    pub(in crate::engine) fn drain(&self, sink: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.kernel.borrow_mut().drain_tube(self.number, sink, most)
    }
}

impl Drop for Tube {
    fn drop(&mut self) {
        if let Ok(mut kernel) = self.kernel.try_borrow_mut() {
            kernel.tubes[self.number].open = false;
        }
    }
}

impl Kernel {
    /// Pipes that are open now.
    pub(super) fn open_tubes(&self) -> usize {
        self.tubes.iter().filter(|tube| tube.open).count()
    }

    fn open_tube(&mut self) -> io::Result<usize> {
        if self.faulty && self.choices.once_in(4) {
            self.seen.pipes_refused += 1;
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let capacity = self.choices.one_of(&[256 * 1024, 64 * 1024, 4_096]);
        self.tubes.push(Inside {
            bytes: Vec::new(),
            capacity,
            open: true,
        });
        Ok(self.tubes.len() - 1)
    }

    fn fill_tube(&mut self, tube: usize, source: BorrowedFd<'_>) -> io::Result<usize> {
        self.splices &= !(self.faulty && self.choices.once_in(800));
        if !self.splices {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let number = self.spliced(source)?;
        assert!(
            self.lines[number].receive.is_none(),
            "a receive would overtake it"
        );
        let filled = self.fill(number, tube);
        self.told(number, true, filled);
        answer(filled)
    }

    fn fill(&mut self, number: usize, tube: usize) -> i32 {
        let line = &self.lines[number];
        let free = self.tubes[tube].capacity - self.tubes[tube].bytes.len();
        let most = usize::try_from(line.waiting()).unwrap().min(free);
        if most == 0 {
            return match line {
                _ if free == 0 => -libc::EAGAIN,
                line if line.broken => -libc::ECONNRESET,
                line if line.ended => 0,
                _ => -libc::EAGAIN,
            };
        }
        let moved = self.some_of(most);
        let bytes = &mut self.tubes[tube].bytes;
        let before = bytes.len();
        bytes.resize(before + moved, 0xEE);
        self.lines[number].bring(&mut bytes[before..]);
        i32::try_from(moved).unwrap()
    }

    fn drain_tube(&mut self, tube: usize, sink: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let number = self.spliced(sink)?;
        let line = &self.lines[number];
        assert!(!line.shut && !line.closed, "a splice after the end");
        assert!(line.send.is_none(), "a splice overtakes a send");
        assert_eq!(
            most,
            self.tubes[tube].bytes.len(),
            "bytes in a pipe are forgotten"
        );
        let drained = self.empty(number, tube);
        self.told(number, false, drained);
        answer(drained)
    }

    fn empty(&mut self, number: usize, tube: usize) -> i32 {
        let line = &self.lines[number];
        if line.broken {
            return -libc::EPIPE;
        }
        let most = line.free().min(self.tubes[tube].bytes.len());
        if most == 0 {
            return -libc::EAGAIN;
        }
        let moved = self.some_of(most);
        self.seen.spliced += moved as u64;
        let bytes: Vec<u8> = self.tubes[tube].bytes.drain(..moved).collect();
        self.lines[number].take(&bytes);
        i32::try_from(moved).unwrap()
    }

    /// The line of a descriptor that is spliced; now and then there is no moving it at this moment.
    fn spliced(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: no memory is involved.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        assert!(flags & libc::O_NONBLOCK != 0, "a splice that may wait");
        let number = self.number_of(fd.as_raw_fd());
        if self.faulty && self.choices.once_in(12) {
            let errno = self.choices.one_of(&[libc::EAGAIN, libc::EINTR]);
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(number)
    }
}

/// What a system call returns.
pub(super) fn answer(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
