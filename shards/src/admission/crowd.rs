//! Open connections a prefix over all shards, in fixed memory and without a lock.
//!
//! Two rows of counters, each with a seeded hash of its own; a prefix has as many connections as the
//! *smaller* of its two counters says (a count-min sketch, exact downwards: a counter is never below the
//! truth, so the bound is never exceeded). A prefix is refused too early only if it shares both counters with
//! crowded ones, which an attacker cannot aim at and which happens to one prefix in a million when a thousand
//! prefixes are crowded.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crate::limiter::Prefixes;
use crate::limits::CROWD_COUNTERS as ROW;
use crate::sync::{AtomicU32, Ordering};

pub(super) struct Crowd {
    rows: [Box<[AtomicU32]>; 2],
    seed: RandomState,
    prefixes: Prefixes,
    cap: u32,
}

/// The two counters that a connection is counted in.
#[derive(Debug)]
pub(super) struct Place([u32; 2]);

impl Crowd {
    pub(super) fn new(cap: u32, prefixes: Prefixes) -> Self {
        let row = || std::iter::repeat_with(AtomicU32::default).take(ROW).collect();
        Self {
            rows: [row(), row()],
            seed: RandomState::new(),
            prefixes,
            cap,
        }
    }

    /// Counts one more connection of the client's prefix; `None`, and nothing counted, if it has enough.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let hash = self.seed.hash_one(self.prefixes.of(client));
        let mask = u64::try_from(ROW - 1).unwrap_or(0);
        let place = Place([hash & mask, (hash >> 32) & mask].map(|slot| u32::try_from(slot).unwrap_or(0)));
        let counters = self.counters(&place);
        for counter in counters {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        // Looked at only now that this connection is in both: of those who come at once, the last one to look
        // sees all of them in both, whatever the order in which they got there. (What a counter said *before*
        // it was raised would let two in by one counter each.) Some may be refused that could have stayed.
        let connections = counters.map(|counter| counter.load(Ordering::SeqCst));
        if connections
            .into_iter()
            .min()
            .is_some_and(|least| least <= self.cap)
        {
            return Some(place);
        }
        self.leave(place);
        None
    }

    pub(super) fn leave(&self, place: Place) {
        for counter in self.counters(&place) {
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether nobody is counted.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let mut counters = self.rows.iter().flatten();
        counters.all(|counter| counter.load(Ordering::SeqCst) == 0)
    }

    fn counters(&self, place: &Place) -> [&AtomicU32; 2] {
        [
            &self.rows[0][place.0[0] as usize],
            &self.rows[1][place.0[1] as usize],
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const PREFIXES: Prefixes = Prefixes { ipv4: 24, ipv6: 64 };

    fn client(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(n))
    }

    #[test]
    fn counts_by_prefix_and_forgets_who_left() {
        let crowd = Crowd::new(2, PREFIXES);
        let first = crowd.enter(client(0x0a00_0001));
        let second = crowd.enter(client(0x0a00_0002));
        assert!(first.is_some() && second.is_some());
        assert!(crowd.enter(client(0x0a00_0003)).is_none(), "same /24");
        assert!(crowd.enter(client(0x0a00_0103)).is_some(), "another /24");
        first.into_iter().for_each(|place| crowd.leave(place));
        assert!(crowd.enter(client(0x0a00_0003)).is_some());
    }

    #[test]
    fn threads_never_exceed_the_cap_together() {
        const CAP: u32 = 3;
        let crowd = Crowd::new(CAP, PREFIXES);
        let (inside, entered) = (AtomicU32::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Some(place) = crowd.enter(client(1)) {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < CAP);
                            entered.fetch_add(1, Ordering::Relaxed);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            crowd.leave(place);
                        }
                    }
                });
            }
        });
        assert!(entered.into_inner() > 1_000);
        assert!(crowd.is_empty());
    }
}
