//! Listeners: accept until closed, whatever the kernel says in between.
#![expect(unsafe_code, reason = "completions name accepted descriptors by number")]

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;

use super::calls::Call;
use super::core::Core;
use super::ring::Completion;
use super::slot::Face;
use super::tag::Key;
use super::{Engine, EngineError};

/// The first pause after an error.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause after errors in a row.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a listener has to say.
#[derive(Debug)]
pub enum Accept {
    /// A connection. `TCP_NODELAY` is as on the listener. Dropping it closes it.
    Socket(OwnedFd),
    /// Too few file descriptors, too little memory, or a connection that failed before it was accepted. The
    /// engine pauses (10 ms to 1 s, longer each time in a row) and goes on by itself.
    Transient(io::Error),
    /// The listener is of no use any more and was closed.
    Fatal(io::Error),
}

/// The callback of a listener.
pub(super) type OnAccept = Rc<RefCell<Box<dyn FnMut(Accept)>>>;

/// A listener's part of its slot.
pub(super) struct Acceptor {
    on_accept: OnAccept,
    pause: Duration,
    closed: bool,
}

impl Acceptor {
    /// Accepts no more, but what was accepted is still delivered.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// A listener at work. Dropping it closes it.
pub struct Listening {
    engine: Engine,
    key: Key,
}

impl Listening {
    /// Stops accepting and closes the listening socket. Connections that were accepted before still reach the
    /// callback.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.engine.with(|core| core.close(self.key));
    }
}

impl Engine {
    /// Accepts connections until [`Listening::close`] or a fatal error. The callback may call the engine and
    /// spawn; a panic in it costs that one connection.
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`] if there is no slot left; the listener is closed then.
    pub fn listen(
        &self,
        listener: TcpListener,
        on_accept: Box<dyn FnMut(Accept)>,
    ) -> Result<Listening, EngineError> {
        let on_accept: OnAccept = Rc::new(RefCell::new(on_accept));
        let acceptor = Acceptor {
            on_accept,
            pause: PAUSE_MIN,
            closed: false,
        };
        let key = self.with(|core| {
            let key = core.slots.insert(Some(listener.into()), Face::Listener)?;
            core.slots.slot(key)?.acceptor = Some(Box::new(acceptor));
            core.accept(key);
            Some(key)
        });
        Ok(Listening {
            engine: self.clone(),
            key: key.ok_or(EngineError::Full)?,
        })
    }

    /// Who is at the other end of a connection that was accepted.
    ///
    /// # Errors
    ///
    /// Fails if the connection was reset, or is none to an IP address.
    pub(crate) fn peer_of(&self, socket: &OwnedFd) -> io::Result<SocketAddr> {
        #[cfg(test)]
        if let Some(peer) = self.with(|core| core.ring.peer_of(socket)) {
            return Ok(peer);
        }
        let peer = SockRef::from(socket).peer_addr()?;
        peer.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

impl Core {
    /// Starts accepting, unless it is under way.
    pub(super) fn accept(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        if !slot.flags.receiving {
            slot.flags.receiving = true;
            self.ring.accept(key, slot.descriptor());
        }
    }

    /// An accept has completed.
    pub(super) fn accepted(&mut self, key: Key, completion: &Completion) {
        // SAFETY: the kernel has just opened this descriptor for us, and each completion is processed once.
        let accepted = (completion.result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(completion.result) });
        let Some(slot) = self.slots.slot(key) else { return };
        if !completion.more() {
            slot.flags.receiving = false;
        }
        let Some(acceptor) = &mut slot.acceptor else {
            return;
        };
        let call = |accept| Call::Accepted(acceptor.on_accept.clone(), accept);
        let again = match accepted {
            Some(socket) => {
                self.calls.push_back(call(Accept::Socket(socket)));
                acceptor.pause = PAUSE_MIN;
                true
            }
            None if completion.result == -libc::ECANCELED => !acceptor.closed,
            None => {
                let error = io::Error::from_raw_os_error(-completion.result);
                let fatal = is_fatal(-completion.result);
                let accept = if fatal {
                    Accept::Fatal(error)
                } else {
                    Accept::Transient(error)
                };
                self.calls.push_back(call(accept));
                acceptor.closed |= fatal;
                if !completion.more() && !acceptor.closed {
                    let due = self.clock.tick_after(self.now + acceptor.pause);
                    acceptor.pause = (acceptor.pause * 2).min(PAUSE_MAX);
                    self.timers.set(key.index, due);
                }
                false
            }
        };
        if acceptor.closed {
            self.bury(key);
        } else if again {
            self.accept(key);
        }
    }
}

/// Whether no later accept can succeed. Everything else passes: errors of one connection, shortages, firewall
/// rules.
fn is_fatal(errno: i32) -> bool {
    matches!(errno, libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT)
}
