//! Slots: one for each socket, listener and sleeper, with what it needs between its operations.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Waker;

use socket2::SockAddr;

use super::buffers::Lease;
use super::listen::Acceptor;
use super::prefetch::{LINE, prefetch};
use super::tag::{Key, Op, SLOTS_MAX};

/// Lines of the CPU's cache, from the beginning of a slot, that hold all that a relayed message looks at.
const HOT_LINES: usize = 1;

const _: () = assert!(std::mem::offset_of!(Slot, waker) <= HOT_LINES * LINE);

/// One open thing. Lives until its last operation has completed. What each message of a relay looks at comes
/// first.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Slot {
    pub(super) face: Face,
    pub(super) fd: Option<OwnedFd>,
    generation: u32,
    /// The error that broke the connection; 0 while there is none.
    pub(super) errno: i32,
    /// How it is received from, now or the next time.
    pub(super) intake: Intake,
    pub(super) flags: Flags,
    /// What the send under way reads from. Untouched while `sending`.
    pub(super) outgoing: Outgoing,
    /// The task that waits for this slot.
    pub(super) waker: Option<Waker>,
    /// Received and not yet taken, in arrival order: first this,
    pub(super) inbox: Option<Lease>,
    /// then this, copied out of the shard's buffers because nobody wanted it at once.
    pub(super) stash: Vec<u8>,
    /// Whom a listener serves.
    pub(super) acceptor: Option<Box<Acceptor>>,
    /// The address of the connect under way. Untouched while `sending`.
    pub(super) address: Option<Box<SockAddr>>,
    /// The tick at which the task wants to hear of its deadline; `u64::MAX` for none.
    pub(super) deadline: u64,
    /// Bytes that have to be there before the kernel says so, its default of 1 if this is 0.
    pub(super) low_water: u32,
}

/// How a socket is received from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Intake {
    /// Until told otherwise, into common buffers.
    #[default]
    Steady,
    /// One common buffer at a time.
    Once,
    /// One large buffer at a time.
    Bulk,
    /// Through a pipe: the ring says when there is something.
    Carry,
}

/// Where a slot stands.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one socket")]
pub(super) struct Flags {
    /// A receive or an accept is under way.
    pub(super) receiving: bool,
    /// Its cancellation was asked for.
    pub(super) cancelling: bool,
    /// A send or a connect is under way.
    pub(super) sending: bool,
    /// The send completes only if it fails.
    pub(super) quiet: bool,
    /// In the queue for a receive buffer.
    pub(super) starving: bool,
    /// The peer will send no more.
    pub(super) ended: bool,
    /// The task waits for input at this moment.
    pub(super) wanted: bool,
    /// The task is to be interrupted.
    pub(super) notified: bool,
    /// The send under way waits for room, for what is in a pipe.
    pub(super) carrying: bool,
    /// System calls on the socket do not wait.
    pub(super) nonblocking: bool,
}

/// Bytes that are being sent.
#[derive(Default)]
pub(super) enum Outgoing {
    #[default]
    Nothing,
    /// As they were received.
    Piece(Lease),
    /// The rest of a vector, from this position on.
    Bytes(Vec<u8>, usize),
}

impl Outgoing {
    /// What the kernel has not taken yet.
    pub(super) fn rest(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Piece(lease) => lease.bytes(),
            Self::Bytes(bytes, sent) => bytes.get(*sent..).unwrap_or_default(),
        }
    }

    /// The kernel has taken `n` bytes.
    pub(super) fn advance(&mut self, n: usize) {
        match self {
            Self::Nothing => {}
            Self::Piece(lease) => lease.advance(n),
            Self::Bytes(_, sent) => *sent += n,
        }
    }
}

/// What a slot is for.
#[derive(Default)]
pub(super) enum Face {
    /// Free; the index of the next free slot, `u32::MAX` for none.
    #[default]
    Vacant,
    /// A [`Socket`](super::Socket) owns it.
    Socket,
    /// One side of a relay.
    Relay { relay: u32, side: Side },
    /// Lets the peer read to the end; discards at most this many more bytes.
    Lingering { left: u32 },
    /// A connection is being made.
    Connecting,
    /// Accepts connections; the slot has an acceptor.
    Listener,
    /// Waits for a time only.
    Sleeper,
    /// To be closed once its operations have completed.
    Closing,
}

/// The two ends of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client = 0,
    Target = 1,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Client, Self::Target];

    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Target,
            Self::Target => Self::Client,
        }
    }
}

impl Slot {
    /// Whether the kernel may still use the slot's memory and descriptor.
    pub(super) fn is_busy(&self) -> bool {
        self.flags.receiving || self.flags.sending
    }

    /// The operation by which it receives.
    pub(super) fn receive_op(&self) -> Op {
        match self.intake {
            Intake::Bulk => Op::ReceiveBulk,
            Intake::Carry => Op::Readable,
            Intake::Steady | Intake::Once => Op::Receive,
        }
    }

    /// The operation by which it sends.
    pub(super) fn send_op(&self) -> Op {
        match self.face {
            Face::Connecting => Op::Connect,
            _ if self.flags.carrying => Op::Writable,
            _ => Op::Send,
        }
    }

    /// Whether everything that was received was taken.
    pub(super) fn has_nothing(&self) -> bool {
        self.inbox.is_none() && self.stash.is_empty()
    }

    /// Whether a send may begin.
    pub(super) fn may_send(&self) -> bool {
        !self.flags.sending && self.errno == 0
    }

    /// Whether another receive could bring anything.
    pub(super) fn may_receive(&self) -> bool {
        !self.flags.receiving && !self.flags.starving && !self.flags.ended && self.errno == 0
    }

    /// The open descriptor.
    ///
    /// # Panics
    ///
    /// Panics for a sleeper, which has none.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Some(fd) => fd.as_fd(),
            None => unreachable!("asked for the descriptor of a slot without one"),
        }
    }
}

/// Where a completion for one side of a relay will look beside its slot.
#[derive(Clone, Copy)]
struct Link {
    relay: u32,
    /// The slot of the other side.
    other: u32,
}

impl Link {
    /// Of a slot that is no side of a relay.
    const NONE: Self = Self {
        relay: u32::MAX,
        other: u32::MAX,
    };
}

/// All slots of a shard.
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// For each slot, close together, so that they are more often in the cache than it. The relay may have
    /// ended: then what is fetched is of no use.
    links: Vec<Link>,
    free: Vec<u32>,
    open: usize,
    /// How many there may be.
    max: u32,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            links: Vec::new(),
            free: Vec::new(),
            open: 0,
            max: SLOTS_MAX,
        }
    }
}

impl Slots {
    /// Makes no more slots than there are.
    #[cfg(test)]
    pub(super) fn fill(&mut self) {
        self.free.clear();
        self.max = u32::try_from(self.slots.len()).unwrap_or(SLOTS_MAX);
    }

    /// Makes a slot. `None` when there are already [`SLOTS_MAX`].
    pub(super) fn insert(&mut self, fd: Option<OwnedFd>, face: Face) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len())
                    .ok()
                    .filter(|index| *index < self.max)?;
                self.slots.push(Slot::default());
                self.links.push(Link::NONE);
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        let generation = slot.generation;
        self.open += usize::from(fd.is_some());
        *slot = Slot {
            fd,
            face,
            generation,
            deadline: u64::MAX,
            ..Slot::default()
        };
        Some(Key { index, generation })
    }

    /// The slot, unless the key is stale.
    pub(super) fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation && !matches!(slot.face, Face::Vacant)).then_some(slot)
    }

    /// Notes that two slots are the sides of a relay.
    pub(super) fn link(&mut self, sides: [Key; 2], relay: u32) {
        for (one, other) in [(sides[0], sides[1]), (sides[1], sides[0])] {
            if let Some(link) = self.links.get_mut(one.index as usize) {
                *link = Link {
                    relay,
                    other: other.index,
                };
            }
        }
    }

    /// Has the CPU fetch what a completion for a side of a relay will look at. The index of that relay.
    pub(super) fn prefetch(&self, index: u32) -> Option<u32> {
        let link = self.links.get(index as usize)?;
        prefetch(self.slots.get(link.other as usize)?, HOT_LINES);
        prefetch(self.slots.get(index as usize)?, HOT_LINES);
        Some(link.relay)
    }

    /// The descriptor of an open socket, unless the key is stale.
    pub(super) fn descriptor(&self, key: Key) -> Option<BorrowedFd<'_>> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.generation == key.generation).then_some(())?;
        slot.fd.as_ref().map(AsFd::as_fd)
    }

    /// The current key of an index.
    pub(super) fn key(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        (!matches!(slot.face, Face::Vacant)).then_some(Key {
            index,
            generation: slot.generation,
        })
    }

    /// Frees the slot and gives its contents back. Every key to it is stale from now on.
    pub(super) fn remove(&mut self, key: Key) -> Option<Slot> {
        let slot = self.slot(key)?;
        let generation = slot.generation.wrapping_add(1);
        let slot = std::mem::replace(
            slot,
            Slot {
                generation,
                ..Slot::default()
            },
        );
        self.open -= usize::from(slot.fd.is_some());
        self.links[key.index as usize] = Link::NONE;
        self.free.push(key.index);
        Some(slot)
    }

    /// Slots with a descriptor.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// The keys of all slots in use.
    pub(super) fn keys(&self) -> Vec<Key> {
        (0..self.slots.len())
            .filter_map(|index| self.key(u32::try_from(index).ok()?))
            .collect()
    }

    /// Whether the kernel may still use the memory of any slot.
    pub(super) fn any_busy(&self) -> bool {
        self.slots.iter().any(Slot::is_busy)
    }
}
