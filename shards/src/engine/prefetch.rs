//! Asking the CPU for memory that is about to be used.
//!
//! Between two completions the kernel goes through so much memory that little of ours stays in the cache.
//! What a message needs lies in three places, each of which names the next; asked for at the same time they
//! cost one wait instead of three.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "an instruction of the CPU")
)]

/// Bytes that the CPU fetches together.
pub(super) const LINE: usize = 64;

/// Has the CPU fetch the first [`LINE`]s of `what`, at most `lines`. Changes nothing, and waits for nothing.
#[inline]
pub(super) fn prefetch<T>(what: &T, lines: usize) {
    for line in 0..lines.min(size_of::<T>().div_ceil(LINE)) {
        let at = std::ptr::from_ref(what).cast::<i8>().wrapping_add(line * LINE);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: it is a hint: the CPU reads nothing into a register, and an address that is not mapped
        // does no harm.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(at);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }
}
