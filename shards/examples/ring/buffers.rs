//! The receive buffers: a provided-buffer ring that all sockets receive into, never unmapped.
#![expect(unsafe_code, reason = "memory that is shared with the kernel")]

use std::alloc::{Layout, alloc_zeroed};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The buffer group that every receive names.
pub(crate) const GROUP: u16 = 0;
/// Buffers; a power of two.
const COUNT: u16 = 256;
/// Bytes of a buffer.
const BYTES: u32 = 16 * 1024;
/// What the kernel wants the ring of descriptors to be aligned to.
const PAGE: usize = 4096;

const _: () = assert!(COUNT.is_power_of_two());

/// All buffers. One is the kernel's until a completion names it, and ours until it is recycled.
pub(crate) struct Buffers {
    descriptors: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
    free: u16,
}

/// A part of a buffer that is to be sent.
#[derive(Debug)]
pub(crate) struct Piece {
    buffer: u16,
    begin: u32,
    end: u32,
}

impl Buffers {
    /// Gives all buffers to the ring.
    pub(crate) fn register(ring: &IoUring) -> io::Result<Self> {
        let mut buffers = Self {
            descriptors: allocate(usize::from(COUNT) * size_of::<BufRingEntry>())?.cast(),
            memory: allocate(usize::from(COUNT) * BYTES as usize)?,
            tail: 0,
            free: 0,
        };
        let address = buffers.descriptors.as_ptr() as u64;
        // SAFETY: the memory is aligned to a page, holds `COUNT` entries and is never freed.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, COUNT, GROUP, 0)?
        };
        (0..COUNT).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    /// What was received into a buffer that a completion named.
    pub(crate) fn take(&mut self, buffer: u16, bytes: u32) -> Piece {
        assert!(
            buffer < COUNT && bytes <= BYTES,
            "the kernel names what it was given"
        );
        self.free -= 1;
        Piece {
            buffer,
            begin: 0,
            end: bytes,
        }
    }

    /// Where a piece begins. The kernel does not write there before the piece is given back.
    pub(crate) fn address(&self, piece: &Piece) -> *const u8 {
        self.at(piece.buffer, piece.begin)
    }

    /// Gives a buffer to the kernel again.
    pub(crate) fn recycle(&mut self, piece: Piece) {
        self.give_back(piece.buffer);
    }

    /// Whether a receive would find a buffer.
    pub(crate) fn any_free(&self) -> bool {
        self.free > 0
    }

    fn at(&self, buffer: u16, offset: u32) -> *const u8 {
        let offset = usize::from(buffer) * BYTES as usize + offset as usize;
        // SAFETY: pieces are made in `take` only, and never grow: the offset lies within the memory.
        unsafe { self.memory.as_ptr().add(offset) }
    }

    fn give_back(&mut self, buffer: u16) {
        let address = self.at(buffer, 0) as u64;
        let first = self.descriptors.as_ptr();
        // SAFETY: the masked index is below `COUNT`, and all entries are zeroed, which is a valid entry. The
        // kernel reads entries up to the tail only, and the tail is published after the entry is written. It
        // overlays the first entry's reserved field, which the setters leave alone.
        unsafe {
            let entry = &mut *first.add(usize::from(self.tail & (COUNT - 1)));
            entry.set_addr(address);
            entry.set_len(BYTES);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail: *const AtomicU16 = BufRingEntry::tail(first).cast();
            (*tail).store(self.tail, Ordering::Release);
        }
        self.free += 1;
    }
}

impl Piece {
    /// Bytes that are left to send.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.begin) as usize
    }

    /// Forgets at most `bytes` from the front that were sent; gives how many of them were not here.
    pub(crate) fn sent(&mut self, bytes: usize) -> usize {
        let here = bytes.min(self.len());
        self.begin += u32::try_from(here).unwrap_or(0);
        bytes - here
    }
}

/// Zeroed memory for the rest of the process.
fn allocate(bytes: usize) -> io::Result<NonNull<u8>> {
    let layout = Layout::from_size_align(bytes, PAGE).map_err(io::Error::other)?;
    // SAFETY: the layout is not empty.
    NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
