//! Pauses that grow, and that chance spreads.

use std::time::Duration;

/// The pause before a repetition: `first` before the first one, twice as long before each further one,
/// `longest` at most. Up to half of it is left to `random`, from 0 to 1, so that many who failed at the same
/// moment do not all come back at the same moment.
pub(crate) fn pause(times: u32, first: Duration, longest: Duration, random: f64) -> Duration {
    let doubled = times.saturating_sub(1).min(31);
    let whole = first.saturating_mul(1 << doubled).min(longest);
    whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// A duration within a tenth of this one.
pub(crate) fn about(duration: Duration, random: f64) -> Duration {
    duration.mul_f64(0.9 + random.clamp(0.0, 1.0) / 5.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn doubles_up_to_its_bound() {
        let pauses: Vec<_> = [1, 2, 3, 10, 32, u32::MAX]
            .map(|times| pause(times, FIRST, LONGEST, 1.0).as_millis())
            .into();
        assert_eq!(pauses, [100, 200, 400, 30_000, 30_000, 30_000]);
        assert_eq!(pause(0, FIRST, LONGEST, 1.0), FIRST);
    }

    proptest! {
        #[test]
        fn is_never_longer_than_the_bound_nor_shorter_than_half_of_the_first(
            times in any::<u32>(), random in any::<f64>()
        ) {
            let random = if random.is_nan() { 0.0 } else { random };
            let pause = pause(times, FIRST, LONGEST, random);
            prop_assert!((FIRST / 2..=LONGEST).contains(&pause));
            let about = about(LONGEST, random).as_secs_f64();
            prop_assert!((26.99..=33.01).contains(&about));
        }
    }
}
