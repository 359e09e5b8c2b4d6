//! How many reports of a kind go out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Reports that may come at once.
pub(super) const BURST: u32 = 10;

/// After that, one report in this time.
const INTERVAL: Duration = Duration::from_secs(6);

/// Lets a bounded number of reports through and counts the others. All threads share it without waiting for
/// each other.
#[derive(Debug)]
pub(super) struct Quota {
    epoch: Instant,
    /// When the burst will be whole again, in nanoseconds since the epoch.
    whole_at: AtomicU64,
    withheld: AtomicU64,
}

impl Quota {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            whole_at: AtomicU64::new(0),
            withheld: AtomicU64::new(0),
        }
    }

    /// Lets a report through, with the number of those before it that did not go out; or withholds and counts
    /// it.
    pub(super) fn pass(&self, now: Instant) -> Option<u64> {
        let now = nanoseconds(now.saturating_duration_since(self.epoch));
        let interval = nanoseconds(INTERVAL);
        let latest = now + interval * u64::from(BURST - 1);
        let taken = self
            .whole_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |whole_at| {
                (whole_at <= latest).then(|| whole_at.max(now) + interval)
            });
        if taken.is_ok() {
            Some(self.withheld.swap(0, Ordering::Relaxed))
        } else {
            self.withhold(1);
            None
        }
    }

    /// Counts reports that were let through, or should have been, but did not go out.
    pub(super) fn withhold(&self, count: u64) {
        self.withheld.fetch_add(count, Ordering::Relaxed);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_burst_through_then_one_at_a_time_and_counts_the_rest() {
        let start = Instant::now();
        let quota = Quota::new(start);
        let passed = |now| (0..1_000).filter_map(|_| quota.pass(now)).collect::<Vec<_>>();
        assert_eq!(passed(start), vec![0; BURST as usize]);
        assert_eq!(passed(start + INTERVAL), [990]);
        assert_eq!(passed(start + INTERVAL), [0_u64; 0]);
        let later = start + INTERVAL * 100;
        let all = passed(later);
        assert_eq!((all.len(), all[0]), (BURST as usize, 1_999));
    }

    #[test]
    fn counts_what_did_not_go_out_after_all() {
        let start = Instant::now();
        let quota = Quota::new(start);
        assert_eq!(quota.pass(start), Some(0));
        quota.withhold(3);
        assert_eq!(quota.pass(start), Some(3));
    }
}
