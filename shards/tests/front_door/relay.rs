//! Logins that are relayed to their target.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::client::{Client, Fields, LOGIN, MODERN, Server, handshake, login_start, packet, prefixed};
use super::world::{HOST, Plan, World, relay_route, target};
use passage_proto::question::{AskError, RewriteHost};
use passage_shards::ask::{RemoteAnswer, RemoteQuestion};
use passage_shards::route::{Mode, ProxyVersion, RelayOptions, Route};

fn login(protocol: i32, host: &str) -> Vec<u8> {
    let start = if protocol >= 764 {
        login_start("Alice")
    } else {
        packet(0, &prefixed(b"Alice"))
    };
    [handshake(protocol, host, LOGIN), start].concat()
}

#[test]
fn relays_byte_for_byte_both_ways_with_half_close() {
    let server = Server::start();
    let world = World::start(vec![relay_route(
        "*",
        &[target("hub", "127.0.0.1", server.port())],
    )]);
    // A modded client of an old version.
    let sent = login(340, "play.example.net\0FML\0");
    let mut client = Client::connect(world.address);
    client.send(&sent);
    let mut target = server.accept();
    assert_eq!(target.read(sent.len()).unwrap(), sent);

    let bulk: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[(n % 3) as usize])
        .collect();
    let (upload, download) = (bulk.clone(), bulk.clone());
    std::thread::scope(|scope| {
        let mut writer = Client::over(client.stream.try_clone().unwrap());
        scope.spawn(move || {
            writer.send(&upload);
            writer.end_writing();
        });
        let received = target.rest().unwrap();
        assert!(
            received == bulk,
            "{} bytes of {} arrived",
            received.len(),
            bulk.len()
        );
        // The client has ended its side; the target's side still works.
        let mut writer = Client::over(target.stream.try_clone().unwrap());
        scope.spawn(move || {
            writer.send(&download);
            writer.end_writing();
        });
        assert!(client.rest().unwrap() == bulk);
    });
    drop((client, target));
    let counts = world.end();
    let up = (sent.len() + bulk.len()) as u64;
    assert_eq!(
        (counts.relays, counts.relayed, counts.targets),
        (1, (up, bulk.len() as u64), (1, 1, 0))
    );
    assert_eq!((counts.opened, counts.closed, counts.failed), (1, 1, 0));
}

#[test]
fn the_target_reads_the_clients_address_and_the_host_of_the_route() {
    let server = Server::start();
    for (version, host) in [
        (ProxyVersion::V1, RewriteHost::Target),
        (ProxyVersion::V2, RewriteHost::Literal("in".into())),
    ] {
        let relay = RelayOptions {
            send_proxy_protocol: Some(version),
            rewrite_host: host.clone(),
        };
        let targets = [target("hub", "hub.internal", server.port())];
        let world = World::start(vec![Route {
            relay,
            ..relay_route("*", &targets)
        }]);
        let mut client = Client::connect(world.address);
        client.send(&login(47, HOST));
        let from = client.stream.local_addr().unwrap();
        let mut target = server.accept();
        match version {
            ProxyVersion::V1 => {
                let line = format!(
                    "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
                    from.port(),
                    world.address.port()
                );
                assert_eq!(target.read(line.len()).unwrap(), line.as_bytes());
            }
            ProxyVersion::V2 => {
                let header = target.read(28).unwrap();
                assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
                assert_eq!(header[24..26], from.port().to_be_bytes());
            }
        }
        let (_, body) = target.packet();
        let mut fields = Fields(&body);
        assert_eq!(fields.var_int(), 47);
        assert_eq!(
            fields.text(),
            if host == RewriteHost::Target {
                "hub.internal"
            } else {
                "in"
            }
        );
        drop((client, target));
        world.end();
    }
}

#[test]
fn an_unreachable_target_is_said_to_the_player_of_any_version() {
    let gone = Server::start();
    let port = gone.port();
    drop(gone);
    let world = World::start(vec![relay_route("*", &[target("hub", "127.0.0.1", port)])]);
    for protocol in [5, 47, 340, 763, MODERN] {
        let mut client = Client::connect(world.address);
        client.send(&login(protocol, HOST));
        assert_eq!(
            Fields(&client.expect(0)).text(),
            "\"disconnect_target_unreachable\"",
            "{protocol}"
        );
        assert!(client.rest().unwrap().is_empty());
    }
    let counts = world.end();
    assert_eq!(
        (counts.targets, counts.failed, counts.requests),
        ((5, 0, 5), 5, 5)
    );
}

#[test]
fn names_are_resolved_and_addresses_tried_in_order() {
    let server = Server::start();
    let gone = Server::start();
    let dead: SocketAddr = ([127, 0, 0, 1], gone.port()).into();
    drop(gone);
    let world = Plan::new(vec![relay_route(
        "*",
        &[target("hub", "hub.internal", server.port())],
    )])
    .control(move |asked| {
        let RemoteQuestion::Resolve { host, port } = &asked.question else {
            panic!("{asked:?}")
        };
        assert_eq!(host, "hub.internal");
        let answer = RemoteAnswer::Addresses(Ok(vec![dead, ([127, 0, 0, 1], *port).into()]));
        asked.reply.send(answer);
    })
    .start();
    let mut client = Client::connect(world.address);
    client.send(&login(47, HOST));
    let mut target = server.accept();
    assert_eq!(target.packet().0, 0);
    drop((client, target));
    assert_eq!(world.end().targets, (1, 1, 0));
}

#[test]
fn a_resolver_that_fails_or_is_silent_does_not_hold_the_player() {
    for silent in [false, true] {
        let world = Plan::new(vec![relay_route("*", &[target("hub", "hub.internal", 25566)])])
            .with(|plan| plan.limits.dial = Duration::from_millis(300))
            .control(move |asked| {
                if silent {
                    std::mem::forget(asked);
                } else {
                    asked.reply.send(RemoteAnswer::Addresses(Err(AskError::Failed)));
                }
            })
            .start();
        let began = Instant::now();
        let mut client = Client::connect(world.address);
        client.send(&login(47, HOST));
        assert_eq!(
            Fields(&client.expect(0)).text(),
            "\"disconnect_target_unreachable\""
        );
        assert!(began.elapsed() < Duration::from_secs(8));
        drop(client);
        world.end();
    }
}

#[test]
fn auto_relays_old_clients_and_idle_relays_end() {
    let server = Server::start();
    let targets = [target("hub", "127.0.0.1", server.port())];
    let world = Plan::new(vec![Route {
        mode: Mode::Auto,
        ..relay_route("*", &targets)
    }])
    .with(|plan| plan.limits.relay_idle = Duration::from_millis(300))
    .start();
    let mut client = Client::connect(world.address);
    client.send(&login(763, HOST));
    let mut target = server.accept();
    assert_eq!(target.packet().0, 0);
    assert_eq!(target.packet().0, 0);
    assert!(client.closed().is_empty(), "closed because nobody said anything");
    assert!(target.closed().is_empty());
    world.end();
}

#[test]
fn no_target_is_said_to_the_player() {
    let world = World::start(vec![relay_route("*", &[])]);
    let mut client = Client::connect(world.address);
    client.send(&login(47, HOST));
    assert_eq!(Fields(&client.expect(0)).text(), "\"disconnect_no_target\"");
    assert_eq!(world.end().failed, 1);
}

#[test]
fn a_login_without_a_route_is_told_so() {
    let world = World::start(vec![relay_route(HOST, &[])]);
    let mut client = Client::connect(world.address);
    client.send(&login(47, "example.org"));
    assert_eq!(Fields(&client.expect(0)).text(), "\"disconnect_no_route\"");
    world.end();
}
