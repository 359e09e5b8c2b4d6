//! At most so many connections a prefix in a time, exact over all shards, in fixed memory and without a lock.
//!
//! # What is admitted
//!
//! The algorithm is GCRA (ITU-T I.371) with a burst of `b = ⌈limit / 2⌉` and one more connection every `T =
//! duration / (limit − b + 1)`: a prefix that was quiet may open `b` connections at once, and a steady one
//! may open `limit − b + 1` a `duration`. A connection at `t` is admitted if the prefix's *theoretical
//! arrival time* is at most `t + (b − 1)·T`. The n-th connection of a run that began at `t₁` therefore comes
//! no earlier than `t₁ + (n − b)·T`, so that every window shorter than `duration` sees at most `b + (limit −
//! b) = limit` of them: whatever a client does, **no half-open window of `duration` holds more than `limit`
//! connections**. A burst of the whole `limit` could not promise that: GCRA would then let nearly twice the
//! limit through in one window.
//!
//! # How it is kept
//!
//! One 64-bit word a prefix, in a set of eight words (one cache line) that a seeded hash selects: 20 bits of
//! tag, 44 bits of theoretical arrival time in ticks of 2¹⁶ ns. A word whose time has passed says no more
//! than an empty one, so it is free for the next prefix: nothing is ever evicted, and nothing has to be
//! swept.
//!
//! Two rules make this exact without a lock. Every change of a word is one compare-and-swap that *raises* its
//! time. And a prefix that has no word takes the one with the lowest time (then the lowest place), or none.
//! If two shards could give the same prefix two words `v ≠ w` at the same time, each would have seen its own
//! word as the lowest; since words only rise, one of the two must then have read the other's word after it
//! was taken, and would have found the prefix there.
//!
//! A set whose eight words are all alive refuses newcomers ([`Verdict::TableFull`]): the only answer that
//! keeps the promise to the prefixes that are in. A connection keeps a word alive for `T`, so that filling
//! the table needs [`WORDS`]` / T` connections a second (131 000 with the default of 60 a minute), far more
//! than a shard accepts.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use crate::limits::{LIMITER_SETS as SETS, LIMITER_WAYS as WAYS};
use crate::pool::RateLimit;
use crate::sync::{AtomicU64, Ordering};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// Words in the table: 2 MiB, whatever happens.
pub const WORDS: usize = SETS * WAYS;

const TAG_BITS: u32 = 20;
const TIME_BITS: u32 = 64 - TAG_BITS;
const TIME_MAX: u64 = (1 << TIME_BITS) - 1;
/// A tick is 2¹⁶ ns, so that 44 bits of them last for 36 years.
const TICK_SHIFT: u32 = 16;

const _: () = assert!(SETS.ilog2() + TAG_BITS <= 64);

/// What the limiter says to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in; it is counted.
    Admitted,
    /// Its prefix has had its share.
    Limited,
    /// Its prefix is new and there is no room to remember it.
    TableFull,
}

/// The limiter that all shards share.
pub struct Limiter {
    sets: Box<[Set]>,
    seed: RandomState,
    prefixes: Prefixes,
    epoch: Instant,
    /// The latest tick that any shard has seen: shards read their clocks once a turn, so they disagree a
    /// little.
    latest: AtomicU64,
    /// `T`, in ticks.
    interval: u64,
    /// `(b − 1)·T`, in ticks.
    tolerance: u64,
}

#[repr(align(64))]
#[derive(Default)]
struct Set([AtomicU64; WAYS]);

impl Limiter {
    /// An empty limiter. `epoch` is the earliest time it will be asked about.
    #[must_use]
    pub fn new(rate: RateLimit, epoch: Instant) -> Self {
        let limit = u64::from(rate.limit.max(1));
        let burst = limit.div_ceil(2);
        // One tick more than an exact division, because both ends of a window are rounded down to a tick.
        let window = u64::try_from(rate.duration.as_nanos() >> TICK_SHIFT)
            .unwrap_or(TIME_MAX)
            .min(TIME_MAX)
            + 1;
        let interval = window / (limit - burst + 1) + 1;
        Self {
            sets: std::iter::repeat_with(Set::default).take(SETS).collect(),
            seed: RandomState::new(),
            prefixes: Prefixes {
                ipv4: rate.ipv4_prefix,
                ipv6: rate.ipv6_prefix,
            },
            epoch,
            latest: AtomicU64::new(1),
            interval,
            tolerance: (burst - 1).saturating_mul(interval),
        }
    }

    /// Decides on one connection from `client` at `now`. Any thread may ask at any time; a `now` that lies
    /// before one that was seen already counts as that one.
    pub fn admit(&self, client: IpAddr, now: Instant) -> Verdict {
        self.decide(self.seed.hash_one(self.prefixes.of(client)), now)
    }

    /// Decides on one connection of the prefix with this hash.
    fn decide(&self, hash: u64, now: Instant) -> Verdict {
        let set = &self.sets[usize::try_from(hash >> TAG_BITS).unwrap_or(usize::MAX) & (SETS - 1)];
        // Tag 0 is that of words which were never taken.
        let tag = (hash & ((1 << TAG_BITS) - 1)).max(1);
        self.latest.fetch_max(self.ticks(now), Ordering::AcqRel);
        loop {
            let (place, word) = set.read().place_of(tag);
            // Read after the words: whoever overwrote a word of ours had seen a time at which it was dead.
            let now = self.latest.load(Ordering::Acquire);
            let known = word.tag() == tag;
            if !known && word.time() > now {
                return Verdict::TableFull;
            }
            let arrival = word.time().max(now);
            if arrival - now > self.tolerance {
                return Verdict::Limited;
            }
            let Some(raised) = Word::new(tag, arrival.saturating_add(self.interval)) else {
                return Verdict::Limited;
            };
            if set.swap(place, word, raised) {
                return Verdict::Admitted;
            }
        }
    }

    fn ticks(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(nanos >> TICK_SHIFT)
            .unwrap_or(TIME_MAX)
            .min(TIME_MAX)
            + 1
    }
}

/// How many bits of an address make the prefix that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefixes {
    /// Of an IPv4 address, at most 32.
    pub ipv4: u8,
    /// Of an IPv6 address, at most 128.
    pub ipv6: u8,
}

impl Prefixes {
    /// The client's prefix, equal for all addresses within it. IPv4-mapped IPv6 addresses are IPv4 addresses.
    pub(crate) fn of(self, client: IpAddr) -> (bool, u128) {
        match client.to_canonical() {
            IpAddr::V4(address) => {
                let host_bits = 32_u32.saturating_sub(u32::from(self.ipv4));
                let kept = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                (false, u128::from(address.to_bits() & kept))
            }
            IpAddr::V6(address) => {
                let host_bits = 128_u32.saturating_sub(u32::from(self.ipv6));
                let kept = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                (true, address.to_bits() & kept)
            }
        }
    }
}

/// A tag and a theoretical arrival time.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    /// `None` if the time does not fit, 36 years after the epoch.
    fn new(tag: u64, time: u64) -> Option<Self> {
        (time <= TIME_MAX).then_some(Self(tag << TIME_BITS | time))
    }

    fn tag(self) -> u64 {
        self.0 >> TIME_BITS
    }

    fn time(self) -> u64 {
        self.0 & TIME_MAX
    }
}

impl Set {
    fn read(&self) -> Snapshot {
        Snapshot(std::array::from_fn(|place| {
            Word(self.0[place].load(Ordering::Acquire))
        }))
    }

    fn swap(&self, place: usize, from: Word, to: Word) -> bool {
        self.0[place]
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// A set's words, each read once: to look for a tag in other reads than for the lowest time would make two
/// words of one prefix possible.
struct Snapshot([Word; WAYS]);

impl Snapshot {
    /// The word of this tag, or else the one that it may take.
    fn place_of(&self, tag: u64) -> (usize, Word) {
        let words = self.0.iter().copied().enumerate();
        let own = words.clone().find(|(_, word)| word.tag() == tag);
        own.or_else(|| words.min_by_key(|(place, word)| (word.time(), *place)))
            .unwrap_or((0, self.0[0]))
    }
}
