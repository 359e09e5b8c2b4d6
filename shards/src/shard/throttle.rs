//! Log lines that an attacker or a broken target could cause by the thousand.

use std::cell::Cell;
use std::time::Instant;

use crate::limits::LOG_INTERVAL;

/// Lets one in a while through, and counts the others.
#[derive(Default)]
pub(crate) struct Throttle {
    last: Cell<Option<Instant>>,
    withheld: Cell<u64>,
}

impl Throttle {
    /// How many were withheld since the last one, if this one may pass.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        if self
            .last
            .get()
            .is_some_and(|last| now.saturating_duration_since(last) < LOG_INTERVAL)
        {
            self.withheld.set(self.withheld.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(self.withheld.take())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_a_second_passes_and_knows_of_the_others() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.pass(now), Some(0));
        assert_eq!(throttle.pass(now), None);
        assert_eq!(throttle.pass(now + Duration::from_millis(999)), None);
        assert_eq!(throttle.pass(now + Duration::from_secs(1)), Some(2));
        assert_eq!(throttle.pass(now + Duration::from_secs(5)), Some(0));
    }
}
