//! The I/O engine: one raw io_uring per shard, owned by one task of the executor.
//!
//! [`Engine::run`] is that task, the pump. Each turn it submits what was asked for, waits for completions,
//! lets them change the state (`core`), and then wakes tasks and runs callbacks; see the modules for the
//! parts.
//!
//! Architecture invariants. Memory and descriptors that an operation uses belong to a slot, and a slot lives
//! until its last operation has completed: futures may be dropped at any time. No foreign code runs while the
//! core is borrowed. Receive buffers belong to the shard: whoever cannot use received bytes at once copies
//! them and gives the buffer back, so that slow peers and tasks cannot starve the others.

mod buffers;
mod calls;
mod connect;
mod core;
mod error;
mod listen;
mod pipes;
mod pool;
mod prefetch;
mod pump;
mod raised;
mod relay;
mod ring;
#[cfg(test)]
pub(crate) mod simulation;
mod slot;
mod socket;
mod stream;
mod tag;
#[cfg(test)]
mod tests;
mod timers;
mod trim;
mod wake;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use self::core::Core;
pub use self::error::EngineError;
pub use self::listen::{Accept, Listening};
pub use self::relay::{RelayEnd, RelayReport};
use self::slot::{Face, Side};
pub use self::socket::{Chunk, Event, Next, Notifier, Send, Socket};
use self::tag::Key;
pub use self::wake::RemoteWaker;
use self::wake::Signal;
use crate::limits::{
    LARGE_BUFFER_BYTES, LARGE_BUFFERS, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS_PER_SHARD,
    RELAY_MEMORY_MIB_PER_SHARD, RELAY_PIPES_PER_SHARD, mib,
};
use crate::metrics::Durations;
use crate::pool::Limits;

/// Sizes of an engine. The defaults are the measured ones.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Entries of the submission queue, at most 32 768.
    pub entries: u32,
    /// Entries of the completion queue, at most 65 536.
    pub completions: u32,
    /// How many receive buffers the shard has: rounded up to a power of two, at most 32 768.
    pub buffers: u16,
    /// Size of one receive buffer, in bytes.
    pub buffer_bytes: u16,
    /// How many large receive buffers the shard has, for relays that carry bulk: rounded up to a power of
    /// two, at most 32 768.
    pub large_buffers: u16,
    /// Size of one large receive buffer, in bytes.
    pub large_buffer_bytes: u32,
    /// How many pipes relays may carry bulk through at the same time; each takes two descriptors. Without one
    /// bulk takes the large buffers.
    pub pipes: u16,
    /// Bytes that all relays together may hold outside of the receive buffers, because their sinks are slow.
    /// Above half of it sources are received from only while nothing of theirs waits; beyond it
    /// the relays end whose sinks have been stuck for the longest time. While one buffer is copied, or what
    /// one relay begins with, its bytes come on top.
    pub relay_memory: usize,
}

impl Stats {
    fn count_relayed(&mut self, sink: Side, bytes: usize) {
        match sink {
            Side::Target => self.relayed_to_target += bytes as u64,
            Side::Client => self.relayed_to_client += bytes as u64,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entries: 512,
            completions: 4096,
            buffers: RECEIVE_BUFFERS_PER_SHARD.default,
            buffer_bytes: RECEIVE_BUFFER_BYTES,
            large_buffers: LARGE_BUFFERS,
            large_buffer_bytes: LARGE_BUFFER_BYTES,
            pipes: RELAY_PIPES_PER_SHARD.default,
            relay_memory: mib(RELAY_MEMORY_MIB_PER_SHARD.default),
        }
    }
}

impl Settings {
    /// The measured sizes within an operator's bounds.
    pub(crate) fn within(limits: &Limits) -> Self {
        Self {
            buffers: limits.receive_buffers_per_shard,
            pipes: limits.relay_pipes_per_shard,
            relay_memory: limits.relay_memory_per_shard,
            ..Self::default()
        }
    }
}

/// One shard's I/O. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Engine {
    shared: Rc<Shared>,
}

struct Shared {
    core: RefCell<Core>,
    now: Cell<Instant>,
    signal: Arc<Signal>,
    /// Written by the ring while the pump is parked.
    rung: OwnedFd,
    /// The pump's waker while it is parked.
    parked: Cell<Option<Waker>>,
    on_wake: RefCell<Option<OnWake>>,
}

type OnWake = Rc<RefCell<Box<dyn FnMut()>>>;

impl Engine {
    /// Makes an engine. Call it on the executor's thread.
    ///
    /// # Errors
    ///
    /// Says what the kernel or the environment lacks.
    pub fn new(settings: Settings) -> Result<Self, EngineError> {
        let signal = Arc::new(Signal::new().map_err(|error| EngineError::Io("make a pipe", error))?);
        let rung = wake::eventfd().map_err(|error| EngineError::Io("make an eventfd", error))?;
        let core = Core::new(settings, signal.clone())?;
        let now = Cell::new(core.now);
        let core = RefCell::new(core);
        let on_wake = RefCell::new(None);
        Ok(Self {
            shared: Rc::new(Shared {
                core,
                now,
                signal,
                rung,
                parked: Cell::new(None),
                on_wake,
            }),
        })
    }

    /// Tries io_uring with a tiny engine, before any executor exists: glommio panics where io_uring is
    /// forbidden.
    ///
    /// # Errors
    ///
    /// Says what the kernel or the environment lacks.
    pub fn probe() -> Result<(), EngineError> {
        let settings = Settings {
            entries: 8,
            completions: 16,
            buffers: 1,
            buffer_bytes: 4096,
            large_buffers: 1,
            large_buffer_bytes: 4096,
            pipes: 0,
            relay_memory: 4096,
        };
        Self::new(settings).map(drop)
    }

    /// Begins the end, so that [`run`](Self::run) ends: closes listeners, aborts relays, ends lingering, and
    /// lets every operation on a [`Socket`] fail. `run` goes on until the tasks have dropped their sockets.
    pub fn stop(&self) {
        self.with(Core::stop);
    }

    /// The time, refreshed once a turn of the engine.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.now.get()
    }

    /// Wakes this shard from any thread.
    #[must_use]
    pub fn waker(&self) -> RemoteWaker {
        RemoteWaker::new(self.shared.signal.clone())
    }

    /// Sets what runs on the shard after a [`RemoteWaker::wake`]; it drains the shard's mailbox. May call the
    /// engine.
    pub fn on_wake(&self, callback: Box<dyn FnMut()>) {
        *self.shared.on_wake.borrow_mut() = Some(Rc::new(RefCell::new(callback)));
    }

    /// Waits until `deadline`, coarsely: some tens of milliseconds late at most, never early. Cancel-safe.
    ///
    /// Use this and not the executor's timers: while the engine waits in its ring the executor does not look
    /// at its own.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep {
            engine: self.clone(),
            deadline,
            key: None,
        }
    }

    /// Relays bytes both ways until both directions ended, a side fails, or nothing moved for `idle`.
    ///
    /// `first` goes to the target before anything else, then what the client has sent in the meantime. The
    /// end of one side's stream is passed on once everything before it is. When a side breaks, what came from
    /// it is still delivered. `on_end` runs exactly once, when the engine has let go of both sockets (they
    /// may linger); it may call the engine.
    pub fn relay(
        &self,
        client: Socket,
        target: Socket,
        first: Vec<u8>,
        idle: Duration,
        on_end: Box<dyn FnOnce(RelayReport)>,
    ) {
        let keys = [client.release(), target.release()];
        self.with(|core| core.start_relay(keys, first, idle, on_end));
    }

    /// Ends all relays now; each reports [`RelayEnd::Aborted`].
    pub fn abort_relays(&self) {
        self.with(Core::abort_relays);
    }

    /// Descriptors that the engine holds open now, listeners and sockets that linger included: what admission
    /// has to count.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.shared.core.borrow().slots.open()
    }

    /// What the engine has done so far and holds now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let core = self.shared.core.borrow();
        Stats {
            sockets: core.slots.open(),
            relays: core.relays.len(),
            buffers_used: usize::from(core.buffers.leased()),
            pipes: usize::from(core.pipes.open()),
            pipes_missed: core.pipes.missed(),
            spilled: core.spilled,
            ..core.stats
        }
    }

    /// Shows how long each turn since the last call took: from the end of one wait to the beginning of the
    /// next, and so how late the shard may have been for anybody.
    pub fn take_turns(&self, show: impl FnOnce(&Durations)) {
        self.with(|core| {
            show(&core.turns);
            core.turns.clear();
        });
    }

    /// Runs `f` on the core. Whatever it asks for is submitted by the pump.
    fn with<R>(&self, f: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.shared.core.borrow_mut();
        let result = f(&mut core);
        if core.parked && core.has_work() {
            drop(core);
            self.shared.unpark();
        }
        result
    }
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
    /// Those of them that found all buffers of the shard in use.
    pub buffers_missed: u64,
    /// Times that bulk found no pipe, and took a buffer.
    pub pipes_missed: u64,
    /// Receives into large buffers or pipes.
    pub bulk_receives: u64,
    /// Relays that were ended because all together held too much.
    pub overloaded: u64,
    /// Panics caught in callbacks and completions.
    pub panics: u64,
    /// Bytes relayed to targets, counted as they go.
    pub relayed_to_target: u64,
    /// Bytes relayed to clients, counted as they go.
    pub relayed_to_client: u64,
    /// Descriptors that are open now, listeners and lingering sockets included.
    pub sockets: usize,
    /// Relays that are open now.
    pub relays: usize,
    /// Receive buffers that are in use now.
    pub buffers_used: usize,
    /// Pipes that are open now.
    pub pipes: usize,
    /// Bytes that relays hold now because their sinks are slow, the receive buffers not counted.
    pub spilled: usize,
}

/// The future of [`Engine::sleep_until`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    engine: Engine,
    deadline: Instant,
    key: Option<Key>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self {
            engine,
            deadline,
            key,
        } = self.get_mut();
        engine.with(|core| {
            let due = core.clock.tick_after(*deadline);
            if due <= core.tick {
                return Poll::Ready(());
            }
            *key = key.or_else(|| core.slots.insert(None, Face::Sleeper));
            if let Some(key) = *key
                && let Some(slot) = core.slots.slot(key)
            {
                slot.waker = Some(context.waker().clone());
                core.timers.set(key.index, due);
            }
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.engine.with(|core| core.close(key));
        }
    }
}
