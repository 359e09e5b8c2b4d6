//! Who may come in: connections a shard, connections and connection rate a prefix, logins a shard.
//!
//! Everything is decided before the first byte is read, and given back when a guard is dropped. Behind a
//! balancer that sends PROXY headers the prefix is the client's, not the balancer's, so that those two checks
//! wait for the header ([`Seat::identify`]).

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::admission::crowd::{Crowd, Place};
pub(crate) use crate::admission::laggards::{Laggard, Laggards};
use crate::limiter::{Limiter, Prefixes, Verdict};
use crate::metrics::{Bound, Reason};
use crate::pool::{Blueprint, Limits};

mod crowd;
mod laggards;
#[cfg(test)]
mod simulation;

/// The part that all shards share.
pub(crate) struct Gatehouse {
    limiter: Option<Limiter>,
    crowd: Option<Crowd>,
}

impl Gatehouse {
    pub(crate) fn new(blueprint: &Blueprint, now: Instant) -> Self {
        let prefixes = blueprint
            .rate_limit
            .map_or(Prefixes { ipv4: 32, ipv6: 64 }, |rate| Prefixes {
                ipv4: rate.ipv4_prefix,
                ipv6: rate.ipv6_prefix,
            });
        let cap = blueprint.limits.connections_per_prefix;
        Self {
            limiter: blueprint.rate_limit.map(|rate| Limiter::new(rate, now)),
            crowd: (cap > 0).then(|| Crowd::new(cap, prefixes)),
        }
    }
}

/// One shard's door.
pub(crate) struct Admission {
    gatehouse: Arc<Gatehouse>,
    connections_max: usize,
    logins_max: usize,
    connections: Cell<usize>,
    logins: Cell<usize>,
    /// Connections that have not begun a login, and from which something is awaited.
    pub(crate) newcomers: Rc<Laggards>,
    /// Logins from whose clients something is awaited.
    pub(crate) entrants: Rc<Laggards>,
}

/// Why a connection is closed although it did nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shed {
    /// The shard has as many connections as it may have.
    ShardFull,
    /// The shard has as many logins as it may have, and this one kept it waiting the longest.
    LoginsFull,
    /// The client's prefix has as many connections as it may have.
    PrefixFull,
    /// The client's prefix opened too many connections lately.
    RateLimited,
    /// The client's prefix is new, and the limiter has no room to watch it.
    LimiterFull,
}

impl Admission {
    pub(crate) fn new(gatehouse: Arc<Gatehouse>, limits: &Limits) -> Self {
        Self {
            gatehouse,
            connections_max: limits.connections_per_shard,
            logins_max: limits.logins_per_shard,
            connections: Cell::new(0),
            logins: Cell::new(0),
            newcomers: Rc::default(),
            entrants: Rc::default(),
        }
    }

    /// A seat for a connection whose client is not known yet: only the shard's own bound counts.
    ///
    /// # Errors
    ///
    /// [`Shed::ShardFull`].
    pub(crate) fn seat(self: &Rc<Self>) -> Result<Seat, Shed> {
        let staying = self.connections.get().saturating_sub(self.newcomers.leaving());
        if staying >= self.connections_max {
            return Err(Shed::ShardFull);
        }
        self.connections.set(self.connections.get() + 1);
        Ok(Seat {
            admission: Rc::clone(self),
            place: None,
        })
    }

    /// Room for one more login before its hand-over, or `None` if the shard has enough of them.
    pub(crate) fn login(self: &Rc<Self>) -> Option<LoginSeat> {
        let staying = self.logins.get().saturating_sub(self.entrants.leaving());
        (staying < self.logins_max).then(|| {
            self.logins.set(self.logins.get() + 1);
            LoginSeat(Rc::clone(self))
        })
    }

    /// Connections that hold a seat.
    pub(crate) fn connections(&self) -> usize {
        self.connections.get()
    }
}

/// A connection's place among the bounded; dropping it makes room.
pub(crate) struct Seat {
    admission: Rc<Admission>,
    place: Option<Place>,
}

impl Seat {
    /// Counts the connection as one of `client`'s. To be called once, as soon as the client's address is
    /// known.
    ///
    /// # Errors
    ///
    /// Which bound of the client's prefix is exceeded; the connection is then to be closed.
    pub(crate) fn identify(&mut self, client: IpAddr, now: Instant) -> Result<(), Shed> {
        let gatehouse = &self.admission.gatehouse;
        if let Some(crowd) = &gatehouse.crowd {
            self.place = Some(crowd.enter(client).ok_or(Shed::PrefixFull)?);
        }
        match gatehouse
            .limiter
            .as_ref()
            .map(|limiter| limiter.admit(client, now))
        {
            None | Some(Verdict::Admitted) => Ok(()),
            Some(Verdict::Limited) => Err(Shed::RateLimited),
            Some(Verdict::TableFull) => Err(Shed::LimiterFull),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let (Some(crowd), Some(place)) = (&self.admission.gatehouse.crowd, self.place.take()) {
            crowd.leave(place);
        }
        self.admission
            .connections
            .set(self.admission.connections.get() - 1);
    }
}

/// A login's place among the shard's bounded logins; dropping it makes room.
pub(crate) struct LoginSeat(Rc<Admission>);

impl Drop for LoginSeat {
    fn drop(&mut self) {
        self.0.logins.set(self.0.logins.get() - 1);
    }
}

impl Shed {
    /// The stable name of this reason in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ShardFull => "shard_full",
            Self::LoginsFull => "logins_full",
            Self::PrefixFull => "prefix_full",
            Self::RateLimited => "rate_limited",
            Self::LimiterFull => "limiter_full",
        }
    }

    /// Whether the rate limiter said it.
    #[must_use]
    pub fn is_rate_limit(self) -> bool {
        matches!(self, Self::RateLimited | Self::LimiterFull)
    }

    /// The bound whose count grows; `None` for the rate limit, which has a metric of its own.
    pub(crate) fn bound(self) -> Option<Bound> {
        match self {
            Self::ShardFull => Some(Bound::ConnectionsPerShard),
            Self::LoginsFull => Some(Bound::Logins),
            Self::PrefixFull => Some(Bound::ConnectionsPerPrefix),
            Self::LimiterFull => Some(Bound::LimiterTable),
            Self::RateLimited => None,
        }
    }

    /// Why the connection counts as failed; `None` for what the rate limiter said.
    pub(crate) fn reason(self) -> Option<Reason> {
        match self {
            Self::ShardFull => Some(Reason::ShardFull),
            Self::LoginsFull => Some(Reason::LoginsFull),
            Self::PrefixFull => Some(Reason::PrefixFull),
            Self::RateLimited | Self::LimiterFull => None,
        }
    }
}

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::metrics::{ConnectionLabels, FailureStage, Options, Outlet};
    use crate::outcome::{Outcome, count_end};
    use crate::pool::RateLimit;

    fn door(connections: usize, logins: usize, gatehouse: Gatehouse) -> Rc<Admission> {
        Rc::new(Admission {
            gatehouse: Arc::new(gatehouse),
            connections_max: connections,
            logins_max: logins,
            connections: Cell::new(0),
            logins: Cell::new(0),
            newcomers: Rc::default(),
            entrants: Rc::default(),
        })
    }

    fn client(host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, host))
    }

    const PREFIXES: Prefixes = Prefixes { ipv4: 32, ipv6: 64 };

    #[test]
    fn a_seat_is_free_again_when_its_connection_ends() {
        let door = door(
            2,
            1,
            Gatehouse {
                limiter: None,
                crowd: None,
            },
        );
        let first = door.seat().ok();
        let _second = door.seat();
        assert_eq!(door.seat().err(), Some(Shed::ShardFull));
        drop(first);
        assert!(door.seat().is_ok());
        assert_eq!(door.connections(), 1, "only the second is left");
    }

    #[test]
    fn whoever_is_given_up_makes_room_at_once() {
        let gatehouse = Gatehouse {
            limiter: None,
            crowd: None,
        };
        let door = door(1, 1, gatehouse);
        let first = door.seat().ok();
        let awaited = door.newcomers.await_one(0);
        assert_eq!(door.seat().err(), Some(Shed::ShardFull));
        assert_eq!(door.newcomers.give_up(), Some(0));
        let second = door.seat().ok();
        assert!(second.is_some(), "the first one is on its way out");
        assert_eq!(door.seat().err(), Some(Shed::ShardFull), "one for one");
        drop((first, awaited));
        assert_eq!(door.seat().err(), Some(Shed::ShardFull));
        drop(second);
        assert!(door.seat().is_ok());
    }

    #[test]
    fn logins_are_bounded_on_their_own() {
        let door = door(
            9,
            1,
            Gatehouse {
                limiter: None,
                crowd: None,
            },
        );
        let login = door.login();
        assert!(login.is_some() && door.login().is_none());
        drop(login);
        assert!(door.login().is_some());
    }

    #[test]
    fn a_limiter_without_room_is_counted_as_such() {
        let now = Instant::now();
        let rate = RateLimit {
            limit: 1,
            duration: Duration::from_secs(3_600),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        };
        let gatehouse = Gatehouse {
            limiter: Some(Limiter::new(rate, now)),
            crowd: None,
        };
        let door = door(usize::MAX, 1, gatehouse);
        // One set of the table is full long before all of them are. Until then, in one run of twenty, the
        // limiter takes somebody for another whose set and tag are the same.
        let refused = (0..u32::MAX)
            .map(|host| IpAddr::from(host.to_be_bytes()))
            .filter_map(|client| {
                let mut seat = door.seat().ok()?;
                Some((client, seat.identify(client, now).err()?))
            })
            .find(|(_, shed)| *shed != Shed::RateLimited);
        let (client_ip, shed) = refused.unwrap();
        assert_eq!(shed, Shed::LimiterFull);
        let (outlet, arrivals) = Outlet::new(Options::default());
        let labels = ConnectionLabels {
            client_ip,
            route: None,
            protocol: None,
        };
        count_end(
            &mut outlet.meter(0),
            &labels,
            Outcome::Shed(shed),
            FailureStage::Accept,
        );
        let deltas = arrivals.recv().unwrap();
        let expected = Bound::ALL.map(|bound| u64::from(bound.label() == "limiter_table"));
        assert_eq!(deltas.totals.shed, expected);
        let limited: u64 = deltas
            .connections()
            .1
            .map(|(_, counts)| counts.rate_limited)
            .sum();
        assert_eq!(
            (limited, deltas.failures().count()),
            (1, 0),
            "limited, not failed"
        );
    }

    #[test]
    fn a_refused_connection_does_not_stay_in_its_prefix() {
        let now = Instant::now();
        let rate = RateLimit {
            limit: 2,
            duration: Duration::from_secs(60),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        };
        let gatehouse = Gatehouse {
            limiter: Some(Limiter::new(rate, now)),
            crowd: Some(Crowd::new(1, PREFIXES)),
        };
        let door = door(9, 9, gatehouse);
        let identify = |host, now| {
            let mut seat = door.seat()?;
            seat.identify(client(host), now).map(|()| seat)
        };
        let first = identify(1, now);
        assert_eq!(
            identify(1, now).err(),
            Some(Shed::PrefixFull),
            "one connection at a time"
        );
        drop(first);
        assert_eq!(identify(1, now).err(), Some(Shed::RateLimited), "and not so soon");
        assert!(identify(2, now).is_ok(), "others are not concerned");
        assert!(identify(1, now + Duration::from_secs(60)).is_ok());
        assert_eq!(door.connections(), 0);
    }
}
