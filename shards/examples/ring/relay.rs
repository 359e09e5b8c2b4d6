//! Pairs of sockets, and the bytes on their way between them.
#![expect(unsafe_code, reason = "sends use received buffers until they complete")]

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::OwnedFd;

use slab::Slab;
use socket2::SockRef;

use crate::buffers::{Buffers, Piece};
use crate::operations::{Completion, Operation, Operations, Owner};

/// Bytes waiting in one direction above which its source is not received from.
pub(crate) const HIGH_WATER: usize = 128 * 1024;
/// Bytes waiting in one direction at or below which its source is received from again.
const LOW_WATER: usize = 32 * 1024;
/// Pieces that one send takes at most.
const VECTOR_MAX: usize = 16;
/// The sides of a relay.
const CLIENT: u8 = 0;
const TARGET: u8 = 1;

/// All relays.
#[derive(Default)]
pub(crate) struct Relays {
    open: Slab<Relay>,
    /// Ways that have something to send, each once.
    ready: Vec<Owner>,
    /// Sides that found no receive buffer.
    starved: Vec<Owner>,
}

struct Relay {
    sockets: [OwnedFd; 2],
    /// By the side that they lead out of.
    ways: [Way; 2],
    /// Operations that have not completed for the last time.
    under_way: u32,
    broken: bool,
}

/// One direction.
#[derive(Default)]
struct Way {
    pieces: VecDeque<Piece>,
    /// Bytes of all pieces.
    waiting: usize,
    message: Option<Box<Message>>,
    /// It is in `ready`.
    ready: bool,
    sending: bool,
    receiving: bool,
    /// The receive was told to end.
    cancelling: bool,
    starved: bool,
    /// The source will bring no more.
    ended: bool,
    /// The sink was told so.
    shut: bool,
}

/// Several pieces in one send.
struct Message {
    header: libc::msghdr,
    vector: [libc::iovec; VECTOR_MAX],
}

impl Relays {
    /// Relays that have not ended.
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }

    /// Begins a relay: connects to the target, and receives from both after that.
    pub(crate) fn open(&mut self, client: OwnedFd, target: OwnedFd, operations: &mut Operations) {
        let entry = self.open.vacant_entry();
        let Ok(relay) = u32::try_from(entry.key()) else {
            return;
        };
        let owner = Owner { relay, side: TARGET };
        operations.connect(owner, &target);
        entry.insert(Relay {
            sockets: [client, target],
            ways: Default::default(),
            under_way: 1,
            broken: false,
        });
    }

    /// An operation of a relay has completed.
    pub(crate) fn complete(&mut self, completion: &Completion, operations: &mut Operations) {
        let owner = completion.owner;
        let Some(relay) = self.open.get_mut(owner.relay as usize) else {
            return;
        };
        if !completion.more {
            relay.under_way -= 1;
        }
        match completion.operation {
            Operation::Connect if completion.result == 0 => {
                relay.receive(
                    Owner {
                        side: CLIENT,
                        ..owner
                    },
                    operations,
                );
                relay.receive(owner, operations);
            }
            Operation::Receive => {
                relay.received(completion, &mut operations.buffers);
                let way = &mut relay.ways[usize::from(owner.side)];
                if way.starved {
                    self.starved.push(owner);
                }
                way.get_ready(owner, &mut self.ready);
                relay.keep_receiving(owner, operations);
            }
            Operation::Send => {
                let source = Owner {
                    side: 1 - owner.side,
                    ..owner
                };
                relay.sent(completion, &mut operations.buffers);
                relay.ways[usize::from(source.side)].get_ready(source, &mut self.ready);
                relay.keep_receiving(source, operations);
            }
            _ => relay.end_badly(),
        }
        self.close_if_over(owner, operations);
    }

    /// Sends what has come since the last turn, with one operation a way.
    pub(crate) fn send(&mut self, operations: &mut Operations) {
        let mut ready = std::mem::take(&mut self.ready);
        for source in ready.drain(..) {
            let Some(relay) = self.open.get_mut(source.relay as usize) else {
                continue;
            };
            relay.ways[usize::from(source.side)].ready = false;
            relay.send(source, operations);
            self.close_if_over(source, operations);
        }
        self.ready = ready;
    }

    /// Receives again where there was no buffer, if there are some now.
    pub(crate) fn feed(&mut self, operations: &mut Operations) {
        if !operations.buffers.any_free() {
            return;
        }
        for owner in self.starved.drain(..) {
            if let Some(relay) = self.open.get_mut(owner.relay as usize) {
                relay.ways[usize::from(owner.side)].starved = false;
                relay.keep_receiving(owner, operations);
            }
        }
    }

    fn close_if_over(&mut self, owner: Owner, operations: &mut Operations) {
        let key = owner.relay as usize;
        let Some(relay) = self.open.get(key) else { return };
        let listed = relay.ways.iter().any(|way| way.ready || way.starved);
        if relay.under_way > 0 || listed || !relay.is_over() {
            return;
        }
        let relay = self.open.remove(key);
        for piece in relay.ways.into_iter().flat_map(|way| way.pieces) {
            operations.buffers.recycle(piece);
        }
        for socket in relay.sockets {
            operations.close(owner, socket);
        }
    }
}

impl Relay {
    fn is_over(&self) -> bool {
        self.broken || self.ways.iter().all(|way| way.shut)
    }

    fn receive(&mut self, owner: Owner, operations: &mut Operations) {
        operations.receive(owner, &self.sockets[usize::from(owner.side)]);
        self.ways[usize::from(owner.side)].receiving = true;
        self.under_way += 1;
    }

    /// Begins to receive, or stops it, as the marks say.
    fn keep_receiving(&mut self, owner: Owner, operations: &mut Operations) {
        let way = &mut self.ways[usize::from(owner.side)];
        if self.broken || way.ended || way.starved {
            return;
        }
        if way.receiving && !way.cancelling && way.waiting > HIGH_WATER {
            way.cancelling = true;
            operations.cancel_receive(owner);
        } else if !way.receiving && way.waiting <= LOW_WATER {
            self.receive(owner, operations);
        }
    }

    fn received(&mut self, completion: &Completion, buffers: &mut Buffers) {
        let way = &mut self.ways[usize::from(completion.owner.side)];
        if !completion.more {
            (way.receiving, way.cancelling) = (false, false);
        }
        let bytes = u32::try_from(completion.result).unwrap_or(0);
        if let Some(buffer) = completion.buffer {
            let piece = buffers.take(buffer, bytes);
            if bytes == 0 || self.broken {
                buffers.recycle(piece);
            } else {
                way.waiting += piece.len();
                way.pieces.push_back(piece);
            }
        }
        match -completion.result {
            0 => way.ended = true,
            libc::ENOBUFS => way.starved = true,
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            1.. => self.end_badly(),
            _ => {}
        }
    }

    /// The owner's side took bytes that came from the other one.
    fn sent(&mut self, completion: &Completion, buffers: &mut Buffers) {
        let way = &mut self.ways[usize::from(1 - completion.owner.side)];
        way.sending = false;
        let Ok(mut bytes) = usize::try_from(completion.result) else {
            return self.end_badly();
        };
        way.waiting -= bytes;
        while let Some(piece) = way.pieces.front_mut() {
            bytes = piece.sent(bytes);
            if piece.len() > 0 {
                break;
            }
            way.pieces
                .pop_front()
                .into_iter()
                .for_each(|piece| buffers.recycle(piece));
        }
    }

    /// Sends what came from the source to the other side, or tells it that this was all.
    fn send(&mut self, source: Owner, operations: &mut Operations) {
        let way = &mut self.ways[usize::from(source.side)];
        let sink = Owner {
            side: 1 - source.side,
            ..source
        };
        let socket = &self.sockets[usize::from(sink.side)];
        if way.sending || self.broken {
            return;
        }
        if let Some(first) = way.pieces.front() {
            way.sending = true;
            self.under_way += 1;
            if way.pieces.len() == 1 {
                let at = operations.buffers.address(first);
                // SAFETY: the kernel does not write to a buffer before it is recycled, and this piece is kept
                // until the send has completed.
                unsafe { operations.send(sink, socket, at, first.len()) };
            } else {
                let message = way.message.get_or_insert_with(Message::empty);
                let header = message.fill(&way.pieces, &operations.buffers);
                // SAFETY: as above; the message is boxed, belongs to the way, and is filled again only once
                // this send has completed.
                unsafe { operations.send_message(sink, socket, header) };
            }
        } else if way.ended && !way.shut {
            way.shut = true;
            // In the ring this would go to a worker thread of the kernel.
            if SockRef::from(socket).shutdown(Shutdown::Write).is_err() {
                self.end_badly();
            }
        }
    }

    /// Ends both sides, so that all operations under way complete.
    fn end_badly(&mut self) {
        self.broken = true;
        for socket in &self.sockets {
            // An error here says that the side has ended already.
            let _ = SockRef::from(socket).shutdown(Shutdown::Both);
        }
    }
}

impl Way {
    fn get_ready(&mut self, owner: Owner, ready: &mut Vec<Owner>) {
        let wanted = !self.pieces.is_empty() || (self.ended && !self.shut);
        if wanted && !self.sending && !self.ready {
            self.ready = true;
            ready.push(owner);
        }
    }
}

impl Message {
    fn empty() -> Box<Self> {
        // SAFETY: both are plain C structs, for which zeros are valid: no name, no vector, nothing to send.
        Box::new(unsafe { std::mem::zeroed() })
    }

    /// Points to the first pieces.
    fn fill(&mut self, pieces: &VecDeque<Piece>, buffers: &Buffers) -> *const libc::msghdr {
        self.header.msg_iovlen = pieces.len().min(VECTOR_MAX);
        for (entry, piece) in self.vector.iter_mut().zip(pieces) {
            entry.iov_base = buffers.address(piece).cast_mut().cast();
            entry.iov_len = piece.len();
        }
        self.header.msg_iov = self.vector.as_mut_ptr();
        &raw const self.header
    }
}
