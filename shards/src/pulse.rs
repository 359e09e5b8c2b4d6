//! The sign of life of a thread: it beats while it works, and whoever looks sees for how long it has stood
//! still.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a thread beats at the latest, whether or not it has work.
pub const PULSE_INTERVAL: Duration = Duration::from_secs(1);

/// What the pulse of a thread that has ended as it should reads.
const RETIRED: u64 = u64::MAX;

/// The sign of life of one thread, which alone writes it.
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    /// Milliseconds from `born` to the last beat, or [`RETIRED`].
    last: AtomicU64,
}

impl Default for Pulse {
    /// A pulse that beats now for the first time.
    fn default() -> Self {
        Self {
            born: Instant::now(),
            last: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    /// The thread makes progress. To be called at least every [`PULSE_INTERVAL`].
    pub fn beat(&self) {
        let since = self.born.elapsed().as_millis();
        self.last
            .store(u64::try_from(since).unwrap_or(RETIRED - 1), Ordering::Relaxed);
    }

    /// The thread ends as it should, and is not missed from now on.
    pub fn retire(&self) {
        self.last.store(RETIRED, Ordering::Relaxed);
    }

    /// For how long there was no beat; `None` once the thread has retired.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed);
        (last != RETIRED).then(|| self.born.elapsed().saturating_sub(Duration::from_millis(last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_grows_until_the_next_beat_and_ends_with_the_thread() {
        let pulse = Pulse {
            born: Instant::now().checked_sub(Duration::from_secs(60)).unwrap(),
            last: AtomicU64::new(0),
        };
        assert!(pulse.silence().unwrap() >= Duration::from_secs(60));
        pulse.beat();
        assert!(pulse.silence().unwrap() < Duration::from_secs(30));
        pulse.retire();
        assert_eq!(pulse.silence(), None);
    }
}
