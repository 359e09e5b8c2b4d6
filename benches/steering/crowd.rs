//! Connections that come and go, and the shards that they are steered to.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::hashes::{FourTuple, KernelSecret, ReceiveSideScaling, scale};

/// Where the server listens.
const SERVER: (u32, u16) = (u32::from_be_bytes([192, 0, 2, 1]), 25_565);
/// The first port of those that Linux gives to clients.
const FIRST_PORT: u16 = 32_768;
/// How many they are.
const PORTS: u32 = 28_232;

/// A seeded source of numbers (SplitMix64): the same figures on every machine, for good.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// Evenly between 0 and 1, both excluded.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// Who connects, how long they stay, how much they send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// Addresses that they come from; each uses its ports in sequence. 0: every connection has its own.
    pub(crate) sources: u32,
    /// Connections in all.
    pub(crate) arrivals: usize,
    /// Of which so many are open at a time on average, in the end. 0: none of them stays, and what is
    /// counted is who had how many.
    pub(crate) open: usize,
    /// The traffic of a connection has a heavy tail, and is what is counted.
    pub(crate) heavy: bool,
}

/// How a connection finds its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steering {
    /// As Linux does by itself.
    Hash,
    /// The CPU that got the packet (`SO_INCOMING_CPU`, or two instructions of BPF), one queue a shard.
    IncomingCpu,
    /// One after the other (eBPF with a counter).
    Turns,
    /// The one with fewer connections of two that the hash names (eBPF with a table of counts).
    BetterOfTwo,
    /// The one with the fewest connections, as known after each 100 arrivals.
    Fewest,
}

/// Arrivals between two looks at how many connections the shards have, for [`Steering::Fewest`].
const NEWS: usize = 100;

impl Crowd {
    /// The load of the busiest shard, divided by the mean of all.
    pub(crate) fn imbalance(&self, steering: Steering, shards: usize, seed: u64) -> f64 {
        let mut random = Random::new(seed);
        let mut steerer = Steerer::new(steering, shards, &mut random);
        let sources: Vec<u32> = (0..self.sources).map(|_| random.word()).collect();
        let mut load = vec![0.0; shards];
        let mut leaving = BinaryHeap::new();
        for arrival in 0..self.arrivals {
            while let Some(Reverse((at, shard, weight))) = leaving.peek().copied() {
                if at > arrival {
                    break;
                }
                leaving.pop();
                steerer.open[shard] -= 1;
                load[shard] -= f64::from_bits(weight);
            }
            let tuple = self.tuple(arrival, &sources, &mut random);
            let shard = steerer.steer(arrival, &tuple);
            let weight = if self.heavy { traffic(&mut random) } else { 1.0 };
            load[shard] += weight;
            steerer.open[shard] += 1;
            if self.open > 0 {
                let stays = arrival + 1 + stay(self.open, &mut random);
                leaving.push(Reverse((stays, shard, weight.to_bits())));
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of shards")]
        let mean = load.iter().sum::<f64>() / shards as f64;
        load.iter().copied().fold(0.0, f64::max) / mean
    }

    fn tuple(&self, arrival: usize, sources: &[u32], random: &mut Random) -> FourTuple {
        let (source, port) = match sources.len() {
            0 => (random.word(), random.word() % PORTS),
            count => {
                #[expect(clippy::cast_possible_truncation, reason = "less than the ports")]
                let port = (arrival / count % PORTS as usize) as u32;
                (sources[arrival % count], port)
            }
        };
        FourTuple {
            source,
            source_port: FIRST_PORT + u16::try_from(port).unwrap_or_default(),
            destination: SERVER.0,
            destination_port: SERVER.1,
        }
    }
}

/// What one connection moves: Pareto with exponent 1.5, cut at a hundred times the least. Most of the
/// traffic comes from few.
fn traffic(random: &mut Random) -> f64 {
    random.unit().powf(-1.0 / 1.5).min(100.0)
}

/// How many others arrive before it leaves: exponential, so that `open` are there at a time.
fn stay(open: usize, random: &mut Random) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand arrivals, and the logarithm is negative"
    )]
    let stay = (-random.unit().ln() * open as f64) as usize;
    stay
}

struct Steerer {
    steering: Steering,
    secret: KernelSecret,
    scaling: ReceiveSideScaling,
    /// Connections of each shard.
    open: Vec<usize>,
    /// The shard that had the fewest of them a while ago.
    fewest: usize,
}

impl Steerer {
    fn new(steering: Steering, shards: usize, random: &mut Random) -> Self {
        let secret = KernelSecret(random.word());
        let mut key = [0; 40];
        key.fill_with(|| random.word().to_le_bytes()[0]);
        Self {
            steering,
            secret,
            scaling: ReceiveSideScaling { key },
            open: vec![0; shards],
            fewest: 0,
        }
    }

    fn steer(&mut self, arrival: usize, tuple: &FourTuple) -> usize {
        let shards = self.open.len();
        match self.steering {
            Steering::Hash => scale(self.secret.hash(tuple), shards),
            Steering::IncomingCpu => self.scaling.queue(tuple, shards),
            Steering::Turns => arrival % shards,
            Steering::BetterOfTwo => {
                let hash = self.secret.hash(tuple);
                let (one, other) = (scale(hash, shards), scale(hash.wrapping_mul(0x9e37_79b1), shards));
                if self.open[other] < self.open[one] {
                    other
                } else {
                    one
                }
            }
            Steering::Fewest => {
                if arrival.is_multiple_of(NEWS) {
                    let fewest = (0..shards).min_by_key(|shard| self.open[*shard]);
                    self.fewest = fewest.unwrap_or_default();
                }
                self.fewest
            }
        }
    }
}
