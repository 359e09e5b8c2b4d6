//! The relay under a simulated kernel and a virtual clock: the engine's own core, with peers and a kernel
//! that do whatever they may do, in an order that a seed decides.
//!
//! Only what lies below [`super::ring`] is replaced. Pipes are not simulated: what moves through them does so
//! in system calls of the relay's own, so that bulk takes the large buffers here.
//!
//! What must hold, whatever happens: each relay ends exactly once and as the first news of an end says; a
//! sink gets the source's bytes, all of them, in order; what waits is bounded; a relay in which nothing moves
//! ends when it is due; in the end nothing is left.

use std::sync::LazyLock;

use self::world::World;
use super::{RelayEnd, Settings};
use crate::choices::{Choices, play_seeds};

pub(super) mod kernel;
mod peer;
mod submission;
mod world;

/// What every stream is a part of.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| super::tests::noise(1, 1 << 20));

/// What a world came to.
struct Summary {
    ends: Vec<RelayEnd>,
    /// Receives that found no buffer.
    starved: u64,
    /// The most bytes that one direction held.
    held: u64,
}

fn play(choices: &mut Choices) -> Summary {
    let settings = Settings {
        entries: 8,
        completions: 16,
        buffers: choices.one_of(&[4, 1, 2, 8, 16, 64]),
        buffer_bytes: choices.one_of(&[4096, 128, 1024, 16 * 1024]),
        large_buffers: choices.one_of(&[2, 1, 4]),
        large_buffer_bytes: choices.one_of(&[32 * 1024, 5_000, 256 * 1024]),
        pipes: 0,
        relay_memory: choices.one_of(&[64 << 20, 64 << 20, 64 << 20, 300 * 1024, 64 * 1024]),
    };
    let mut world = World::new(settings, choices);
    world.run_wild(choices);
    world.run_down();
    world.conclude()
}

fn play_share(share: std::ops::Range<u64>) {
    let alone = std::env::var_os("SIMULATION_SEED").is_some();
    let mut ends = Vec::new();
    let (mut starved, mut held) = (0, 0);
    play_seeds(share, |choices| {
        let summary = play(choices);
        ends.extend(summary.ends);
        starved += summary.starved;
        held = summary.held.max(held);
    });
    let all = [
        RelayEnd::ClientClosed,
        RelayEnd::TargetClosed,
        RelayEnd::Idle,
        RelayEnd::ClientFailed,
        RelayEnd::TargetFailed,
        RelayEnd::Overloaded,
        RelayEnd::Aborted,
    ];
    for end in all {
        assert!(alone || ends.contains(&end), "no relay ended as {end:?}");
    }
    assert!(alone || starved > 0, "no receive found no buffer");
    assert!(alone || held > world::HELD, "no direction was paused");
}

#[test]
fn relays_keep_their_promises_under_every_seed_first_quarter() {
    play_share(0..2_500);
}

#[test]
fn relays_keep_their_promises_under_every_seed_second_quarter() {
    play_share(2_500..5_000);
}

#[test]
fn relays_keep_their_promises_under_every_seed_third_quarter() {
    play_share(5_000..7_500);
}

#[test]
fn relays_keep_their_promises_under_every_seed_last_quarter() {
    play_share(7_500..10_000);
}
