//! The bounds of what relays hold are hit here, and each is counted under its own name.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::{Client, LOGIN, MODERN, STATUS, Server, handshake, login_start, status_request};
use super::world::{HOST, Plan, World, relay_route, route, target};
use passage_shards::metrics::{Cut, Shortage};
use passage_shards::pool::Limits;

/// A shard whose only target sends without end to players who never read.
struct Flood {
    world: World,
    players: Vec<Client>,
    writers: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(players: usize, bound: impl FnOnce(&mut Limits)) -> Self {
        let server = Server::start();
        let targets = [target("hub", "127.0.0.1", server.port())];
        let world = Plan::new(vec![relay_route("*", &targets)])
            .with(|plan| {
                plan.shards = NonZeroUsize::new(1);
                bound(&mut plan.limits);
            })
            .start();
        let (players, writers) = (0..players)
            .map(|_| {
                let mut player = Client::connect(world.address);
                player.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
                let mut hub = server.accept();
                let pour = move || while hub.stream.write_all(&[0x2a; 60_000]).is_ok() {};
                (player, thread::spawn(pour))
            })
            .unzip();
        Self {
            world,
            players,
            writers,
        }
    }

    /// Ends all of it, and gives the world to be looked at.
    fn end(self) -> World {
        drop(self.players);
        self.writers.into_iter().for_each(|writer| writer.join().unwrap());
        self.world
    }
}

#[test]
fn relays_over_their_memory_are_ended_and_counted() {
    let mut flood = Flood::start(100, |limits| {
        limits.relay_memory_per_shard = 1 << 20;
        // Few, so that what waits is copied out of them at once.
        limits.receive_buffers_per_shard = 8;
        limits.relay_pipes_per_shard = 0;
    });
    // What those that are left hold is looked at once a second.
    flood
        .world
        .wait_until(|counts| counts.cut_at(Cut::RelayMemory) > 0 && counts.relay_memory > 0);
    let counts = flood.end().end();
    assert!(counts.relay_memory <= 1 << 20, "{counts:?}");
    let (others, ended) = (counts.cut.iter().sum::<u64>(), counts.cut_at(Cut::RelayMemory));
    assert_eq!(others, ended, "nothing else was cut: {counts:?}");
    counts.assert_failed(ended, "relay_memory at relay");
    assert_eq!(counts.relays, 100);
}

#[test]
fn a_side_that_takes_nothing_for_too_long_is_gone_and_counted() {
    let mut flood = Flood::start(1, |limits| limits.relay_gone = Duration::from_secs(2));
    flood.world.wait_until(|counts| counts.cut_at(Cut::RelayGone) > 0);
    let counts = flood.end().end();
    let expected = Cut::ALL.map(|one| u64::from(one == Cut::RelayGone));
    assert_eq!(counts.cut, expected, "{counts:?}");
    assert_eq!(
        (counts.relays, counts.failed),
        (1, 0),
        "a relay that ends has not failed"
    );
}

/// Whether the kernel probes the connection from `local` to `peer` while it is silent.
fn is_probed(local: Option<SocketAddr>, peer: SocketAddr) -> bool {
    /// What `/proc/net/tcp` calls the timer of keep-alives.
    const KEEP_ALIVE: &str = "02";
    let shown = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => {
            let ip = u32::from_ne_bytes(v4.ip().octets());
            format!("{ip:08X}:{:04X}", v4.port())
        }
        SocketAddr::V6(_) => panic!("{address}"),
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let is_it = columns.get(2) == Some(&&*shown(peer))
            && local.is_none_or(|local| columns.get(1) == Some(&&*shown(local)));
        is_it && columns.get(5).is_some_and(|timer| timer.starts_with(KEEP_ALIVE))
    })
}

#[test]
fn both_sides_of_a_relay_are_probed_while_they_are_silent() {
    let server = Server::start();
    let hub = SocketAddr::from(([127, 0, 0, 1], server.port()));
    let world = World::start(vec![relay_route("*", &[target("hub", "127.0.0.1", hub.port())])]);
    let mut player = Client::connect(world.address);
    player.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
    let mut accepted = server.accept();
    // Both packets have gone through: the relay stands, and nothing is on its way.
    accepted.packet();
    accepted.packet();
    let address = player.stream.local_addr().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_probed(Some(world.address), address) || !is_probed(None, hub) {
        assert!(Instant::now() < deadline, "a side is not probed");
        thread::yield_now();
    }
    drop((player, accepted));
    world.end();
}

#[test]
fn bulk_that_finds_no_pipe_is_counted_and_goes_on() {
    let mut flood = Flood::start(4, |limits| limits.relay_pipes_per_shard = 1);
    flood
        .world
        .wait_until(|counts| counts.short_of(Shortage::RelayPipes) > 0);
    let counts = flood.end().end();
    assert_eq!(counts.cut.iter().sum::<u64>(), 0, "{counts:?}");
    assert_eq!(counts.failed, 0);
}

#[test]
fn receives_that_find_no_buffer_are_counted_and_go_on() {
    let mut world = Plan::new(vec![route("*", &[])])
        .with(|plan| {
            plan.shards = NonZeroUsize::new(1);
            plan.limits.receive_buffers_per_shard = 1;
        })
        .start();
    let ask_all = || {
        let mut clients: Vec<_> = (0..64).map(|_| Client::connect(world.address)).collect();
        for client in &mut clients {
            client.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
        }
        for client in &mut clients {
            client.expect(0);
        }
    };
    // That two come in one turn is a matter of chance, and that they never do is not to be feared.
    (0..20).for_each(|_| ask_all());
    world.wait_until(|counts| counts.short_of(Shortage::ReceiveBuffers) > 0);
    assert_eq!(world.end().drained.cut, 0);
}
