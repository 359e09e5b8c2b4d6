//! Bulk, carried from socket to socket through a pipe.
//!
//! The ring only says when the source can be read from and the sink written to. A pipe is held no longer than
//! something is in it, and while something is, the source is left alone.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;

use socket2::SockRef;

use super::super::core::Core;
use super::super::pipes::Pipe;
use super::super::ring::Completion;
use super::super::slot::{Face, Intake, Side};
use super::super::tag::Key;

/// Bytes that one relay carries at most before the others have their turn.
const TURN_BYTES: usize = 256 * 1024;

/// Why carrying stopped.
enum Stop {
    /// The source has no more for now, or had its turn.
    Later,
    /// The source will bring no more.
    Ended,
    /// The sink takes no more for now.
    Full,
    /// The connection of a side is broken.
    Broken(Side, i32),
    /// The kernel does not splice these sockets.
    Impossible,
}

/// What was moved before carrying stopped.
struct Moved {
    read: usize,
    written: usize,
    stop: Stop,
}

impl Core {
    /// Waits for `from` to be readable, to carry what it brings into `to`.
    pub(super) fn await_bulk(&mut self, from: Key, to: Key) {
        for key in [from, to] {
            if let Some(slot) = self.slots.slot(key)
                && !slot.flags.nonblocking
            {
                // If that fails the connection is broken, which the next operation finds.
                let _ = SockRef::from(&slot.descriptor()).set_nonblocking(true);
                slot.flags.nonblocking = true;
            }
        }
        self.receive(from);
    }

    /// A socket that was waited for can be read from.
    pub(in super::super) fn readable(&mut self, key: Key, completion: &Completion) {
        let Some(slot) = self.slots.slot(key) else { return };
        slot.flags.receiving = false;
        slot.flags.cancelling = false;
        match slot.face {
            Face::Relay { relay, side } if completion.result >= 0 => self.carry(relay, side),
            _ => {
                slot.intake = Intake::Steady;
                self.resume(key);
            }
        }
    }

    /// A socket that was waited for can be written to.
    pub(in super::super) fn writable(&mut self, key: Key) {
        let Some(slot) = self.slots.slot(key) else { return };
        slot.flags.sending = false;
        slot.flags.carrying = false;
        match slot.face {
            Face::Relay { relay, side } => self.carry(relay, side.other()),
            _ => self.bury(key),
        }
    }

    /// Moves what is in the way's pipe and what `source` has to the other side.
    fn carry(&mut self, index: u32, source: Side) {
        let sink = source.other();
        let Some(relay) = self.relays.get_mut(index) else {
            return;
        };
        let way = &mut relay.ways[sink as usize];
        let held = way.pipe.take();
        let (Some(from), Some(to)) = (relay.sides[source as usize], relay.sides[sink as usize]) else {
            // Only the rest can be delivered.
            way.pipe = held;
            return self.carry_rest(index, sink);
        };
        let Some(mut pipe) = held.or_else(|| self.pipes.take()) else {
            // The others have them all: this once with a buffer.
            if let Some(slot) = self.slots.slot(from) {
                slot.intake = Intake::Bulk;
                self.receive(from);
            }
            return;
        };
        let (Some(from_fd), Some(to_fd)) = (self.slots.descriptor(from), self.slots.descriptor(to)) else {
            return self.pipes.put(pipe);
        };
        let moved = transfer(&mut pipe, Some(from_fd), to_fd, source);
        self.carried(index, source, pipe, moved);
    }

    /// Delivers what is left in the pipe of a way whose source is gone.
    fn carry_rest(&mut self, index: u32, sink: Side) {
        let Some(relay) = self.relays.get_mut(index) else {
            return;
        };
        let (Some(mut pipe), Some(to)) = (relay.ways[sink as usize].pipe.take(), relay.sides[sink as usize])
        else {
            return;
        };
        let Some(to_fd) = self.slots.descriptor(to) else {
            return self.pipes.put(pipe);
        };
        let moved = transfer(&mut pipe, None, to_fd, sink.other());
        self.carried(index, sink.other(), pipe, moved);
    }

    /// Accounts for what was carried and goes on.
    fn carried(&mut self, index: u32, source: Side, pipe: Pipe, moved: Moved) {
        let sink = source.other();
        let Some(relay) = self.relays.get_mut(index) else {
            return self.pipes.put(pipe);
        };
        let way = &mut relay.ways[sink as usize];
        way.waiting = (way.waiting + moved.read).saturating_sub(moved.written);
        if moved.read > 0 {
            self.stats.bulk_receives += 1;
            way.judge(self.buffers.is_full(moved.read));
        }
        if moved.written > 0 {
            way.taken += moved.written as u64;
            way.taken_at = self.tick;
        }
        if moved.read + moved.written > 0 {
            relay.moved = self.tick;
        }
        self.stats.count_relayed(sink, moved.written);
        let (from, to) = (relay.sides[source as usize], relay.sides[sink as usize]);
        let receives = to.and_then(|key| self.slots.slot(key));
        let receives = receives.is_some_and(|slot| slot.flags.receiving);
        match (moved.stop, to) {
            // A receive got the reason, and its completion is on its way: it is the one that counts.
            (Stop::Broken(side, libc::EPIPE), Some(to)) if side == sink && receives => {
                way.pipe = Some(pipe);
                return self.await_room(to);
            }
            (Stop::Full, Some(to)) => {
                way.pipe = Some(pipe);
                return self.await_room(to);
            }
            (Stop::Broken(side, errno), _) => {
                self.pipes.put(pipe);
                let broken = relay.sides[side as usize];
                if let Some(slot) = broken.and_then(|key| self.slots.slot(key)) {
                    slot.errno = errno;
                }
                return self.relay_broken(index, side);
            }
            (stop, _) => {
                self.pipes.put(pipe);
                match stop {
                    Stop::Ended => {
                        if let Some(slot) = from.and_then(|key| self.slots.slot(key)) {
                            slot.flags.ended = true;
                        }
                        return self.relay_ended(index, source);
                    }
                    Stop::Impossible => self.pipes.give_up(),
                    _ => {}
                }
            }
        }
        self.relay_resume(index, source);
        self.launch(index, sink);
    }

    fn await_room(&mut self, key: Key) {
        if let Some(slot) = self.slots.slot(key) {
            slot.flags.sending = true;
            slot.flags.carrying = true;
            self.ring.await_room(key, slot.descriptor());
        }
    }
}

/// Moves bytes from `from`, if there is still such a side, through the pipe into `to`.
fn transfer(pipe: &mut Pipe, from: Option<BorrowedFd<'_>>, to: BorrowedFd<'_>, source: Side) -> Moved {
    let (mut read, mut written) = (0, 0);
    let stop = loop {
        if pipe.held() > 0 {
            match pipe.drain(to) {
                Ok(0) => break Stop::Full,
                Ok(moved) => written += moved,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Stop::Full,
                Err(error) => break Stop::Broken(source.other(), error.raw_os_error().unwrap_or(libc::EIO)),
            }
            continue;
        }
        let Some(from) = from.filter(|_| read < TURN_BYTES) else {
            break Stop::Later;
        };
        match pipe.fill(from) {
            Ok(0) => break Stop::Ended,
            Ok(moved) => read += moved,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Stop::Later,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let refused = matches!(
                    errno,
                    libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP
                );
                break if refused {
                    Stop::Impossible
                } else {
                    Stop::Broken(source, errno)
                };
            }
        }
    };
    Moved { read, written, stop }
}
