//! Simulated shards with clocks of their own before one limiter, against a model that is exact.
//!
//! All prefixes fall into one set of the table, which is the hard case: they fight for its eight words.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::{Limiter, TAG_BITS, TICK_SHIFT, Verdict, WAYS};
use crate::choices::{Choices, play_seeds};
use crate::pool::RateLimit;

const SHARDS: usize = 4;

/// The limiter as its module comment defines it, with as many words as it likes to remember.
struct Model {
    interval: u64,
    tolerance: u64,
    latest: u64,
    /// Theoretical arrival times, in ticks.
    arrivals: HashMap<u64, u64>,
}

impl Model {
    fn new(limit: u64, duration: Duration) -> Self {
        let burst = limit.div_ceil(2);
        let window = u64::try_from(duration.as_nanos() >> TICK_SHIFT).unwrap() + 1;
        let interval = window / (limit - burst + 1) + 1;
        Self {
            interval,
            tolerance: (burst - 1) * interval,
            latest: 1,
            arrivals: HashMap::new(),
        }
    }

    fn admit(&mut self, prefix: u64, since_epoch: Duration) -> Verdict {
        let tick = u64::try_from(since_epoch.as_nanos() >> TICK_SHIFT).unwrap() + 1;
        self.latest = self.latest.max(tick);
        let now = self.latest;
        self.arrivals.retain(|_, arrival| *arrival > now);
        let known = self.arrivals.get(&prefix).copied();
        if known.is_none() && self.arrivals.len() == WAYS {
            return Verdict::TableFull;
        }
        let arrival = known.unwrap_or(now);
        if arrival - now > self.tolerance {
            return Verdict::Limited;
        }
        self.arrivals.insert(prefix, arrival + self.interval);
        Verdict::Admitted
    }
}

/// Plays a world, and counts its verdicts: admitted, limited, no room.
fn play(choices: &mut Choices) -> [usize; 3] {
    let limit = choices.one_of(&[6, 1, 2, 3, 17, 60]);
    let duration = Duration::from_millis(choices.one_of(&[60_000, 10, 1_000, 7_777]));
    let rate = RateLimit {
        limit,
        duration,
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    };
    let epoch = Instant::now();
    let limiter = Limiter::new(rate, epoch);
    let mut model = Model::new(u64::from(limit), duration);
    let set = choices.below(1 << 15) << TAG_BITS;
    let prefixes = 1 + choices.below(14);
    let mut clocks = [Duration::ZERO; SHARDS];
    let mut latest = Duration::ZERO;
    let mut admitted: HashMap<u64, Vec<Duration>> = HashMap::new();
    let mut verdicts = [0; 3];
    for _ in 0..choices.below(400) {
        let shard = usize::try_from(choices.below(SHARDS as u64)).unwrap();
        let step = duration.mul_f64(choices.below(1_000) as f64 / 20_000.0);
        clocks[shard] = match choices.below(16) {
            0..=8 => clocks[shard],
            9..=12 => clocks[shard] + step,
            13 => clocks[shard].saturating_sub(step),
            14 => latest,
            _ => clocks[shard] + step * 40,
        };
        latest = latest.max(clocks[shard]);
        let prefix = 1 + choices.below(prefixes);
        let verdict = limiter.decide(set | prefix, epoch + clocks[shard]);
        assert_eq!(
            verdict,
            model.admit(prefix, clocks[shard]),
            "prefix {prefix} at {latest:?}"
        );
        verdicts[verdict as usize] += 1;
        if verdict == Verdict::Admitted {
            admitted.entry(prefix).or_default().push(latest);
        }
    }
    for times in admitted.values() {
        for (first, start) in times.iter().enumerate() {
            let within = times[first..]
                .iter()
                .filter(|time| **time - *start < duration)
                .count();
            assert!(
                within <= limit as usize,
                "{within} of {limit} within {duration:?}"
            );
        }
    }
    verdicts
}

fn play_share(share: Range<u64>) {
    let alone = std::env::var_os("SIMULATION_SEED").is_some();
    let mut verdicts = [0; 3];
    play_seeds(share, |choices| {
        for (sum, count) in verdicts.iter_mut().zip(play(choices)) {
            *sum += count;
        }
    });
    assert!(alone || verdicts.iter().all(|count| *count > 0), "{verdicts:?}");
}

#[test]
fn the_limiter_decides_as_its_model_under_every_seed() {
    play_share(0..1_000);
}
