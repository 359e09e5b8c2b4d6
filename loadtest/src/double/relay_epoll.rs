//! A plain TCP relay on epoll: the yardstick of what a relay costs without io_uring, without routes, limits
//! and metrics.
//!
//! One thread, one loop, edge-triggered. What is read goes out at once from the buffer that all connections
//! share; only what the other socket does not take is kept, and until that is sent nothing more is read. An
//! end of one direction is passed on, the other direction goes on.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::listen;
use crate::address::require_loopback;

const LISTENER: Token = Token(usize::MAX - 1);
/// Read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Read from one socket before others have their turn.
const TURN_BYTES: usize = 16 * READ_BYTES;
const EVENTS_PER_TURN: usize = 1024;

/// A relay to one target.
#[derive(Debug)]
pub struct RelayEpoll {
    listener: TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    poll: Poll,
    pairs: Slab<Pair>,
    buffer: Box<[u8]>,
    /// Ends whose turn was over before they were empty.
    again: VecDeque<usize>,
}

/// Both sockets of a relayed connection: the client's and the target's.
#[derive(Debug)]
struct Pair {
    ends: [End; 2],
}

#[derive(Debug)]
struct End {
    stream: TcpStream,
    /// What came from the other end and found no room here.
    unsent: Vec<u8>,
    /// Whether there may be more to read.
    is_readable: bool,
    /// Whether the end of what it sends has come.
    is_ending: bool,
    /// Whether that end was read.
    is_over: bool,
    /// Whether it was told that nothing more comes from the other end.
    is_shut: bool,
}

impl End {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            unsent: Vec::new(),
            is_readable: false,
            is_ending: false,
            is_over: false,
            is_shut: false,
        }
    }
}

impl RelayEpoll {
    /// Listens on `address` and is to relay to `target`, both on loopback.
    ///
    /// # Errors
    /// If either is not loopback, the address is taken, or epoll cannot be had.
    pub fn bind(address: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        for address in [address, target] {
            require_loopback(address).map_err(|error| io::Error::other(error.to_string()))?;
        }
        let mut listener = TcpListener::from_std(listen(address)?);
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            listener,
            address,
            target,
            poll,
            pairs: Slab::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            again: VecDeque::new(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that it relays now.
    #[must_use]
    pub fn relayed(&self) -> usize {
        self.pairs.len()
    }

    /// Relays until epoll fails.
    ///
    /// # Errors
    /// Its error.
    pub fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            self.turn(&mut events, None)?;
        }
    }

    /// Waits for events, at most for so long, and does what they ask for.
    ///
    /// # Errors
    /// Those of epoll.
    fn turn(&mut self, events: &mut Events, patience: Option<Duration>) -> io::Result<()> {
        let patience = if self.again.is_empty() {
            patience
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for _ in 0..self.again.len() {
            if let Some(token) = self.again.pop_front() {
                self.relay(token);
            }
        }
        for event in &*events {
            match event.token() {
                LISTENER => self.accept(),
                Token(token) => {
                    if let Some(end) = self.end(token).filter(|_| event.is_readable()) {
                        end.is_readable = true;
                        end.is_ending |= event.is_read_closed();
                    }
                    self.relay(token);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, token: usize) -> Option<&mut End> {
        self.pairs.get_mut(token / 2)?.ends.get_mut(token % 2)
    }

    /// Takes all that came. An error ends the round; the next connection begins another.
    fn accept(&mut self) {
        while let Ok((client, _)) = self.listener.accept() {
            // What cannot be relayed is closed.
            let _ = self.adopt(client);
        }
    }

    fn adopt(&mut self, mut client: TcpStream) -> io::Result<()> {
        let mut target = TcpStream::connect(self.target)?;
        let entry = self.pairs.vacant_entry();
        // Edge-triggered, both cost nothing until they happen.
        let interest = Interest::READABLE | Interest::WRITABLE;
        for (index, stream) in [&mut client, &mut target].into_iter().enumerate() {
            stream.set_nodelay(true)?;
            let token = Token(2 * entry.key() + index);
            self.poll.registry().register(stream, token, interest)?;
        }
        entry.insert(Pair {
            ends: [End::new(client), End::new(target)],
        });
        Ok(())
    }

    /// Something happened at one end, which may let either direction go on.
    fn relay(&mut self, token: usize) {
        let key = token / 2;
        let Some(pair) = self.pairs.get_mut(key) else {
            return;
        };
        let [client, target] = &mut pair.ends;
        let moved = forward(client, target, &mut self.buffer)
            .and_then(|rest| Ok(rest | forward(target, client, &mut self.buffer)?));
        let is_over = pair.ends.iter().all(|end| end.is_shut);
        match moved {
            Ok(rest) if !is_over => self.again.extend(rest.then_some(token)),
            _ => {
                self.pairs.remove(key);
            }
        }
    }
}

/// Moves what there is from one socket to the other. `true` if its turn ended before it was empty.
fn forward(from: &mut End, to: &mut End, buffer: &mut [u8]) -> io::Result<bool> {
    flush(to)?;
    let mut moved = 0;
    while to.unsent.is_empty() && from.is_readable && !from.is_over {
        if moved >= TURN_BYTES {
            return Ok(true);
        }
        let count = match from.stream.read(buffer) {
            Ok(0) => {
                from.is_over = true;
                break;
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_blocked(&error) => {
                from.is_readable = false;
                break;
            }
            Err(error) => return Err(error),
        };
        moved += count;
        let bytes = buffer.get(..count).unwrap_or_default();
        let sent = write(&mut to.stream, bytes)?;
        to.unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
        // A read that does not fill the buffer has emptied the socket: the next bytes are a new event, and so
        // is an end that comes later. One that is there already is not.
        if count < buffer.len() && !from.is_ending {
            from.is_readable = false;
        }
    }
    if from.is_over && to.unsent.is_empty() && !to.is_shut {
        to.is_shut = true;
        to.stream.shutdown(Shutdown::Write)?;
    }
    Ok(false)
}

/// Sends what found no room before.
fn flush(end: &mut End) -> io::Result<()> {
    if !end.unsent.is_empty() {
        let sent = write(&mut end.stream, &end.unsent)?;
        end.unsent.drain(..sent);
        if end.unsent.is_empty() {
            // An idle connection holds no buffer.
            end.unsent = Vec::new();
        }
    }
    Ok(())
}

/// Writes until all is written or there is no room; gives how much was.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_blocked(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Whether there is nothing to be had now; a connection that does not stand yet is no different.
fn is_blocked(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use mio::Events;

    use super::RelayEpoll;
    use crate::double::{Double, echo::Echo};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A relay to this target. Its thread ends with the tests.
    fn relay_to(target: SocketAddr) -> SocketAddr {
        let relay = RelayEpoll::bind((Ipv4Addr::LOCALHOST, 0).into(), target).expect("a relay");
        let address = relay.address();
        std::thread::spawn(move || relay.serve());
        address
    }

    fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    #[test]
    fn megabytes_come_back_as_they_were_sent_although_the_client_reads_late() {
        let echo = Double::start(Echo, None).expect("a double");
        let mut stream = connect(relay_to(echo.address()));
        let sent: Vec<u8> = (0..20_000_000u32)
            .map(|index| (index / 7).to_le_bytes()[0])
            .collect();
        let mut writing = stream.try_clone().expect("another handle");
        let (bytes, length) = (sent.clone(), sent.len());
        let writer = std::thread::spawn(move || writing.write_all(&bytes));
        std::thread::park_timeout(Duration::from_millis(200));
        let mut heard = vec![0; length];
        stream.read_exact(&mut heard).expect("all of it");
        assert!(heard == sent, "bytes differ");
        writer.join().expect("the writer").expect("writes");
    }

    #[test]
    fn one_direction_ends_and_the_other_goes_on() {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a target");
        let mut client = connect(relay_to(target.local_addr().expect("its address")));
        // Data and end in one piece: the end is read although no event follows.
        client.write_all(b"question").expect("a write");
        client.shutdown(Shutdown::Write).expect("a shutdown");
        let (mut server, _) = target.accept().expect("the relay");
        let mut heard = String::new();
        server.read_to_string(&mut heard).expect("to the end");
        assert_eq!(heard, "question");
        server.write_all(b"answer").expect("a write");
        drop(server);
        heard.clear();
        client.read_to_string(&mut heard).expect("to the end");
        assert_eq!(heard, "answer");
    }

    #[test]
    fn a_target_that_is_not_there_closes_the_client() {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let mut client = connect(relay_to(nobody.expect("an address")));
        let _ = client.write_all(b"hello");
        let count = client.read(&mut [0; 16]);
        assert!(matches!(count, Ok(0) | Err(_)), "{count:?}");
    }

    #[test]
    fn nothing_is_kept_of_relays_that_are_over() {
        let echo = Double::start(Echo, None).expect("a double");
        let mut relay = RelayEpoll::bind((Ipv4Addr::LOCALHOST, 0).into(), echo.address()).expect("a relay");
        let mut clients: Vec<TcpStream> = (0..20).map(|_| connect(relay.address())).collect();
        let mut events = Events::with_capacity(64);
        let mut turn = |relay: &mut RelayEpoll| {
            relay
                .turn(&mut events, Some(Duration::from_millis(20)))
                .expect("epoll");
        };
        while relay.relayed() < 20 {
            turn(&mut relay);
        }
        for client in &mut clients {
            client.write_all(b"hello").expect("a write");
        }
        drop(clients);
        while relay.relayed() > 0 {
            turn(&mut relay);
        }
    }

    #[test]
    fn relays_on_loopback_only() {
        let (here, elsewhere) = ((Ipv4Addr::LOCALHOST, 0).into(), ([192, 0, 2, 1], 1).into());
        assert!(RelayEpoll::bind(here, elsewhere).is_err());
        assert!(RelayEpoll::bind(elsewhere, here).is_err());
    }
}
