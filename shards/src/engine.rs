//! The I/O engine: one raw io_uring per shard, owned by one task of the executor.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sizes of an engine. The defaults are the measured ones.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Entries of the submission queue.
    pub entries: u32,
    /// Entries of the completion queue.
    pub completions: u32,
    /// How many receive buffers the shard has; a power of two.
    pub buffers: u16,
    /// Size of one receive buffer, in bytes.
    pub buffer_bytes: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entries: 4096,
            completions: 16384,
            buffers: 256,
            buffer_bytes: 16 * 1024,
        }
    }
}

/// Why there is no engine. Displays what is missing and what to do about it.
#[derive(Debug)]
pub enum EngineError {
    /// io_uring may not be used here (seccomp, `kernel.io_uring_disabled`).
    Forbidden,
    /// The kernel has no io_uring or lacks an operation.
    KernelTooOld,
    /// `RLIMIT_MEMLOCK` is too small.
    MemoryLock,
    /// Another error, while doing this.
    Io(&'static str, io::Error),
}

/// One shard's I/O. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Engine {
    _core: Rc<()>,
}

impl Engine {
    /// Makes an engine. Call it on the executor's thread.
    ///
    /// # Errors
    ///
    /// Says what the kernel or the environment lacks.
    pub fn new(_settings: Settings) -> Result<Self, EngineError> {
        todo!()
    }

    /// Tries io_uring with a tiny ring, before any executor exists: glommio panics where it is forbidden.
    ///
    /// # Errors
    ///
    /// Says what the kernel or the environment lacks.
    pub fn probe() -> Result<(), EngineError> {
        todo!()
    }

    /// Runs the engine: ends after [`stop`](Self::stop) once every operation has completed. Spawn it once, in the
    /// task queue of the connections.
    pub async fn run(&self) {
        todo!()
    }

    /// Closes all that is open and lets [`run`](Self::run) end.
    pub fn stop(&self) {
        todo!()
    }

    /// The time, refreshed once a turn of the engine.
    #[must_use]
    pub fn now(&self) -> Instant {
        todo!()
    }

    /// Wakes this shard from any thread.
    #[must_use]
    pub fn waker(&self) -> RemoteWaker {
        todo!()
    }

    /// Sets what runs on the shard after a [`RemoteWaker::wake`]; it drains the shard's mailbox. May call the engine.
    pub fn on_wake(&self, _callback: Box<dyn FnMut()>) {
        todo!()
    }

    /// Accepts connections until [`Listening::close`] or a fatal error. The callback may call the engine and spawn.
    pub fn listen(&self, _listener: TcpListener, _on_accept: Box<dyn FnMut(Accept)>) -> Listening {
        todo!()
    }

    /// Takes an accepted socket. Nothing is armed until it is first asked for.
    #[must_use]
    pub fn adopt(&self, _socket: OwnedFd) -> Socket {
        todo!()
    }

    /// Connects to `to`, with `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// The kernel's error, or [`io::ErrorKind::TimedOut`] at the deadline.
    pub async fn connect(&self, _to: SocketAddr, _deadline: Instant) -> io::Result<Socket> {
        todo!()
    }

    /// Waits until `deadline`, coarsely (some tens of milliseconds late at most). Cancel-safe.
    ///
    /// Use this instead of the executor's timers: while the engine waits in its ring the executor does not look at its own.
    pub async fn sleep_until(&self, _deadline: Instant) {
        todo!()
    }

    /// Relays bytes both ways until both directions ended, one fails, or nothing came for `idle`. `first` goes to the
    /// target before anything else, then what the client has sent in the meantime. `on_end` runs exactly once, after
    /// both sockets are closed; it may call the engine.
    pub fn relay(
        &self,
        _client: Socket,
        _target: Socket,
        _first: Vec<u8>,
        _idle: Duration,
        _on_end: Box<dyn FnOnce(RelayReport)>,
    ) {
        todo!()
    }

    /// Ends all relays now; each reports [`RelayEnd::Aborted`].
    pub fn abort_relays(&self) {
        todo!()
    }

    /// Sockets that are open now, those that linger after [`Socket::finish`] and those of relays included: what
    /// admission has to count.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        todo!()
    }

    /// What the engine has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        todo!()
    }
}

/// Wakes a shard from any thread. Coalesced: many wakes before the shard looks cost one system call.
#[derive(Clone, Debug)]
pub struct RemoteWaker {
    _shared: Arc<()>,
}

impl RemoteWaker {
    /// Ends the engine's wait at once and runs its `on_wake` callback. Never blocks.
    pub fn wake(&self) {
        todo!()
    }
}

/// What a listener has to say.
#[derive(Debug)]
pub enum Accept {
    /// A connection. `TCP_NODELAY` is as on the listener. Dropping it closes it.
    Socket(OwnedFd),
    /// Too few file descriptors, too little memory, or a connection that failed before it was accepted. The engine pauses
    /// and goes on by itself.
    Transient(io::Error),
    /// The listener is of no use any more and was closed.
    Fatal(io::Error),
}

/// A listener at work. Dropping it closes it.
pub struct Listening {
    _engine: Engine,
}

impl Listening {
    /// Stops accepting and closes the listening socket. Sockets that were accepted before still reach the callback.
    pub fn close(self) {
        todo!()
    }
}

/// An open TCP connection. Dropping it closes it at once; see [`finish`](Self::finish) for the gentle way.
pub struct Socket {
    engine: Engine,
}

impl Socket {
    /// Waits for what happens next. Cancel-safe: what was received and not returned is kept.
    ///
    /// Without `want_input` only little of what the peer sends is taken from the kernel, and nothing of it is returned;
    /// [`Event::Ended`] and [`Event::Failed`] are still reported once all input before them has been taken.
    pub async fn next(&mut self, _want_input: bool, _deadline: Option<Instant>) -> Event {
        todo!()
    }

    /// Makes another task (or a callback) on this shard interrupt [`next`](Self::next).
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        todo!()
    }

    /// Sends all of `bytes`. The engine owns them until the kernel has taken them, even if this future is dropped; a later
    /// `send` then waits for its turn.
    ///
    /// # Errors
    ///
    /// The kernel's error, or [`io::ErrorKind::TimedOut`] at the deadline; the stream is useless after either.
    pub async fn send(&mut self, _bytes: Vec<u8>, _deadline: Option<Instant>) -> io::Result<()> {
        todo!()
    }

    /// An empty, pooled vector for the next [`send`](Self::send), which gives it back.
    #[must_use]
    pub fn take_buffer(&self) -> Vec<u8> {
        todo!()
    }

    /// Ends the connection so that the peer reads all that was sent: shuts the write side, discards input until the peer
    /// ends too, at most `linger` long and a bounded number of bytes, then closes. Returns at once; the engine does the rest.
    pub fn finish(self, _linger: Duration) {
        todo!()
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// Fails when the connection was reset before.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        todo!()
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        todo!()
    }

    /// The engine that this socket belongs to.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
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

/// Received bytes. Holds one of the shard's few receive buffers: drop it soon.
pub struct Chunk {
    _engine: Engine,
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &[]
    }
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

/// Interrupts one socket's [`Socket::next`]. Harmless after the socket has gone.
#[derive(Clone)]
pub struct Notifier {
    _engine: Engine,
}

impl Notifier {
    /// Makes the current, else the next, [`Socket::next`] return [`Event::Notified`]. Several before that count as one.
    pub fn notify(&self) {
        todo!()
    }
}

/// What became of a relay.
#[derive(Clone, Copy, Debug)]
pub struct RelayReport {
    /// Bytes that the target's socket took, `first` included.
    pub to_target: u64,
    /// Bytes that the client's socket took.
    pub to_client: u64,
    /// From the hand-over to the end.
    pub took: Duration,
    /// Why it ended.
    pub end: RelayEnd,
}

/// Why a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayEnd {
    /// The client ended first, and then the target.
    ClientClosed,
    /// The target ended first, and then the client.
    TargetClosed,
    /// Nothing came from either for the idle timeout.
    Idle,
    /// The client's connection broke.
    ClientFailed,
    /// The target's connection broke.
    TargetFailed,
    /// [`Engine::abort_relays`], [`Engine::stop`], or a bug of ours that was caught.
    Aborted,
}

/// What an engine has done so far, and what it holds now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Turns of the pump.
    pub turns: u64,
    /// Completions processed.
    pub completions: u64,
    /// Times that the pump parked in the executor.
    pub parks: u64,
    /// Receives that found no free buffer.
    pub starved: u64,
    /// Panics caught in callbacks and completions.
    pub panics: u64,
    /// Bytes relayed to targets, counted as they go.
    pub relayed_to_target: u64,
    /// Bytes relayed to clients, counted as they go.
    pub relayed_to_client: u64,
    /// Sockets that are open now, those that linger included.
    pub sockets: usize,
    /// Relays that are open now.
    pub relays: usize,
    /// Receive buffers that are in use now.
    pub buffers_used: usize,
    /// The longest time that one turn's completions and the tasks they woke took since the last call of
    /// [`Engine::take_lag`].
    pub lag: Duration,
}

impl Engine {
    /// The longest turn since the last call: how late the shard may have been for anybody.
    #[must_use]
    pub fn take_lag(&self) -> Duration {
        todo!()
    }
}
