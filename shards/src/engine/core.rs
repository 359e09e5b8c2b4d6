//! The state of an engine, and what each completion does to it. Runs no foreign code: wakers and callbacks are collected
//! here and run by the pump, after the core was left.
#![expect(
    unsafe_code,
    reason = "operations use the memory of slots until they complete"
)]

use std::collections::VecDeque;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;
use socket2::SockRef;

use super::buffers::{Buffers, Lease};
use super::calls::Call;
use super::pool::Pool;
use super::relay::Relay;
use super::ring::{Completion, Ring};
use super::slot::{Face, Outgoing, Slots};
use super::tag::{Key, Op, decode};
use super::timers::{Clock, Wheel};
use super::wake::Signal;
use super::{EngineError, Settings, Stats};

/// Completions that one turn processes at most, so that tasks get their turn too.
const TURN_MAX: usize = 1024;

/// Bytes that are kept for a task that does not want input, before receiving stops.
const STASH_MAX: usize = 4 * 1024;

/// Bytes that a finished socket discards at most.
const LINGER_MAX: usize = 256 * 1024;

/// Everything that an engine owns. The ring is dropped before the memory that it uses.
pub(super) struct Core {
    pub(super) ring: Ring,
    pub(super) buffers: Buffers,
    pub(super) slots: Slots,
    pub(super) timers: Wheel,
    pub(super) relays: Slab<Relay>,
    /// Bytes that relays hold outside of the shard's buffers.
    pub(super) spilled: usize,
    pub(super) pool: Pool,
    pub(super) wakes: Vec<Waker>,
    pub(super) calls: VecDeque<Call>,
    pub(super) clock: Clock,
    pub(super) now: Instant,
    pub(super) tick: u64,
    pub(super) stats: Stats,
    pub(super) stopping: bool,
    /// The pump sleeps in the executor: who brings work must wake it.
    pub(super) parked: bool,
    /// The longest turn since somebody asked.
    pub(super) lag: Duration,
    /// Sockets that found no receive buffer, in order.
    starved: VecDeque<Key>,
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
        let buffers = ring.register_buffers(settings.buffers, settings.buffer_bytes)?;
        let now = Instant::now();
        Ok(Self {
            ring,
            buffers,
            slots: Slots::default(),
            timers: Wheel::new(),
            relays: Slab::new(),
            spilled: 0,
            pool: Pool::default(),
            wakes: Vec::new(),
            calls: VecDeque::new(),
            clock: Clock::new(now),
            now,
            tick: 0,
            stats: Stats::default(),
            stopping: false,
            parked: false,
            lag: Duration::ZERO,
            starved: VecDeque::new(),
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
        self.lag = self.lag.max(self.now.elapsed());
        self.ring.enter(wait)?;
        self.now = Instant::now();
        self.tick = self.clock.tick(self.now);
        let mut batch = std::mem::take(&mut self.batch);
        self.ring.reap(&mut batch, TURN_MAX);
        let completed = batch.len();
        self.process(&batch);
        batch.clear();
        self.batch = batch;
        self.fire_timers();
        self.feed_starved();
        self.stats.turns += 1;
        self.stats.completions += completed as u64;
        Ok(completed)
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
                Face::Lingering { .. } | Face::Listener(_) => self.close(key),
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

    /// Starts receiving, unless it is under way or of no use.
    pub(super) fn receive(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.may_receive() {
            self.ring.receive(key, slot.descriptor());
            slot.flags.receiving = true;
        }
    }

    /// Stops receiving for now. A little may still arrive.
    pub(super) fn pause(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.flags.receiving && !slot.flags.cancelling {
            slot.flags.cancelling = true;
            self.ring.cancel(Op::Receive, key);
        }
    }

    /// Sends what is left of the slot's `outgoing`. `wait` tells whether to wait for room in the socket.
    pub(super) fn send_outgoing(&mut self, key: Key, wait: bool) {
        let Some(slot) = self.slots.slot(key) else { return };
        debug_assert!(!slot.flags.sending, "one send at a time");
        slot.flags.sending = true;
        // SAFETY: `outgoing` is not touched while `sending`, the slot is not freed before the completion, and neither a
        // vector's bytes nor a receive buffer move when the slot does.
        unsafe { self.ring.send(key, slot.descriptor(), slot.outgoing.rest(), wait) };
    }

    /// Drops what the slot was sending; the send has completed.
    pub(super) fn clear_outgoing(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        debug_assert!(!slot.flags.sending, "the kernel may still read it");
        match std::mem::take(&mut slot.outgoing) {
            Outgoing::Nothing => {}
            Outgoing::Piece(lease) => self.buffers.give_back(lease),
            Outgoing::Bytes(bytes, _) => self.pool.put(bytes),
        }
    }

    /// Lets go of a slot: cancels what is under way and closes the descriptor after that.
    pub(super) fn close(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        let (receive, send) = match &mut slot.face {
            Face::Listener(acceptor) => {
                acceptor.close();
                (Op::Accept, Op::Send)
            }
            face => {
                let send = if matches!(face, Face::Connecting) {
                    Op::Connect
                } else {
                    Op::Send
                };
                *face = Face::Closing;
                (Op::Receive, send)
            }
        };
        slot.stash = Vec::new();
        self.wakes.extend(slot.waker.take());
        if slot.flags.receiving && !slot.flags.cancelling {
            slot.flags.cancelling = true;
            self.ring.cancel(receive, key);
        }
        if slot.flags.sending {
            self.ring.cancel(send, key);
        }
        if let Some(lease) = slot.inbox.take() {
            self.buffers.give_back(lease);
        }
        self.timers.clear(key.index);
        self.bury(key);
    }

    /// Lets the peer read all that was sent: see [`Socket::finish`](super::Socket::finish).
    pub(super) fn linger(&mut self, key: Key, at_most: Duration) {
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.errno != 0 || self.stopping {
            return self.close(key);
        }
        slot.face = Face::Lingering { left: LINGER_MAX };
        slot.stash = Vec::new();
        slot.waker = None;
        if let Some(lease) = slot.inbox.take() {
            self.buffers.give_back(lease);
        }
        self.timers
            .set(key.index, self.clock.tick_after(self.now + at_most));
        let slot = self.slots.slot(key);
        if slot.is_some_and(|slot| !slot.flags.sending) {
            self.end_output(key);
        }
    }

    /// Tells the peer that nothing more will come. A lingering socket whose peer has ended too is closed.
    pub(super) fn end_output(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        // Shutting down in the ring would be handed to a worker thread of the kernel; the system call does not block.
        let done = SockRef::from(&slot.descriptor()).shutdown(Shutdown::Write);
        if matches!(slot.face, Face::Lingering { .. }) {
            if slot.flags.ended || done.is_err() {
                self.close(key);
            } else {
                self.receive(key);
            }
        }
    }

    fn arm_signal(&mut self) {
        if !self.signal_armed {
            self.signal_armed = true;
            // SAFETY: the bytes are boxed, never looked at, and dropped after the ring has ended its operations.
            unsafe {
                self.ring
                    .read(SIGNAL, self.signal.descriptor(), &mut self.signal_bytes)
            };
        }
    }

    /// Processes completions one by one; a panic costs the slot that it happened for.
    fn process(&mut self, batch: &[Completion]) {
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
                self.give_up(key);
            }
        }
    }

    fn dispatch(&mut self, completion: &Completion) {
        let (op, key) = decode(completion.user_data);
        #[cfg(test)]
        assert_ne!(
            self.panic_on.take_if(|on| *on == key),
            Some(key),
            "as the test wants it"
        );
        match op {
            Op::Receive => self.received(key, completion),
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

    fn received(&mut self, key: Key, completion: &Completion) {
        let len = usize::try_from(completion.result).unwrap_or(0);
        let lease = completion.buffer().map(|id| self.buffers.lease(id, len));
        let Some(slot) = self.slots.slot(key) else {
            return lease.into_iter().for_each(|lease| self.buffers.give_back(lease));
        };
        if !completion.more() {
            slot.flags.receiving = false;
            slot.flags.cancelling = false;
        }
        match (completion.result, lease) {
            (1.., Some(lease)) => return self.deliver(key, lease, completion.more()),
            (0, lease) => {
                slot.flags.ended = true;
                lease.into_iter().for_each(|lease| self.buffers.give_back(lease));
                self.input_over(key);
            }
            (errno, lease) => {
                lease.into_iter().for_each(|lease| self.buffers.give_back(lease));
                match -errno {
                    libc::ENOBUFS => {
                        slot.flags.starving = true;
                        self.starved.push_back(key);
                        self.stats.starved += 1;
                    }
                    libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                    errno => {
                        slot.errno = errno;
                        self.input_over(key);
                    }
                }
            }
        }
        self.resume(key);
    }

    /// Hands received bytes to whoever they are for.
    fn deliver(&mut self, key: Key, lease: Lease, more: bool) {
        let Some(slot) = self.slots.slot(key) else {
            return self.buffers.give_back(lease);
        };
        match &mut slot.face {
            Face::Relay { relay, side } => {
                let (relay, side) = (*relay, *side);
                self.relay_received(relay, side, lease);
            }
            Face::Socket => self.deliver_to_task(key, lease),
            Face::Lingering { left } => {
                *left = left.saturating_sub(lease.len());
                let enough = *left == 0;
                self.buffers.give_back(lease);
                if enough {
                    self.close(key);
                }
            }
            _ => self.buffers.give_back(lease),
        }
        if !more {
            self.resume(key);
        }
    }

    /// A task that waits gets the buffer itself, at most one at a time. Otherwise the bytes are copied, so that tasks which
    /// are busy elsewhere do not hold the shard's buffers.
    fn deliver_to_task(&mut self, key: Key, lease: Lease) {
        let Some(slot) = self.slots.slot(key) else {
            return self.buffers.give_back(lease);
        };
        if slot.flags.wanted && slot.inbox.is_none() && slot.stash.is_empty() {
            slot.inbox = Some(lease);
            slot.flags.wanted = false;
            return self.wake(key);
        }
        slot.stash.extend_from_slice(lease.bytes());
        self.buffers.give_back(lease);
        if slot.stash.len() > STASH_MAX {
            self.pause(key);
        }
    }

    /// The peer has ended, or its connection is broken.
    fn input_over(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        let broken = slot.errno != 0;
        match slot.face {
            Face::Socket => self.wake(key),
            Face::Relay { relay, side } if broken => self.relay_broken(relay, side),
            Face::Relay { relay, side } => self.relay_ended(relay, side),
            // What was sent may still be under way: then the end of the send closes it.
            Face::Lingering { .. } if broken || !slot.flags.sending => self.close(key),
            _ => {}
        }
    }

    /// Receives on where a receive ended by itself and more is wanted; buries what waited for its end.
    fn resume(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.flags.receiving {
            return;
        }
        match slot.face {
            Face::Socket if slot.flags.wanted => self.receive(key),
            Face::Relay { relay, side } => self.relay_resume(relay, side),
            Face::Lingering { .. } => self.receive(key),
            _ => self.bury(key),
        }
    }

    fn sent(&mut self, key: Key, result: i32) {
        let Some(slot) = self.slots.slot(key) else { return };
        slot.flags.sending = false;
        match slot.face {
            Face::Relay { relay, side } => self.relay_sent(relay, side, result),
            Face::Socket | Face::Lingering { .. } => self.sent_outgoing(key, result),
            _ => self.bury(key),
        }
    }

    fn sent_outgoing(&mut self, key: Key, result: i32) {
        let Some(slot) = self.slots.slot(key) else { return };
        let again = match usize::try_from(result) {
            Ok(taken) => {
                slot.outgoing.advance(taken);
                !slot.outgoing.rest().is_empty()
            }
            Err(_) if -result == libc::EINTR || -result == libc::EAGAIN => true,
            Err(_) => {
                slot.errno = if slot.errno == 0 { -result } else { slot.errno };
                false
            }
        };
        let (broken, lingering) = (slot.errno != 0, matches!(slot.face, Face::Lingering { .. }));
        if again && !broken {
            return self.send_outgoing(key, true);
        }
        self.clear_outgoing(key);
        match (lingering, broken) {
            (true, true) => self.close(key),
            (true, false) => self.end_output(key),
            (false, _) => self.wake(key),
        }
    }

    fn connected(&mut self, key: Key, result: i32) {
        let Some(slot) = self.slots.slot(key) else { return };
        slot.flags.sending = false;
        slot.address = None;
        if slot.errno == 0 {
            slot.errno = -result.min(0);
        }
        if matches!(slot.face, Face::Connecting) {
            self.wake(key)
        } else {
            self.bury(key)
        }
    }

    /// Frees a closing slot once nothing is under way.
    pub(super) fn bury(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        let ends = match &slot.face {
            Face::Closing => true,
            Face::Listener(acceptor) => acceptor.is_closed(),
            _ => false,
        };
        if !ends || slot.is_busy() {
            return;
        }
        self.clear_outgoing(key);
        self.timers.clear(key.index);
        if let Some(fd) = self.slots.remove(key).and_then(|slot| slot.fd) {
            self.ring.close(key, fd);
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
            Face::Listener(_) => self.accept(key),
            Face::Vacant | Face::Closing => {}
        }
    }

    /// Lets sockets that found no buffer receive again, as many as there are buffers, the longest-waiting first.
    fn feed_starved(&mut self) {
        for _ in 0..self
            .buffers
            .free()
            .min(u16::try_from(self.starved.len()).unwrap_or(u16::MAX))
        {
            let Some(key) = self.starved.pop_front() else {
                return;
            };
            if let Some(slot) = self.slots.slot(key) {
                slot.flags.starving = false;
                self.resume(key);
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Whatever the kernel still uses must outlive its operation; if the kernel does not let go, so must we.
        let submitted = self.ring.enter(None).and_then(|()| self.ring.cancel_all());
        if submitted.is_err() {
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::take(&mut self.relays));
            std::mem::forget(std::mem::take(&mut self.signal_bytes));
            self.buffers.leak();
        }
    }
}
