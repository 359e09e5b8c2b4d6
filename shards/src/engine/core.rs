//! The state of an engine, and what each completion does to it. Runs no foreign code: wakers and callbacks
//! are collected here and run by the pump, after the core was left.
#![expect(
    unsafe_code,
    reason = "the ring reads other threads' wake-ups into memory of ours"
)]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::buffers::{Buffers, Kind};
use super::calls::Call;
use super::pipes::Pipes;
use super::pool::Pool;
use super::relay::Relays;
use super::ring::{Completion, Ring};
use super::slot::{Face, Slots};
use super::tag::{Key, Op, decode};
use super::timers::{Clock, Wheel};
use super::trim::Trim;
use super::wake::Signal;
use super::{EngineError, Settings, Stats};
use crate::metrics::{Durations, TURNS};

/// Completions that one turn processes at most, so that tasks get their turn too.
const TURN_MAX: usize = 1024;

/// Ticks after which a pipe that nobody needs is closed, or twice that.
const PIPE_TICKS: u64 = 125;

/// Everything that an engine owns. The ring is dropped before the memory that it uses.
pub(super) struct Core {
    pub(super) ring: Ring,
    pub(super) buffers: Buffers,
    pub(super) pipes: Pipes,
    /// The tick at which pipes are looked at.
    pipes_due: u64,
    pub(super) slots: Slots,
    pub(super) timers: Wheel,
    pub(super) relays: Relays,
    /// Bytes that relays hold outside of the shard's buffers.
    pub(super) spilled: usize,
    /// Bytes that they may hold. Whenever a completion or a call is done with, `spilled` is no more.
    pub(super) spilled_max: usize,
    pub(super) pool: Pool,
    /// What a parked shard looks at before it sleeps.
    pub(super) trim: Trim,
    pub(super) wakes: Vec<Waker>,
    pub(super) calls: VecDeque<Call>,
    pub(super) clock: Clock,
    pub(super) now: Instant,
    pub(super) tick: u64,
    pub(super) stats: Stats,
    pub(super) stopping: bool,
    /// The pump sleeps in the executor: who brings work must wake it.
    pub(super) parked: bool,
    /// How long turns took, since somebody asked.
    pub(super) turns: Durations,
    /// Sockets that found no receive buffer of a kind, in order.
    pub(super) starved: [VecDeque<Key>; 2],
    /// Quiet sends that were asked for, as they complete if the kernel says nothing of them.
    pub(super) quiet: Vec<Completion>,
    /// Room for the next of these.
    pub(super) settled: Vec<Completion>,
    /// Somebody waits for a quiet send: the next turn does not wait.
    pub(super) hasty: bool,
    batch: Vec<Completion>,
    fired: Vec<u32>,
    signal: Arc<Signal>,
    signal_armed: bool,
    signal_bytes: Box<[u8; 8]>,
    #[cfg(test)]
    pub(super) panic_on: Option<Key>,
}

/// The key of the read that other threads' wakes complete; no slot has it.
const SIGNAL: Key = Key {
    index: super::tag::SLOTS_MAX - 1,
    generation: u32::MAX,
};

impl Core {
    pub(super) fn new(settings: Settings, signal: Arc<Signal>) -> Result<Self, EngineError> {
        let ring = Ring::new(settings.entries, settings.completions)?;
        let buffers = ring.register_buffers(settings)?;
        let now = Instant::now();
        Ok(Self {
            ring,
            buffers,
            pipes: Pipes::new(settings.pipes),
            pipes_due: 0,
            slots: Slots::default(),
            timers: Wheel::new(),
            relays: Relays::default(),
            spilled: 0,
            spilled_max: settings.relay_memory,
            pool: Pool::default(),
            trim: Trim::default(),
            wakes: Vec::new(),
            calls: VecDeque::new(),
            clock: Clock::new(now),
            now,
            tick: 0,
            stats: Stats::default(),
            stopping: false,
            parked: false,
            turns: Durations::new(&TURNS),
            starved: Default::default(),
            quiet: Vec::new(),
            settled: Vec::new(),
            hasty: false,
            batch: Vec::new(),
            fired: Vec::new(),
            signal,
            signal_armed: false,
            signal_bytes: Box::new([0; 8]),
            #[cfg(test)]
            panic_on: None,
        })
    }

    /// One turn: submits, waits, processes what came. How many completions that were.
    pub(super) fn turn(&mut self, wait: Option<Duration>) -> std::io::Result<usize> {
        self.arm_signal();
        self.feed_starved();
        self.turns.record(self.now.elapsed());
        let hasty = std::mem::take(&mut self.hasty);
        self.ring.enter(wait.filter(|_| !hasty))?;
        Ok(self.proceed(Instant::now()))
    }

    /// A turn of a simulation, in which nothing waits and the time is what it is said to be.
    #[cfg(test)]
    pub(super) fn turn_at(&mut self, now: Instant) -> std::io::Result<usize> {
        self.arm_signal();
        self.feed_starved();
        self.ring.enter(None)?;
        Ok(self.proceed(now))
    }

    /// Processes what came, and what is due. How many completions that were.
    fn proceed(&mut self, now: Instant) -> usize {
        self.now = now;
        self.tick = self.clock.tick(self.now);
        let mut batch = std::mem::take(&mut self.batch);
        let whole = self.ring.is_settled(TURN_MAX);
        self.ring.reap(&mut batch, TURN_MAX);
        let completed = batch.len();
        self.settle(&batch, whole);
        self.hasty |= !whole;
        self.process(&batch);
        batch.clear();
        self.batch = batch;
        self.fire_timers();
        if self.tick >= self.pipes_due {
            self.pipes.close_spare();
            self.pipes_due = self.tick + PIPE_TICKS;
        }
        self.trim.note(self.slots.open());
        self.stats.turns += 1;
        self.stats.completions += completed as u64;
        completed
    }

    /// Whether something waits for a turn.
    pub(super) fn has_work(&mut self) -> bool {
        self.ring.has_unsubmitted() || self.has_callbacks()
    }

    /// Whether wakes or callbacks wait, which must not wait for the kernel.
    pub(super) fn has_callbacks(&self) -> bool {
        !self.wakes.is_empty() || !self.calls.is_empty()
    }

    /// Whether [`stop`](Self::stop) was called and all is closed.
    pub(super) fn is_over(&self) -> bool {
        self.stopping && self.slots.open() == 0 && self.relays.is_empty() && !self.slots.any_busy()
    }

    /// Begins the end: closes what nobody owns, breaks what tasks own.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.abort_relays();
        for key in self.slots.keys() {
            let Some(slot) = self.slots.slot(key) else {
                continue;
            };
            match slot.face {
                Face::Socket | Face::Connecting => {
                    if slot.errno == 0 {
                        slot.errno = libc::ESHUTDOWN;
                    }
                    self.wake(key);
                }
                Face::Lingering { .. } | Face::Listener => self.close(key),
                Face::Vacant | Face::Relay { .. } | Face::Sleeper | Face::Closing => {}
            }
        }
    }

    /// Schedules the slot's task.
    pub(super) fn wake(&mut self, key: Key) {
        if let Some(waker) = self.slots.slot(key).and_then(|slot| slot.waker.take()) {
            self.wakes.push(waker);
        }
    }

    fn arm_signal(&mut self) {
        if !self.signal_armed {
            self.signal_armed = true;
            // SAFETY: the bytes are boxed, never looked at, and dropped after the ring has ended its
            // operations.
            unsafe {
                self.ring
                    .read(SIGNAL, self.signal.descriptor(), &mut self.signal_bytes)
            };
        }
    }

    /// Processes completions one by one; a panic costs the slot that it happened for, and the receive buffer
    /// that the completion may have named.
    pub(super) fn process(&mut self, batch: &[Completion]) {
        let mut next = 0;
        while next < batch.len() {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                while let Some(completion) = batch.get(next) {
                    next += 1;
                    self.dispatch(completion);
                }
            }));
            if outcome.is_err() {
                self.stats.panics += 1;
                let (_, key) = decode(batch[next - 1].user_data);
                // It may have left the slot in a state that panics again.
                let _ = catch_unwind(AssertUnwindSafe(|| self.give_up(key)));
            }
        }
    }

    fn dispatch(&mut self, completion: &Completion) {
        let (op, key) = decode(completion.user_data);
        if let Some(relay) = self.slots.prefetch(key.index) {
            self.relays.prefetch(relay);
        }
        #[cfg(test)]
        self.ring.shows(completion);
        #[cfg(test)]
        assert_ne!(
            self.panic_on.take_if(|on| *on == key),
            Some(key),
            "as the test wants it"
        );
        match op {
            Op::Receive => self.received(key, Kind::Common, completion),
            Op::ReceiveBulk => self.received(key, Kind::Large, completion),
            Op::Readable => self.readable(key, completion),
            Op::Writable => self.writable(key),
            Op::Send => self.sent(key, completion.result),
            Op::Connect => self.connected(key, completion.result),
            Op::Accept => self.accepted(key, completion),
            Op::Wake => self.signalled(completion.result),
            Op::Forget => {}
        }
    }

    /// After a panic: ends whatever the slot stood for.
    fn give_up(&mut self, key: Key) {
        let relay = self.slots.slot(key).and_then(|slot| match slot.face {
            Face::Relay { relay, .. } => Some(relay),
            _ => None,
        });
        match (relay, self.slots.slot(key)) {
            (Some(relay), _) => self.abort_relay(relay),
            (None, Some(slot)) if matches!(slot.face, Face::Socket | Face::Connecting) => {
                slot.errno = libc::EIO;
                self.wake(key);
            }
            _ => self.close(key),
        }
    }

    fn signalled(&mut self, result: i32) {
        self.signal_armed = false;
        if result > 0 {
            self.signal.clear();
            self.calls.push_back(Call::Woken);
        }
    }

    fn fire_timers(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        self.timers.sweep(self.tick, &mut fired);
        for index in fired.drain(..) {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.fire(index)));
            if outcome.is_err() {
                self.stats.panics += 1;
            }
        }
        self.fired = fired;
    }

    fn fire(&mut self, index: u32) {
        let Some(key) = self.slots.key(index) else { return };
        let Some(slot) = self.slots.slot(key) else { return };
        match slot.face {
            // Timers of tasks are moved lazily: this one may be older than the deadline.
            Face::Socket if slot.deadline > self.tick => {
                if slot.deadline != u64::MAX {
                    self.timers.set(index, slot.deadline);
                }
            }
            Face::Socket | Face::Connecting | Face::Sleeper => self.wake(key),
            Face::Relay { relay, .. } => self.relay_idle(relay, index),
            Face::Lingering { .. } => self.close(key),
            Face::Listener => self.accept(key),
            Face::Vacant | Face::Closing => {}
        }
    }

    /// Lets sockets that found no buffer receive again, as many as there are buffers, the longest-waiting
    /// first.
    fn feed_starved(&mut self) {
        for kind in [Kind::Common, Kind::Large] {
            for _ in 0..self.buffers.offered(kind) {
                let Some(key) = self.starved[kind as usize].pop_front() else {
                    break;
                };
                if let Some(slot) = self.slots.slot(key) {
                    slot.flags.starving = false;
                    self.resume(key);
                }
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Whatever the kernel still uses must outlive its operation; if the kernel does not let go, so must
        // we.
        let submitted = self.ring.enter(None).and_then(|()| self.ring.cancel_all());
        if submitted.is_err() {
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::take(&mut self.relays));
            std::mem::forget(std::mem::take(&mut self.signal_bytes));
            self.buffers.leak();
        }
    }
}
