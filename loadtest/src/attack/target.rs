//! Targets that behave as badly as their clients: one sends without end, one never reads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::pin;

/// How often the sockets are looked at.
const TURN: Duration = Duration::from_millis(5);
/// Written at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Connections that are served; more are closed.
const CONNECTIONS_MAX: usize = 1_024;

/// What a target does to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Sends as fast as it is read.
    Faucet,
    /// Neither reads nor writes.
    Deaf,
}

/// Such a target, on a free port of 127.0.0.1; ends when dropped.
#[derive(Debug)]
pub struct BadTarget {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl BadTarget {
    /// Listens, on `cpu` if given.
    ///
    /// # Errors
    /// If the socket or the thread cannot be had.
    pub fn start(manner: Manner, cpu: Option<usize>) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = pin::spawn_behind("bad-target", cpu, move || {
            serve(&listener, manner, &stopped);
            Ok(())
        })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BadTarget {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, manner: Manner, stop: &AtomicBool) {
    let chunk = vec![0x2A; CHUNK_BYTES];
    let mut streams: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Acquire) {
        while let Ok((stream, _)) = listener.accept() {
            if streams.len() < CONNECTIONS_MAX && stream.set_nonblocking(true).is_ok() {
                streams.push(stream);
            }
        }
        streams.retain_mut(|stream| {
            std::thread::yield_now();
            match manner {
                Manner::Faucet => pour(stream, &chunk),
                Manner::Deaf => is_open(stream),
            }
        });
        std::thread::park_timeout(TURN);
    }
}

/// Reads what came and writes what the socket takes. `false` if the connection is over.
fn pour(stream: &mut TcpStream, chunk: &[u8]) -> bool {
    let mut taken = [0; 1024];
    match stream.read(&mut taken) {
        Ok(0) => return false,
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return false,
        _ => {}
    }
    // However much of it goes: what follows is the same.
    let poured = stream.write(chunk).map(|count| count > 0);
    poured.unwrap_or_else(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether the peer has neither closed nor reset. Looks without taking anything out of the socket.
fn is_open(stream: &TcpStream) -> bool {
    let mut seen = [0];
    match stream.peek(&mut seen) {
        Ok(count) => count > 0 && !matches!(stream.take_error(), Ok(Some(_))),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
