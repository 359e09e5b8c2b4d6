//! When the next connection or message is due, independent of how the server does.

use std::time::Duration;

use serde::Serialize;

use crate::random::Random;

/// How load is offered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Closed loop: this many are always in flight, the next starts when one ends. Finds the capacity; its
    /// latencies leave out the waiting that a slow server would cause.
    Closed {
        /// Connections in flight, over all threads.
        concurrency: usize,
    },
    /// Open loop: starts come at this rate whatever the server does, and latency counts from the scheduled
    /// start.
    Open {
        /// Starts per second, over all threads.
        rate: f64,
        /// How the starts are spread.
        arrivals: Arrivals,
    },
}

/// How the starts of an open loop are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Exponential gaps, as independent players arrive.
    Poisson,
    /// Equal gaps.
    Even,
}

/// An endless, seeded sequence of start times.
#[derive(Debug)]
pub struct Schedule {
    random: Random,
    gap: f64,
    arrivals: Arrivals,
    /// Seconds since the start; summed as `f64` so that rounding does not drift the rate.
    next: f64,
}

impl Schedule {
    /// `rate` starts per second, the first after one gap.
    #[must_use]
    pub fn new(rate: f64, arrivals: Arrivals, random: Random) -> Self {
        let mut schedule = Self {
            random,
            gap: 1.0 / rate.max(1e-9),
            arrivals,
            next: 0.0,
        };
        schedule.advance();
        schedule
    }

    /// When the next start is due, since the beginning of the schedule.
    #[must_use]
    pub fn next(&self) -> Duration {
        Duration::try_from_secs_f64(self.next).unwrap_or(Duration::MAX)
    }

    /// Goes on to the start after that.
    pub fn advance(&mut self) {
        self.next += match self.arrivals {
            Arrivals::Even => self.gap,
            Arrivals::Poisson => -self.random.unit().ln() * self.gap,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Schedule};
    use crate::random::Random;
    use std::time::Duration;

    fn starts(seed: u64, arrivals: Arrivals, count: usize) -> Vec<Duration> {
        let mut schedule = Schedule::new(1000.0, arrivals, Random::new(seed));
        (0..count)
            .map(|_| {
                let at = schedule.next();
                schedule.advance();
                at
            })
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        assert_eq!(
            starts(1, Arrivals::Poisson, 500),
            starts(1, Arrivals::Poisson, 500)
        );
        assert_ne!(
            starts(1, Arrivals::Poisson, 500),
            starts(2, Arrivals::Poisson, 500)
        );
    }

    #[test]
    fn poisson_starts_keep_the_rate_and_vary() {
        let starts = starts(3, Arrivals::Poisson, 50_000);
        let seconds = starts[starts.len() - 1].as_secs_f64();
        assert!(
            (49.0..51.0).contains(&seconds),
            "50 000 starts at 1000/s took {seconds} s"
        );
        let short = starts
            .windows(2)
            .filter(|pair| pair[1] - pair[0] < Duration::from_micros(693))
            .count();
        assert!(
            (24_000..26_000).contains(&short),
            "half of the gaps are below ln 2 of the mean, not {short}"
        );
    }

    #[test]
    fn even_starts_do_not_drift() {
        let starts = starts(4, Arrivals::Even, 100_000);
        let off = starts[99_999].abs_diff(Duration::from_secs(100));
        assert!(off < Duration::from_micros(1), "off by {off:?}");
    }
}
