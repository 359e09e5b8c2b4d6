//! What attackers send, and what that does to everybody else.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{Client, Fields, LOGIN, MODERN, STATUS, handshake, status_request};
use super::world::{Explosive, HOST, PANIC_HOST, Plan, route};
use passage_shards::pool::{ProxyProtocol, RateLimit, Untrusted};
use passage_shards::route::{Localization, Route};

/// A generator of pseudo-random numbers (xorshift64*), so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[7]).collect()
    }
}

/// Bytes that are wrong in one of many ways.
fn garbage(random: &mut Random) -> Vec<u8> {
    let count = usize::try_from(random.next() % 300).unwrap();
    match random.next() % 8 {
        0 => vec![0, 0],
        1 => b"\xff\xff\xff\xff\x0f".to_vec(),
        2 => b"\xff\xff\xff\xff\xff\xff".to_vec(),
        3 => b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n".to_vec(),
        4 => [handshake(MODERN, HOST, LOGIN), random.bytes(count)].concat(),
        5 => [handshake(MODERN, HOST, STATUS), random.bytes(count)].concat(),
        6 => {
            let whole = [handshake(MODERN, HOST, STATUS), status_request()].concat();
            whole[..usize::try_from(random.next()).unwrap() % whole.len()].to_vec()
        }
        _ => random.bytes(count),
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn ten_thousand_connections_of_garbage_leave_nothing_behind() {
    const CONNECTIONS: u64 = 10_000;
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| {
            plan.limits.handshake = Duration::from_millis(300);
            plan.limits.step = Duration::from_millis(300);
        })
        .start();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client::connect(world.address);
        // The server may have closed in the middle of what is sent.
        let _refused = client.stream.write_all(&garbage(&mut random));
        open.push(client);
        if open.len() >= 200 {
            // Some go away at once, some are waited for.
            let waits = random.next().is_multiple_of(2);
            open.drain(..)
                .filter(|_| waits)
                .for_each(|mut client| drop(client.closed()));
        }
    }
    drop(open);
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
    client.expect(0);
    drop(client);
    let counts = world.end();
    assert_eq!(
        (counts.opened, counts.closed, counts.attempts),
        (CONNECTIONS + 1, CONNECTIONS + 1, CONNECTIONS + 1)
    );
    assert_eq!((counts.panics, counts.drained.cut), (0, 0));
}

#[test]
fn sockets_are_closed_when_their_connections_end() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.limits.handshake = Duration::from_millis(200))
        .start();
    let idle: Vec<_> = (0..500).map(|_| Client::connect(world.address)).collect();
    let before = open_files();
    for mut client in idle {
        assert!(client.closed().is_empty(), "closed at the handshake deadline");
    }
    // Other tests open files too, but not five hundred.
    let deadline = Instant::now() + Duration::from_secs(10);
    while open_files() + 800 > before && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(
        open_files() + 800 <= before,
        "{} of {before} files are open",
        open_files()
    );
    assert_eq!(world.end().failed, 500);
}

#[test]
fn a_panic_ends_one_connection_and_is_counted() {
    let bomb = Route {
        localization: Localization {
            words: Arc::new(Explosive),
            remote: None,
        },
        ..route(PANIC_HOST, &[])
    };
    let world = Plan::new(vec![bomb, route("*", &[])])
        .with(|plan| plan.shards = std::num::NonZeroUsize::new(1))
        .start();
    let mut bystander = Client::connect(world.address);
    bystander.send(&handshake(MODERN, HOST, STATUS));
    for _ in 0..5 {
        let mut victim = Client::connect(world.address);
        victim.send(&handshake(47, PANIC_HOST, LOGIN));
        assert!(victim.closed().is_empty());
    }
    bystander.send(&status_request());
    bystander.expect(0);
    drop(bystander);
    assert!(world.shards.is_alive());
    let counts = world.end();
    assert_eq!(
        (counts.panics, counts.failed, counts.opened, counts.closed),
        (5, 5, 6, 6)
    );
}

fn balancer() -> ProxyProtocol {
    ProxyProtocol {
        allow_v1: true,
        allow_v2: true,
        trusted: vec!["127.0.0.1/32".parse().unwrap()],
        untrusted: Untrusted::Reject,
    }
}

fn proxied(address: SocketAddr, header: &str) -> Client {
    let mut client = Client::connect(address);
    client.send(header.as_bytes());
    client.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
    client
}

#[test]
fn half_open_proxy_connections_delay_nobody() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.proxy_protocol = Some(balancer()))
        .start();
    let _half_open: Vec<_> = (0..2_000)
        .map(|n| {
            let mut client = Client::connect(world.address);
            client.send(if n % 2 == 0 {
                b"PROXY TCP4 192.0"
            } else {
                b"\r\n\r\n\0\r\nQUIT"
            });
            client
        })
        .collect();
    for _ in 0..20 {
        let began = Instant::now();
        proxied(world.address, "PROXY TCP4 192.0.2.1 192.0.2.2 50000 25565\r\n").expect(0);
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
    world.end();
}

/// Opens connections until one is turned away, and gives how many were served before.
fn served(attempts: usize, open: impl Fn() -> Client) -> usize {
    let serves = |mut client: Client| {
        client
            .next_packet()
            .is_ok_and(|(_, body)| !Fields(&body).text().is_empty())
    };
    (0..attempts).filter(|_| serves(open())).count()
}

#[test]
fn the_limiter_is_exact_over_all_shards() {
    let rate = RateLimit {
        limit: 9,
        duration: Duration::from_secs(60),
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    };
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.rate_limit = Some(rate))
        .start();
    let knock = || {
        let mut client = Client::connect(world.address);
        // Closed before it is read, so that writing may fail.
        let _refused = client
            .stream
            .write_all(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
        client
    };
    assert_eq!(
        served(40, knock),
        5,
        "half of the limit at once, whichever shard they reach"
    );
    let counts = world.end();
    assert_eq!(
        (counts.attempts, counts.rate_limited, counts.failed, counts.opened),
        (40, 35, 0, 5)
    );
}

#[test]
fn behind_a_balancer_the_limiter_counts_the_clients_address() {
    let rate = RateLimit {
        limit: 3,
        duration: Duration::from_secs(60),
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    };
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| {
            plan.rate_limit = Some(rate);
            plan.proxy_protocol = Some(balancer());
        })
        .start();
    let from = |last: u8| {
        move || {
            proxied(
                world.address,
                &format!("PROXY TCP4 192.0.2.{last} 192.0.2.200 50000 25565\r\n"),
            )
        }
    };
    assert_eq!(served(10, from(1)), 2);
    assert_eq!(served(10, from(2)), 2, "another client is not concerned");
    assert_eq!(
        served(10, || proxied(world.address, "PROXY UNKNOWN\r\n")),
        10,
        "the balancer's own checks"
    );
    let counts = world.end();
    assert_eq!(
        (counts.rate_limited, counts.attempts, counts.opened),
        (16, 30, 30)
    );
}

#[test]
fn untrusted_peers_are_rejected_or_direct_clients() {
    let untrusting = |untrusted| {
        let proxy = ProxyProtocol {
            trusted: vec!["192.0.2.0/24".parse().unwrap()],
            untrusted,
            ..balancer()
        };
        Plan::new(vec![route("*", &[])])
            .with(|plan| plan.proxy_protocol = Some(proxy))
            .start()
    };
    let world = untrusting(Untrusted::Reject);
    assert!(Client::connect(world.address).closed().is_empty());
    world.end().assert_failed(1, "untrusted at accept");

    let world = untrusting(Untrusted::Direct);
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
    client.expect(0);
    let mut liar = Client::connect(world.address);
    liar.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 25565\r\n");
    assert!(liar.closed().is_empty(), "a header from a client is a fault");
    drop(client);
    assert_eq!(world.end().failed, 1);
}

#[test]
fn connections_over_a_bound_are_closed_unread() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.limits.connections_per_prefix = 3)
        .start();
    let mut inside: Vec<_> = (0..3).map(|_| Client::connect(world.address)).collect();
    inside
        .iter_mut()
        .for_each(|client| client.send(&handshake(MODERN, HOST, STATUS)));
    for client in &mut inside {
        client.send(&status_request());
        client.expect(0);
    }
    for _ in 0..5 {
        assert!(Client::connect(world.address).closed().is_empty());
    }
    drop(inside.pop());
    let mut next = Client::connect(world.address);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        // The seat is free once the shard has seen the end of the connection before.
        let _refused = next
            .stream
            .write_all(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
        if next.next_packet().is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "the seat is never free");
        next = Client::connect(world.address);
    }
    drop((inside, next));
    let counts = world.end();
    assert!(counts.shed >= 5 && counts.opened == 4, "{counts:?}");
}

#[test]
fn a_slow_client_is_timed_out_with_words_where_it_can_read_them() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.limits.step = Duration::from_millis(300))
        .start();
    let mut client = Client::connect(world.address);
    client.send(&handshake(MODERN, HOST, LOGIN));
    assert_eq!(Fields(&client.expect(0)).text(), "\"disconnect_timeout\"");
    world.end();
}
