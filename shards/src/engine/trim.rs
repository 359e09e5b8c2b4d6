//! Giving memory back to the system: the allocator keeps what a flood took, for a next one that may not come.
#![expect(unsafe_code, reason = "a function of the C library")]

/// Sockets that must have been closed since the last time, so that it is worth the walk through the heap.
const CLOSED_MIN: usize = 256;

/// Ticks between two times.
const EVERY_TICKS: u64 = 125;

/// When the allocator was last asked, and what has been open since.
#[derive(Debug, Default)]
pub(super) struct Trim {
    /// Most sockets at a time since then.
    peak: usize,
    due: u64,
}

impl Trim {
    /// Notes how many sockets are open.
    pub(super) fn note(&mut self, open: usize) {
        self.peak = self.peak.max(open);
    }

    /// Whether most of what was open has gone, and the last time is long ago. Says so once.
    pub(super) fn is_due(&mut self, open: usize, tick: u64) -> bool {
        let is_due = tick >= self.due && self.peak >= open.saturating_mul(4) + CLOSED_MIN;
        if is_due {
            (self.peak, self.due) = (open, tick + EVERY_TICKS);
        }
        is_due
    }
}

/// Gives free pages back. Takes about a quarter of a millisecond for each MiB that goes (measured), and holds
/// up other threads that allocate from the same part of the heap: for shards with nothing else to do.
pub(super) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::{CLOSED_MIN, EVERY_TICKS, Trim};

    #[test]
    fn is_due_once_after_most_has_gone() {
        let mut trim = Trim::default();
        trim.note(CLOSED_MIN - 1);
        assert!(!trim.is_due(0, 0), "too few to be worth it");
        trim.note(CLOSED_MIN + 400);
        assert!(!trim.is_due(101, 0), "many are still there");
        assert!(trim.is_due(100, 0));
        assert!(!trim.is_due(0, 1), "nothing has gone since");
        trim.note(CLOSED_MIN);
        assert!(!trim.is_due(0, EVERY_TICKS - 1), "not that often");
        assert!(trim.is_due(0, EVERY_TICKS));
    }
}
