//! The relay: bytes between two sockets, driven by completions, without tasks or futures.
//!
//! Each direction is a [`Way`] into one side. Received buffers are sent as they are; only when the sink is
//! slow are bytes copied out of the shard's buffers, merged, and sent from there. Above [`HIGH_WATER`] the
//! source is not received from. What a source that fills its buffers brings is carried through a pipe, until
//! it brings little again ([`carry`]); if there is no pipe, it is received into large buffers, one at a time.

mod carry;
mod table;
mod way;

use std::mem::offset_of;
use std::time::{Duration, Instant};

pub(super) use self::table::Relays;
use self::way::Way;
use super::buffers::Lease;
use super::calls::Call;
use super::core::Core;
use super::prefetch::LINE;
use super::ring::Sending;
use super::slot::{Face, Intake, Outgoing, Side};
use super::tag::Key;
use super::timers::ticks;
pub(super) use crate::limits::RELAY_HIGH_WATER as HIGH_WATER;
use crate::limits::{RELAY_LINGER as LINGER, RELAY_LOW_WATER as LOW_WATER};

/// What became of a relay.
#[derive(Clone, Copy, Debug)]
pub struct RelayReport {
    /// Bytes that the target's socket took, the replayed ones included.
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
    /// Nothing moved in either direction for the idle timeout.
    Idle,
    /// A side acknowledged nothing for too long: its host is gone, or it takes nothing any more.
    Gone,
    /// The client's connection broke.
    ClientFailed,
    /// The target's connection broke.
    TargetFailed,
    /// A side did not read, and the relays of the shard held as much as they may.
    Overloaded,
    /// The engine was told to end it, or a bug of ours was caught.
    Aborted,
}

/// Runs when a relay has ended.
pub(super) type OnEnd = Box<dyn FnOnce(RelayReport)>;

/// Lines of the CPU's cache, from the beginning of a relay, that hold all that a message changes.
const HOT_LINES: usize = 3;

const _: () = assert!(offset_of!(Relay, ways) + size_of::<Way>() + Way::HOT_BYTES <= HOT_LINES * LINE);

/// Two sockets and what is on its way between them. What each message changes comes first.
#[repr(C, align(64))]
pub(super) struct Relay {
    /// The slots of the sides that are still open.
    sides: [Option<Key>; 2],
    /// The tick of the last movement.
    moved: u64,
    /// Ticks without any movement after which the relay ends.
    idle: u64,
    /// The directions, by the side that they lead into.
    ways: [Way; 2],
    started: Instant,
    end: Option<RelayEnd>,
    on_end: OnEnd,
}

#[cfg(test)]
impl Relay {
    /// Whether nothing is left to do in the direction of `sink`, for now, once that has taken `sent` bytes.
    pub(super) fn is_done_with(&self, sink: Side, sent: usize) -> bool {
        self.ways[sink as usize].is_done_with(sent)
    }
}

impl Core {
    /// Begins a relay between two slots that have an owner. `first` goes to the target before anything else.
    pub(super) fn start_relay(&mut self, keys: [Key; 2], first: Vec<u8>, idle: Duration, on_end: OnEnd) {
        let mut ways = <[Way; 2]>::default();
        ways.iter_mut().for_each(|way| way.taken_at = self.tick);
        ways[Side::Target as usize].spill(&first);
        self.spilled += first.len();
        self.pool.put(first);
        let sides = keys.map(Some);
        // The tick that is under way counts for nothing: never early.
        let idle = ticks(idle).saturating_add(1);
        let (moved, started) = (self.tick, self.now);
        let relay = Relay {
            sides,
            ways,
            idle,
            moved,
            started,
            end: None,
            on_end,
        };
        let index = self.relays.insert(relay);
        for side in Side::BOTH {
            self.join_relay(index, side, keys[side as usize]);
        }
        self.slots.link(keys, index);
        self.keep_within();
        for side in Side::BOTH {
            match self
                .slots
                .slot(keys[side as usize])
                .map(|slot| (slot.errno, slot.flags.ended))
            {
                Some((0, false)) => {}
                Some((0, true)) => self.relay_ended(index, side),
                Some(_) | None => self.relay_broken(index, side),
            }
            self.launch(index, side);
            self.relay_resume(index, side);
        }
    }

    /// Ends all relays at once.
    pub(super) fn abort_relays(&mut self) {
        let open: Vec<u32> = self.relays.iter().map(|(index, _)| index).collect();
        for index in open {
            self.abort_relay(index);
        }
    }

    /// Ends a relay at once.
    pub(super) fn abort_relay(&mut self, index: u32) {
        self.cut_relay(index, RelayEnd::Aborted);
    }

    /// The timer of one of the sides has fired.
    pub(super) fn relay_idle(&mut self, index: u32, slot: u32) {
        let Some(relay) = self.relays.get(index) else {
            return;
        };
        let due = relay.moved.saturating_add(relay.idle);
        if due > self.tick {
            self.timers.set(slot, due);
        } else {
            self.cut_relay(index, RelayEnd::Idle);
        }
    }

    /// A buffer came from `source`.
    pub(super) fn relay_received(&mut self, index: u32, source: Side, lease: Lease) {
        let Some(relay) = self.relays.get_mut(index) else {
            return self.buffers.give_back(lease);
        };
        let sink = source.other();
        let (Some(from), Some(to)) = (relay.sides[source as usize], relay.sides[sink as usize]) else {
            return self.buffers.give_back(lease);
        };
        relay.moved = self.tick;
        let way = &mut relay.ways[sink as usize];
        let turned_bulk = way.judge(self.buffers.is_full(lease.len())) && way.bulk;
        if way.is_done_with(0)
            && !is_strained(self.spilled, self.spilled_max)
            && let Some(slot) = self.slots.slot(to).filter(|slot| slot.may_send())
        {
            // Nearly always: nothing waits, and the bytes go on as they came.
            way.waiting = lease.len();
            slot.outgoing = Outgoing::Piece(lease);
            return self.send_outgoing(to, Sending::Quiet);
        }
        self.spilled += way.queue(lease, &mut self.buffers);
        self.keep_within();
        let Some(relay) = self.relays.get_mut(index) else {
            return;
        };
        let way = &mut relay.ways[sink as usize];
        let high = if is_strained(self.spilled, self.spilled_max) {
            0
        } else {
            HIGH_WATER
        };
        if way.waiting > high && !way.paused {
            way.paused = true;
            self.pause(from);
        } else if turned_bulk {
            // It goes on in the other way once the receive under way has ended.
            self.pause(from);
        }
        self.launch(index, sink);
    }

    /// To be called wherever bytes were copied, so that relays never hold more than they may for longer than
    /// it takes to copy the bytes of one buffer, or of one beginning relay.
    fn keep_within(&mut self) {
        if self.spilled > self.spilled_max {
            self.relieve();
        }
    }

    /// Relays hold more than they may: ends those whose sinks have taken nothing for the longest time, until
    /// a quarter is free. Looks at all relays, but not again before that quarter was copied.
    fn relieve(&mut self) {
        let stuck_since = |relay: &Relay| {
            let holding = relay.ways.iter().filter(|way| way.copied > 0);
            holding.map(|way| way.taken_at).min()
        };
        let relays = self.relays.iter();
        let mut victims: Vec<(u64, u32)> = relays
            .filter_map(|(index, relay)| Some((stuck_since(relay)?, index)))
            .collect();
        victims.sort_unstable();
        for (_, victim) in victims {
            if self.spilled <= self.spilled_max / 4 * 3 {
                return;
            }
            self.stats.overloaded += 1;
            self.cut_relay(victim, RelayEnd::Overloaded);
        }
    }

    /// Receives from `source`, unless too much of it is waiting or nobody is left to get it.
    pub(super) fn relay_resume(&mut self, index: u32, source: Side) {
        let strained = is_strained(self.spilled, self.spilled_max);
        let Some(relay) = self.relays.get_mut(index) else {
            return;
        };
        let sink = source.other() as usize;
        let (Some(from), Some(to)) = (relay.sides[source as usize], relay.sides[sink]) else {
            return;
        };
        let way = &mut relay.ways[sink];
        let Some(slot) = self.slots.slot(from).filter(|slot| slot.may_receive()) else {
            return;
        };
        if way.paused {
            return;
        }
        slot.intake = match way.bulk {
            _ if strained => Intake::Once,
            false => Intake::Steady,
            true if self.pipes.are_gone() => Intake::Bulk,
            true => Intake::Carry,
        };
        match slot.intake {
            Intake::Carry if way.waiting > 0 => way.paused = true,
            Intake::Carry => self.await_bulk(from, to),
            _ => self.receive(from),
        }
    }

    /// `source` will send no more.
    pub(super) fn relay_ended(&mut self, index: u32, source: Side) {
        let Some(relay) = self.relays.get_mut(index) else {
            return;
        };
        let closed = [RelayEnd::ClientClosed, RelayEnd::TargetClosed][source as usize];
        relay.end.get_or_insert(closed);
        relay.ways[source.other() as usize].ended = true;
        self.launch(index, source.other());
    }

    /// The connection of `side` is broken: what came from it is still delivered.
    pub(super) fn relay_broken(&mut self, index: u32, side: Side) {
        let Some(relay) = self.relays.get_mut(index) else {
            return;
        };
        let broken = relay.sides[side as usize].take();
        let errno = broken.and_then(|key| self.slots.slot(key)).map(|slot| slot.errno);
        relay.end.get_or_insert(match errno {
            Some(libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH) => RelayEnd::Gone,
            _ => [RelayEnd::ClientFailed, RelayEnd::TargetFailed][side as usize],
        });
        relay.ways[side.other() as usize].ended = true;
        let lost = std::mem::take(&mut relay.ways[side as usize]);
        relay.ways[side as usize].taken = lost.taken;
        self.spilled -= lost.copied;
        lost.discard(&mut self.buffers, &mut self.pipes);
        if let Some(key) = broken {
            self.close(key);
        }
        self.launch(index, side.other());
        self.finish_relay(index);
    }

    /// A send into `sink` has completed.
    pub(super) fn relay_sent(&mut self, index: u32, sink: Side, result: i32) {
        let Some(relay) = self.relays.get_mut(index) else {
            return;
        };
        let Some(key) = relay.sides[sink as usize] else {
            return;
        };
        let Some(slot) = self.slots.slot(key) else { return };
        match usize::try_from(result) {
            Ok(taken) => {
                slot.outgoing.advance(taken);
                relay.moved = self.tick;
                relay.ways[sink as usize].waiting -= taken;
                relay.ways[sink as usize].taken += taken as u64;
                relay.ways[sink as usize].taken_at = self.tick;
                self.stats.count_relayed(sink, taken);
            }
            Err(_) if -result == libc::EAGAIN || -result == libc::EINTR => {}
            Err(_) => {
                slot.errno = -result;
                return self.relay_broken(index, sink);
            }
        }
        if !slot.outgoing.rest().is_empty() {
            return self.wait_for_room(index, sink, key);
        }
        if let Outgoing::Bytes(bytes, _) = &slot.outgoing {
            let sent = bytes.len();
            relay.ways[sink as usize].copied -= sent;
            self.spilled -= sent;
        }
        let way = &mut relay.ways[sink as usize];
        // Nothing may overtake: a pipe is filled only when nothing else waits.
        let low = if way.bulk { 0 } else { LOW_WATER };
        let resumes = way.paused && way.waiting <= low;
        way.paused &= !resumes;
        self.clear_outgoing(key);
        if resumes {
            self.relay_resume(index, sink.other());
        }
        self.launch(index, sink);
    }

    /// The sink has not taken all of what is being sent: sends the rest when there is room. If buffers are
    /// scarce it is copied first, so that slow readers do not keep the shard's buffers.
    fn wait_for_room(&mut self, index: u32, sink: Side, key: Key) {
        let (Some(relay), Some(slot)) = (self.relays.get_mut(index), self.slots.slot(key)) else {
            return;
        };
        if let Outgoing::Piece(lease) = &slot.outgoing
            && self.buffers.are_scarce(lease.kind())
            && let Outgoing::Piece(lease) = std::mem::take(&mut slot.outgoing)
        {
            let mut bytes = self.pool.take();
            bytes.extend_from_slice(lease.bytes());
            self.buffers.give_back(lease);
            relay.ways[sink as usize].copied += bytes.len();
            self.spilled += bytes.len();
            slot.outgoing = Outgoing::Bytes(bytes, 0);
            self.keep_within();
        }
        if self.relays.contains(index) {
            self.send_outgoing(key, Sending::Wait);
        }
    }

    /// Sends what waits for `sink`; once nothing does, passes the source's end on.
    fn launch(&mut self, index: u32, sink: Side) {
        let Some(relay) = self.relays.get_mut(index) else {
            return;
        };
        let way = &mut relay.ways[sink as usize];
        if way.waiting == 0 && !way.ended {
            return;
        }
        let Some(key) = relay.sides[sink as usize] else {
            return;
        };
        let Some(slot) = self.slots.slot(key) else { return };
        if slot.flags.sending {
            return self.await_send(key);
        }
        // What is known to be broken may have lost the rest of what it was sending.
        if slot.errno != 0 {
            return;
        }
        let (next, copied) = way.next(&mut self.buffers, &mut self.pool);
        self.spilled += copied;
        if !matches!(next, Outgoing::Nothing) {
            let how = match &next {
                _ if way.is_done_with(next.rest().len()) => Sending::Quiet,
                Outgoing::Piece(lease) if self.buffers.are_scarce(lease.kind()) => Sending::Try,
                _ => Sending::Wait,
            };
            slot.outgoing = next;
            self.keep_within();
            if self.relays.contains(index) {
                self.send_outgoing(key, how);
            }
        } else if way.ended && !way.shut {
            way.shut = true;
            self.end_output(key);
            self.finish_relay(index);
        }
    }

    /// Ends the relay if every side that is left has got everything.
    fn finish_relay(&mut self, index: u32) {
        let Some(relay) = self.relays.get(index) else {
            return;
        };
        let open = |side: Side| relay.sides[side as usize].is_some() && !relay.ways[side as usize].shut;
        if Side::BOTH.into_iter().any(open) {
            return;
        }
        for key in self.end_relay(index) {
            // Closing while the peer still sends would reset the connection under what it has yet to read.
            match self.slots.slot(key).map(|slot| slot.flags.ended) {
                Some(true) => self.close(key),
                _ => self.linger(key, LINGER),
            }
        }
    }

    fn cut_relay(&mut self, index: u32, end: RelayEnd) {
        if let Some(relay) = self.relays.get_mut(index) {
            relay.end = Some(end);
        }
        for key in self.end_relay(index) {
            self.close(key);
        }
    }

    /// Forgets a relay and reports it; the slots of its open sides are left to the caller.
    fn end_relay(&mut self, index: u32) -> Vec<Key> {
        let Some(relay) = self.relays.remove(index) else {
            return Vec::new();
        };
        let [to_client, to_target] = relay.ways;
        let report = RelayReport {
            to_target: to_target.taken,
            to_client: to_client.taken,
            took: self.now.saturating_duration_since(relay.started),
            end: relay.end.unwrap_or(RelayEnd::Aborted),
        };
        for way in [to_client, to_target] {
            self.spilled -= way.copied;
            way.discard(&mut self.buffers, &mut self.pipes);
        }
        self.calls.push_back(Call::Ended(relay.on_end, report));
        relay.sides.into_iter().flatten().collect()
    }

    /// Makes a socket one side of a relay. What it had received and nobody took goes first.
    fn join_relay(&mut self, index: u32, side: Side, key: Key) {
        self.set_low_water(key, 0);
        let (Some(relay), Some(slot)) = (self.relays.get_mut(index), self.slots.slot(key)) else {
            return;
        };
        slot.face = Face::Relay { relay: index, side };
        slot.waker = None;
        slot.flags.wanted = false;
        let into = &mut relay.ways[side as usize];
        into.waiting += slot.outgoing.rest().len();
        if let Outgoing::Bytes(bytes, _) = &slot.outgoing {
            into.copied += bytes.len();
            self.spilled += bytes.len();
        }
        let from = &mut relay.ways[side.other() as usize];
        if let Some(lease) = slot.inbox.take() {
            self.spilled += from.queue(lease, &mut self.buffers);
        }
        self.spilled += from.spill(&std::mem::take(&mut slot.stash));
        self.timers.set(key.index, self.tick.saturating_add(relay.idle));
    }
}

/// Whether relays hold so much that a source is received from only while nothing of it waits.
fn is_strained(spilled: usize, max: usize) -> bool {
    spilled > max / 2
}
