//! Durations as an exponential histogram: buckets that grow by the same factor each, as fine as 160 of them
//! allow.
//!
//! Its buckets come from the quantiles' histogram, which knows two significant digits of a microsecond;
//! count, sum and extremes are the exact ones.

use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use passage_shards::metrics::Durations;

/// Most buckets of a histogram, as the OpenTelemetry SDK specification proposes.
const BUCKETS_MAX: i32 = 160;

/// The finest scale: buckets that grow by 2.2 %, which is what two digits can tell apart.
const SCALE_MAX: i32 = 5;

/// Durations below this are counted as zero, in seconds: a microsecond.
const ZERO: f64 = 1e-6;

/// Scale and buckets of a point; the caller adds what other histograms have too.
#[must_use]
pub(super) fn point(durations: Option<&Durations>) -> ExponentialHistogramDataPoint {
    let recorded = durations.into_iter().flat_map(Durations::recorded);
    let (mut zeros, mut counts) = (0, Vec::new());
    for (microseconds, count) in recorded {
        if microseconds == 0 {
            zeros += count;
        } else {
            counts.push((index(microseconds), count));
        }
    }
    let first = counts.iter().map(|(index, _)| *index).min().unwrap_or(0);
    let last = counts.iter().map(|(index, _)| *index).max().unwrap_or(0);
    let mut coarser = 0;
    while (last >> coarser) - (first >> coarser) >= BUCKETS_MAX {
        coarser += 1;
    }
    let offset = first >> coarser;
    let mut buckets = vec![0; usize::try_from((last >> coarser) - offset + 1).unwrap_or(0)];
    for (index, count) in counts {
        let at = usize::try_from((index >> coarser) - offset).unwrap_or(0);
        if let Some(bucket) = buckets.get_mut(at) {
            *bucket += count;
        }
    }
    ExponentialHistogramDataPoint {
        scale: SCALE_MAX - coarser,
        zero_count: zeros,
        zero_threshold: ZERO,
        positive: Some(Buckets {
            offset,
            bucket_counts: buckets,
        }),
        ..ExponentialHistogramDataPoint::default()
    }
}

/// The bucket of a duration at the finest scale: bucket `i` ends, inclusively, at 2^((i + 1) / 32) seconds.
fn index(microseconds: u64) -> i32 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the logarithm of a u64 times 32 is small, and its buckets are far wider than the loss"
    )]
    let index = ((microseconds as f64 * 1e-6).log2() * f64::from(1 << SCALE_MAX)).ceil() as i32;
    index - 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use passage_shards::metrics::{ANSWERS, RELAYS};

    use super::*;

    /// The bounds of a point's buckets in seconds, with their counts.
    fn buckets(point: &ExponentialHistogramDataPoint) -> Vec<(f64, f64, u64)> {
        let positive = point.positive.as_ref().unwrap();
        let base = 2_f64.powf(2_f64.powi(-point.scale));
        let counts = positive.bucket_counts.iter().zip(positive.offset..);
        counts
            .filter(|(count, _)| **count > 0)
            .map(|(count, index)| (base.powi(index), base.powi(index + 1), *count))
            .collect()
    }

    #[test]
    fn every_duration_is_in_a_bucket_that_holds_it() {
        for microseconds in [1, 7, 99, 1_000, 123_456, 1_000_000, 59_999_999, 86_399_000_000] {
            let mut durations = Durations::new(&RELAYS);
            durations.record(Duration::from_micros(microseconds));
            let point = point(Some(&durations));
            let [(low, high, 1)] = buckets(&point)[..] else {
                panic!("{point:?}")
            };
            let seconds = Duration::from_micros(microseconds).as_secs_f64();
            // Two digits are told apart, no more.
            assert!(
                low * 0.99 < seconds && seconds <= high * 1.01,
                "{seconds} in {low}..{high}"
            );
            assert_eq!((point.scale, point.zero_count), (SCALE_MAX, 0));
        }
    }

    #[test]
    fn a_wide_range_makes_the_buckets_coarser_and_loses_nothing() {
        let mut durations = Durations::new(&ANSWERS);
        for step in 0..36 {
            (0..=step).for_each(|_| durations.record(Duration::from_micros(1 << step)));
        }
        durations.record(Duration::from_nanos(999));
        let point = point(Some(&durations));
        let positive = point.positive.as_ref().unwrap();
        assert!(
            positive.bucket_counts.len() <= 160 && point.scale == 2,
            "{point:?}"
        );
        let counted = positive.bucket_counts.iter().sum::<u64>() + point.zero_count;
        assert_eq!((counted, point.zero_count), (durations.count(), 1));
        assert_eq!(buckets(&point).len(), 36, "powers of two stay apart");
    }

    #[test]
    fn no_durations_make_an_empty_histogram() {
        let point = point(None);
        assert_eq!((point.zero_count, buckets(&point)), (0, vec![]));
    }
}
