//! Every bound that a peer can reach is hit here, and counted under its own name.

use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{Shutdown, SockaddrIn, getpeername, getsockname, shutdown};

use super::client::{
    Client, Fields, LOGIN, MODERN, STATUS, Server, handshake, login_start, ping, status_request, var_int,
};
use super::player::player;
use super::world::{Counts, HOST, Plan, World, cookie_keys, relay_route, route, target};
use passage_shards::metrics::{Bound, Cut};
use passage_shards::pool::{ProxyProtocol, Untrusted};
use passage_shards::pulse::Sign;
use passage_shards::route::Route;

/// Long enough for a connection that is well, short enough for a test.
const SOON: Duration = Duration::from_millis(300);

/// Nothing was cut but this, once.
#[track_caller]
fn assert_cut(counts: &Counts, cut: Cut) {
    let expected = Cut::ALL.map(|one| u64::from(one == cut));
    assert_eq!(counts.cut, expected, "{cut:?}: {counts:?}");
}

#[test]
fn a_handshake_that_does_not_come_is_counted() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.limits.handshake = SOON)
        .start();
    assert!(Client::connect(world.address).closed().is_empty());
    let counts = world.end();
    assert_cut(&counts, Cut::Handshake);
    counts.assert_failed(1, "timed_out at handshake");
}

#[test]
fn a_proxy_header_that_does_not_come_is_a_handshake_that_does_not() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| {
            plan.limits.handshake = SOON;
            plan.proxy_protocol = Some(ProxyProtocol {
                allow_v1: true,
                allow_v2: true,
                trusted: vec!["127.0.0.1/32".parse().unwrap()],
                untrusted: Untrusted::Reject,
            });
        })
        .start();
    let mut client = Client::connect(world.address);
    client.send(b"PROXY TCP4 192.0.");
    assert!(client.closed().is_empty());
    let counts = world.end();
    assert_cut(&counts, Cut::Handshake);
    counts.assert_failed(1, "timed_out at proxy_header");
}

#[test]
fn a_step_that_takes_too_long_is_counted() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.limits.step = SOON)
        .start();
    let mut client = Client::connect(world.address);
    client.send(&handshake(MODERN, HOST, LOGIN));
    client.closed();
    assert_cut(&world.end(), Cut::Step);
}

#[test]
fn a_conversation_that_takes_too_long_is_counted() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| {
            plan.timeout = SOON;
            plan.limits.handshake = SOON;
        })
        .start();
    let mut client = Client::connect(world.address);
    client.send(&handshake(MODERN, HOST, LOGIN));
    client.closed();
    assert_cut(&world.end(), Cut::Timeout);
}

#[test]
fn a_packet_and_a_field_that_are_too_long_are_counted() {
    let world = World::start(vec![route("*", &[])]);
    let mut client = Client::connect(world.address);
    // What is claimed is enough: nothing of it has to come.
    client.send(&var_int(10_001));
    client.closed();
    let counts = world.end();
    assert_cut(&counts, Cut::PacketLength);
    counts.assert_failed(1, "frame_too_long at handshake");

    let world = World::start(vec![route("*", &[])]);
    let mut client = Client::connect(world.address);
    client.send(&handshake(MODERN, &"x".repeat(256), STATUS));
    client.closed();
    assert_cut(&world.end(), Cut::Protocol);
}

#[test]
fn a_relay_that_is_silent_is_counted() {
    let server = Server::start();
    let targets = [target("hub", "127.0.0.1", server.port())];
    let world = Plan::new(vec![relay_route("*", &targets)])
        .with(|plan| plan.limits.relay_idle = SOON)
        .start();
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
    let _hub = server.accept();
    client.closed();
    assert_cut(&world.end(), Cut::RelayIdle);
}

#[test]
fn a_target_that_swallows_packets_is_counted() {
    // A listener whose queue is full answers nobody.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let full = TcpListener::from(full);
    let address = full.local_addr().unwrap();
    let _queue: Vec<_> = (0..4)
        .map(|_| TcpStream::connect_timeout(&address, SOON))
        .collect();
    let world = Plan::new(vec![relay_route(
        "*",
        &[target("full", "127.0.0.1", address.port())],
    )])
    .with(|plan| plan.limits.dial = SOON)
    .start();
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
    client.closed();
    assert_cut(&world.end(), Cut::Dial);
}

#[test]
fn who_is_cut_at_the_end_of_a_drain_is_counted() {
    let world = World::start(vec![route("*", &[])]);
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
    client.expect(0);
    let counts = world.end_within(SOON);
    client.closed();
    assert_cut(&counts, Cut::Drain);
    counts.assert_failed(1, "cut at status");
}

#[test]
fn connections_over_the_shards_bound_are_counted_with_the_one_that_makes_room() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| {
            plan.shards = NonZeroUsize::new(1);
            plan.limits.connections_per_shard = 2;
        })
        .start();
    let mut served = Vec::new();
    for _ in 0..7 {
        let mut client = Client::connect(world.address);
        client.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
        client.expect(0);
        served.push(client);
    }
    for client in &mut served[..5] {
        assert!(
            client.closed().is_empty(),
            "who is awaited the longest makes room"
        );
    }
    for client in &mut served[5..] {
        client.send(&ping(7));
        assert_eq!(client.expect(1), 7_u64.to_be_bytes(), "who is in is served");
    }
    let counts = world.end();
    assert_eq!(counts.shed_at(Bound::ConnectionsPerShard), 5, "{counts:?}");
    counts.assert_failed(5, "shard_full at status");
}

/// A shard that takes two logins at a time.
fn two_logins(route: Route) -> World {
    Plan::new(vec![route])
        .with(|plan| {
            plan.shards = NonZeroUsize::new(1);
            plan.limits.logins_per_shard = 2;
        })
        .start()
}

#[test]
fn half_open_logins_over_the_bound_are_counted_with_the_one_that_makes_room() {
    let targets = [target("hub", "hub.example.net", 25_565)];
    let world = two_logins(route("*", &targets));
    let mut logins: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Client::connect(world.address);
            client.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
            // Asked for its cookie, or let in: it is a login now.
            client.packet();
            client
        })
        .collect();
    assert_eq!(
        Fields(&logins[0].expect(0)).text(),
        "\"disconnect_overloaded\"",
        "who makes room reads why"
    );
    assert!(logins[0].rest().unwrap().is_empty(), "and nothing is reset");
    let mut pinging = Client::connect(world.address);
    pinging.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
    pinging.expect(0);
    drop((logins, pinging));
    let counts = world.end();
    assert_eq!(counts.shed_at(Bound::Logins), 1, "{counts:?}");
    assert_eq!(counts.failures.get("logins_full at login"), Some(&1));
}

#[test]
fn an_encrypted_login_that_makes_room_reads_why() {
    let world = two_logins(Route {
        cookies: Some(cookie_keys()),
        ..route("*", &[target("hub", "hub.example.net", 25_565)])
    });
    // Welcomed, and silent since.
    let mut first = player("Alice").half_way(&world);
    let second = player("Bob").half_way(&world);
    let third = player("Carol").half_way(&world);
    let read = String::from_utf8_lossy(&first.expect(2)).into_owned();
    assert!(read.contains("disconnect_overloaded"), "{read}");
    assert!(first.rest().unwrap().is_empty());
    drop((second, third));
    let counts = world.end();
    assert_eq!(counts.shed_at(Bound::Logins), 1, "{counts:?}");
}

#[test]
fn a_login_that_is_cut_by_a_drain_reads_why() {
    // On one shard, what the second client is told says that the first one's handshake has been read.
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.shards = NonZeroUsize::new(1))
        .start();
    let mut client = Client::connect(world.address);
    client.send(&handshake(MODERN, HOST, LOGIN));
    let mut pinging = Client::connect(world.address);
    pinging.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
    pinging.expect(0);
    let reading = std::thread::spawn(move || client.expect(0));
    let counts = world.end_within(SOON);
    assert_eq!(Fields(&reading.join().unwrap()).text(), "\"disconnect_shutdown\"");
    assert!(pinging.closed().is_empty(), "a ping has nobody who reads words");
    assert_eq!(counts.cut_at(Cut::Drain), 2);
}

/// Makes every listener at this address useless, as no kernel does of itself.
fn break_listeners(address: SocketAddr) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().map_while(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_listener = |number: &RawFd| {
        let name = getsockname::<SockaddrIn>(*number).map(SocketAddrV4::from);
        // Accepted sockets have the same name, but a peer besides.
        name.is_ok_and(|name| SocketAddr::V4(name) == address) && getpeername::<SockaddrIn>(*number).is_err()
    };
    let listeners: Vec<RawFd> = numbers.filter(is_listener).collect();
    for listener in &listeners {
        shutdown(*listener, Shutdown::Both).unwrap();
    }
    listeners.len()
}

#[test]
fn a_shard_whose_listener_is_broken_ends_and_says_so() {
    let world = World::start(vec![route("*", &[])]);
    assert_eq!(break_listeners(world.address), 2, "one of each shard");
    for _ in 0..2 {
        let exit = world
            .shards
            .exits()
            .recv_timeout(Duration::from_secs(20))
            .unwrap();
        let reason = exit.end.unwrap_err();
        assert!(reason.starts_with("a listener failed: "), "{reason}");
    }
    let patience = Instant::now() + Duration::from_secs(20);
    while world.shards.pulses().any(|pulse| pulse.sign() != Sign::Dead) {
        assert!(Instant::now() < patience, "a dead shard has a pulse");
    }
    world.end();
}
