//! Where a simulation takes its decisions from: a seed, or the input of a fuzzer.

use std::io::Write as _;
use std::ops::Range;

/// The seed to play again, as a failure names it.
const SEED: &str = "SIMULATION_SEED";
/// How many times as many seeds as by default are played.
const TIMES: &str = "SIMULATION_TIMES";

/// A source of decisions. The same source makes the same decisions.
pub(crate) enum Choices {
    /// Endless, from a seed.
    Seeded(u64),
    /// As many as the bytes make; after them every decision is the first.
    Written(Vec<u8>, usize),
}

impl Choices {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self::Seeded(seed)
    }

    pub(crate) fn written(input: &[u8]) -> Self {
        Self::Written(input.to_vec(), 0)
    }

    /// One of `count` possibilities, which must be at least one; the first is the most harmless one.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        let bytes = if count <= 256 { 1 } else { 3 };
        let mut drawn = 0;
        for _ in 0..bytes {
            drawn = drawn << 8 | u64::from(self.byte());
        }
        drawn % count
    }

    /// Whether something happens that happens once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == times - 1
    }

    /// One of some.
    pub(crate) fn one_of<T: Clone>(&mut self, some: &[T]) -> T {
        let index = usize::try_from(self.below(some.len() as u64)).unwrap_or(0);
        some[index].clone()
    }

    fn byte(&mut self) -> u8 {
        match self {
            Self::Seeded(state) => {
                // SplitMix64: every seed is as good as any other.
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mixed = (*state ^ *state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
                mixed.to_be_bytes()[0]
            }
            Self::Written(input, read) => {
                let byte = input.get(*read).copied().unwrap_or(0);
                *read += 1;
                byte
            }
        }
    }
}

/// Plays a share of the seeds, or the one that [`SEED`] names. A failure names its seed.
///
/// # Panics
/// If `play` does, or a variable is no number.
pub(crate) fn play_seeds(share: Range<u64>, mut play: impl FnMut(&mut Choices)) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        )
    };
    let times: u64 = number(TIMES).unwrap_or(1);
    let seeds = match number(SEED) {
        Some(seed) => seed..seed + 1,
        None => share.start * times..share.end * times,
    };
    for seed in seeds {
        let _named = Named(seed);
        play(&mut Choices::of_seed(seed));
    }
}

/// Names its seed if a panic passes by.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(
                std::io::stderr(),
                "seed {0} failed: {SEED}={0} plays it again",
                self.0
            );
        }
    }
}
