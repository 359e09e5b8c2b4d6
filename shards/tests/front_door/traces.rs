//! What is traced of a connection: names, attributes, parents, errors, and nothing more than was asked for.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;
use std::thread::JoinHandle;
use std::time::Instant;

use super::client::{
    Client, Fields, LOGIN, MODERN, STATUS, Server, handshake, login_start, packet, prefixed, status_request,
};
use super::world::{HOST, Plan, World, relay_route, route, target};
use crossbeam_channel::{Receiver, unbounded};
use passage_proto::cookie::SessionCookie;
use passage_shards::route::Route;
use passage_shards::trace::{Finished, Options, Outlet, Seed, Span, SpanName, TraceId, Value};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

pub(crate) type Traces = BTreeMap<TraceId, Vec<Span>>;

pub(crate) fn traced(routes: Vec<Route>, sample_rate: f64, per_second: u32) -> (World, JoinHandle<Traces>) {
    let (world, spans) = observed(routes, sample_rate, per_second);
    let collector = std::thread::spawn(move || {
        let mut traces = Traces::new();
        for finished in spans {
            traces.entry(finished.trace).or_default().extend(finished.spans);
        }
        traces
    });
    (world, collector)
}

pub(crate) fn observed(routes: Vec<Route>, sample_rate: f64, per_second: u32) -> (World, Receiver<Finished>) {
    let (plan, spans) = observing(routes, sample_rate, per_second);
    (plan.start(), spans)
}

fn observing(routes: Vec<Route>, sample_rate: f64, per_second: u32) -> (Plan, Receiver<Finished>) {
    let per_second = NonZeroU32::new(per_second).unwrap();
    let options = Options {
        sample_rate,
        per_second,
    };
    let (outlet, spans) = Outlet::new(options, Seed([1, 2, 3, 4]));
    let plan = Plan::new(routes).with(|blueprint| blueprint.traces = Some(outlet));
    (plan, spans)
}

fn hub(name: &str) -> Route {
    route(name, &[target(name, "hub.example.net", 25570)])
}

fn ping(world: &World) {
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
    client.expect(0);
    client.end_writing();
    client.closed();
}

/// Logs in with this session cookie and gives the one for the next server.
fn log_in(world: &World, host: &str, session: Option<&[u8]>) -> Vec<u8> {
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, host, LOGIN), login_start("Alice")].concat());
    let key = client.expect(5);
    let payload = session.map_or(vec![0], |cookie| [vec![1], prefixed(cookie)].concat());
    client.send(&packet(4, &[key, payload].concat()));
    client.expect(2);
    client.send(&packet(3, &[]));
    let stored = client.expect(0x0a);
    let mut fields = Fields(&stored);
    assert_eq!(fields.text(), "passage:session");
    let cookie = fields.bytes().to_vec();
    client.expect(0x0b);
    client.closed();
    cookie
}

/// A session cookie with this trace.
fn visit(traceparent: &str) -> Vec<u8> {
    let mut cookie = SessionCookie::new([7; 16], HOST, 25565);
    cookie.set_traceparent(traceparent);
    cookie.encode().unwrap()
}

/// The trace of a cookie.
fn trace_of(cookie: &[u8]) -> Option<String> {
    SessionCookie::decode(cookie)?.traceparent().map(str::to_owned)
}

fn root(trace: &[Span]) -> &Span {
    let mut roots = trace.iter().filter(|span| span.name == SpanName::Connection);
    match (roots.next(), roots.next()) {
        (Some(root), None) => root,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn only(traces: Traces) -> Vec<Span> {
    assert_eq!(traces.len(), 1, "{traces:#?}");
    traces.into_values().next().unwrap()
}

/// The spans of this name, in the order in which they ended.
pub(crate) fn named_all(trace: &[Span], name: SpanName) -> impl Iterator<Item = &Span> {
    trace.iter().filter(move |span| span.name == name)
}

fn named(trace: &[Span], name: SpanName) -> &Span {
    named_all(trace, name)
        .next()
        .unwrap_or_else(|| panic!("no {name:?} in {trace:#?}"))
}

fn attribute<'a>(span: &'a Span, key: &str) -> &'a str {
    let value = span.attributes.iter().find(|(known, _)| *known == key);
    match value {
        Some((_, Value::Text(text))) => text,
        other => panic!("{key} is {other:?}"),
    }
}

/// A span's attributes in words.
fn told(span: &Span) -> Vec<String> {
    let words = |(key, value): &(&str, Value)| match value {
        Value::Text(text) => format!("{key}={text}"),
        Value::Whole(number) => format!("{key}={number}"),
    };
    span.attributes.iter().map(words).collect()
}

fn assert_well_formed(trace: &[Span]) {
    let root = root(trace);
    for span in trace.iter().filter(|span| span.id != root.id) {
        assert_eq!(span.parent, Some(root.id), "{span:?}");
        assert!(root.began <= span.began && span.ended <= root.ended, "{trace:#?}");
    }
    assert!(trace.iter().all(|span| span.began <= span.ended), "{trace:#?}");
    let ids: HashSet<_> = trace.iter().map(|span| span.id).collect();
    assert_eq!(ids.len(), trace.len());
}

#[test]
fn a_login_is_traced_step_by_step() {
    let (world, traces) = traced(vec![hub("*")], 1.0, 1_000);
    let cookie = log_in(&world, HOST, None);
    world.end();
    let traces = traces.join().unwrap();
    let id = *traces.keys().next().unwrap();
    let trace = only(traces);
    assert_well_formed(&trace);
    assert!(trace.iter().all(|span| span.error.is_none()), "{trace:#?}");
    let steps = [
        (SpanName::Authentication, vec!["adapter_type=disabled"]),
        (SpanName::Discovery, vec!["adapter_type=fixed", "targets_found=1"]),
        (
            SpanName::Strategy,
            vec!["adapter_type=fixed", "selected_target=*"],
        ),
        (
            SpanName::TargetConnection,
            vec!["target_identifier=*", "target_address=hub.example.net:25570"],
        ),
    ];
    for (name, attributes) in &steps {
        assert_eq!(&told(named(&trace, *name)), attributes, "{name:?}");
    }
    assert_eq!(trace.len(), steps.len() + 1);
    let connection = root(&trace);
    let known = told(connection);
    assert_eq!(
        known[..4],
        [
            "client_ip=127.0.0.1",
            "server_address=play.example.net",
            "protocol_version=769",
            "username=Alice"
        ]
    );
    assert!(attribute(connection, "user_id").parse::<uuid::Uuid>().is_ok());
    assert_eq!((known.len(), connection.parent), (5, None));
    let expected = format!(
        "00-{:032x}-{:016x}-01",
        u128::from_be_bytes(id),
        u64::from_be_bytes(connection.id)
    );
    assert_eq!(trace_of(&cookie), Some(expected));
}

#[test]
fn a_ping_is_traced_with_its_adapter() {
    let (world, traces) = traced(vec![hub("*")], 1.0, 1_000);
    ping(&world);
    world.end();
    let trace = only(traces.join().unwrap());
    assert_well_formed(&trace);
    assert_eq!(
        told(named(&trace, SpanName::StatusRequest)),
        ["adapter_type=fixed"]
    );
    assert_eq!(
        told(root(&trace)),
        [
            "client_ip=127.0.0.1",
            "server_address=play.example.net",
            "protocol_version=769"
        ]
    );
    assert_eq!(trace.len(), 2);
}

#[test]
fn what_went_wrong_is_said_where_it_did() {
    let closed = Server::start().port();
    let (world, traces) = traced(
        vec![relay_route("*", &[target("dead", "127.0.0.1", closed)])],
        1.0,
        1_000,
    );
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
    client.expect(0);
    client.closed();
    world.end();
    let trace = only(traces.join().unwrap());
    assert_well_formed(&trace);
    let cause = named(&trace, SpanName::TargetConnection).error.clone().unwrap();
    assert!(cause.contains("does not take the connection"), "{cause}");
    assert_eq!(root(&trace).error.as_deref(), Some("unreachable"));
    assert_eq!(named(&trace, SpanName::Strategy).error, None);

    let (world, traces) = traced(vec![route("*", &[])], 1.0, 1_000);
    let mut client = Client::connect(world.address);
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    client.closed();
    world.end();
    let trace = only(traces.join().unwrap());
    assert!(
        root(&trace).error.as_ref().unwrap().starts_with("fault ("),
        "{trace:?}"
    );
}

#[test]
fn a_question_is_a_part_of_the_span_that_asks_it() {
    let nameless = || relay_route("*", &[target("dead", "dead.example.net", 1)]);
    for rate in [0.0, 1.0] {
        let (plan, spans) = observing(vec![nameless()], rate, 1_000);
        let (sender, asked) = unbounded();
        // A question that is dropped has failed.
        let world = plan
            .control(move |asked| sender.send(asked.trace).unwrap())
            .start();
        let mut client = Client::connect(world.address);
        client.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
        client.expect(0);
        client.closed();
        world.end();
        let parent = asked.recv().unwrap();
        let finished = spans.try_recv().ok();
        assert_eq!((parent.is_some(), finished.is_some()), (rate > 0.0, rate > 0.0));
        if let (Some(parent), Some(finished)) = (parent, finished) {
            let connects = named(&finished.spans, SpanName::TargetConnection);
            assert_eq!((parent.trace, parent.span), (finished.trace, connects.id));
            assert!(parent.is_sampled);
        }
    }
}

#[test]
fn a_relay_shows_its_steps_before_it_ends() {
    let server = Server::start();
    let (world, spans) = observed(
        vec![relay_route("*", &[target("hub", "127.0.0.1", server.port())])],
        1.0,
        1_000,
    );
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
    let mut target = server.accept();
    target.read(1).unwrap();
    let steps = spans.recv().unwrap();
    let names: Vec<_> = steps.spans.iter().map(|span| span.name).collect();
    assert_eq!(
        names,
        [
            SpanName::Discovery,
            SpanName::Strategy,
            SpanName::TargetConnection
        ]
    );
    assert!(spans.is_empty());
    drop((client, target));
    let end = spans.recv().unwrap();
    world.end();
    assert_eq!(end.trace, steps.trace);
    let [connection] = &end.spans[..] else {
        panic!("{end:?}")
    };
    assert_eq!(
        (connection.name, &connection.error),
        (SpanName::Connection, &None)
    );
    assert!(steps.spans.iter().all(|span| span.parent == Some(connection.id)));
    assert_eq!(attribute(connection, "username"), "Alice");
}

#[test]
fn a_trace_goes_on_from_server_to_server() {
    // Nobody is sampled here, but who comes with a trace goes on with it.
    let (world, traces) = traced(vec![hub("*")], f64::MIN_POSITIVE, 1_000);
    assert_eq!(trace_of(&log_in(&world, HOST, None)), None);
    let first = log_in(&world, HOST, Some(&visit(PARENT)));
    let second = log_in(&world, HOST, Some(&first));
    world.end();
    let traces = traces.join().unwrap();
    let (id, spans) = traces.iter().next().unwrap();
    assert_eq!((traces.len(), spans.len()), (1, 10));
    assert_eq!(
        u128::from_be_bytes(*id),
        0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c
    );
    let roots: Vec<_> = spans
        .iter()
        .filter(|span| span.name == SpanName::Connection)
        .collect();
    assert_eq!(roots[0].parent, Some(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()));
    assert_eq!(roots[1].parent, Some(roots[0].id));
    assert!(
        trace_of(&second)
            .unwrap()
            .starts_with("00-0af7651916cd43dd8448eb211c80319c-")
    );
}

#[test]
fn a_trace_that_is_not_recorded_elsewhere_is_not_recorded_here() {
    let unsampled = PARENT.replace("-01", "-00");
    for (rate, parent) in [(1.0, &*unsampled), (0.0, PARENT)] {
        let (world, traces) = traced(vec![hub("*")], rate, 1_000);
        let cookie = log_in(&world, HOST, Some(&visit(parent)));
        world.end();
        assert_eq!(
            trace_of(&cookie).as_deref(),
            Some(parent),
            "it is handed on as it came"
        );
        assert!(traces.join().unwrap().is_empty(), "{parent} at {rate}");
    }
}

#[test]
fn as_many_are_traced_as_was_asked_for() {
    for (rate, least, most) in [(0.0, 0, 0), (0.01, 3, 45), (1.0, 2_000, 2_000)] {
        let (world, traces) = traced(vec![hub("*")], rate, 100_000);
        (0..2_000).for_each(|_| ping(&world));
        world.end();
        let traces = traces.join().unwrap();
        assert!(
            (least..=most).contains(&traces.len()),
            "{} at {rate}",
            traces.len()
        );
        traces.values().for_each(|trace| assert_well_formed(trace));
    }
}

#[test]
fn a_flood_is_traced_no_more_than_is_allowed() {
    let (world, traces) = traced(vec![hub("*")], 1.0, 10);
    let begun = Instant::now();
    (0..500).for_each(|_| ping(&world));
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    world.end();
    let traced = traces.join().unwrap().len();
    // Two shards with a burst of a second each.
    assert!(
        (2..=2 * 10 * (seconds + 1)).contains(&traced),
        "{traced} in {seconds} s"
    );
}

#[test]
fn thousands_of_interleaved_connections_on_two_shards_do_not_mix() {
    const WAVES: usize = 5;
    const PINGS: usize = 400;
    const LOGINS: usize = 40;
    let (world, traces) = traced(vec![hub("a.*"), hub("b.*")], 1.0, 100_000);
    let host = |name: &str, number: usize| format!("{}.{name}{number}.example.net", ["a", "b"][number % 2]);
    std::thread::scope(|scope| {
        for thread in 0..WAVES {
            let world = &world;
            scope.spawn(move || {
                for number in 0..LOGINS {
                    log_in(world, &host("login", thread * LOGINS + number), None);
                }
            });
        }
        for wave in 0..WAVES {
            let mut open: Vec<_> = (0..PINGS)
                .map(|number| {
                    let bytes = [
                        handshake(MODERN, &host("ping", wave * PINGS + number), STATUS),
                        status_request(),
                    ]
                    .concat();
                    (Client::connect(world.address), bytes)
                })
                .collect();
            // Each round gives every connection a part of what it has to say.
            for part in 0..4 {
                for (client, bytes) in &mut open {
                    let parts = bytes.len().div_ceil(4);
                    client.send(bytes.chunks(parts).nth(part).unwrap_or_default());
                }
            }
            for (client, _) in open.iter_mut().rev() {
                client.expect(0);
                client.end_writing();
            }
        }
    });
    world.end();
    let traces = traces.join().unwrap();
    assert_eq!(traces.len(), WAVES * (PINGS + LOGINS));
    let hosts: HashSet<_> = traces
        .values()
        .map(|trace| attribute(root(trace), "server_address"))
        .collect();
    assert_eq!(hosts.len(), traces.len(), "every connection has its own host");
    for trace in traces.values() {
        assert_well_formed(trace);
        let host = attribute(root(trace), "server_address");
        let mut names: Vec<_> = trace.iter().map(|span| span.name.name()).collect();
        names.sort_unstable();
        if host.contains("ping") {
            assert_eq!(names, ["connection", "status_request"]);
        } else {
            assert_eq!(
                names,
                [
                    "authentication",
                    "connection",
                    "discovery",
                    "strategy",
                    "target_connection"
                ]
            );
            let selected = attribute(named(trace, SpanName::Strategy), "selected_target");
            assert_eq!(selected.get(..2), host.get(..2));
        }
    }
}
