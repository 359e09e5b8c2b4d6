//! The relay under a simulated kernel and a virtual clock: the engine's own core, with peers and a kernel
//! that do whatever they may do, in an order that a seed decides.
//!
//! Only what lies below [`super::ring`] and [`super::pipes`] is replaced.
//!
//! What must hold, whatever happens: each relay ends exactly once and as the first news of an end says; a
//! sink gets the source's bytes, all of them, in order; what waits is bounded; a relay in which nothing moves
//! ends when it is due; in the end nothing is left.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;

pub(crate) use self::backstage::Backstage;
pub(crate) use self::door::{Answer, Retort, Visitor};
use self::kernel::{Kernel, Seen};
use self::world::World;
use super::core::Core;
use super::{Engine, RelayEnd, Settings};
use crate::choices::{Choices, play_seeds};

mod backstage;
mod conversations;
mod crew;
mod door;
pub(super) mod kernel;
mod life;
mod line;
mod peer;
mod quiet;
mod script;
mod submission;
pub(super) mod tube;
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
    seen: Seen,
}

/// Puts a simulated kernel in the place of the real one.
fn simulate(engine: &Engine, choices: Choices) -> Rc<RefCell<Kernel>> {
    engine.with(|core| take_over(core, choices))
}

fn take_over(core: &mut Core, choices: Choices) -> Rc<RefCell<Kernel>> {
    let kernel = Rc::new(RefCell::new(Kernel::new(core.buffers.descriptors(), choices)));
    core.ring.simulate(Rc::clone(&kernel));
    core.pipes.simulate(Rc::clone(&kernel));
    kernel
}

impl Engine {
    /// One turn of a simulated engine at this time, its callbacks included. Whether there were any.
    fn turn_at(&self, now: Instant) -> bool {
        self.with(|core| core.turn_at(now)).unwrap();
        self.shared.now.set(now);
        self.run_callbacks()
    }
}

/// So little of everything that it runs out, or enough.
fn settings(choices: &mut Choices) -> Settings {
    Settings {
        entries: 8,
        completions: 16,
        buffers: choices.one_of(&[4, 1, 2, 8, 16, 64]),
        buffer_bytes: choices.one_of(&[4096, 128, 1024, 16 * 1024]),
        large_buffers: choices.one_of(&[2, 1, 4]),
        large_buffer_bytes: choices.one_of(&[32 * 1024, 5_000, 256 * 1024]),
        pipes: choices.one_of(&[2, 0, 1, 8]),
        relay_memory: 64 << 20,
    }
}

/// Panics if the engine has left anything behind.
fn check_nothing_left(core: &mut Core) {
    assert_eq!(core.slots.keys(), [], "a slot was left");
    assert_eq!(core.timers.next(), None, "a timer was left");
    assert_eq!(core.buffers.all_leased(), 0, "a buffer was left");
    assert_eq!(core.spilled, 0, "bytes are counted that are not there");
    assert_eq!(core.pipes.open(), 0, "a pipe was left");
    assert_eq!(core.stats.panics, 0, "a completion or a callback panicked");
}

fn play(choices: &mut Choices) -> Summary {
    let mut settings = settings(choices);
    settings.relay_memory = choices.one_of(&[64 << 20, 64 << 20, 64 << 20, 300 * 1024, 64 * 1024]);
    let mut world = World::new(settings, choices);
    world.run_wild(choices);
    world.run_down();
    world.conclude()
}

fn play_share(share: std::ops::Range<u64>) {
    let alone = std::env::var_os("SIMULATION_SEED").is_some();
    let mut ends = Vec::new();
    let (mut starved, mut held, mut spliced, mut refused) = (0, 0, 0, 0);
    play_seeds(share, |choices| {
        let summary = play(choices);
        ends.extend(summary.ends);
        starved += summary.starved;
        held = summary.held.max(held);
        spliced += summary.seen.spliced;
        refused += summary.seen.pipes_refused;
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
    assert!(alone || spliced > 0, "nothing went through a pipe");
    assert!(alone || refused > 0, "no pipe was refused");
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
