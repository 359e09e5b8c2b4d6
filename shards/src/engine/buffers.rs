//! The receive buffers of a shard: two provided-buffer rings that every socket receives into.
//!
//! Most receives bring little and fill a common buffer. A relay that carries bulk fills large ones, because
//! what a byte costs the kernel falls with the length of each receive and send. Of a ring's buffers only a
//! few are offered at a time, the last used first, so that the same ones stay in the CPU's cache.
#![expect(unsafe_code, reason = "memory that is shared with the kernel")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::Settings;
use crate::limits::RECEIVE_BUFFERS_OFFERED;

/// Large buffers that the kernel may fill at a time. One, because memory that is in the cache is copied
/// faster than the next socket could be waited for.
const LARGE_OFFERED_MAX: u16 = 1;

/// The two kinds of buffers; the discriminant is the kernel's name for the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Common = 0,
    Large = 1,
}

impl Kind {
    /// The buffer group that a receive names.
    pub(super) fn group(self) -> u16 {
        self as u16
    }
}

/// All buffers of a shard. A buffer is the kernel's until a completion names it; then it is a [`Lease`] until
/// [`Buffers::give_back`].
pub(super) struct Buffers {
    common: Stock,
    large: Stock,
}

impl Buffers {
    /// Maps the buffers and gives them to the ring. They must be dropped after it.
    pub(super) fn register(ring: &IoUring, settings: Settings) -> io::Result<Self> {
        let Settings {
            buffers,
            buffer_bytes,
            large_buffers,
            large_buffer_bytes,
            ..
        } = settings;
        Ok(Self {
            common: Stock::register(
                ring,
                Kind::Common,
                buffers,
                u32::from(buffer_bytes),
                RECEIVE_BUFFERS_OFFERED,
            )?,
            large: Stock::register(
                ring,
                Kind::Large,
                large_buffers,
                large_buffer_bytes,
                LARGE_OFFERED_MAX,
            )?,
        })
    }

    /// Takes the buffer `id` that a completion named, with `len` received bytes in it. The caller vouches
    /// that it was named once since it was last given back, which is what the kernel guarantees.
    pub(super) fn lease(&mut self, kind: Kind, id: u16, len: usize) -> Lease {
        self.stock_mut(kind).lease(id, len)
    }

    /// Gives a buffer to the kernel again.
    pub(super) fn give_back(&mut self, lease: Lease) {
        self.stock_mut(lease.kind).give_back(lease);
    }

    /// Common buffers that are leased now.
    pub(super) fn leased(&self) -> u16 {
        self.common.leased
    }

    /// Buffers of a kind that the kernel may fill now.
    pub(super) fn offered(&self, kind: Kind) -> u16 {
        self.stock(kind).offered
    }

    /// A receive found no common buffer: from now on twice as many are offered. Says whether all were offered
    /// already.
    pub(super) fn offer_more(&mut self) -> bool {
        let stock = &mut self.common;
        let offered_all = stock.offered_max >= stock.count;
        stock.offered_max = stock.offered_max.saturating_mul(2).min(stock.count);
        stock.restock();
        offered_all
    }

    /// Whether so many of a kind are leased that nobody should hold one for longer than a turn.
    pub(super) fn are_scarce(&self, kind: Kind) -> bool {
        let stock = self.stock(kind);
        stock.leased > stock.count / 2
    }

    /// Whether so many bytes at once fill a common buffer: there may be more.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        bytes >= self.common.bytes as usize
    }

    /// Where the rings of descriptors lie, and how long they are, for a simulated kernel.
    #[cfg(test)]
    pub(super) fn descriptors(&self) -> [(*const BufRingEntry, u16); 2] {
        [&self.common, &self.large].map(|stock| {
            (
                stock.descriptors.at.as_ptr().cast::<BufRingEntry>().cast_const(),
                stock.count,
            )
        })
    }

    /// Buffers of both kinds that are leased now.
    #[cfg(test)]
    pub(super) fn all_leased(&self) -> u16 {
        self.common.leased + self.large.leased
    }

    /// Leaves the memory to the kernel for good: it may still use it.
    pub(super) fn leak(&mut self) {
        for stock in [&mut self.common, &mut self.large] {
            stock.memory.leak();
            stock.descriptors.leak();
        }
    }

    fn stock(&self, kind: Kind) -> &Stock {
        match kind {
            Kind::Common => &self.common,
            Kind::Large => &self.large,
        }
    }

    fn stock_mut(&mut self, kind: Kind) -> &mut Stock {
        match kind {
            Kind::Common => &mut self.common,
            Kind::Large => &mut self.large,
        }
    }
}

/// All buffers of one kind.
struct Stock {
    kind: Kind,
    /// The descriptors, a ring that the kernel reads.
    descriptors: Mapping,
    memory: Mapping,
    count: u16,
    bytes: u32,
    tail: u16,
    leased: u16,
    /// Buffers that the kernel has now.
    offered: u16,
    /// At most so many are offered.
    offered_max: u16,
    /// The others, the last used last.
    kept: Vec<u16>,
}

/// Received bytes in a buffer that is ours for now. Not `Clone`: whoever holds it is the only one who may
/// look.
pub(super) struct Lease {
    at: NonNull<u8>,
    len: u32,
    id: u16,
    kind: Kind,
}

impl Stock {
    /// Maps `count` (rounded up to a power of two) buffers of `bytes` each and gives them to the ring.
    fn register(ring: &IoUring, kind: Kind, count: u16, bytes: u32, offered_max: u16) -> io::Result<Self> {
        let count = count.next_power_of_two();
        let descriptors = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Mapping::new(usize::from(count) * bytes as usize)?;
        let address = descriptors.at.as_ptr() as u64;
        // SAFETY: `descriptors` is page-aligned, as long as `count` entries, and lives until after the ring:
        // it is unmapped in our drop, and the engine's core drops the ring first.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, count, kind.group(), 0)?
        };
        let mut stock = Self {
            kind,
            descriptors,
            memory,
            count,
            bytes,
            tail: 0,
            leased: 0,
            offered: 0,
            offered_max,
            kept: (0..count).rev().collect(),
        };
        stock.restock();
        Ok(stock)
    }

    fn lease(&mut self, id: u16, len: usize) -> Lease {
        assert!(
            id < self.count && len <= self.bytes as usize,
            "the kernel named a buffer that it was not given"
        );
        self.leased += 1;
        self.offered -= 1;
        self.restock();
        #[expect(clippy::cast_possible_truncation, reason = "at most `bytes`, as asserted")]
        Lease {
            at: self.address(id),
            len: len as u32,
            id,
            kind: self.kind,
        }
    }

    fn give_back(&mut self, lease: Lease) {
        self.leased -= 1;
        self.kept.push(lease.id);
        self.restock();
    }

    /// Offers as many buffers as may be.
    fn restock(&mut self) {
        while self.offered < self.offered_max
            && let Some(id) = self.kept.pop()
        {
            self.offered += 1;
            self.offer(id);
        }
    }

    fn address(&self, id: u16) -> NonNull<u8> {
        // SAFETY: `id` is below `count`, so that the offset lies within the mapping.
        unsafe { self.memory.at.add(usize::from(id) * self.bytes as usize) }
    }

    fn offer(&mut self, id: u16) {
        let address = self.address(id).as_ptr() as u64;
        let first: *mut BufRingEntry = self.descriptors.at.as_ptr().cast();
        // SAFETY: the masked index lies within the mapped descriptors, which the kernel reads only up to the
        // tail that is published below; the mapping was zeroed, which is a valid entry. The tail overlays the
        // first entry's reserved field, which the setters leave alone; it is aligned for, and only ever
        // accessed as, an atomic.
        unsafe {
            let entry = &mut *first.add(usize::from(self.tail & (self.count - 1)));
            entry.set_addr(address);
            entry.set_len(self.bytes);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail: *const AtomicU16 = BufRingEntry::tail(first).cast();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        if self.leased > 0 {
            // Somebody may still look at received bytes: leave the memory to them.
            self.memory.leak();
        }
    }
}

impl Lease {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the kernel wrote these bytes before the completion, does not touch the buffer until it is
        // given back, which consumes the lease, and the memory is not unmapped while leases are out.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len as usize) }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Forgets the first `n` bytes.
    pub(super) fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "more was sent than there is");
        // SAFETY: stays within the buffer, as asserted.
        self.at = unsafe { self.at.add(n) };
        #[expect(clippy::cast_possible_truncation, reason = "at most `len`, as asserted")]
        {
            self.len -= n as u32;
        }
    }
}

/// Anonymous memory from the kernel: page-aligned, zeroed, touched lazily.
struct Mapping {
    at: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nobody's memory.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { at, bytes })
    }

    fn leak(&mut self) {
        self.bytes = 0;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: mapped by us with this length, and our owner has made sure that nobody refers to it.
            unsafe { libc::munmap(self.at.as_ptr().cast(), self.bytes) };
        }
    }
}
