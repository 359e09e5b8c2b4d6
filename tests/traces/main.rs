//! Traces from the first byte of a player to the collector: the real program with several shards, and a
//! receiver that reads what it exports with the official types.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

mod calls;
#[expect(dead_code, reason = "the shards' tests need more of it")]
#[path = "../../shards/tests/front_door/client.rs"]
mod client;
mod passage;
#[expect(dead_code, reason = "the tests of metrics need more of it")]
#[path = "../../src/telemetry/otlp/receiver.rs"]
mod receiver;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use passage_proto::cookie::SessionCookie;
use passage_shards::trace::TraceParent;

use client::{
    Client, Fields, LOGIN, MODERN, STATUS, handshake, login_start, packet, prefixed, status_request,
};
use passage::Passage;
use receiver::{Mode, Receiver};

/// What the receiver expects to find in the crate that it is a part of.
mod telemetry {
    pub(crate) use passage::telemetry::Signal;
}

const THREADS: usize = 4;
/// Of each thread, all open at the same time.
const LOGINS: usize = 60;
const PINGS: usize = 60;

fn configuration(collector: &Receiver) -> String {
    format!(
        "address = \"127.0.0.1:0\"\n\
         [shards]\ncount = 3\npin = false\n\
         [authentication]\ntype = \"disabled\"\n\
         [otel]\ntraces_endpoint = \"{}\"\ntraces_token = \"dXNlcjpwYXNz\"\ntraces_per_second = 100000\n\
         [[routes]]\nhostname = \"*.a.example.net\"\n\
         [routes.discovery]\ntargets = [{{ identifier = \"a\", address = \"a.example.net\" }}]\n\
         [[routes]]\nhostname = \"*.b.example.net\"\n\
         [routes.discovery]\ntargets = [{{ identifier = \"b\", address = \"b.example.net\" }}]\n",
        collector.url_of(telemetry::Signal::Traces)
    )
}

/// A player on the way from server to server.
struct Player {
    number: usize,
    client: Client,
    cookie: Option<TraceParent>,
}

impl Player {
    fn connect(passage: &Passage, number: usize) -> Self {
        Self {
            number,
            client: Client::connect(passage.address),
            cookie: None,
        }
    }

    fn name(&self) -> String {
        format!("Player{}", self.number)
    }

    fn route(&self) -> &'static str {
        ["a", "b"][self.number % 2]
    }

    fn host(&self) -> String {
        format!("p{}.{}.example.net", self.number, self.route())
    }

    /// The trace that every other player brings along.
    fn parent(&self) -> Option<TraceParent> {
        (self.number % 4 < 2).then(|| TraceParent {
            trace: (1 << 100 | u128::try_from(self.number).unwrap()).to_be_bytes(),
            span: (1 << 40 | u64::try_from(self.number).unwrap()).to_be_bytes(),
            is_sampled: true,
        })
    }

    /// Says a part of the first bytes of a login.
    fn greet(&mut self, part: usize) {
        let bytes = [handshake(MODERN, &self.host(), LOGIN), login_start(&self.name())].concat();
        let half = bytes.len() / 2;
        let parts = [&bytes[..half], &bytes[half..]];
        self.client.send(parts[part]);
    }

    fn show_cookie(&mut self) {
        let key = self.client.expect(5);
        let payload = self.parent().map_or(vec![0], |parent| {
            let mut cookie = SessionCookie::new([7; 16], &self.host(), 25565);
            cookie.set_traceparent(&parent.text());
            [vec![1], prefixed(&cookie.encode().unwrap())].concat()
        });
        self.client.send(&packet(4, &[key, payload].concat()));
    }

    fn enter_configuration(&mut self) {
        self.client.expect(2);
        self.client.send(&packet(3, &[]));
    }

    fn leave(&mut self) {
        let stored = self.client.expect(0x0a);
        let mut fields = Fields(&stored);
        assert_eq!(fields.text(), "passage:session");
        let cookie = SessionCookie::decode(fields.bytes()).unwrap();
        self.cookie = TraceParent::parse(cookie.traceparent().unwrap());
        self.client.expect(0x0b);
        self.client.closed();
    }
}

/// All logins take each step before any of them takes the next one; pings come in between.
fn log_in_and_ping(passage: &Passage, thread: usize) -> Vec<Player> {
    let numbers = thread * LOGINS..(thread + 1) * LOGINS;
    let mut players: Vec<_> = numbers.map(|number| Player::connect(passage, number)).collect();
    let mut pings: Vec<_> = (0..PINGS).map(|_| Client::connect(passage.address)).collect();
    players.iter_mut().for_each(|player| player.greet(0));
    let host = format!("ping.{}.example.net", ["a", "b"][thread % 2]);
    for ping in &mut pings {
        ping.send(&handshake(MODERN, &host, STATUS));
    }
    players.iter_mut().for_each(|player| player.greet(1));
    players.iter_mut().for_each(Player::show_cookie);
    for ping in pings.iter_mut().rev() {
        ping.send(&status_request());
        ping.expect(0);
        ping.end_writing();
    }
    players.iter_mut().rev().for_each(Player::enter_configuration);
    players.iter_mut().for_each(Player::leave);
    players
}

type Traces = BTreeMap<Vec<u8>, Vec<Span>>;

fn traces(collector: &Receiver) -> Traces {
    let requests = collector.taken_as::<ExportTraceServiceRequest>().into_iter();
    let resources = requests.flat_map(|request| request.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    let mut traces = Traces::new();
    for span in scopes.flat_map(|scope| scope.spans) {
        traces.entry(span.trace_id.clone()).or_default().push(span);
    }
    traces
}

fn named<'a>(trace: &'a [Span], name: &str) -> &'a Span {
    let mut spans = trace.iter().filter(|span| span.name == name);
    match (spans.next(), spans.next()) {
        (Some(span), None) => span,
        other => panic!("not one {name}: {other:?}"),
    }
}

fn names(trace: &[Span]) -> Vec<&str> {
    let mut names: Vec<_> = trace.iter().map(|span| &*span.name).collect();
    names.sort_unstable();
    names
}

fn text(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

/// One root, all others its children and within its time.
fn assert_well_formed(trace: &[Span]) {
    let root = named(trace, "connection");
    for span in trace.iter().filter(|span| span.span_id != root.span_id) {
        assert_eq!(span.parent_span_id, root.span_id, "{span:?}");
        assert!(root.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= root.end_time_unix_nano);
    }
}

fn assert_traced(player: &Player, traces: &Traces, line: &serde_json::Value) {
    let cookie = player.cookie.unwrap();
    let trace = &traces[&cookie.trace.to_vec()];
    assert_well_formed(trace);
    let steps = [
        "authentication",
        "connection",
        "discovery",
        "strategy",
        "target_connection",
    ];
    assert_eq!(names(trace), steps);
    let root = named(trace, "connection");
    assert_eq!(text(root, "username"), Some(player.name()));
    assert_eq!(text(root, "server_address"), Some(player.host()));
    for (step, key) in [
        ("strategy", "selected_target"),
        ("target_connection", "target_identifier"),
    ] {
        assert_eq!(text(named(trace, step), key).as_deref(), Some(player.route()));
    }
    assert_eq!(
        root.span_id, cookie.span,
        "the next server goes on with the connection"
    );
    assert!(cookie.is_sampled);
    match player.parent() {
        Some(parent) => {
            assert_eq!(
                (cookie.trace, &*root.parent_span_id),
                (parent.trace, &parent.span[..])
            );
            assert_eq!(root.flags, 0x301, "the parent is another service's");
        }
        None => assert_eq!((&*root.parent_span_id, root.flags), (&[][..], 0x101)),
    }
    assert_eq!(line["message"], "Player transferred");
    assert_eq!(line["trace_id"], cookie.trace_id());
    assert_eq!(line["span_id"], cookie.span_id());
}

#[test]
fn interleaved_connections_arrive_as_one_trace_each() {
    let collector = Receiver::start(Mode::Up);
    let passage = Passage::start(&configuration(&collector), &[]);
    assert_eq!(passage.shards, 3);
    let players: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let passage = &passage;
                    move || log_in_and_ping(passage, thread)
                })
            })
            .collect();
        let players = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        players.collect()
    });
    let lines = passage.end();

    let traces = traces(&collector);
    assert_eq!(traces.len(), THREADS * (LOGINS + PINGS));
    let line_of = |player: &Player| {
        let mut lines = lines.iter().filter(|line| line["username"] == player.name());
        lines
            .next()
            .unwrap_or_else(|| panic!("no line for {}", player.name()))
    };
    assert_eq!(players.len(), THREADS * LOGINS);
    for player in &players {
        assert_traced(player, &traces, line_of(player));
    }
    let pings: Vec<_> = traces.values().filter(|trace| trace.len() == 2).collect();
    assert_eq!(pings.len(), THREADS * PINGS);
    for trace in pings {
        assert_well_formed(trace);
        assert_eq!(names(trace), ["connection", "status_request"]);
    }
}

#[test]
fn the_environment_adds_headers_but_replaces_no_token() {
    let collector = Receiver::start(Mode::Up);
    let variable = (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "x-scope=blue,authorization=Basic c3RvbGVu",
    );
    let passage = Passage::start(&configuration(&collector), &[variable]);
    let mut ping = Client::connect(passage.address);
    ping.send(&[handshake(MODERN, "ping.a.example.net", STATUS), status_request()].concat());
    ping.expect(0);
    drop(ping);
    let lines = passage.end();
    let head = collector.heads().pop().unwrap();
    for header in ["x-scope: blue", "authorization: basic dxnlcjpwyxnz"] {
        assert!(
            head.lines().any(|line| line == header),
            "{header} is not in {head}"
        );
    }
    assert_eq!(head.matches("authorization").count(), 1, "{head}");
    let said = lines.iter().map(|line| line["message"].as_str().unwrap());
    let said: Vec<_> = said.filter(|text| text.contains(variable.0)).collect();
    assert!(matches!(said[..], [line] if !line.contains("blue")), "{said:?}");
}
