//! Submission entries, read as the kernel reads them.
#![expect(unsafe_code, reason = "an entry shows its fields to the kernel only")]

use std::os::fd::RawFd;

use io_uring::squeue::Entry;

pub(super) const OP_POLL: u8 = 6;
pub(super) const OP_ACCEPT: u8 = 13;
pub(super) const OP_CANCEL: u8 = 14;
pub(super) const OP_CONNECT: u8 = 16;
pub(super) const OP_CLOSE: u8 = 19;
pub(super) const OP_READ: u8 = 22;
pub(super) const OP_SEND: u8 = 26;
pub(super) const OP_RECEIVE: u8 = 27;

/// In the field `ioprio` of a receive.
const MULTISHOT: u64 = 2;

/// In the field `flags`.
const SKIP_SUCCESS: u8 = 64;

/// The fields of a submission entry, where the kernel's interface puts them.
pub(super) struct Submission {
    pub(super) opcode: u8,
    pub(super) fd: RawFd,
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) op_flags: u32,
    pub(super) user_data: u64,
    /// The group of buffers that a receive takes from.
    pub(super) group: usize,
    /// Whether it goes on until it is told otherwise.
    pub(super) many: bool,
    /// Whether it says nothing when all went well.
    pub(super) quiet: bool,
}

impl Submission {
    pub(super) fn of(entry: &Entry) -> Self {
        const { assert!(size_of::<Entry>() == 64) };
        // SAFETY: an entry is the kernel's structure of 64 initialised bytes.
        let words: [u64; 8] = unsafe { std::mem::transmute_copy(entry) };
        let [head, _, address, length, user_data, group, ..] = words;
        let low = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap();
        let high = |word: u64| low(word >> 32);
        Self {
            opcode: head.to_le_bytes()[0],
            fd: high(head).cast_signed(),
            address,
            len: low(length),
            op_flags: high(length),
            user_data,
            group: usize::from(u16::try_from(group & 0xFFFF).unwrap()),
            quiet: head.to_le_bytes()[1] & SKIP_SUCCESS != 0,
            many: head >> 16 & MULTISHOT != 0,
        }
    }
}
