//! Server-list pings.

use std::sync::Arc;

use super::client::{Client, Fields, MODERN, STATUS, handshake, ping, status_request};
use super::world::{HOST, Plan, World, route, status};
use passage_shards::route::{Route, StatusSource};

/// Pings as the game does and gives the status that was shown.
pub(crate) fn show(world: &World, host: &str) -> String {
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, host, STATUS), status_request()].concat());
    let json = Fields(&client.expect(0)).text().to_owned();
    client.send(&ping(0x0123_4567_89ab_cdef));
    assert_eq!(client.expect(1), 0x0123_4567_89ab_cdef_u64.to_be_bytes());
    assert!(client.rest().unwrap().is_empty(), "closed in good order");
    json
}

#[test]
fn pings_are_answered_by_route_and_counted() {
    let world = World::start(vec![route(HOST, &[]), route("*.example.org", &[])]);
    for _ in 0..50 {
        assert!(show(&world, HOST).contains("\"play.example.net\""));
        assert!(show(&world, "LOBBY.example.ORG.").contains("\"*.example.org\""));
    }
    let counts = world.end();
    assert_eq!(
        (counts.opened, counts.closed, counts.attempts, counts.requests),
        (100, 100, 100, 100)
    );
    assert_eq!((counts.failed, counts.panics, counts.shed), (0, 0, 0));
}

#[test]
fn a_ping_without_a_request_is_answered() {
    let world = World::start(vec![route("*", &[])]);
    let mut client = Client::connect(world.address);
    client.send(&[handshake(47, HOST, STATUS), ping(7)].concat());
    assert_eq!(client.expect(1), 7_u64.to_be_bytes());
    world.end();
}

#[test]
fn legacy_pings_are_answered() {
    let world = World::start(vec![route("*", &[])]);
    for request in [&b"\xfe"[..], b"\xfe\x01"] {
        let mut client = Client::connect(world.address);
        client.send(request);
        let reply = client.rest().unwrap();
        assert_eq!(reply[0], 0xff, "a kick packet");
        let units = usize::from(u16::from_be_bytes([reply[1], reply[2]]));
        assert_eq!(reply.len(), 3 + 2 * units);
    }
    assert_eq!(world.end().failed, 0);
}

#[test]
fn an_unknown_host_is_shown_what_is_configured_for_it_or_nothing() {
    let silent = World::start(vec![route(HOST, &[])]);
    let mut client = Client::connect(silent.address);
    client.send(&[handshake(MODERN, "example.org", STATUS), status_request()].concat());
    assert!(client.closed().is_empty());
    silent.end();

    let polite = Plan::new(vec![route(HOST, &[])])
        .with(|plan| plan.unknown_host = Some(status("who?")))
        .start();
    let mut client = Client::connect(polite.address);
    client.send(&[handshake(MODERN, "example.org", STATUS), status_request()].concat());
    assert!(Fields(&client.expect(0)).text().contains("who?"));
    polite.end();
}

#[test]
fn new_routes_serve_the_next_connection() {
    let world = World::start(vec![route(HOST, &[])]);
    assert!(show(&world, HOST).contains("\"play.example.net\""));
    let new = Route {
        status: StatusSource::Fixed(status("after the swap")),
        ..route(HOST, &[])
    };
    let routes = passage_shards::route::Routes::new(Arc::new([new]), None, super::world::words())
        .ok()
        .unwrap();
    world.shards.swap_routes(&Arc::new(routes));
    // The order reaches each shard within microseconds; until then the old routes are right.
    let swapped = (0..200).any(|_| show(&world, HOST).contains("after the swap"));
    assert!(swapped);
    world.end();
}
