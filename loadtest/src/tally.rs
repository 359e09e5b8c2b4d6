//! What one thread counted, and the sum of what all counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::{Failure, Kind};

/// Failures of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// The first of them in words.
    pub first: String,
}

/// Counts and latencies.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Units that ended well: connections or messages.
    pub completed: u64,
    /// Failures by kind.
    pub failures: BTreeMap<Kind, Failures>,
    /// Nanoseconds from the (scheduled) start of each completed unit to its verified end.
    pub latency: Histogram<u64>,
    /// When the last unit ended.
    pub last: Option<Instant>,
    /// Connections that the server closed while they were meant to be idle.
    pub closed_idle: u64,
    /// Units that each client of a closed loop ended well; one that ends makes room for its successor, which
    /// is the same client.
    pub clients: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            completed: 0,
            failures: BTreeMap::new(),
            latency: empty_histogram(),
            last: None,
            closed_idle: 0,
            clients: Vec::new(),
        }
    }

    /// Counts a unit that was due at `start` and is over at `now`.
    pub fn complete(&mut self, start: Instant, now: Instant) {
        self.completed += 1;
        self.last = Some(now);
        let nanoseconds = now.saturating_duration_since(start).as_nanos();
        self.latency
            .saturating_record(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    }

    /// Client number `client` begins its first unit, or another one.
    pub fn admit(&mut self, client: usize) {
        self.clients.resize(self.clients.len().max(client + 1), 0);
    }

    /// Counts a unit of client number `client`.
    pub fn credit(&mut self, client: usize) {
        if let Some(units) = self.clients.get_mut(client) {
            *units += 1;
        }
    }

    /// Begins to count anew, with the same clients.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            clients: vec![0; self.clients.len()],
            ..Self::new()
        }
    }

    /// Counts a failure.
    pub fn fail(&mut self, failure: Failure) {
        self.fail_times(failure, 1);
    }

    /// Counts the same failure several times.
    pub fn fail_times(&mut self, failure: Failure, times: u64) {
        if times == 0 {
            return;
        }
        let entry = self.failures.entry(failure.kind).or_default();
        if entry.count == 0 {
            entry.first = failure.what;
        }
        entry.count += times;
    }

    /// All failures.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().map(|failures| failures.count).sum()
    }

    /// Adds what another thread counted.
    pub fn merge(&mut self, other: Self) {
        self.completed += other.completed;
        self.closed_idle += other.closed_idle;
        self.clients.extend(other.clients);
        self.last = self.last.max(other.last);
        // Both histograms have the same bounds, so adding cannot fail.
        let _ = self.latency.add(&other.latency);
        for (kind, failures) in other.failures {
            self.fail_times(Failure::new(kind, failures.first), failures.count);
        }
    }

    /// The latency below which this share of the units stayed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(share))
    }
}

/// From 1 ns to 10 minutes, three significant digits.
fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3)
        .unwrap_or_else(|error| unreachable!("constant, valid bounds: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Tally;
    use crate::failure::{Failure, Kind};

    #[test]
    fn merging_loses_nothing() {
        let start = Instant::now();
        let mut sum = Tally::new();
        for thread in 1..=3u64 {
            let mut tally = Tally::new();
            tally.complete(start, start + Duration::from_millis(thread));
            tally.admit(0);
            tally.credit(0);
            tally.admit(1);
            tally.fail(Failure::new(Kind::Reset, format!("thread {thread}")));
            sum.merge(tally);
        }
        assert_eq!((sum.completed, sum.failed(), sum.latency.len()), (3, 3, 3));
        assert_eq!(sum.failures[&Kind::Reset].first, "thread 1");
        assert_eq!(sum.clients, [1, 0].repeat(3));
        assert_eq!(sum.renewed().clients, [0; 6]);
        let median = sum.quantile(0.5).as_secs_f64();
        assert!((0.00199..0.00201).contains(&median), "{median}");
    }
}
