//! The receive buffers of a shard: one provided-buffer ring that every socket receives into.
#![expect(unsafe_code, reason = "memory that is shared with the kernel")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The buffer group that every receive names.
pub(super) const GROUP: u16 = 0;

/// All buffers of a shard. A buffer is the kernel's until a completion names it; then it is a [`Lease`] until
/// [`Buffers::give_back`].
pub(super) struct Buffers {
    /// The descriptors, a ring that the kernel reads.
    descriptors: Mapping,
    memory: Mapping,
    count: u16,
    bytes: u16,
    tail: u16,
    leased: u16,
}

/// Received bytes in a buffer that is ours for now. Not `Clone`: whoever holds it is the only one who may
/// look.
pub(super) struct Lease {
    at: NonNull<u8>,
    len: u16,
    id: u16,
}

impl Buffers {
    /// Maps `count` (a power of two) buffers of `bytes` each and gives them to the ring. They must be dropped
    /// after it.
    pub(super) fn register(ring: &IoUring, count: u16, bytes: u16) -> io::Result<Self> {
        let count = count.next_power_of_two();
        let descriptors = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Mapping::new(usize::from(count) * usize::from(bytes))?;
        let address = descriptors.at.as_ptr() as u64;
        // SAFETY: `descriptors` is page-aligned, as long as `count` entries, and lives until after the ring:
        // it is unmapped in our drop, and the engine's core drops the ring first.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, count, GROUP, 0)?
        };
        let mut buffers = Self {
            descriptors,
            memory,
            count,
            bytes,
            tail: 0,
            leased: 0,
        };
        for id in 0..count {
            buffers.offer(id);
        }
        Ok(buffers)
    }

    /// Takes the buffer `id` that a completion named, with `len` received bytes in it. The caller vouches
    /// that it was named once since it was last given back, which is what the kernel guarantees.
    pub(super) fn lease(&mut self, id: u16, len: usize) -> Lease {
        assert!(
            id < self.count && len <= usize::from(self.bytes),
            "the kernel named a buffer that it was not given"
        );
        self.leased += 1;
        #[expect(clippy::cast_possible_truncation, reason = "at most `bytes`, as asserted")]
        Lease {
            at: self.address(id),
            len: len as u16,
            id,
        }
    }

    /// Gives a buffer to the kernel again.
    pub(super) fn give_back(&mut self, lease: Lease) {
        self.leased -= 1;
        self.offer(lease.id);
    }

    /// Buffers that are leased now.
    pub(super) fn leased(&self) -> u16 {
        self.leased
    }

    /// Buffers that the kernel may fill.
    pub(super) fn free(&self) -> u16 {
        self.count - self.leased
    }

    /// Whether so many are leased that nobody should hold one for longer than a turn.
    pub(super) fn are_scarce(&self) -> bool {
        self.leased > self.count / 2
    }

    /// Where the ring of descriptors lies, and how many they are, for a simulated kernel.
    #[cfg(test)]
    pub(super) fn descriptors(&self) -> (*const BufRingEntry, u16) {
        (self.descriptors.at.as_ptr().cast(), self.count)
    }

    /// Leaves the memory to the kernel for good: it may still use it.
    pub(super) fn leak(&mut self) {
        self.memory.leak();
        self.descriptors.leak();
    }

    fn address(&self, id: u16) -> NonNull<u8> {
        // SAFETY: `id` is below `count`, so that the offset lies within the mapping.
        unsafe { self.memory.at.add(usize::from(id) * usize::from(self.bytes)) }
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
            entry.set_len(u32::from(self.bytes));
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail: *const AtomicU16 = BufRingEntry::tail(first).cast();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
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
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), usize::from(self.len)) }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Forgets the first `n` bytes.
    pub(super) fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "more was sent than there is");
        // SAFETY: stays within the buffer, as asserted.
        self.at = unsafe { self.at.add(n) };
        #[expect(clippy::cast_possible_truncation, reason = "at most `len`, as asserted")]
        {
            self.len -= n as u16;
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
