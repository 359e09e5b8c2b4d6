//! The sign of life of a thread: it beats while it works, and whoever looks sees for how long it has stood
//! still, or that it has died.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a thread beats at the latest, whether or not it has work.
pub const PULSE_INTERVAL: Duration = Duration::from_secs(1);

/// What the pulse of a thread that has ended as it should reads.
const RETIRED: u64 = u64::MAX;

/// What the pulse of a thread that has ended otherwise reads.
const DEAD: u64 = RETIRED - 1;

/// What the pulse of a thread that may wait for ever reads.
const RESTING: u64 = DEAD - 1;

/// The sign of life of one thread, which alone writes it.
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    /// Milliseconds from `born` to the last beat, or one of the words above.
    last: AtomicU64,
}

/// What a pulse says of its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It beat this long ago.
    Beating(Duration),
    /// It waits for work, for as long as that takes.
    Resting,
    /// It has ended as it should.
    Retired,
    /// It has ended in a panic, or without being asked.
    Dead,
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
    /// The pulse of a thread that waits for work for as long as that takes: only its death is missed.
    #[must_use]
    pub fn resting() -> Self {
        Self {
            last: AtomicU64::new(RESTING),
            ..Self::default()
        }
    }

    /// A pulse whose only beat was this long ago, for tests of who reads it.
    #[must_use]
    pub fn born_before(age: Duration) -> Self {
        let now = Instant::now();
        Self {
            born: now.checked_sub(age).unwrap_or(now),
            last: AtomicU64::new(0),
        }
    }

    /// The thread makes progress. To be called at least every [`PULSE_INTERVAL`].
    pub fn beat(&self) {
        let since = self.born.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(RESTING).min(RESTING - 1);
        self.last.store(since, Ordering::Relaxed);
    }

    /// The thread ends as it should, and is not missed from now on.
    pub fn retire(&self) {
        self.last.store(RETIRED, Ordering::Relaxed);
    }

    /// The thread ends, and should not.
    pub fn die(&self) {
        self.last.store(DEAD, Ordering::Relaxed);
    }

    /// Does a thread's whole work: it retires when it returns, and dies when it panics.
    pub fn over<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Death<'a>(&'a Pulse);
        impl Drop for Death<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.die();
                } else {
                    self.0.retire();
                }
            }
        }
        let _death = Death(self);
        work()
    }

    /// What there is to see of the thread now.
    #[must_use]
    pub fn sign(&self) -> Sign {
        match self.last.load(Ordering::Relaxed) {
            RETIRED => Sign::Retired,
            DEAD => Sign::Dead,
            RESTING => Sign::Resting,
            last => Sign::Beating(self.born.elapsed().saturating_sub(Duration::from_millis(last))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn silence(pulse: &Pulse) -> Duration {
        match pulse.sign() {
            Sign::Beating(silence) => silence,
            sign => panic!("{sign:?}"),
        }
    }

    #[test]
    fn silence_grows_until_the_next_beat_and_ends_with_the_thread() {
        let pulse = Pulse::born_before(Duration::from_secs(60));
        assert!(silence(&pulse) >= Duration::from_secs(60));
        pulse.beat();
        assert!(silence(&pulse) < Duration::from_secs(30));
        pulse.retire();
        assert_eq!(pulse.sign(), Sign::Retired);
    }

    #[test]
    fn who_waits_for_work_is_not_missed_before_it_dies() {
        let pulse = Pulse::resting();
        assert_eq!(pulse.sign(), Sign::Resting);
        pulse.beat();
        assert!(matches!(pulse.sign(), Sign::Beating(_)));
        pulse.die();
        assert_eq!(pulse.sign(), Sign::Dead);
    }

    #[test]
    fn work_that_returns_retires_and_work_that_panics_dies() {
        let pulse = Pulse::resting();
        assert_eq!(pulse.over(|| 7), 7);
        assert_eq!(pulse.sign(), Sign::Retired);
        let pulse = Pulse::default();
        let panicked = catch_unwind(AssertUnwindSafe(|| pulse.over(|| panic!("injected"))));
        assert!(panicked.is_err());
        assert_eq!(pulse.sign(), Sign::Dead);
    }
}
