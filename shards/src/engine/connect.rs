//! Outgoing connections.
#![expect(unsafe_code, reason = "a connect uses the slot's address until it completes")]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Instant;

use socket2::{Domain, Protocol, SockAddr, Type};

use super::Engine;
use super::core::Core;
use super::slot::Face;
use super::socket::Socket;
use super::tag::Key;

impl Engine {
    /// Connects to `to`, with `TCP_NODELAY`. Cancel-safe: dropping the future ends the attempt.
    ///
    /// # Errors
    ///
    /// The kernel's error, or [`io::ErrorKind::TimedOut`] at the deadline.
    pub async fn connect(&self, to: SocketAddr, deadline: Instant) -> io::Result<Socket> {
        let descriptor = socket2::Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        descriptor.set_tcp_nodelay(true)?;
        let key = self.with(|core| core.start_connect(descriptor.into(), to, deadline))?;
        // From here on it is closed when this future is dropped.
        let socket = Socket::new(self.clone(), key);
        poll_fn(|context| {
            self.with(|core| {
                let Some(slot) = core.slots.slot(key) else {
                    return Poll::Ready(Err(shut_down()));
                };
                if slot.errno != 0 {
                    Poll::Ready(Err(io::Error::from_raw_os_error(slot.errno)))
                } else if !slot.flags.sending {
                    slot.face = Face::Socket;
                    core.timers.clear(key.index);
                    Poll::Ready(Ok(()))
                } else if slot.deadline <= core.tick {
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                } else {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await?;
        Ok(socket)
    }
}

impl Core {
    fn start_connect(
        &mut self,
        fd: std::os::fd::OwnedFd,
        to: SocketAddr,
        deadline: Instant,
    ) -> io::Result<Key> {
        if self.stopping {
            return Err(shut_down());
        }
        let key = self
            .slots
            .insert(Some(fd), Face::Connecting)
            .ok_or(io::ErrorKind::QuotaExceeded)?;
        let due = self.clock.tick_after(deadline);
        self.timers.set(key.index, due);
        let slot = self.slots.slot(key).ok_or_else(shut_down)?;
        slot.deadline = due;
        slot.flags.sending = true;
        let address = &**slot.address.insert(Box::new(SockAddr::from(to)));
        // SAFETY: the boxed address stays in the slot, untouched, until the completion takes it out.
        unsafe {
            self.ring.connect(
                key,
                std::os::fd::AsFd::as_fd(slot.fd.as_ref().ok_or_else(shut_down)?),
                address,
            )
        };
        Ok(key)
    }
}

/// What operations meet on an engine that was stopped.
pub(super) fn shut_down() -> io::Error {
    io::Error::from_raw_os_error(libc::ESHUTDOWN)
}
