//! Cookies: as large as they may be and larger, and such as were made for somebody else or by nobody.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::floods::hello;
use super::logins::{Caller, put_cookie};
use super::{Attack, Ground, Move, Plan, Strike, said};
use crate::cookie;
use crate::random::Random;
use crate::wire::{Intent, put_handshake, put_login_start};

/// Largest cookie that a client stores.
const COOKIE_BYTES_MAX: usize = 5_120;
/// Cookie responses that nobody asked for, on one connection.
const UNASKED: usize = 20;

/// The beginning of a login of a player who comes from another server.
fn arrival(ground: &Ground, output: &mut Vec<u8>) {
    let hello = hello(ground, &ground.login_host);
    put_handshake(output, hello.protocol, &hello.host, hello.port, Intent::Transfer);
    put_login_start(output, "Baker", Uuid::from_u128(8));
}

/// Large cookies, cookies that are too large, and many at once.
pub(super) struct Large(Ground);

impl Large {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(ground.clone())
    }
}

impl Attack for Large {
    fn plan(&self) -> Plan {
        Plan::flood(1_000.0)
    }

    fn strike(
        &mut self,
        number: u64,
        _: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        arrival(&self.0, output);
        let bytes = COOKIE_BYTES_MAX + usize::from(number % 3 == 1);
        let mut payload = vec![0; bytes];
        random.fill(&mut payload);
        if number % 3 == 2 {
            for _ in 0..UNASKED {
                put_cookie(output, cookie::SESSION.as_bytes(), Some(&payload));
            }
            return said();
        }
        let cookies = vec![payload.clone(), payload];
        (
            Box::new(Caller::new(random.next_u64(), cookies, true)),
            Move::Stay,
        )
    }
}

/// Cookies that were given to another address, have expired, or were signed by nobody who may.
pub(super) struct Worthless(Ground);

impl Worthless {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(ground.clone())
    }

    fn cookie(&self, number: u64, source: Ipv4Addr) -> Vec<u8> {
        let (name, id) = ("Alice", Uuid::from_u128(9));
        let victim = IpAddr::V4(crate::address::CLIENTS);
        let sign = |secret: &[u8], client, at| cookie::authentication_at(secret, name, id, client, at);
        let now = SystemTime::now();
        let own = IpAddr::V4(source);
        match number % 5 {
            // Alice's own, from another address.
            0 => sign(&self.0.secret, victim, now),
            1 => sign(b"a secret that somebody guessed", own, now),
            // Years old.
            2 => sign(&self.0.secret, own, now - Duration::from_secs(100_000_000)),
            3 => {
                let mut cookie = sign(&self.0.secret, own, now);
                if let Some(last) = cookie.last_mut() {
                    *last ^= 1;
                }
                cookie
            }
            _ => {
                let mut cookie = sign(&self.0.secret, own, now);
                cookie.truncate(31);
                cookie
            }
        }
    }
}

impl Attack for Worthless {
    fn plan(&self) -> Plan {
        Plan::flood(1_000.0)
    }

    fn strike(
        &mut self,
        number: u64,
        source: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        arrival(&self.0, output);
        let session = cookie::session(Uuid::from_u128(9), &self.0.login_host, self.0.server.port());
        let source = source.unwrap_or(Ipv4Addr::LOCALHOST);
        let cookies = vec![session, self.cookie(number, source)];
        (
            Box::new(Caller::new(random.next_u64(), cookies, true)),
            Move::Stay,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::Worthless;
    use crate::attack::Ground;
    use crate::cookie::read_authentication;

    #[test]
    fn replayed_and_expired_cookies_are_rightly_signed_and_the_others_are_not() {
        let ground = Ground {
            server: "127.0.0.1:1".parse().expect("literal"),
            relay_host: String::new(),
            login_host: String::new(),
            faucet_host: String::new(),
            deaf_host: String::new(),
            secret: b"0123456789abcdef".to_vec(),
        };
        let attack = Worthless::new(&ground);
        let holds =
            |number| read_authentication(&ground.secret, &attack.cookie(number, Ipv4Addr::LOCALHOST)).is_ok();
        assert_eq!([0, 1, 2, 3, 4].map(holds), [true, false, true, false, false]);
    }
}
