//! Targets that cannot be reached, and who is dialled in their place.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, Fields, LOGIN, Server, handshake, packet, prefixed};
use super::traces::{named_all, only, traced};
use super::world::{HOST, Plan, World, relay_route, target};
use passage_proto::question::{RewriteHost, Target};
use passage_shards::ask::{Asked, RemoteAnswer, RemoteQuestion};
use passage_shards::ejection::Terms;
use passage_shards::metrics::AdapterType;
use passage_shards::route::{ProxyVersion, RelayOptions, Remote, Route, Strategy};
use passage_shards::trace::SpanName;
use socket2::{Domain, SockRef, Socket, Type};

/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A version whose login is two packets.
const OLD: i32 = 47;

fn login() -> Vec<u8> {
    [handshake(OLD, HOST, LOGIN), packet(0, &prefixed(b"Alice"))].concat()
}

/// A target at which nobody listens.
fn dead(identifier: &str) -> Arc<Target> {
    target(identifier, "127.0.0.1", Server::start().port())
}

fn alive(server: &Server) -> Arc<Target> {
    target("alive", "127.0.0.1", server.port())
}

/// A listener whose queue is full, so that it swallows whoever knocks.
struct Abyss {
    listener: Socket,
    _queued: Vec<Socket>,
}

impl Abyss {
    fn open() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let knock = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let error = socket.connect(&address).unwrap_err();
            assert_ne!(error.kind(), ErrorKind::ConnectionRefused);
            socket
        };
        let queued = (0..8).map(knock).collect();
        Self {
            listener,
            _queued: queued,
        }
    }

    fn target(&self) -> Arc<Target> {
        let address = self.listener.local_addr().unwrap().as_socket().unwrap();
        target("abyss", "127.0.0.1", address.port())
    }
}

fn start(route: Route) -> World {
    on_one_shard(route).start()
}

fn on_one_shard(route: Route) -> Plan {
    Plan::new(vec![route]).with(|plan| plan.shards = NonZeroUsize::new(1))
}

/// Logs in and is relayed to this server.
fn arrive(world: &World, server: &Server) -> (Client, Client) {
    let mut client = Client::connect(world.address);
    client.send(&login());
    let mut target = server.accept();
    assert_eq!(target.read(login().len()).unwrap(), login());
    (client, target)
}

#[test]
fn the_next_target_is_dialled_where_one_refuses() {
    let server = Server::start();
    let world = start(relay_route("*", &[dead("a"), dead("b"), alive(&server)]));
    drop(arrive(&world, &server));
    let counts = world.end();
    assert_eq!((counts.targets, counts.relays), ((3, 1, 2), 1));
    assert_eq!(
        (
            counts.adapter("strategy/fixed"),
            counts.adapter("discovery/fixed")
        ),
        (3, 1)
    );
    assert_eq!((counts.failed, counts.requests), (0, 1));
}

#[test]
fn a_target_that_swallows_packets_leaves_time_for_the_next() {
    let (abyss, server) = (Abyss::open(), Server::start());
    let world = start(relay_route("*", &[abyss.target(), alive(&server)]));
    drop(arrive(&world, &server));
    assert_eq!(world.end().targets, (2, 1, 1));
}

#[test]
fn three_targets_are_tried_and_no_more() {
    let server = Server::start();
    let targets = [dead("a"), dead("b"), dead("c"), dead("d"), alive(&server)];
    let world = start(relay_route("*", &targets));
    let mut client = Client::connect(world.address);
    client.send(&login());
    assert_eq!(
        Fields(&client.expect(0)).text(),
        "\"disconnect_target_unreachable\""
    );
    drop(client);
    let counts = world.end();
    assert_eq!(
        (counts.targets, counts.failed, counts.requests),
        ((3, 0, 3), 1, 1)
    );
}

#[test]
fn the_next_target_reads_its_own_host_name_behind_the_clients_address() {
    let server = Server::start();
    let relay = RelayOptions {
        send_proxy_protocol: Some(ProxyVersion::V1),
        rewrite_host: RewriteHost::Target,
    };
    let gone = Server::start().port();
    let targets = [
        target("gone", "a-rather-long-name.internal", gone),
        target("hub", "hub.internal", server.port()),
    ];
    let world = start(Route {
        relay,
        ..relay_route("*", &targets)
    });
    let mut client = Client::connect(world.address);
    let modded = handshake(OLD, &format!("{HOST}\0FML\0"), LOGIN);
    client.send(&[modded, packet(0, &prefixed(b"Alice"))].concat());
    let mut target = server.accept();
    let from = client.stream.local_addr().unwrap().port();
    let line = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {from} {}\r\n",
        world.address.port()
    );
    assert_eq!(target.read(line.len()).unwrap(), line.as_bytes());
    let read = target.expect(0);
    let mut fields = Fields(&read);
    assert_eq!((fields.var_int(), fields.text()), (OLD, "hub.internal\0FML\0"));
    assert_eq!(Fields(&target.expect(0)).text(), "Alice");
    drop((client, target));
    assert_eq!(world.end().targets, (2, 1, 1));
}

#[test]
fn each_try_is_a_span_of_its_own() {
    let server = Server::start();
    let (world, traces) = traced(vec![relay_route("*", &[dead("a"), alive(&server)])], 1.0, 1_000);
    drop(arrive(&world, &server));
    world.end();
    let trace = only(traces.join().unwrap());
    let tries: Vec<_> = named_all(&trace, SpanName::TargetConnection)
        .map(|span| (format!("{:?}", span.attributes[0].1), span.error.is_some()))
        .collect();
    let expected = [("a", true), ("alive", false)].map(|(name, failed)| (format!("Text({name:?})"), failed));
    assert_eq!(tries, expected);
    assert_eq!(named_all(&trace, SpanName::Strategy).count(), 2);
}

#[test]
fn a_target_that_fails_again_and_again_is_left_alone() {
    let server = Server::start();
    let ejection = Terms {
        consecutive_failures: 2,
        pause: Duration::from_secs(600),
        pause_max: Duration::from_secs(600),
        share_max: 50,
    };
    let world = start(Route {
        ejection,
        ..relay_route("*", &[dead("a"), alive(&server)])
    });
    for _ in 0..10 {
        drop(arrive(&world, &server));
    }
    assert_eq!(world.end().targets, (12, 10, 2));
}

#[test]
fn a_strategys_service_is_not_asked_again() {
    let server = Server::start();
    let service = Remote {
        adapter: 6,
        kind: AdapterType::Grpc,
        timeout: PATIENCE,
    };
    let world = on_one_shard(Route {
        strategy: Strategy::Remote(service),
        ..relay_route("*", &[alive(&server), dead("b")])
    })
    .control(|asked: Asked| {
        let RemoteQuestion::Select { targets, .. } = &asked.question else {
            panic!("{asked:?}")
        };
        let last = Arc::clone(targets.last().unwrap());
        asked.reply.send(RemoteAnswer::Target(Ok(last)));
    })
    .start();
    drop(arrive(&world, &server));
    let counts = world.end();
    assert_eq!((counts.targets, counts.adapter("strategy/grpc")), ((2, 1, 1), 1));
}

#[test]
fn a_client_that_resets_while_its_target_is_dialled_is_noticed() {
    let abyss = Abyss::open();
    let port = abyss.target().port;
    let (dialled, dials) = crossbeam_channel::unbounded();
    let world = on_one_shard(relay_route("*", &[target("abyss", "abyss.internal", port)]))
        .with(|plan| plan.limits.dial = PATIENCE * 100)
        .control(move |asked| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            asked.reply.send(RemoteAnswer::Addresses(Ok(vec![address])));
            dialled.send(()).unwrap();
        })
        .start();
    let mut client = Client::connect(world.address);
    client.send(&login());
    dials.recv_timeout(PATIENCE).unwrap();
    SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let counts = world.end_within(PATIENCE);
    assert_eq!(
        (counts.drained.cut, counts.closed, counts.failed),
        (0, 1, 1),
        "{counts:?}"
    );
    assert_eq!(counts.targets.2, 0, "the target is not to blame");
}

#[test]
fn a_control_thread_without_time_is_not_the_targets_fault() {
    let (control, full) = crossbeam_channel::bounded(0);
    let world = on_one_shard(relay_route("*", &[target("hub", "hub.internal", 1)]))
        .with(|plan| plan.control = control.into())
        .start();
    let mut client = Client::connect(world.address);
    client.send(&login());
    assert_eq!(Fields(&client.expect(0)).text(), "\"disconnect_overloaded\"");
    drop(client);
    let counts = world.end();
    assert_eq!((counts.targets, counts.shed, counts.failed), ((1, 0, 0), 1, 1));
    drop(full);
}

#[test]
fn the_least_busy_target_is_chosen_as_long_as_its_relays_last() {
    let servers = [Server::start(), Server::start()];
    let targets = [
        target("a", "127.0.0.1", servers[0].port()),
        target("b", "127.0.0.1", servers[1].port()),
    ];
    let world = start(Route {
        strategy: Strategy::LeastConnections,
        ..relay_route("*", &targets)
    });
    servers
        .iter()
        .for_each(|server| server.0.set_nonblocking(true).unwrap());
    // Where a client has got to, and the other end of its relay.
    let go = || {
        let mut client = Client::connect(world.address);
        client.send(&login());
        loop {
            for (at, server) in servers.iter().enumerate() {
                if let Ok((stream, _)) = server.0.accept() {
                    stream.set_nonblocking(false).unwrap();
                    let mut target = Client::over(stream);
                    target.read(login().len()).unwrap();
                    return (at, client, target);
                }
            }
            std::thread::yield_now();
        }
    };
    let mut relays: Vec<_> = (0..10).map(|_| go()).collect();
    let on_first = relays.iter().filter(|(at, ..)| *at == 0).count();
    assert_eq!(on_first, 5);
    // Three of one target's end: the next three go there.
    let mut ended = 0;
    relays.retain_mut(|(at, client, target)| {
        if *at == 0 && ended < 3 {
            ended += 1;
            client.end_writing();
            assert!(target.rest().unwrap().is_empty());
            target.end_writing();
            assert!(client.rest().unwrap().is_empty());
            return false;
        }
        true
    });
    let next: Vec<_> = (0..3).map(|_| go()).collect();
    assert!(next.iter().all(|(at, ..)| *at == 0));
    drop((relays, next));
    assert_eq!(world.end().relays, 13);
}
