//! Stand-ins for what Passage talks to, on loopback: [`Double`] runs a [`Service`] on one epoll thread.
//!
//! They are made for load as much as for tests: an echo target must not cost more than the proxy before it.

pub mod api_server;
pub mod collector;
pub mod echo;
pub mod http;
pub mod login;
pub mod relay_epoll;
pub mod session_server;
pub mod status;
pub mod status_page;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use crate::address::require_loopback;
use crate::pin;

const LISTENER: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX - 2);
/// Read at a time.
const READ_BYTES: usize = 64 * 1024;
/// A connection whose peer does not read is not read from either above this.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

/// What a double does with its connections.
pub trait Service: Send + 'static {
    /// What it keeps per connection.
    type Connection: Send;
    /// A connection came.
    fn accept(&mut self, peer: SocketAddr) -> Self::Connection;
    /// Takes received bytes, appends what is to be sent. `false` closes the connection after that was sent.
    fn receive(&mut self, connection: &mut Self::Connection, bytes: &[u8], output: &mut Vec<u8>) -> bool;
    /// How long everything is held back before it is sent. Always the same.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// What a double has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Bytes received.
    pub bytes: AtomicU64,
}

/// A running double; ends when dropped.
#[derive(Debug)]
pub struct Double {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Double {
    /// Listens on a free port of 127.0.0.1 and serves, on `cpu` if given.
    ///
    /// # Errors
    /// If a socket, epoll or the CPU cannot be had.
    pub fn start<S: Service>(service: S, cpu: Option<usize>) -> io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), service, cpu)
    }

    /// Like [`Self::start`], at this address.
    ///
    /// # Errors
    /// As [`Self::start`], and if the address is taken or not loopback.
    pub fn start_at<S: Service>(address: SocketAddr, service: S, cpu: Option<usize>) -> io::Result<Self> {
        require_loopback(address).map_err(|error| io::Error::other(error.to_string()))?;
        let mut listener = TcpListener::from_std(listen(address)?);
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let server = Server {
            service,
            listener,
            poll,
            seen: Arc::clone(&seen),
            connections: Slab::new(),
            held: VecDeque::new(),
        };
        let stopped = Arc::clone(&stop);
        let (report, pinned) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("double".to_owned())
            .spawn(move || {
                let ready = cpu.map_or(Ok(()), pin::pin_thread);
                let is_ready = ready.is_ok();
                let _ = report.send(ready);
                if is_ready {
                    server.serve(&stopped);
                }
            })?;
        pinned
            .recv()
            .map_err(|_| io::Error::other("the double's thread ended at once"))??;
        Ok(Self {
            address,
            stop,
            waker,
            seen,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A listener with a backlog for thousands of connections at once; the standard library's is 128.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(
        domain,
        socket2::Type::STREAM.nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

struct Peer<C> {
    stream: TcpStream,
    unsent: Vec<u8>,
    /// Answers that are held back.
    held: usize,
    /// Counts connections, because their keys come again.
    serial: u64,
    closing: bool,
    connection: C,
}

impl<C> Peer<C> {
    /// Whether there is nothing left to do.
    fn is_over(&self) -> bool {
        self.closing && self.unsent.is_empty() && self.held == 0
    }
}

/// An answer that is held back.
struct Held {
    due: Instant,
    key: usize,
    serial: u64,
    answer: Vec<u8>,
}

struct Server<S: Service> {
    service: S,
    listener: TcpListener,
    poll: Poll,
    seen: Arc<Seen>,
    connections: Slab<Peer<S::Connection>>,
    /// In the order in which they are due.
    held: VecDeque<Held>,
}

impl<S: Service> Server<S> {
    fn serve(mut self, stop: &AtomicBool) {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        while !stop.load(Ordering::Acquire) {
            let due = self.held.front().map(|held| held.due);
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(key) => self.turn(key, event, &mut buffer),
                }
            }
            self.release(Instant::now());
        }
    }

    fn accept(&mut self) {
        // Any error ends the round; the next connection begins another.
        while let Ok((mut stream, peer)) = self.listener.accept() {
            let _ = stream.set_nodelay(true);
            let entry = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self
                .poll
                .registry()
                .register(&mut stream, Token(entry.key()), interest)
                .is_ok()
            {
                let connection = self.service.accept(peer);
                entry.insert(Peer {
                    stream,
                    unsent: Vec::new(),
                    held: 0,
                    serial: self.seen.accepted.fetch_add(1, Ordering::Relaxed),
                    closing: false,
                    connection,
                });
            }
        }
    }

    fn turn(&mut self, key: usize, event: &Event, buffer: &mut [u8]) {
        let Some(peer) = self.connections.get_mut(key) else {
            return;
        };
        // Writable alone, with nothing to write, is what every new connection reports first.
        let idle = !event.is_readable() && peer.unsent.is_empty();
        let mut hold = |peer: &mut Peer<_>, answer, delay| {
            peer.held += 1;
            self.held.push_back(Held {
                due: Instant::now() + delay,
                key,
                serial: peer.serial,
                answer,
            });
        };
        let ending = event.is_read_closed();
        let open =
            idle || exchange(&mut self.service, peer, &self.seen, buffer, &mut hold, ending).unwrap_or(false);
        if !open {
            self.connections.remove(key);
        }
    }

    /// Sends what was held back for long enough.
    fn release(&mut self, now: Instant) {
        while let Some(held) = self.held.pop_front_if(|held| held.due <= now) {
            let peer = self.connections.get_mut(held.key);
            let Some(peer) = peer.filter(|peer| peer.serial == held.serial) else {
                continue;
            };
            peer.held -= 1;
            peer.unsent.extend_from_slice(&held.answer);
            if flush(peer).is_err() || peer.is_over() {
                self.connections.remove(held.key);
            }
        }
    }
}

/// Reads and answers until the socket blocks. `false` if the connection is over.
fn exchange<S: Service>(
    service: &mut S,
    peer: &mut Peer<S::Connection>,
    seen: &Seen,
    buffer: &mut [u8],
    hold: &mut impl FnMut(&mut Peer<S::Connection>, Vec<u8>, Duration),
    ending: bool,
) -> io::Result<bool> {
    let delay = service.delay();
    flush(peer)?;
    while peer.unsent.len() <= UNSENT_BYTES_MAX && !peer.closing {
        let count = match peer.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        seen.bytes.fetch_add(count as u64, Ordering::Relaxed);
        let bytes = buffer.get(..count).unwrap_or_default();
        if delay.is_zero() {
            peer.closing = !service.receive(&mut peer.connection, bytes, &mut peer.unsent);
        } else {
            let mut answer = Vec::new();
            peer.closing = !service.receive(&mut peer.connection, bytes, &mut answer);
            if !answer.is_empty() {
                hold(peer, answer, delay);
            }
        }
        flush(peer)?;
        // What comes later is a new event; an end that is there already is not.
        if count < buffer.len() && !ending {
            break;
        }
    }
    Ok(!peer.is_over())
}

fn flush<C>(peer: &mut Peer<C>) -> io::Result<()> {
    let mut sent = 0;
    while let Some(rest) = peer.unsent.get(sent..).filter(|rest| !rest.is_empty()) {
        match peer.stream.write(rest) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    peer.unsent.drain(..sent);
    Ok(())
}
