//! Many simulated conversations, from seeds.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::simulation::choices::{Choices, play_seeds};
use crate::simulation::play;

/// Every way in which a conversation can end.
const ENDS: [&str; 10] = [
    "StatusServed",
    "Pinged",
    "Transferred",
    "Refused",
    "NoRoute",
    "Unsupported",
    "Fault",
    "TimedOut",
    "HungUp",
    "Relay",
];

fn play_share(share: Range<u64>) {
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let alone = std::env::var_os("SIMULATION_SEED").is_some();
    play_seeds(share, |choices| {
        let ending = play(choices);
        *ends.entry(ending).or_default() += 1;
    });
    for end in ENDS {
        let seen = ends.keys().any(|seen| seen.starts_with(end));
        assert!(seen || alone, "no seed came to {end}: {ends:?}");
    }
}

#[test]
fn every_seed_goes_as_the_model_does_first_quarter() {
    play_share(0..3_000);
}

#[test]
fn every_seed_goes_as_the_model_does_second_quarter() {
    play_share(3_000..6_000);
}

#[test]
fn every_seed_goes_as_the_model_does_third_quarter() {
    play_share(6_000..9_000);
}

#[test]
fn every_seed_goes_as_the_model_does_last_quarter() {
    play_share(9_000..12_000);
}

#[test]
fn the_same_seed_makes_the_same_decisions() {
    let draw = |seed| {
        let mut choices = Choices::of_seed(seed);
        (0..64).map(|_| choices.below(1_000)).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}
