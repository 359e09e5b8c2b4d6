//! Histograms of durations: exact explicit buckets with exact sum and extremes, and quantiles beside them.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::trace::{SpanId, TraceId};

/// Explicit bounds of a histogram in nanoseconds, each the inclusive upper end of its bucket. The last bucket
/// has none.
pub type Bounds = [u64; 16];

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// Bounds for requests and adapters: 0.1 ms to 10 s. The alerts of the monitoring guide compare with 50 ms
/// and 0.5 s, so that both are bounds.
pub const ANSWERS: Bounds = [
    MILLISECOND / 10,
    MILLISECOND / 4,
    MILLISECOND / 2,
    MILLISECOND,
    5 * MILLISECOND / 2,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    5 * SECOND / 2,
    5 * SECOND,
    10 * SECOND,
];

/// Bounds for relays: 1 s to 1 day.
pub const RELAYS: Bounds = [
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
    600 * SECOND,
    1_800 * SECOND,
    3_600 * SECOND,
    7_200 * SECOND,
    14_400 * SECOND,
    28_800 * SECOND,
    43_200 * SECOND,
    86_400 * SECOND,
];

/// Bounds for turns of a shard's loop: 10 µs to 1 s. A turn is to be over within 1 ms, which is a bound.
pub const TURNS: Bounds = [
    MILLISECOND / 100,
    MILLISECOND / 40,
    MILLISECOND / 20,
    MILLISECOND / 10,
    MILLISECOND / 4,
    MILLISECOND / 2,
    3 * MILLISECOND / 4,
    MILLISECOND,
    3 * MILLISECOND / 2,
    5 * MILLISECOND / 2,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    SECOND,
];

/// Longest duration that quantiles tell apart, in microseconds: a day. Buckets, sum and extremes know no such
/// end.
const QUANTILE_MICROSECONDS_MAX: u64 = 86_400_000_000;

/// Durations of one series. Buckets, count, sum and extremes are exact to the nanosecond; quantiles have two
/// significant digits.
#[derive(Clone, Debug)]
pub struct Durations {
    bounds: &'static Bounds,
    buckets: [u64; 17],
    sum: u64,
    min: u64,
    max: u64,
    quantiles: Histogram<u32>,
    exemplar: Option<Exemplar>,
}

/// One of the durations, and the trace in which it can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// How long it took.
    pub took: Duration,
    /// Which trace.
    pub trace: TraceId,
    /// Which span of it.
    pub span: SpanId,
    /// When it was recorded, in nanoseconds since the Unix epoch.
    pub unix_nanoseconds: u64,
}

impl Durations {
    /// No durations yet.
    #[must_use]
    pub fn new(bounds: &'static Bounds) -> Self {
        #[expect(
            clippy::expect_used,
            clippy::missing_panics_doc,
            reason = "constants that the tests build from"
        )]
        let quantiles =
            Histogram::new_with_bounds(1, QUANTILE_MICROSECONDS_MAX, 2).expect("1 µs to a day is a range");
        Self {
            bounds,
            buckets: [0; 17],
            sum: 0,
            min: u64::MAX,
            max: 0,
            quantiles,
            exemplar: None,
        }
    }

    /// Counts one duration.
    pub fn record(&mut self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self
            .bounds
            .iter()
            .map(|bound| usize::from(*bound < took))
            .sum::<usize>();
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(took);
        self.min = self.min.min(took);
        self.max = self.max.max(took);
        self.quantiles.saturating_record(took / 1_000);
    }

    /// Shows one of the durations that were counted with its trace, in place of the one before it.
    pub fn exemplify(&mut self, exemplar: Exemplar) {
        self.exemplar = Some(exemplar);
    }

    /// The last duration that was traced; `None` if none was.
    #[must_use]
    pub fn exemplar(&self) -> Option<&Exemplar> {
        self.exemplar.as_ref()
    }

    /// Adds what another series counted. Both must have the same bounds.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds, "only like is merged with like");
        if other.is_empty() {
            return;
        }
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if let Some(exemplar) = other.exemplar {
            let is_later = |known: Exemplar| known.unix_nanoseconds <= exemplar.unix_nanoseconds;
            if self.exemplar.is_none_or(is_later) {
                self.exemplar = Some(exemplar);
            }
        }
        // Fails for values out of range only, and both have the same range.
        let _ = self.quantiles.add(&other.quantiles);
    }

    /// Forgets every duration and keeps the memory.
    pub fn clear(&mut self) {
        if self.is_empty() {
            return;
        }
        (self.buckets, self.sum, self.min, self.max) = ([0; 17], 0, u64::MAX, 0);
        self.quantiles.reset();
        self.exemplar = None;
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All durations together, in nanoseconds. Holds 584 years.
    #[must_use]
    pub fn sum_nanoseconds(&self) -> u64 {
        self.sum
    }

    /// The shortest duration; `None` if there is none.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.min))
    }

    /// The longest duration; `None` if there is none.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.max))
    }

    /// The upper bounds of all buckets but the last.
    #[must_use]
    pub fn bounds(&self) -> &'static Bounds {
        self.bounds
    }

    /// How many durations fell into each bucket (not cumulated).
    #[must_use]
    pub fn buckets(&self) -> &[u64; 17] {
        &self.buckets
    }

    /// The duration that this part (0 to 1) of all durations does not exceed, to two significant digits;
    /// `None` if there are none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_micros(self.quantiles.value_at_quantile(part)))
    }
}

impl Durations {
    /// Every duration that the quantiles tell apart, in microseconds, with how often it was counted. Below
    /// one microsecond all are 0.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self.quantiles.iter_recorded();
        recorded.map(|step| {
            let microseconds = self.quantiles.median_equivalent(step.value_iterated_to());
            (microseconds, step.count_since_last_iteration())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend_and_hold_those_of_the_alerts() {
        assert!(ANSWERS.is_sorted() && RELAYS.is_sorted() && TURNS.is_sorted());
        assert!(TURNS.contains(&MILLISECOND) && TURNS.contains(&(100 * MILLISECOND)));
        assert_eq!((ANSWERS[0], ANSWERS[15]), (100_000, 10 * SECOND));
        assert!(ANSWERS.contains(&(50 * MILLISECOND)) && ANSWERS.contains(&(500 * MILLISECOND)));
    }

    #[test]
    fn a_duration_on_a_bound_belongs_to_the_bucket_below_it() {
        for (at, bound) in ANSWERS.iter().enumerate() {
            let mut durations = Durations::new(&ANSWERS);
            durations.record(Duration::from_nanos(*bound));
            durations.record(Duration::from_nanos(*bound + 1));
            assert_eq!(
                (durations.buckets[at], durations.buckets[at + 1]),
                (1, 1),
                "bound {bound}"
            );
        }
    }

    #[test]
    fn sum_and_extremes_are_exact_and_quantiles_nearly() {
        let mut halves = [Durations::new(&ANSWERS), Durations::new(&ANSWERS)];
        let mut sum = 0;
        for step in 1..=100_000_u64 {
            let took = step * 10_007;
            sum += took;
            halves[usize::from(step % 3 == 0)].record(Duration::from_nanos(took));
        }
        let [mut all, other] = halves;
        all.merge(&other);
        assert_eq!((all.count(), all.sum_nanoseconds()), (100_000, sum));
        assert_eq!(all.min(), Some(Duration::from_nanos(10_007)));
        assert_eq!(all.max(), Some(Duration::from_nanos(1_000_700_000)));
        for (part, exact) in [(0.5, 0.500_35), (0.99, 0.990_693)] {
            let quantile = all.quantile(part).unwrap().as_secs_f64();
            assert!((quantile / exact - 1.0).abs() < 0.01, "{part}: {quantile}");
        }
    }

    #[test]
    fn the_latest_exemplar_stays() {
        let traced = |second: u64| Exemplar {
            took: Duration::from_secs(second),
            trace: [1; 16],
            span: [2; 8],
            unix_nanoseconds: second * SECOND,
        };
        let series = |second: u64| {
            let mut series = Durations::new(&ANSWERS);
            series.record(Duration::from_secs(second));
            series.exemplify(traced(second));
            series
        };
        let mut all = Durations::new(&ANSWERS);
        for second in [2, 5, 3] {
            all.merge(&series(second));
        }
        assert_eq!(all.exemplar(), Some(&traced(5)));
        all.clear();
        assert_eq!(all.exemplar(), None);
    }

    #[test]
    fn absurd_durations_neither_panic_nor_get_lost() {
        let mut durations = Durations::new(&RELAYS);
        for took in [Duration::ZERO, Duration::MAX, Duration::from_secs(1 << 40)] {
            durations.record(took);
        }
        assert_eq!(
            (durations.count(), durations.buckets[0], durations.buckets[16]),
            (3, 1, 2)
        );
        durations.clear();
        assert!(durations.is_empty());
        assert_eq!(
            (durations.count(), durations.quantile(0.5), durations.max()),
            (0, None, None)
        );
    }
}
