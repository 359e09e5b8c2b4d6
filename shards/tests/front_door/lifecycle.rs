//! Start and end.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::client::{Client, LOGIN, MODERN, STATUS, Server, handshake, login_start, status_request};
use super::world::{HOST, Plan, World, relay_route, route, target};
use passage_shards::pool::StartError;

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let holder = World::start(vec![route("*", &[])]);
    let address = holder.address;
    let error = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.addresses = vec![address])
        .try_start()
        .err()
        .unwrap();
    assert!(matches!(error, StartError::Address { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&address.to_string()) && text.contains("another Passage"),
        "{text}"
    );
    holder.end();
    Plan::new(vec![route("*", &[])])
        .with(|plan| plan.addresses = vec![address])
        .start()
        .end();
}

#[test]
fn bad_routes_are_an_error_that_names_them_all() {
    let error = Plan::new(vec![route("a b", &[]), route("/x/", &[])])
        .try_start()
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("route 1 (\"a b\")") && error.contains("route 2 (\"/x/\")"),
        "{error}"
    );
}

#[test]
fn every_address_is_served_on_both_families() {
    let Ok(world) = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.addresses = vec![([127, 0, 0, 1], 0).into(), ([0, 0, 0, 0, 0, 0, 0, 1], 0).into()])
        .try_start()
    else {
        // A machine without IPv6.
        return;
    };
    for address in world.shards.addresses() {
        let mut client = Client::connect(*address);
        client.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
        client.expect(0);
    }
    assert_eq!(world.shards.addresses().len(), 2);
    world.end();
}

#[test]
fn a_drain_sends_the_idle_away_lets_logins_finish_and_cuts_relays_at_the_deadline() {
    let server = Server::start();
    let targets = [target("hub", "127.0.0.1", server.port())];
    let world = Plan::new(vec![relay_route("*", &targets)]).start();
    let address = world.address;
    let mut idle = Client::connect(address);
    let mut pinging = Client::connect(address);
    pinging.send(&handshake(MODERN, HOST, STATUS));
    let mut relayed = Client::connect(address);
    relayed.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
    let mut hub = server.accept();
    assert_eq!(hub.packet().0, 0);
    // The ping's handshake has been read once its shard answers this.
    pinging.send(&status_request());
    pinging.expect(0);

    let began = Instant::now();
    let draining = std::thread::spawn(move || world.end_within(Duration::from_secs(4)));
    assert!(
        idle.closed().is_empty(),
        "nobody waits for those who have said nothing"
    );
    assert!(
        began.elapsed() < Duration::from_millis(3_500),
        "at once: {:?}",
        began.elapsed()
    );
    // The other shard may close its listener a little later.
    while TcpStream::connect(address).is_ok() {
        assert!(
            began.elapsed() < Duration::from_millis(3_500),
            "somebody new still comes in"
        );
    }
    relayed.send(b"still");
    let mut read = [0; 32];
    let _login_start = hub.packet();
    let count = std::io::Read::read(&mut hub.stream, &mut read).unwrap();
    assert_eq!(&read[..count], b"still", "relays go on until the deadline");
    pinging.send(&super::client::ping(1));
    assert_eq!(pinging.expect(1), 1_u64.to_be_bytes());
    drop(pinging);
    assert!(relayed.closed().is_empty(), "and end there");
    let counts = draining.join().unwrap();
    assert!(
        began.elapsed() >= Duration::from_millis(3_900),
        "{:?}",
        began.elapsed()
    );
    // The two above, and whoever knocked while the other shard was still open.
    assert!(counts.drained.finished >= 2, "{counts:?}");
    assert_eq!(counts.drained.cut, 1);
    assert_eq!(counts.opened, counts.closed);
}

#[test]
fn a_drain_without_connections_is_quick() {
    let world = World::start(vec![route("*", &[])]);
    let began = Instant::now();
    world.end_within(Duration::from_secs(30));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
