//! Full shards: who has to go, and who may stay.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::client::{Client, Fields, LOGIN, MODERN, STATUS, handshake, login_start, ping, status_request};
use super::world::{HOST, Plan, World, route};

/// One shard with room for four connections and two logins, and long deadlines.
fn small() -> World {
    Plan::new(vec![route(HOST, &[])])
        .with(|plan| {
            plan.shards = NonZeroUsize::new(1);
            plan.limits.connections_per_shard = 4;
            plan.limits.logins_per_shard = 2;
            plan.limits.handshake = Duration::from_secs(30);
            plan.limits.step = Duration::from_secs(30);
        })
        .start()
}

fn connect(world: &World, bytes: &[u8]) -> Client {
    let mut client = Client::connect(world.address);
    client.send(bytes);
    client
}

#[test]
fn silent_connections_make_room_for_whoever_speaks() {
    let world = small();
    let mut silent = Vec::new();
    for _ in 0..20 {
        // Never so many at once that their sockets alone are too many.
        silent.extend((0..2).map(|_| connect(&world, &[])));
        let whole = [handshake(MODERN, HOST, STATUS), status_request()].concat();
        connect(&world, &whole).expect(0);
    }
    drop(silent);
    let counts = world.end();
    assert_eq!((counts.opened, counts.closed), (60, 60), "all got a seat");
    assert!(
        counts.shed >= 30,
        "and most had to give it up again: {}",
        counts.shed
    );
}

#[test]
fn who_made_progress_stays_while_silent_ones_go() {
    let world = small();
    let mut first = connect(
        &world,
        &[handshake(MODERN, HOST, STATUS), status_request()].concat(),
    );
    first.expect(0);
    let mut silent = connect(&world, &[]);
    // Bytes alone are no progress.
    let slow = connect(&world, &handshake(MODERN, HOST, STATUS)[..3]);
    let mut second = connect(
        &world,
        &[handshake(MODERN, HOST, STATUS), status_request()].concat(),
    );
    second.expect(0);
    first.send(&ping(1));
    first.expect(1);
    let mut third = connect(
        &world,
        &[handshake(MODERN, HOST, STATUS), status_request()].concat(),
    );
    third.expect(0);
    let mut fourth = connect(
        &world,
        &[handshake(MODERN, HOST, STATUS), status_request()].concat(),
    );
    fourth.expect(0);
    assert!(silent.closed().is_empty(), "it was silent for the longest");
    second.send(&ping(2));
    second.expect(1);
    drop((first, slow));
    assert_eq!(world.end().shed, 1, "one had to go for one that came");
}

#[test]
fn logins_that_wait_for_their_clients_make_room_for_others() {
    let world = small();
    let start = [handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat();
    let mut stalled = Vec::new();
    for _ in 0..2 {
        stalled.push(connect(&world, &handshake(MODERN, HOST, LOGIN)));
    }
    for _ in 0..4 {
        let mut player = connect(&world, &start);
        // The session cookie is asked for: the login goes on.
        player.expect(5);
        stalled.push(player);
        let mut longest = stalled.remove(0);
        assert_eq!(
            Fields(&longest.expect(0)).text(),
            "\"disconnect_overloaded\"",
            "the one that was awaited the longest goes, and reads why"
        );
        assert!(longest.rest().unwrap().is_empty());
    }
    drop(stalled);
    let counts = world.end();
    assert_eq!((counts.opened, counts.closed), (6, 6));
}
