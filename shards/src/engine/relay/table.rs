//! Where the relays of a shard are kept.

use super::super::prefetch::prefetch;
use super::{HOT_LINES, Relay};
use crate::limits::SLOTS_MAX;

/// All relays of a shard, by their index, which one that begins later may have again.
#[derive(Default)]
pub(in super::super) struct Relays {
    /// In place, so that one can be asked for before anything of it is in the cache.
    entries: Vec<Option<Relay>>,
    free: Vec<u32>,
}

impl Relays {
    /// Keeps a relay. Its index.
    pub(super) fn insert(&mut self, relay: Relay) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            index_of(self.entries.len() - 1)
        });
        self.entries[index as usize] = Some(relay);
        index
    }

    pub(in super::super) fn get(&self, index: u32) -> Option<&Relay> {
        self.entries.get(index as usize)?.as_ref()
    }

    pub(in super::super) fn get_mut(&mut self, index: u32) -> Option<&mut Relay> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    /// Forgets a relay and gives it back.
    pub(super) fn remove(&mut self, index: u32) -> Option<Relay> {
        let relay = self.entries.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(relay)
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.get(index).is_some()
    }

    pub(in super::super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Relay)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(index, relay)| Some((index_of(index), relay.as_ref()?)))
    }

    /// Has the CPU fetch what each message of a relay changes.
    pub(in super::super) fn prefetch(&self, index: u32) {
        if let Some(entry) = self.entries.get(index as usize) {
            prefetch(entry, HOT_LINES);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "there are fewer relays than slots, and no more than SLOTS_MAX of these"
)]
fn index_of(position: usize) -> u32 {
    debug_assert!(position < SLOTS_MAX as usize);
    position as u32
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::{Relay, Way};
    use super::Relays;

    fn relay(idle: u64) -> Relay {
        Relay {
            sides: [None; 2],
            moved: 0,
            idle,
            ways: <[Way; 2]>::default(),
            started: Instant::now(),
            end: None,
            on_end: Box::new(drop),
        }
    }

    #[test]
    fn places_are_used_again_and_nobody_finds_who_has_gone() {
        let mut relays = Relays::default();
        let places = [10, 11, 12].map(|idle| relays.insert(relay(idle)));
        assert_eq!(places, [0, 1, 2]);
        assert_eq!(relays.remove(1).map(|relay| relay.idle), Some(11));
        assert!(relays.remove(1).is_none() && relays.get(1).is_none() && !relays.contains(1));
        let left: Vec<_> = relays.iter().map(|(index, relay)| (index, relay.idle)).collect();
        assert_eq!((left, relays.len()), (vec![(0, 10), (2, 12)], 2));
        assert_eq!(relays.insert(relay(13)), 1, "the place that is free");
        assert_eq!(relays.insert(relay(14)), 3);
        (0..5).for_each(|index| relays.prefetch(index));
        (0..5).for_each(|index| drop(relays.remove(index)));
        assert!(relays.is_empty() && relays.get_mut(3).is_none());
    }
}
