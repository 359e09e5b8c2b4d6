//! What is told of errors: each with the player, the address and the target that it is about.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, Once, PoisonError};

use super::client::{Client, LOGIN, Server, handshake, login_start};
use super::login::MOJANG;
use super::player::player;
use super::traces::observed;
use super::world::{Explosive, HOST, Plan, World, relay_route, route, target};

use passage_shards::report::{ADAPTER_ERROR, PANIC, TARGET, TARGET_FAILURE};
use passage_shards::route::{Localization, Route};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// A version without encryption and UUIDs, so that a login is two packets.
const OLD: i32 = 47;

/// An event, with its fields as text.
#[derive(Clone, Debug)]
struct Told {
    name: &'static str,
    target: &'static str,
    fields: BTreeMap<&'static str, String>,
}

impl Told {
    fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// The fields that `expected` is about; none of them may be missing.
    fn assert(&self, expected: &[(&str, &str)]) {
        let got: Vec<_> = expected.iter().map(|(key, _)| (*key, self.field(key))).collect();
        assert_eq!(got, expected, "{self:?}");
    }
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// All errors of the process: shards have threads of their own, so that only a global subscriber hears them.
static ERRORS: Mutex<Vec<Told>> = Mutex::new(Vec::new());

struct Ear;

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut told = Told {
            name: metadata.name(),
            target: metadata.target(),
            fields: BTreeMap::new(),
        };
        event.record(&mut told);
        ERRORS.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }
}

fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let subscriber = Registry::default().with(Ear.with_filter(LevelFilter::ERROR));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// What was told of this player: the reports, and the lines of the log.
fn told_of(username: &str) -> (Vec<Told>, Vec<Told>) {
    let errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
    let of = errors.iter().filter(|told| told.field("username") == username);
    of.cloned().partition(|told| told.target == TARGET)
}

fn closed_port() -> u16 {
    Server::start().port()
}

fn speechless() -> Localization {
    Localization {
        words: Arc::new(Explosive),
        remote: None,
    }
}

/// Relays to a target that is not there, and panics over what to say to the player.
fn trap(name: &str) -> Route {
    Route {
        localization: speechless(),
        ..relay_route(name, &[target("trap-1", "127.0.0.1", closed_port())])
    }
}

#[test]
fn a_panic_is_told_with_its_player_address_target_route_and_trace() {
    listen();
    let (world, spans) = observed(vec![trap("trap.example.net")], 1.0, 10);
    let mut client = Client::connect(world.address);
    client.send(&[handshake(OLD, "trap.example.net", LOGIN), login_start("Victim")].concat());
    assert!(client.closed().is_empty());
    assert_eq!(world.end().panics, 1);
    let trace = spans.iter().next().unwrap().trace;
    let trace = format!("{:032x}", u128::from_be_bytes(trace));
    let (reports, lines) = told_of("Victim");
    let reported: Vec<_> = reports.iter().map(|report| report.name).collect();
    assert_eq!(reported, [TARGET_FAILURE, PANIC]);
    let context = [
        ("client_ip", "127.0.0.1"),
        ("username", "Victim"),
        ("target_identifier", "trap-1"),
        ("trace_id", &trace),
    ];
    reports[1].assert(&context);
    reports[1].assert(&[
        ("route", "trap.example.net"),
        ("message", "A connection panicked"),
    ]);
    assert!(reports[1].field("target_address").starts_with("127.0.0.1:"));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    line.assert(&context);
    line.assert(&[
        ("server_address", "trap.example.net"),
        ("message", "Connection panicked"),
        ("panic", "no words for disconnect_target_unreachable"),
    ]);
}

#[test]
fn a_panic_before_the_login_is_told_with_what_is_known() {
    listen();
    let host = "early.example.net";
    let world = World::start(vec![Route {
        localization: speechless(),
        ..route(host, &[])
    }]);
    let mut client = Client::connect(world.address);
    // Too old to be transferred.
    client.send(&handshake(OLD, host, LOGIN));
    assert!(client.closed().is_empty());
    assert_eq!(world.end().panics, 1);
    let errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
    let report = errors
        .iter()
        .find(|told| told.name == PANIC && told.field("route") == host);
    report.unwrap().assert(&[
        ("client_ip", "127.0.0.1"),
        ("username", ""),
        ("target_identifier", ""),
    ]);
}

#[test]
fn an_adapter_that_does_not_answer_is_told_with_its_player() {
    listen();
    let world = Plan::new(vec![Route {
        authentication: MOJANG,
        ..route("*", &[target("hub", "hub.example.net", 25570)])
    }]);
    // The control thread lets every question fall.
    let world = world.control(drop).start();
    player("Doubted").log_in(&world, LOGIN);
    world.end();
    let (reports, _) = told_of("Doubted");
    let [report] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(report.name, ADAPTER_ERROR);
    report.assert(&[
        ("client_ip", "127.0.0.1"),
        ("route", "*"),
        ("adapter_name", "authentication"),
        ("adapter_type", "mojang"),
        ("message", "An adapter failed"),
    ]);
    assert!(!report.field("error_type").is_empty() && !report.field("user_id").is_empty());
}

#[test]
fn a_target_that_is_not_there_is_told_with_its_player() {
    listen();
    let port = closed_port();
    let world = World::start(vec![relay_route("*", &[target("gone-1", "127.0.0.1", port)])]);
    let mut client = Client::connect(world.address);
    client.send(&[handshake(OLD, HOST, LOGIN), login_start("Stranded")].concat());
    client.expect(0);
    world.end();
    let (reports, _) = told_of("Stranded");
    let [report] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(report.name, TARGET_FAILURE);
    let address = format!("127.0.0.1:{port}");
    report.assert(&[
        ("client_ip", "127.0.0.1"),
        ("target_identifier", "gone-1"),
        ("target_address", &address),
        ("route", "*"),
        ("message", "A target cannot be reached"),
    ]);
    assert!(report.field("error").contains(&address), "{report:?}");
}

#[test]
fn that_an_adapter_says_no_is_no_error() {
    listen();
    let world = World::start(vec![route("*", &[])]);
    player("Homeless").log_in(&world, LOGIN);
    world.end();
    assert!(told_of("Homeless").0.is_empty());
}
