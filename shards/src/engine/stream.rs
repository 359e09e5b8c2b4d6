//! What a connected socket asks of the ring, and what its completions do: receive, send, linger, close.
#![expect(
    unsafe_code,
    reason = "operations use the memory of slots until they complete"
)]

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;

use super::buffers::{Kind, Lease};
use super::core::Core;
use super::ring::{Completion, Sending};
use super::slot::{Face, Intake, Outgoing};
use super::tag::{Key, Op, decode};
use crate::limits::{EXPECTED_BYTES_MAX, LINGER_BYTES_MAX, STASH_BYTES_MAX};

impl Core {
    /// Starts receiving, unless it is under way or of no use.
    pub(super) fn receive(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.may_receive() {
            match slot.intake {
                Intake::Steady => self.ring.receive(key, slot.descriptor()),
                Intake::Once => self.ring.receive_once(key, slot.descriptor(), Kind::Common),
                Intake::Bulk => self.ring.receive_once(key, slot.descriptor(), Kind::Large),
                Intake::Carry => self.ring.await_input(key, slot.descriptor()),
            }
            slot.flags.receiving = true;
        }
    }

    /// Has the kernel say nothing of input before there are so many bytes.
    pub(super) fn set_low_water(&mut self, key: Key, bytes: usize) {
        let Some(slot) = self.slots.slot(key) else { return };
        let bytes = if bytes > 1 {
            bytes.min(EXPECTED_BYTES_MAX)
        } else {
            0
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most `EXPECTED_BYTES_MAX`")]
        let low_water = bytes as u32;
        if slot.low_water == low_water {
            return;
        }
        let value: libc::c_int = low_water.max(1).cast_signed();
        let (fd, length) = (slot.descriptor().as_raw_fd(), size_of::<libc::c_int>());
        // SAFETY: the value is a `c_int` that outlives the call, and the length is its length.
        let result = unsafe {
            let value = (&raw const value).cast();
            #[expect(clippy::cast_possible_truncation, reason = "four bytes")]
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                value,
                length as libc::socklen_t,
            )
        };
        // A kernel that refuses says everything, which is only more work.
        if result == 0 {
            slot.low_water = low_water;
        }
    }

    /// Stops receiving for now. A little may still arrive.
    pub(super) fn pause(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.flags.receiving && !slot.flags.cancelling {
            slot.flags.cancelling = true;
            self.ring.cancel(slot.receive_op(), key);
        }
    }

    /// Sends what is left of the slot's `outgoing`.
    pub(super) fn send_outgoing(&mut self, key: Key, how: Sending) {
        let Some(slot) = self.slots.slot(key) else { return };
        debug_assert!(!slot.flags.sending, "one send at a time");
        slot.flags.sending = true;
        // SAFETY: `outgoing` is not touched while `sending`, the slot is not freed before the completion, and
        // neither a vector's bytes nor a receive buffer move when the slot does.
        unsafe { self.ring.send(key, slot.descriptor(), slot.outgoing.rest(), how) };
        if how == Sending::Quiet {
            slot.flags.quiet = true;
            self.quiet
                .push(Completion::of_send(key, slot.outgoing.rest().len()));
        }
    }

    /// Sends the slot's `outgoing` at once, as far as there is room, which nearly always is far enough; the
    /// rest goes through the ring.
    ///
    /// That is a system call more than a ring that is full of sends makes; but a send that is an operation
    /// costs a turn that does not sleep, and a task that is woken only to hear that it was sent.
    pub(super) fn send_at_once(&mut self, key: Key) -> Poll<io::Result<()>> {
        let Some(slot) = self.slots.slot(key) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        debug_assert!(!slot.flags.sending, "one send at a time");
        let sent = self.ring.send_at_once(slot.descriptor(), slot.outgoing.rest());
        match sent {
            Ok(taken) => slot.outgoing.advance(taken),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => {
                slot.errno = error.raw_os_error().unwrap_or(libc::EIO);
                self.clear_outgoing(key);
                return Poll::Ready(Err(error));
            }
        }
        if slot.outgoing.rest().is_empty() {
            self.clear_outgoing(key);
            return Poll::Ready(Ok(()));
        }
        self.send_outgoing(key, Sending::Wait);
        Poll::Pending
    }

    /// Somebody waits for the end of the send that is under way: if it is a quiet one, the next turn must not
    /// wait, since nothing would end its wait.
    pub(super) fn await_send(&mut self, key: Key) {
        self.hasty |= self.slots.slot(key).is_some_and(|slot| slot.flags.quiet);
    }

    /// After a turn that brought `batch`: completes the quiet sends that are not in it, if it is `whole`.
    pub(super) fn settle(&mut self, batch: &[Completion], whole: bool) {
        if self.quiet.is_empty() {
            return;
        }
        let mut any_heard = false;
        for completion in batch {
            if let (Op::Send, key) = decode(completion.user_data)
                && let Some(slot) = self.slots.slot(key)
            {
                slot.flags.quiet = false;
                any_heard = true;
            }
        }
        if any_heard {
            let slots = &mut self.slots;
            self.quiet.retain(|send| {
                let (_, key) = decode(send.user_data);
                slots.slot(key).is_some_and(|slot| slot.flags.quiet)
            });
        }
        if !whole {
            return;
        }
        let mut settled = std::mem::replace(&mut self.quiet, std::mem::take(&mut self.settled));
        self.process(&settled);
        settled.clear();
        self.settled = settled;
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

    /// Lets the peer read all that was sent: see [`Socket::finish`](super::Socket::finish).
    pub(super) fn linger(&mut self, key: Key, at_most: Duration) {
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.errno != 0 || self.stopping {
            return self.close(key);
        }
        slot.face = Face::Lingering {
            left: LINGER_BYTES_MAX,
        };
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
        // Shutting down in the ring would be handed to a worker thread of the kernel; the system call does
        // not block.
        let done = SockRef::from(&slot.descriptor()).shutdown(Shutdown::Write);
        if matches!(slot.face, Face::Lingering { .. }) {
            if slot.flags.ended || done.is_err() {
                self.close(key);
            } else {
                self.receive(key);
            }
        }
    }

    /// Lets go of a slot: cancels what is under way and closes the descriptor after that.
    pub(super) fn close(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        let (receive, send) = (slot.receive_op(), slot.send_op());
        let (receive, send) = match &mut slot.face {
            Face::Listener => {
                slot.acceptor.iter_mut().for_each(|acceptor| acceptor.close());
                (Op::Accept, Op::Send)
            }
            face => {
                *face = Face::Closing;
                (receive, send)
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
            self.hasty |= slot.flags.quiet;
        }
        if let Some(lease) = slot.inbox.take() {
            self.buffers.give_back(lease);
        }
        self.timers.clear(key.index);
        self.bury(key);
    }

    /// Frees a closing slot once nothing is under way.
    pub(super) fn bury(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        let ends = match &slot.face {
            Face::Closing => true,
            Face::Listener => slot.acceptor.as_ref().is_none_or(|acceptor| acceptor.is_closed()),
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

    pub(super) fn received(&mut self, key: Key, kind: Kind, completion: &Completion) {
        let len = usize::try_from(completion.result).unwrap_or(0);
        let lease = completion.buffer().map(|id| self.buffers.lease(kind, id, len));
        self.stats.bulk_receives += u64::from(kind == Kind::Large && lease.is_some());
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
                        if kind == Kind::Common && self.buffers.offer_more() {
                            self.stats.buffers_missed += 1;
                        }
                        slot.flags.starving = true;
                        self.starved[kind as usize].push_back(key);
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

    /// Receives on where a receive ended by itself and more is wanted; buries what waited for its end.
    pub(super) fn resume(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.flags.receiving {
            return;
        }
        match slot.face {
            // Who waits for the end alone hears of it by a receive, too.
            Face::Socket if slot.flags.wanted || slot.waker.is_some() && slot.has_nothing() => {
                self.receive(key)
            }
            Face::Relay { relay, side } => self.relay_resume(relay, side),
            Face::Lingering { .. } => self.receive(key),
            _ => self.bury(key),
        }
    }

    pub(super) fn sent(&mut self, key: Key, result: i32) {
        let Some(slot) = self.slots.slot(key) else { return };
        slot.flags.sending = false;
        slot.flags.quiet = false;
        match slot.face {
            Face::Relay { relay, side } => self.relay_sent(relay, side, result),
            Face::Socket | Face::Lingering { .. } => self.sent_outgoing(key, result),
            _ => self.bury(key),
        }
    }

    pub(super) fn connected(&mut self, key: Key, result: i32) {
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
                *left = left.saturating_sub(u32::try_from(lease.len()).unwrap_or(u32::MAX));
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

    /// A task that waits gets the buffer itself, at most one at a time. Otherwise the bytes are copied, so
    /// that tasks which are busy elsewhere do not hold the shard's buffers.
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
        if slot.stash.len() > STASH_BYTES_MAX {
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
            return self.send_outgoing(key, Sending::Wait);
        }
        self.clear_outgoing(key);
        match (lingering, broken) {
            (true, true) => self.close(key),
            (true, false) => self.end_output(key),
            (false, _) => self.wake(key),
        }
    }
}
