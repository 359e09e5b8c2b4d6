//! Simulated shards that share a gatehouse: connections come, identify themselves, log in and go in any order
//! that a seed decides, and every gauge is what a plain count says.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::{Admission, Gatehouse, LoginSeat, Seat, Shed};
use crate::choices::{Choices, play_seeds};
use crate::limiter::{Limiter, Prefixes};
use crate::pool::RateLimit;

const SHARDS: usize = 3;
const PREFIXES: Prefixes = Prefixes { ipv4: 24, ipv6: 64 };

/// A connection with what it holds.
struct Connection {
    shard: usize,
    seat: Seat,
    login: Option<LoginSeat>,
    prefix: Option<u32>,
}

struct World {
    shards: Vec<Rc<Admission>>,
    connections: Vec<Connection>,
    connections_max: usize,
    logins_max: usize,
    cap: u32,
    rate: Option<(u32, Duration)>,
    epoch: Instant,
    latest: Duration,
    /// The latest time that any shard has told the limiter.
    told: Duration,
    /// When connections of each prefix were admitted.
    admitted: HashMap<u32, Vec<Duration>>,
    shed: Vec<Shed>,
}

impl World {
    fn new(choices: &mut Choices) -> Self {
        let epoch = Instant::now();
        let cap = u32::try_from(choices.below(5)).unwrap();
        let limited = choices.once_in(2);
        let (limit, duration) = (
            u32::try_from(2 + choices.below(20)).unwrap(),
            Duration::from_secs(1 + choices.below(60)),
        );
        let rate = RateLimit {
            limit,
            duration,
            ipv4_prefix: PREFIXES.ipv4,
            ipv6_prefix: PREFIXES.ipv6,
        };
        let gatehouse = Arc::new(Gatehouse {
            limiter: limited.then(|| Limiter::new(rate, epoch)),
            crowd: (cap > 0).then(|| Crowd::new(cap, PREFIXES)),
        });
        let connections_max = usize::try_from(1 + choices.below(12)).unwrap();
        let logins_max = usize::try_from(1 + choices.below(4)).unwrap();
        let shard = || {
            Rc::new(Admission {
                gatehouse: Arc::clone(&gatehouse),
                connections_max,
                logins_max,
                connections: Cell::new(0),
                logins: Cell::new(0),
                newcomers: Rc::default(),
                entrants: Rc::default(),
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            connections: Vec::new(),
            connections_max,
            logins_max,
            cap,
            rate: limited.then_some((limit, duration)),
            epoch,
            latest: Duration::ZERO,
            told: Duration::ZERO,
            admitted: HashMap::new(),
            shed: Vec::new(),
        }
    }

    fn step(&mut self, choices: &mut Choices) {
        match choices.below(8) {
            0..=2 => self.arrive(choices),
            3 => self.identify(choices),
            4 => self.log_in(choices),
            5 | 6 => self.leave(choices),
            _ => self.latest += Duration::from_millis(choices.below(5_000)),
        }
        for (number, shard) in self.shards.iter().enumerate() {
            let here = self
                .connections
                .iter()
                .filter(|connection| connection.shard == number);
            let (seats, logins) = here.fold((0, 0), |(seats, logins), connection| {
                (seats + 1, logins + usize::from(connection.login.is_some()))
            });
            assert_eq!(shard.connections(), seats);
            assert!(seats <= self.connections_max && logins <= self.logins_max);
        }
    }

    /// A connection comes, with its client known at once or behind a balancer.
    fn arrive(&mut self, choices: &mut Choices) {
        let shard = usize::try_from(choices.below(SHARDS as u64)).unwrap();
        let full = self.shards[shard].connections() == self.connections_max;
        match self.shards[shard].seat() {
            Ok(seat) => {
                assert!(!full);
                self.connections.push(Connection {
                    shard,
                    seat,
                    login: None,
                    prefix: None,
                });
                if choices.once_in(2) {
                    self.identify_at(self.connections.len() - 1, choices);
                }
            }
            Err(shed) => {
                assert!(full && shed == Shed::ShardFull);
                self.shed.push(shed);
            }
        }
    }

    fn identify(&mut self, choices: &mut Choices) {
        if let Some(index) = self.any(choices)
            && self.connections[index].prefix.is_none()
        {
            self.identify_at(index, choices);
        }
    }

    fn identify_at(&mut self, index: usize, choices: &mut Choices) {
        let prefix = u32::try_from(choices.below(4)).unwrap();
        let host = u32::try_from(choices.below(256)).unwrap();
        let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | prefix << 8 | host));
        // Each shard's clock is a little behind the others', or far.
        let behind = Duration::from_millis(choices.one_of(&[0, 0, 8, 900, 30_000]));
        let now = self.latest.saturating_sub(behind);
        let open = self.connections.iter();
        let open = open
            .filter(|connection| connection.prefix == Some(prefix))
            .count();
        let crowded = self.cap > 0 && open >= self.cap as usize;
        if !crowded {
            self.told = self.told.max(now);
        }
        match self.connections[index].seat.identify(client, self.epoch + now) {
            Ok(()) => {
                assert!(!crowded, "{open} connections of one prefix, at most {}", self.cap);
                self.connections[index].prefix = Some(prefix);
                self.admitted.entry(prefix).or_default().push(self.told);
            }
            Err(shed) => {
                assert_eq!(shed == Shed::PrefixFull, crowded);
                assert!(shed != Shed::RateLimited || self.rate.is_some());
                self.shed.push(shed);
                self.connections.swap_remove(index);
            }
        }
    }

    fn log_in(&mut self, choices: &mut Choices) {
        let Some(index) = self.any(choices) else { return };
        let shard = self.connections[index].shard;
        if self.connections[index].login.is_some() {
            return;
        }
        let logins = self
            .connections
            .iter()
            .filter(|connection| connection.shard == shard);
        let full = logins.filter(|connection| connection.login.is_some()).count() == self.logins_max;
        let login = self.shards[shard].login();
        assert_eq!(login.is_none(), full);
        self.connections[index].login = login;
    }

    /// A connection ends, or only its login does, with the hand-over.
    fn leave(&mut self, choices: &mut Choices) {
        let Some(index) = self.any(choices) else { return };
        if choices.once_in(3) {
            self.connections[index].login = None;
        } else {
            self.connections.swap_remove(index);
        }
    }

    fn any(&self, choices: &mut Choices) -> Option<usize> {
        let count = self.connections.len() as u64;
        (count > 0).then(|| usize::try_from(choices.below(count)).unwrap())
    }

    /// Everybody goes; then everything is as at first.
    fn conclude(mut self) -> Vec<Shed> {
        self.connections.clear();
        for shard in &self.shards {
            assert_eq!(shard.connections(), 0);
            let logins: Vec<_> = (0..self.logins_max).map(|_| shard.login()).collect();
            assert!(logins.iter().all(Option::is_some) && shard.login().is_none());
        }
        if let Some(crowd) = &self.shards[0].gatehouse.crowd {
            assert!(crowd.is_empty(), "a place was left");
        }
        if let Some((limit, duration)) = self.rate {
            for times in self.admitted.values() {
                for (first, start) in times.iter().enumerate() {
                    let within = times[first..]
                        .iter()
                        .filter(|time| **time - *start < duration)
                        .count();
                    assert!(
                        within <= limit as usize,
                        "{within} of {limit} within {duration:?}"
                    );
                }
            }
        }
        self.shed
    }
}

fn play_share(share: Range<u64>) {
    let alone = std::env::var_os("SIMULATION_SEED").is_some();
    let mut shed = Vec::new();
    play_seeds(share, |choices| {
        let mut world = World::new(choices);
        for _ in 0..choices.below(200) {
            world.step(choices);
        }
        shed.extend(world.conclude());
    });
    for reason in [Shed::ShardFull, Shed::PrefixFull, Shed::RateLimited] {
        assert!(
            alone || shed.contains(&reason),
            "nobody was turned away as {reason}"
        );
    }
}

#[test]
fn nothing_is_let_in_too_much_and_nothing_is_left_under_every_seed() {
    play_share(0..1_000);
}
