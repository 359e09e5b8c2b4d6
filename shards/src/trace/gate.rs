//! Which connections are traced: a share of them, and never more than so many a second.

use std::time::{Duration, Instant};

use super::{Options, Seed};

/// How long an unused allowance is kept.
const BURST: Duration = Duration::from_secs(1);

/// A coin and a token bucket.
#[derive(Debug)]
pub(super) struct Gate {
    state: [u64; 4],
    /// The coin's numbers up to this one win.
    threshold: u64,
    interval: Duration,
    /// When the bucket will be full again.
    full: Instant,
}

impl Gate {
    /// A gate that begins with a full bucket.
    pub(super) fn new(options: Options, seed: Seed, shard: usize, now: Instant) -> Self {
        let mut stream = shard as u64;
        let mut state = seed.0.map(|word| {
            stream = stream.wrapping_add(0x9E37_79B9_7F4A_7C15);
            word ^ scramble(stream)
        });
        // All zeros is the one state that xoshiro never leaves.
        state[0] |= u64::from(state == [0; 4]);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates: all numbers win at 1"
        )]
        let threshold = (options.sample_rate * 2_f64.powi(64)) as u64;
        Self {
            state,
            threshold,
            interval: Duration::from_secs(1) / options.per_second.get(),
            full: now,
        }
    }

    /// Tosses the coin, and if it wins takes a token.
    pub(super) fn samples(&mut self, now: Instant) -> bool {
        self.random() <= self.threshold && self.has_room(now)
    }

    /// Takes a token, if there is one.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        let full = self.full.max(now) + self.interval;
        let has_room = full <= now + BURST;
        if has_room {
            self.full = full;
        }
        has_room
    }

    /// xoshiro256++ of Blackman and Vigna: fast, with 256 bits of state. Nothing that it gives has to be
    /// secret.
    pub(super) fn random(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let random = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        random
    }
}

/// The finaliser of SplitMix64, which xoshiro's authors recommend for seeding.
fn scramble(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn gate(sample_rate: f64, per_second: u32, now: Instant) -> Gate {
        let per_second = NonZeroU32::new(per_second).unwrap();
        let options = Options {
            sample_rate,
            per_second,
        };
        Gate::new(options, Seed([7; 4]), 0, now)
    }

    #[test]
    fn gives_the_numbers_of_the_reference() {
        let mut gate = gate(1.0, 1, Instant::now());
        gate.state = [1, 2, 3, 4];
        let numbers = [(); 4].map(|()| gate.random());
        assert_eq!(
            numbers,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386
            ]
        );
    }

    #[test]
    fn lets_the_share_pass_that_was_asked_for() {
        let mut now = Instant::now();
        for (rate, least, most) in [(0.01, 900, 1_100), (0.5, 49_000, 51_000), (1.0, 100_000, 100_000)] {
            let mut gate = gate(rate, 1_000_000, now);
            let mut passed = 0;
            for _ in 0..100_000 {
                now += Duration::from_micros(10);
                passed += u32::from(gate.samples(now));
            }
            assert!((least..=most).contains(&passed), "{passed} at {rate}");
        }
    }

    #[test]
    fn a_flood_gets_no_more_than_the_allowance() {
        let mut now = Instant::now();
        let mut gate = gate(1.0, 100, now);
        let mut second = || {
            let passes = |_: &u32| {
                now += Duration::from_micros(20);
                gate.samples(now)
            };
            (0..50_000).filter(passes).count()
        };
        let seconds = [second(), second(), second()];
        assert!((199..=200).contains(&seconds[0]), "{seconds:?}");
        assert!(
            seconds[1..].iter().all(|passed| (99..=101).contains(passed)),
            "{seconds:?}"
        );
    }

    #[test]
    fn quiet_hours_save_up_no_more_than_a_second() {
        let begun = Instant::now();
        let mut gate = gate(1.0, 100, begun);
        let later = begun + Duration::from_secs(3_600);
        assert_eq!((0..1_000).filter(|_| gate.samples(later)).count(), 100);
    }
}
