//! How long the turns of a shard's loop took, from the metrics of a running Passage.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

const BUCKET: &str = "passage_shard_turn_duration_seconds_bucket{";
/// Most of an answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
/// What the turns of a shard are held to.
const BOUND: f64 = 0.001;

/// A histogram of turns, of all shards together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Turns {
    /// Upper bounds in seconds, the last of them infinite, with the turns that took no longer.
    buckets: Vec<(f64, u64)>,
}

impl Turns {
    /// Asks the admin listener at this address for all turns so far; a server that just started knows none.
    ///
    /// # Errors
    ///
    /// If it does not answer, or with something else.
    pub(super) fn read(admin: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        match answer.lines().next() {
            Some(line) if line.contains(" 200 ") => Ok(Self::parse(&answer)),
            other => Err(io::Error::other(format!(
                "it says {:?}",
                other.unwrap_or_default()
            ))),
        }
    }

    fn parse(text: &str) -> Self {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(BUCKET)) {
            let Some((labels, rest)) = line.split_once('}') else {
                continue;
            };
            let bound = labels.split(',').find_map(|label| label.strip_prefix("le=\""));
            let bound = bound.and_then(|bound| match bound.trim_end_matches('"') {
                "+Inf" => Some(f64::INFINITY),
                bound => bound.parse().ok(),
            });
            let count = rest
                .split_whitespace()
                .next()
                .and_then(|count| count.parse::<f64>().ok());
            let Some((bound, count)) = bound.zip(count) else {
                continue;
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count, which the format may write as a float"
            )]
            let count = count as u64;
            match buckets
                .iter_mut()
                .find(|(known, _)| known.to_bits() == bound.to_bits())
            {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Self { buckets }
    }

    /// The turns since an earlier reading.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| before.within(bound);
        let buckets = self.buckets.iter();
        Self {
            buckets: buckets
                .map(|&(bound, count)| (bound, count.saturating_sub(earlier(bound))))
                .collect(),
        }
    }

    /// The turns of both.
    pub(super) fn and(&self, other: &Self) -> Self {
        if self.buckets.is_empty() {
            return other.clone();
        }
        let buckets = self.buckets.iter();
        Self {
            buckets: buckets
                .map(|&(bound, count)| (bound, count + other.within(bound)))
                .collect(),
        }
    }

    /// All turns.
    pub(super) fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// The smallest bound in seconds within which this part of all turns was over; `None` without turns.
    pub(super) fn quantile_bound(&self, part: f64) -> Option<f64> {
        let all = self.count();
        let is_enough = |count: u64| share(count, all) >= part;
        let bucket = self
            .buckets
            .iter()
            .find(|(_, count)| all > 0 && is_enough(*count));
        bucket.map(|(bound, _)| *bound)
    }

    /// What part of all turns was over within 1 ms.
    pub(super) fn share_within_bound(&self) -> f64 {
        share(self.within(BOUND), self.count())
    }

    /// Everything that is known.
    pub(super) fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "p99_bound_seconds": self.quantile_bound(0.99),
            "share_within_1_ms": self.share_within_bound(),
            "buckets": self.buckets.iter().map(|(bound, count)| json!([bound, count])).collect::<Vec<_>>(),
        })
    }

    fn within(&self, bound: f64) -> u64 {
        let below = self.buckets.iter().rev().find(|(known, _)| *known <= bound);
        below.map_or(0, |(_, count)| *count)
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p99 = match self.quantile_bound(0.99) {
            Some(bound) if bound.is_finite() => format!("{} ms", bound * 1e3),
            Some(_) => "more than all bounds".to_owned(),
            None => "nothing".to_owned(),
        };
        let share = self.share_within_bound() * 100.0;
        let count = self.count();
        write!(
            f,
            "{count} turns of the loop, 99 % of them within {p99}, {share:.3} % within 1 ms"
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of turns is far below 2^53")]
fn share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::Turns;

    const SCRAPE: &str = "\
# TYPE passage_shard_turn_duration_seconds histogram
passage_shard_turn_duration_seconds_bucket{shard=\"0\",le=\"0.0005\"} 980
passage_shard_turn_duration_seconds_bucket{shard=\"0\",le=\"0.001\"} 995
passage_shard_turn_duration_seconds_bucket{shard=\"0\",le=\"+Inf\"} 1000
passage_shard_turn_duration_seconds_bucket{le=\"0.0005\",shard=\"1\"} 10
passage_shard_turn_duration_seconds_bucket{le=\"0.001\",shard=\"1\"} 10.0
passage_shard_turn_duration_seconds_bucket{le=\"+Inf\",shard=\"1\"} 10
passage_shard_turn_duration_seconds_count{shard=\"0\"} 1000
";

    #[test]
    fn all_shards_are_counted() {
        let turns = Turns::parse(SCRAPE);
        assert_eq!(
            turns.buckets,
            [(0.0005, 990), (0.001, 1005), (f64::INFINITY, 1010)]
        );
        assert_eq!(turns.quantile_bound(0.99), Some(0.001));
        assert_eq!(turns.quantile_bound(0.999), Some(f64::INFINITY));
        assert!((0.995..0.996).contains(&turns.share_within_bound()));
    }

    #[test]
    fn only_what_happened_meanwhile_counts() {
        let turns = Turns::parse(SCRAPE);
        let none = turns.since(&turns);
        assert_eq!((none.count(), none.quantile_bound(0.99)), (0, None));
        assert_eq!(none.and(&turns), turns);
        assert_eq!(Turns::default().and(&turns), turns);
    }
}
