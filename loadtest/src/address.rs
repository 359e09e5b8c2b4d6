//! Where load goes to and comes from: loopback only.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use crate::random::Random;

/// Most source addresses that can be asked for: what 127.1.0.0 and above holds, less a margin.
pub const SOURCES_MAX: u32 = 8_000_000;

/// Why an address is not a target.
#[derive(Debug)]
pub enum TargetError {
    /// Neither `IP:port` nor `localhost:port`.
    Unreadable(String),
    /// Outside of 127.0.0.0/8 and `::1`.
    NotLoopback(SocketAddr),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(text) => {
                write!(
                    f,
                    "target {text:?}: expected IP:port or localhost:port, for example 127.0.0.1:25565"
                )
            }
            Self::NotLoopback(address) => write!(
                f,
                "target {address} is not a loopback address. This generator floods its target, so it only \
                 goes to 127.0.0.0/8 and ::1: run it on the machine of the server"
            ),
        }
    }
}

impl std::error::Error for TargetError {}

/// Reads `IP:port` or `localhost:port` and refuses whatever is not loopback. Names are not resolved: what a
/// resolver answers may change between the check and the flood.
///
/// # Errors
/// [`TargetError`].
pub fn parse_target(text: &str) -> Result<SocketAddr, TargetError> {
    let numeric = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    let address = numeric.as_deref().unwrap_or(text).parse();
    let address: SocketAddr = address.map_err(|_| TargetError::Unreadable(text.to_owned()))?;
    require_loopback(address)?;
    Ok(address)
}

/// Refuses an address that is not loopback. Everything that opens load connections goes through here.
///
/// # Errors
/// [`TargetError::NotLoopback`].
pub fn require_loopback(address: SocketAddr) -> Result<(), TargetError> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(TargetError::NotLoopback(address))
}

/// The first source address of clients that mean well.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// Source addresses 127.1.0.0 and up, in turn, so that a server sees many clients and ports do not run out.
#[derive(Clone, Debug)]
pub struct Sources {
    first: Ipv4Addr,
    count: u32,
    next: u32,
}

impl Sources {
    /// `count` addresses, beginning at a seeded one. 0 leaves the choice to the kernel.
    #[must_use]
    pub fn new(count: u32, random: &mut Random) -> Self {
        let count = count.min(SOURCES_MAX);
        let start = if count == 0 {
            0
        } else {
            random.next_u64() % u64::from(count)
        };
        Self {
            first: CLIENTS,
            count,
            next: u32::try_from(start).unwrap_or(0),
        }
    }

    /// The same, but beginning at this address; what is not loopback is cut off.
    #[must_use]
    pub fn from(first: Ipv4Addr, count: u32) -> Self {
        let loopback_left = Ipv4Addr::new(127, 255, 255, 254)
            .to_bits()
            .saturating_sub(first.to_bits());
        let count = if first.is_loopback() {
            count.min(loopback_left)
        } else {
            0
        };
        Self {
            first,
            count,
            next: 0,
        }
    }

    /// The address of the next connection to `target`; `None` where the kernel chooses.
    pub fn turn(&mut self, target: SocketAddr) -> Option<Ipv4Addr> {
        if self.count == 0 || target.is_ipv6() {
            return None;
        }
        let index = self.next;
        self.next = (self.next + 1) % self.count;
        Some(Ipv4Addr::from_bits(self.first.to_bits() + index))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::SocketAddr;

    use super::{CLIENTS, SOURCES_MAX, Sources, parse_target};
    use crate::random::Random;

    #[test]
    fn refuses_what_is_not_loopback() {
        for text in [
            "192.0.2.1:25565",
            "0.0.0.0:25565",
            "[2001:db8::1]:25565",
            "[::ffff:192.0.2.1]:1",
        ] {
            let error = parse_target(text).expect_err(text).to_string();
            assert!(error.contains("not a loopback address"), "{error}");
        }
        assert!(
            parse_target("127.0.0.1")
                .expect_err("no port")
                .to_string()
                .contains("IP:port")
        );
    }

    #[test]
    fn takes_all_of_loopback() {
        for text in ["127.0.0.1:25565", "127.9.8.7:1", "[::1]:25565", "localhost:25565"] {
            assert!(parse_target(text).expect(text).ip().is_loopback());
        }
    }

    #[test]
    fn every_source_is_used_before_one_comes_again() {
        let target: SocketAddr = "127.0.0.1:1".parse().expect("literal");
        let mut sources = Sources::new(1000, &mut Random::new(5));
        let seen: HashSet<_> = (0..1000).filter_map(|_| sources.turn(target)).collect();
        assert_eq!(seen.len(), 1000);
        assert!(seen.iter().all(|ip| ip.is_loopback()));
    }

    #[test]
    fn the_last_source_is_still_loopback() {
        let target: SocketAddr = "127.0.0.1:1".parse().expect("literal");
        let mut sources = Sources {
            first: CLIENTS,
            count: SOURCES_MAX,
            next: SOURCES_MAX - 1,
        };
        assert!(sources.turn(target).expect("IPv4").is_loopback());
    }

    #[test]
    fn attackers_stay_within_their_own_addresses() {
        let target: SocketAddr = "127.0.0.1:1".parse().expect("literal");
        let first = "127.255.255.0".parse().expect("literal");
        let mut sources = Sources::from(first, 1000);
        assert!((0..2000).all(|_| {
            sources
                .turn(target)
                .is_some_and(|ip| ip >= first && ip.is_loopback())
        }));
        let elsewhere = "192.0.2.1".parse().expect("literal");
        assert_eq!(
            Sources::from(elsewhere, 10).turn(target),
            None,
            "the kernel chooses"
        );
    }
}
