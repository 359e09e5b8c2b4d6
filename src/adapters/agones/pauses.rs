//! Pauses between attempts to get a game server: each longer than the one before, and spread by chance.

use std::time::Duration;

use crate::config::agones::Backoff;

/// Gives one pause after the other, as many as the attempts need that are allowed.
#[derive(Debug)]
pub(super) struct Pauses {
    backoff: Backoff,
    left: u32,
    next: Duration,
}

impl Pauses {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            left: backoff.max_attempts.saturating_sub(1),
            next: backoff.initial,
            backoff,
        }
    }

    /// The next pause, or `None` if there may be no further attempt. `random` is from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.next;
        self.next = pause
            .mul_f64(self.backoff.factor.clamp(1.0, 10.0))
            .min(self.backoff.max);
        Some(pause + self.backoff.jitter.mul_f64(random.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        initial: Duration::from_millis(100),
        max: Duration::from_millis(300),
        max_attempts: 6,
        factor: 1.5,
        jitter: Duration::from_millis(10),
    };

    #[test]
    fn grow_up_to_the_longest_and_end_with_the_last_attempt() {
        let mut pauses = Pauses::new(BACKOFF);
        let millis: Vec<_> = (0..7)
            .map(|_| pauses.next(0.0).map(|pause| pause.as_millis()))
            .collect();
        let five = [100, 150, 225, 300, 300].map(Some);
        assert_eq!(millis, [five.as_slice(), &[None, None]].concat());
    }

    #[test]
    fn are_spread_as_far_as_is_configured() {
        let first = |random| Pauses::new(BACKOFF).next(random).map(|pause| pause.as_millis());
        assert_eq!([first(0.0), first(0.5), first(9.0)], [100, 105, 110].map(Some));
        let once = Backoff {
            max_attempts: 1,
            ..BACKOFF
        };
        assert_eq!(Pauses::new(once).next(0.5), None);
    }
}
