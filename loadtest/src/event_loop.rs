//! One epoll loop and its non-blocking connections.
//!
//! Connections come from rotated source addresses. A write is tried at once after `connect`: on loopback the
//! handshake is over by then, and waiting for writability would cost a turn and a syscall per connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use slab::Slab;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::address::{Sources, TargetError, require_loopback};

/// Events taken per turn. Many, so that a turn's cost is shared.
const EVENTS_PER_TURN: usize = 1024;
/// Read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Token of the timer; slab keys are far below.
const TIMER: Token = Token(usize::MAX - 1);
/// Token of the listener.
const LISTENER: Token = Token(usize::MAX - 2);
/// Thrown away at a time.
const DISCARD_BYTES: usize = 1024 * 1024;
/// Waits shorter than this end at the next whole millisecond of epoll; the timer is finer but costs a
/// syscall.
const EPOLL_GRAIN: Duration = Duration::from_millis(1);

/// A connection and what the user of the loop keeps with it.
#[derive(Debug)]
pub(crate) struct Link<T> {
    stream: TcpStream,
    unsent: Vec<u8>,
    /// Whether epoll is asked for writability: only once a write has blocked, else every connection would
    /// cost an event more.
    awaits_room: bool,
    /// The user's part.
    pub(crate) state: T,
}

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Received {
    /// So many bytes, at the front of [`EventLoop::received`]; there may be more.
    Bytes(usize),
    /// Nothing more for now.
    Blocked,
    /// The peer ended its side.
    Ended,
}

/// The loop.
pub(crate) struct EventLoop<T> {
    poll: Poll,
    events: Events,
    timer: TimerFd,
    links: Slab<Link<T>>,
    /// Where the other ends of what is opened may arrive.
    listener: Option<TcpListener>,
    buffer: Box<[u8]>,
    /// Where nothing is ever written: it only says how much is thrown away at a time. Made when needed.
    abyss: Vec<u8>,
    target: SocketAddr,
    sources: Sources,
    nodelay: bool,
    awake: bool,
}

impl<T> EventLoop<T> {
    /// A loop without connections. `nodelay` switches Nagle's algorithm off, which a conversation that writes
    /// without waiting for an answer needs.
    pub(crate) fn new(target: SocketAddr, sources: Sources, nodelay: bool) -> io::Result<Self> {
        require_loopback(target).map_err(|error: TargetError| io::Error::other(error.to_string()))?;
        let poll = Poll::new()?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let fd = std::os::fd::AsFd::as_fd(&timer).as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            timer,
            links: Slab::new(),
            listener: None,
            abyss: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            target,
            sources,
            nodelay,
            awake: false,
        })
    }

    /// Never sleeps from now on: neither timers nor the cost of being woken, which the kernel bills to
    /// whoever wakes, are part of what is measured. Only for a loop that has its CPU for itself.
    pub(crate) fn stay_awake(&mut self) {
        self.awake = true;
    }

    /// Connections that are open.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Opens a connection and sends its first bytes as soon as it stands. `state` is made from the local
    /// address if that is known before.
    pub(crate) fn open(
        &mut self,
        begin: impl FnOnce(Option<std::net::Ipv4Addr>, &mut Vec<u8>) -> T,
    ) -> io::Result<usize> {
        let source = self.sources.turn(self.target);
        let socket = Socket::new(
            Domain::for_address(self.target),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        if let Some(source) = source {
            // The port is chosen in `connect`, per four-tuple: without this, `bind` takes one of 28 000 for
            // itself.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddrV4::new(source, 0).into())?;
        }
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        match socket.connect(&self.target.into()) {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
                return Err(error);
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let mut unsent = Vec::new();
        let state = begin(source, &mut unsent);
        if !unsent.is_empty() {
            write_some(&mut stream, &mut unsent)?;
        }
        let entry = self.links.vacant_entry();
        let key = entry.key();
        let awaits_room = !unsent.is_empty();
        self.poll
            .registry()
            .register(&mut stream, Token(key), interest(awaits_room))?;
        entry.insert(Link {
            stream,
            unsent,
            awaits_room,
            state,
        });
        Ok(key)
    }

    /// Takes connections from this listener too; each is asked for with [`Self::accept`].
    pub(crate) fn listen(&mut self, listener: std::net::TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        self.poll
            .registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// The next connection that came, if one did. `state` is made for it.
    pub(crate) fn accept(&mut self, state: impl FnOnce() -> T) -> io::Result<Option<usize>> {
        let Some(listener) = &self.listener else {
            return Ok(None);
        };
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.nodelay {
            stream.set_nodelay(true)?;
        }
        let entry = self.links.vacant_entry();
        let key = entry.key();
        self.poll
            .registry()
            .register(&mut stream, Token(key), interest(false))?;
        entry.insert(Link {
            stream,
            unsent: Vec::new(),
            awaits_room: false,
            state: state(),
        });
        Ok(Some(key))
    }

    /// Waits for events, at most until `until`.
    pub(crate) fn wait(&mut self, until: Instant) -> io::Result<()> {
        while self.awake {
            self.poll(Duration::ZERO)?;
            if !self.events.is_empty() || Instant::now() >= until {
                return Ok(());
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        let timeout = if left.is_zero() {
            Duration::ZERO
        } else if left < EPOLL_GRAIN * 4 {
            let expiration = Expiration::OneShot(TimeSpec::from(left));
            self.timer.set(expiration, TimerSetTimeFlags::empty())?;
            EPOLL_GRAIN * 8
        } else {
            // A millisecond early, because epoll rounds up; the next turn uses the timer.
            left - EPOLL_GRAIN
        };
        self.poll(timeout)
    }

    fn poll(&mut self, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Moves the connections that had events into `ready`, in the order in which they came.
    pub(crate) fn take_ready(&self, ready: &mut Vec<usize>) {
        ready.clear();
        ready.extend(
            self.events
                .iter()
                .map(|event| event.token())
                .filter(|token| ![TIMER, LISTENER].contains(token))
                .map(|token| token.0),
        );
    }

    /// The connection's state, if it is still open.
    pub(crate) fn state(&mut self, key: usize) -> Option<&mut T> {
        self.links.get_mut(key).map(|link| &mut link.state)
    }

    /// The bytes of the last [`Self::receive`] together with the state they are for and the queue of what to
    /// send.
    pub(crate) fn received(&mut self, key: usize, count: usize) -> Option<(&[u8], &mut T, &mut Vec<u8>)> {
        let link = self.links.get_mut(key)?;
        Some((self.buffer.get(..count)?, &mut link.state, &mut link.unsent))
    }

    /// Reads once.
    pub(crate) fn receive(&mut self, key: usize) -> io::Result<Received> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(Received::Blocked);
        };
        loop {
            match link.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(Received::Ended),
                Ok(count) => return Ok(Received::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Blocked),
                // The connection is not established yet.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(Received::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Throws away what has come, at most so many bytes of it, without copying it: TCP does that for a `recv`
    /// with `MSG_TRUNC`. Gives how many they were.
    pub(crate) fn discard(&mut self, key: usize, most: usize) -> io::Result<Received> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(Received::Blocked);
        };
        self.abyss.resize(DISCARD_BYTES, 0);
        let most = most.min(DISCARD_BYTES);
        let abyss = self.abyss.get_mut(..most).unwrap_or_default();
        loop {
            match recv(link.stream.as_raw_fd(), abyss, MsgFlags::MSG_TRUNC) {
                Ok(0) => return Ok(Received::Ended),
                Ok(count) => return Ok(Received::Bytes(count)),
                Err(nix::errno::Errno::EAGAIN) => return Ok(Received::Blocked),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a read of so many bytes emptied the socket; if it did, a further read can be left out.
    pub(crate) fn emptied(&self, count: usize) -> bool {
        count < self.buffer.len()
    }

    /// Queues bytes and sends what the socket takes.
    pub(crate) fn send(&mut self, key: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let written = if link.unsent.is_empty() {
            write_once(&mut link.stream, bytes)?
        } else {
            0
        };
        link.unsent
            .extend_from_slice(bytes.get(written..).unwrap_or_default());
        self.flush(key)
    }

    /// Sends what the socket takes and queues nothing. 0 means that there is no room; an event tells when
    /// there is again.
    pub(crate) fn pour(&mut self, key: usize, bytes: &[u8]) -> io::Result<usize> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(0);
        };
        let written = write_once(&mut link.stream, bytes)?;
        if written == 0 && !link.awaits_room {
            link.awaits_room = true;
            self.poll
                .registry()
                .reregister(&mut link.stream, Token(key), interest(true))?;
        }
        Ok(written)
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(crate) fn flush(&mut self, key: usize) -> io::Result<()> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        if link.unsent.is_empty() {
            return Ok(());
        }
        write_some(&mut link.stream, &mut link.unsent)?;
        if !link.unsent.is_empty() && !link.awaits_room {
            link.awaits_room = true;
            self.poll
                .registry()
                .reregister(&mut link.stream, Token(key), interest(true))?;
        }
        Ok(())
    }

    /// Bytes that wait for the socket to take them.
    pub(crate) fn unsent(&self, key: usize) -> usize {
        self.links.get(key).map_or(0, |link| link.unsent.len())
    }

    /// Closes a connection with a reset instead of an orderly end.
    pub(crate) fn reset(&mut self, key: usize) -> Option<T> {
        if let Some(link) = self.links.get(key) {
            // Where this fails the connection is gone already.
            let _ = SockRef::from(&link.stream).set_linger(Some(Duration::ZERO));
        }
        self.close(key)
    }

    /// Closes a connection and gives its state back.
    pub(crate) fn close(&mut self, key: usize) -> Option<T> {
        self.links.try_remove(key).map(|link| link.state)
    }

    /// All connections.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.links.iter().map(|(key, link)| (key, &link.state))
    }
}

fn interest(awaits_room: bool) -> Interest {
    if awaits_room {
        Interest::READABLE | Interest::WRITABLE
    } else {
        Interest::READABLE
    }
}

/// Writes until the socket blocks; what is left stays in `unsent`.
fn write_some(stream: &mut TcpStream, unsent: &mut Vec<u8>) -> io::Result<()> {
    let mut sent = 0;
    while sent < unsent.len() {
        match write_once(stream, unsent.get(sent..).unwrap_or_default())? {
            0 => break,
            written => sent += written,
        }
    }
    unsent.drain(..sent);
    Ok(())
}

/// One write; 0 means that the socket takes nothing for now.
fn write_once(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                ) =>
            {
                return Ok(0);
            }
            result => return result,
        }
    }
}
