//! Coarse timers: one hashed wheel per shard, one timer per slot, no allocation to set or clear one.

use std::time::{Duration, Instant};

/// Length of a tick. A timer is never early and at most this late, plus one wait of the pump.
pub(super) const TICK: Duration = Duration::from_millis(8);

const BUCKETS: usize = 512;
const NONE: u32 = u32::MAX;

/// Turns instants into ticks since the engine's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    epoch: Instant,
}

impl Clock {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch }
    }

    /// The last tick that has begun at `now`.
    pub(super) fn tick(self, now: Instant) -> u64 {
        ticks(now.saturating_duration_since(self.epoch))
    }

    /// The first tick at which `deadline` has passed.
    pub(super) fn tick_after(self, deadline: Instant) -> u64 {
        self.tick(deadline) + 1
    }

    /// When a tick begins.
    pub(super) fn instant(self, tick: u64) -> Instant {
        let millis = u128::from(tick).saturating_mul(TICK.as_millis());
        let since = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        self.epoch.checked_add(since).unwrap_or(self.epoch)
    }
}

/// Whole ticks in a duration.
pub(super) fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX)
}

/// The wheel. A timer is named by the index of its slot.
pub(super) struct Wheel {
    /// First timer of each bucket.
    heads: Box<[u32; BUCKETS]>,
    links: Vec<Link>,
    /// Every timer due up to this tick has fired.
    swept: u64,
    set: usize,
}

#[derive(Clone, Copy)]
struct Link {
    /// The tick to fire at; 0 while not set.
    due: u64,
    before: u32,
    after: u32,
}

const UNSET: Link = Link {
    due: 0,
    before: NONE,
    after: NONE,
};

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            heads: Box::new([NONE; BUCKETS]),
            links: Vec::new(),
            swept: 0,
            set: 0,
        }
    }

    /// Sets or moves the timer of a slot.
    pub(super) fn set(&mut self, slot: u32, due: u64) {
        self.clear(slot);
        let due = due.max(self.swept + 1);
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, UNSET);
        }
        let head = &mut self.heads[bucket(due)];
        let after = std::mem::replace(head, slot);
        self.links[slot as usize] = Link {
            due,
            before: NONE,
            after,
        };
        if after != NONE {
            self.links[after as usize].before = slot;
        }
        self.set += 1;
    }

    pub(super) fn clear(&mut self, slot: u32) {
        let Some(link) = self.links.get_mut(slot as usize) else {
            return;
        };
        let Link { due, before, after } = std::mem::replace(link, UNSET);
        if due == 0 {
            return;
        }
        match before {
            NONE => self.heads[bucket(due)] = after,
            _ => self.links[before as usize].after = after,
        }
        if after != NONE {
            self.links[after as usize].before = before;
        }
        self.set -= 1;
    }

    /// The tick at which the slot's timer fires.
    pub(super) fn due(&self, slot: u32) -> Option<u64> {
        self.links
            .get(slot as usize)
            .map(|link| link.due)
            .filter(|due| *due != 0)
    }

    /// Clears the timers that are due at `now` and appends their slots to `fired`.
    pub(super) fn sweep(&mut self, now: u64, fired: &mut Vec<u32>) {
        if self.set == 0 {
            self.swept = self.swept.max(now);
            return;
        }
        let first = now.saturating_sub(BUCKETS as u64 - 1).max(self.swept + 1);
        for tick in first..=now {
            let mut slot = self.heads[bucket(tick)];
            while slot != NONE {
                let Link { due, after, .. } = self.links[slot as usize];
                if due <= now {
                    self.clear(slot);
                    fired.push(slot);
                }
                slot = after;
            }
        }
        self.swept = self.swept.max(now);
    }

    /// A tick before which no timer fires; `None` if no timer is set.
    pub(super) fn next(&self) -> Option<u64> {
        if self.set == 0 {
            return None;
        }
        let horizon = self.swept + BUCKETS as u64;
        (self.swept + 1..horizon)
            .find(|tick| self.heads[bucket(*tick)] != NONE)
            .or(Some(horizon))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below the number of buckets"
)]
fn bucket(tick: u64) -> usize {
    (tick % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Clock, TICK, Wheel};
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    fn sweep(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut fired = Vec::new();
        wheel.sweep(now, &mut fired);
        fired.sort_unstable();
        fired
    }

    #[test]
    fn fires_each_timer_once_and_never_early() {
        let mut wheel = Wheel::new();
        wheel.set(3, 10);
        wheel.set(1, 10);
        wheel.set(2, 10 + BUCKETS as u64);
        assert!(sweep(&mut wheel, 9).is_empty());
        assert_eq!(sweep(&mut wheel, 10), [1, 3]);
        assert!(sweep(&mut wheel, 9 + BUCKETS as u64).is_empty());
        assert_eq!(sweep(&mut wheel, 10 + BUCKETS as u64), [2]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_long_pause_fires_everything_that_was_due() {
        let mut wheel = Wheel::new();
        for slot in 0..2000 {
            wheel.set(slot, u64::from(slot) + 1);
        }
        assert_eq!(sweep(&mut wheel, 1_000_000).len(), 2000);
    }

    #[test]
    fn a_timer_in_the_past_fires_at_the_next_sweep() {
        let mut wheel = Wheel::new();
        assert!(sweep(&mut wheel, 100).is_empty());
        wheel.set(0, 5);
        assert_eq!(wheel.next(), Some(101));
        assert_eq!(sweep(&mut wheel, 101), [0]);
    }

    #[test]
    fn agrees_with_a_sorted_map_over_random_operations() {
        let mut wheel = Wheel::new();
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let (mut now, mut random) = (0_u64, 0x9E37_79B9_7F4A_7C15_u64);
        for _ in 0..50_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let slot = u32::try_from(random % 97).unwrap();
            match random >> 32 & 7 {
                0..=3 => {
                    let due = now + 1 + (random >> 40) % 1500;
                    wheel.set(slot, due);
                    model.insert(slot, due);
                }
                4 => {
                    wheel.clear(slot);
                    model.remove(&slot);
                }
                _ => {
                    now += (random >> 36) % 40;
                    assert!(
                        wheel
                            .next()
                            .is_none_or(|next| model.values().all(|due| next <= *due))
                    );
                    let expected: Vec<u32> = model
                        .iter()
                        .filter(|(_, due)| **due <= now)
                        .map(|(slot, _)| *slot)
                        .collect();
                    model.retain(|_, due| *due > now);
                    assert_eq!(sweep(&mut wheel, now), expected);
                }
            }
            assert_eq!(wheel.due(slot), model.get(&slot).copied());
        }
    }

    #[test]
    fn deadlines_are_rounded_up() {
        let epoch = Instant::now();
        let clock = Clock::new(epoch);
        for micros in [0, 1, 7_999, 8_000, 8_001, 5_000_000] {
            let deadline = epoch + Duration::from_micros(micros);
            let fires = clock.instant(clock.tick_after(deadline));
            assert!(fires > deadline && fires <= deadline + TICK, "{micros}");
        }
    }
}
