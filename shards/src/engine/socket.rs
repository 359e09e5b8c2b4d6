//! The async face of a connection, for conversations: receive, send, be interrupted, finish.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use super::Engine;
use super::buffers::Lease;
use super::core::Core;
use super::slot::{Face, Outgoing, Slot};
use super::tag::Key;

/// An open TCP connection. Dropping it closes it at once; see [`finish`](Self::finish) for the gentle way.
pub struct Socket {
    engine: Engine,
    key: Key,
    /// Whether somebody else closes the slot.
    released: bool,
}

impl Socket {
    pub(super) fn new(engine: Engine, key: Key) -> Self {
        Self {
            engine,
            key,
            released: false,
        }
    }

    /// Waits for what happens next. Cancel-safe: what was received and not returned is kept.
    ///
    /// In this order: a notification, received bytes, the end of input or an error, the deadline. A peer that
    /// always sends can therefore hold the deadline up, and the caller has to look at the time after bytes
    /// too.
    ///
    /// Without `want_input` only little of what the peer sends is taken from the kernel, and nothing of it is
    /// returned; the end and errors are still reported if no input came before them. The deadline is coarse:
    /// some tens of milliseconds late at most, never early.
    pub fn next(&mut self, want_input: bool, deadline: Option<Instant>) -> Next<'_> {
        Next {
            socket: self,
            want_input,
            deadline,
            waits: false,
        }
    }

    /// Says that less than so many bytes, at most 16 KiB, are of no use now: fewer do not end
    /// [`next`](Self::next), unless the peer ends or fails. A hint: they may all the same. Lasts until the
    /// next call, or until the socket is relayed.
    pub fn expect_bytes(&mut self, bytes: usize) {
        self.engine.with(|core| core.set_low_water(self.key, bytes));
    }

    /// Makes other tasks and callbacks on this shard interrupt [`next`](Self::next).
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier {
            engine: self.engine.clone(),
            key: self.key,
        }
    }

    /// Sends all of `bytes`. The engine owns them until the kernel has taken them, even if this future is
    /// dropped; a later `send` then waits for its turn.
    ///
    /// The future resolves to the kernel's error, or [`io::ErrorKind::TimedOut`] at the deadline; the
    /// connection is broken after either.
    pub fn send(&mut self, bytes: Vec<u8>, deadline: Option<Instant>) -> Send<'_> {
        Send {
            socket: self,
            bytes: Some(bytes),
            deadline,
        }
    }

    /// An empty, pooled vector for the next [`send`](Self::send), which gives it back.
    #[must_use]
    pub fn take_buffer(&self) -> Vec<u8> {
        self.engine.with(|core| core.pool.take())
    }

    /// Ends the connection so that the peer can read all that was sent: completes a send under way, shuts the
    /// write side, discards input until the peer ends too, for at most `linger` and 256 KiB, then closes.
    /// Returns at once; the engine does the rest, and [`Engine::open_sockets`] counts the socket until then.
    pub fn finish(mut self, linger: Duration) {
        self.released = true;
        self.engine.with(|core| core.linger(self.key, linger));
    }

    /// Breaks the connection once the peer's host has acknowledged nothing for `patience` (2 s to 18 h, whole
    /// seconds) although there was something to acknowledge: bytes, or, after half of it without any, the
    /// kernel's probes. A peer whose window stays shut while bytes wait for it counts as well. An error of
    /// the kernel leaves the connection as it is.
    pub fn expect_signs_of_life(&self, patience: Duration) {
        let probes = TcpKeepalive::new()
            .with_time(patience / 2)
            .with_interval((patience / 8).max(Duration::from_secs(1)));
        self.engine.with(|core| {
            let Some(slot) = core.slots.slot(self.key) else {
                return;
            };
            let (descriptor, patience) = (slot.descriptor(), Some(patience));
            let socket = SockRef::from(&descriptor);
            // Both fail only for what is no TCP socket, such as the pairs of tests.
            let _ = socket.set_tcp_keepalive(&probes);
            let _ = socket.set_tcp_user_timeout(patience);
        });
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// Fails if the connection was reset.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.address(socket2::Socket::peer_addr)
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address(socket2::Socket::local_addr)
    }

    /// The engine that this socket belongs to.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Leaves the slot to the engine.
    pub(super) fn release(mut self) -> Key {
        self.released = true;
        self.key
    }

    /// As little room in the kernel as it allows, so that sends are partial.
    #[cfg(test)]
    pub(super) fn shrink_send_buffer(&self) {
        self.engine.with(|core| {
            let slot = core.slots.slot(self.key).expect("an open socket");
            SockRef::from(&slot.descriptor())
                .set_send_buffer_size(1)
                .expect("a send buffer");
        });
    }

    fn address(
        &self,
        ask: impl Fn(&socket2::Socket) -> io::Result<socket2::SockAddr>,
    ) -> io::Result<SocketAddr> {
        self.engine.with(|core| {
            let slot = core.slots.slot(self.key).ok_or(io::ErrorKind::NotConnected)?;
            let address = ask(&SockRef::from(&slot.descriptor()))?;
            address
                .as_socket()
                .ok_or_else(|| io::ErrorKind::Unsupported.into())
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.released {
            self.engine.with(|core| core.close(self.key));
        }
    }
}

impl Engine {
    /// Takes an accepted, connected TCP socket. Nothing is armed until it is first asked for.
    #[must_use]
    pub fn adopt(&self, socket: std::os::fd::OwnedFd) -> Socket {
        let key = self.with(|core| {
            let stopping = core.stopping;
            let key = core.slots.insert(Some(socket), Face::Socket)?;
            if let Some(slot) = core.slots.slot(key).filter(|_| stopping) {
                slot.errno = libc::ESHUTDOWN;
            }
            Some(key)
        });
        // Sixteen million descriptors are out of reach; a key that names nothing behaves as a broken
        // connection.
        Socket::new(
            self.clone(),
            key.unwrap_or(Key {
                index: u32::MAX,
                generation: 0,
            }),
        )
    }
}

/// What [`Socket::next`] waited for.
#[derive(Debug)]
pub enum Event {
    /// Some bytes.
    Received(Chunk),
    /// The peer will send no more.
    Ended,
    /// The connection is broken.
    Failed(io::Error),
    /// The deadline has passed.
    Deadline,
    /// A [`Notifier::notify`] came.
    Notified,
}

/// Received bytes. May hold one of the shard's few receive buffers: drop it soon.
pub struct Chunk {
    engine: Engine,
    bytes: Received,
}

enum Received {
    Lease(Option<Lease>),
    Copy(Vec<u8>),
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Received::Lease(lease) => lease.as_ref().map(Lease::bytes).unwrap_or_default(),
            Received::Copy(bytes) => bytes,
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Received::Lease(lease) = &mut self.bytes
            && let Some(lease) = lease.take()
        {
            self.engine.with(|core| core.buffers.give_back(lease));
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

/// Interrupts one socket's [`Socket::next`]. Harmless after the socket has gone.
#[derive(Clone)]
pub struct Notifier {
    engine: Engine,
    key: Key,
}

impl Notifier {
    /// Makes the current, else the next, [`Socket::next`] return [`Event::Notified`]. Several before that
    /// count as one.
    pub fn notify(&self) {
        self.engine.with(|core| {
            if let Some(slot) = core
                .slots
                .slot(self.key)
                .filter(|slot| matches!(slot.face, Face::Socket))
            {
                slot.flags.notified = true;
                core.wake(self.key);
            }
        });
    }
}

/// The future of [`Socket::next`].
#[must_use = "futures do nothing unless awaited"]
pub struct Next<'a> {
    socket: &'a mut Socket,
    want_input: bool,
    deadline: Option<Instant>,
    waits: bool,
}

impl Future for Next<'_> {
    type Output = Event;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Event> {
        let this = self.get_mut();
        let Socket { engine, key, .. } = &*this.socket;
        let polled = engine.with(|core| core.poll_next(*key, this.want_input, this.deadline, context));
        this.waits = polled.is_pending();
        polled.map(|next| match next {
            Taken::Lease(lease) => Event::Received(Chunk {
                engine: engine.clone(),
                bytes: Received::Lease(Some(lease)),
            }),
            Taken::Copy(bytes) => Event::Received(Chunk {
                engine: engine.clone(),
                bytes: Received::Copy(bytes),
            }),
            Taken::Event(event) => event,
        })
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.socket.engine.with(|core| core.disregard(self.socket.key));
        }
    }
}

/// The future of [`Socket::send`].
#[must_use = "futures do nothing unless awaited"]
pub struct Send<'a> {
    socket: &'a mut Socket,
    bytes: Option<Vec<u8>>,
    deadline: Option<Instant>,
}

impl Future for Send<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let key = this.socket.key;
        this.socket
            .engine
            .with(|core| core.poll_send(key, &mut this.bytes, this.deadline, context))
    }
}

/// What [`Core::poll_next`] found.
enum Taken {
    Lease(Lease),
    Copy(Vec<u8>),
    Event(Event),
}

impl Core {
    fn poll_next(
        &mut self,
        key: Key,
        want_input: bool,
        deadline: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<Taken> {
        let Some(slot) = self.slots.slot(key) else {
            return Poll::Ready(Taken::Event(Event::Failed(io::ErrorKind::NotConnected.into())));
        };
        if std::mem::take(&mut slot.flags.notified) {
            return Poll::Ready(Taken::Event(Event::Notified));
        }
        if want_input && let Some(taken) = take_input(slot) {
            return Poll::Ready(taken);
        }
        let empty = slot.inbox.is_none() && slot.stash.is_empty();
        if empty && let Some(event) = end_of_input(slot) {
            return Poll::Ready(Taken::Event(event));
        }
        if self.deadline_passed(key, deadline) {
            return Poll::Ready(Taken::Event(Event::Deadline));
        }
        if want_input {
            self.wait_for_input(key);
        } else {
            self.disregard(key);
        }
        if want_input || empty {
            self.receive(key);
        }
        self.wait(key, context);
        Poll::Pending
    }

    fn poll_send(
        &mut self,
        key: Key,
        bytes: &mut Option<Vec<u8>>,
        deadline: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(slot) = self.slots.slot(key) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if slot.errno != 0 {
            return Poll::Ready(Err(io::Error::from_raw_os_error(slot.errno)));
        }
        if !slot.flags.sending {
            match bytes.take_if(|bytes| !bytes.is_empty()) {
                None => return Poll::Ready(Ok(())),
                Some(bytes) => slot.outgoing = Outgoing::Bytes(bytes, 0),
            }
            if let Poll::Ready(sent) = self.send_at_once(key) {
                return Poll::Ready(sent);
            }
        }
        if self.deadline_passed(key, deadline) {
            if let Some(slot) = self.slots.slot(key) {
                slot.errno = libc::ETIMEDOUT;
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.disregard(key);
        self.wait(key, context);
        Poll::Pending
    }

    /// Whether the deadline has passed; otherwise sees to it that the task is woken then.
    fn deadline_passed(&mut self, key: Key, deadline: Option<Instant>) -> bool {
        let Some(slot) = self.slots.slot(key) else {
            return true;
        };
        slot.deadline = deadline.map_or(u64::MAX, |deadline| self.clock.tick_after(deadline));
        if slot.deadline == u64::MAX {
            return false;
        }
        if slot.deadline <= self.tick {
            return true;
        }
        // An earlier timer finds the deadline when it fires, and is then moved.
        if self.timers.due(key.index).is_none_or(|due| due > slot.deadline) {
            self.timers.set(key.index, slot.deadline);
        }
        false
    }

    fn wait(&mut self, key: Key, context: &mut Context<'_>) {
        let Some(slot) = self.slots.slot(key) else { return };
        match &mut slot.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => slot.waker = Some(context.waker().clone()),
        }
    }

    fn wait_for_input(&mut self, key: Key) {
        if let Some(slot) = self.slots.slot(key) {
            slot.flags.wanted = true;
        }
    }

    /// The task does not wait for input any more: what is there is copied, so that it does not keep a receive
    /// buffer.
    fn disregard(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        slot.flags.wanted = false;
        if let Some(lease) = slot.inbox.take() {
            slot.stash.splice(0..0, lease.bytes().iter().copied());
            self.buffers.give_back(lease);
        }
    }
}

fn take_input(slot: &mut Slot) -> Option<Taken> {
    if let Some(lease) = slot.inbox.take() {
        return Some(Taken::Lease(lease));
    }
    (!slot.stash.is_empty()).then(|| Taken::Copy(std::mem::take(&mut slot.stash)))
}

fn end_of_input(slot: &Slot) -> Option<Event> {
    match slot.errno {
        0 => slot.flags.ended.then_some(Event::Ended),
        errno => Some(Event::Failed(io::Error::from_raw_os_error(errno))),
    }
}
