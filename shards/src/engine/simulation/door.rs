//! Listening sockets, with the connections that wait to be accepted; and connections that are being made.
#![expect(unsafe_code, reason = "descriptors are handed over by number")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::rc::Rc;

use super::kernel::{FLAG_MORE, Kernel};

/// One listening socket.
pub(in crate::engine) struct Door {
    pub(super) fd: RawFd,
    /// Who waits to be accepted.
    pub(super) waiting: VecDeque<Visitor>,
    pub(super) closed: bool,
    pub(super) accept: Option<u64>,
}

/// Somebody who connects, and what the stream begins with.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) address: SocketAddr,
    pub(crate) speech: Vec<u8>,
    /// What it says after that, to what it has heard.
    pub(crate) retort: Option<Retort>,
}

/// Takes what was heard and not answered yet, and gives what is said to it as soon as that is known.
pub(crate) type Retort = Rc<dyn Fn(&[u8]) -> Option<Answer>>;

/// What is said to something.
pub(crate) struct Answer {
    /// How many bytes it answers.
    pub(crate) heard: usize,
    pub(crate) words: Vec<u8>,
    /// Nothing is answered after this.
    pub(crate) is_last: bool,
}

/// A connection that the engine makes.
pub(super) struct Attempt {
    pub(super) user_data: u64,
    pub(super) fd: RawFd,
    port: u16,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Succeeds,
    Refused,
    /// Nothing answers.
    Silence,
}

impl Kernel {
    /// A new listening socket has this number.
    pub(super) fn open_door(&mut self, fd: RawFd) -> usize {
        self.retire(fd);
        self.doors.push(Door {
            fd,
            waiting: VecDeque::new(),
            closed: false,
            accept: None,
        });
        self.doors.len() - 1
    }

    /// Accepts somebody, or fails to.
    pub(super) fn accept(&mut self, number: usize) {
        let faulty = self.faulty;
        let door = &self.doors[number];
        let Some(user_data) = door.accept else { return };
        if door.waiting.is_empty() {
            return;
        }
        if faulty && self.choices.once_in(5) {
            let errnos = [
                libc::EMFILE,
                libc::ECONNABORTED,
                libc::ENFILE,
                libc::ENOMEM,
                libc::EINTR,
                libc::EPERM,
            ];
            let errno = match self.choices.once_in(30) {
                true => libc::EINVAL,
                false => self.choices.one_of(&errnos),
            };
            let door = &mut self.doors[number];
            if errno == libc::ECONNABORTED {
                door.waiting.pop_front();
            }
            door.accept = None;
            self.seen.accepts_failed += 1;
            return self.complete(user_data, None, -errno, 0);
        }
        let ends = faulty && self.choices.once_in(6);
        let (line, fd) = self.connect();
        self.accepted.push(line);
        let door = &mut self.doors[number];
        let visitor = door.waiting.pop_front();
        if ends {
            door.accept = None;
        }
        if let Some(visitor) = visitor {
            self.lines[line].address = Some(visitor.address);
            self.lines[line].speech = visitor.speech;
            self.lines[line].retort = visitor.retort;
        }
        let flags = if ends { 0 } else { FLAG_MORE };
        self.complete(user_data, Some(line), fd.into_raw_fd(), flags);
    }

    pub(super) fn begin_attempt(&mut self, user_data: u64, fd: RawFd, address: u64) {
        // SAFETY: the engine promises that the address stays where it is until the connect completes.
        let address = unsafe { *(address as *const libc::sockaddr_in) };
        assert_eq!(i32::from(address.sin_family), libc::AF_INET);
        let port = u16::from_be(address.sin_port);
        self.retire(fd);
        let fate = self
            .choices
            .one_of(&[Fate::Succeeds, Fate::Succeeds, Fate::Refused, Fate::Silence]);
        self.attempts.push(Attempt {
            user_data,
            fd,
            port,
            fate,
        });
    }

    /// Reads what other threads have written to wake the shard, if they have.
    pub(super) fn read(&mut self) {
        let Some((user_data, fd, address)) = self.reading else {
            return;
        };
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry is given, and nothing is waited for.
        if unsafe { libc::poll(&raw mut poll, 1, 0) } == 1 {
            // SAFETY: the engine has given 8 bytes at this address until the operation completes.
            let read = unsafe { libc::read(fd, address as *mut libc::c_void, 8) };
            self.reading = None;
            self.complete(user_data, None, i32::try_from(read).unwrap(), 0);
        }
    }

    /// Who is at the other end of an accepted connection.
    pub(in crate::engine) fn peer_of(&self, fd: RawFd) -> Option<SocketAddr> {
        self.find(fd).and_then(|line| self.lines[line].address)
    }

    /// This number is used again: what it stood for must be closed.
    pub(super) fn retire(&mut self, fd: RawFd) {
        for line in self.lines.iter_mut().filter(|line| line.fd == fd) {
            assert!(line.is_closed(), "a descriptor is used again that was open");
        }
    }

    /// An attempt comes to its end, unless nothing answers.
    pub(super) fn conclude_attempt(&mut self, at: usize) {
        let Attempt {
            user_data,
            fd,
            port,
            fate,
        } = self.attempts[at];
        match fate {
            Fate::Silence => return,
            Fate::Refused => self.complete(user_data, None, -libc::ECONNREFUSED, 0),
            Fate::Succeeds => {
                let (line, end) = self.connect();
                // SAFETY: the engine's descriptor is open for as long as its operation is under way; what it
                // stood for is closed by this, and the engine owns the number as before.
                let made = unsafe { libc::dup2(end.as_raw_fd(), fd) };
                assert_eq!(made, fd);
                self.lines[line].fd = fd;
                self.connected.push((port, line));
                self.complete(user_data, Some(line), 0, 0);
            }
        }
        self.attempts.swap_remove(at);
    }
}
