//! Reports against a receiver that takes envelopes apart, and against servers that misbehave.

use std::net::TcpListener;
use std::panic::catch_unwind;
use std::time::Duration;

use passage_shards::report::{ADAPTER_ERROR, CONFIGURATION, PANIC, TARGET, TARGET_FAILURE};
use sentry::Level;
use sentry::protocol::Event;
use tracing::{error, info};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::telemetry::otlp::receiver::{Mode, Receiver as Server};
use crate::tls::authority::Authority;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn settings(address: &str) -> Settings {
    Settings {
        address: Token::new(format!("http://publickey@{address}/42")),
        environment: "production".into(),
        debug: false,
        send_pii: true,
        trust: Trust::default(),
    }
}

fn start_at(server: &Server) -> Reports {
    start(settings(&server.address.to_string())).unwrap()
}

/// Runs what reports on a thread of a shard.
fn on_a_shard(reports: &Reports, log: impl FnOnce() + Send + 'static) {
    let subscriber = tracing_subscriber::registry().with(reports.reporter());
    thread::Builder::new()
        .name("passage-shard-3".into())
        .spawn(move || tracing::subscriber::with_default(subscriber, log))
        .unwrap()
        .join()
        .unwrap();
}

fn events(server: &Server) -> Vec<Event<'static>> {
    let envelopes = server.bodies();
    let envelopes = envelopes
        .iter()
        .map(|body| sentry::Envelope::from_slice(body).unwrap());
    envelopes
        .map(|envelope| envelope.event().unwrap().clone())
        .collect()
}

fn a_target_failure() {
    error!(
        name: TARGET_FAILURE,
        target: TARGET,
        client_ip = %"192.0.2.7",
        username = "Steve",
        user_id = %"069a79f4-44e9-4726-a5be-fca90e38aaf5",
        target_identifier = "lobby-1",
        target_address = %"lobby.internal:25566",
        route = "play.example.net",
        error_type = "connect",
        error = %"10.1.2.3:25566 does not take the connection",
        trace_id = %"4bf92f3577b34da6a3ce929d0e0e4736",
        span_id = %"00f067aa0ba902b7",
        "A target cannot be reached"
    );
}

fn a_connection_panicked() {
    error!(
        name: PANIC,
        target: TARGET,
        client_ip = %"192.0.2.8",
        username = "Alex",
        target_identifier = "lobby-2",
        target_address = "lobby-2.internal:25566",
        route = "play.example.net",
        stage = "Login",
        "A connection panicked"
    );
}

fn an_adapter_error() {
    error!(
        name: ADAPTER_ERROR,
        target: TARGET,
        client_ip = %"2001:db8::7",
        username = None::<&str>,
        adapter_name = "authentication",
        adapter_type = "mojang",
        error_type = "timed_out",
        "An adapter failed"
    );
}

#[test]
fn a_sentry_that_the_own_authority_has_certified_is_reported_to() {
    let authority = Authority::new();
    let server = Server::start_tls(Mode::Up, authority.server());
    let reports = start(Settings {
        address: Token::new(format!("https://publickey@{}/42", server.address)),
        trust: authority.trust(),
        ..settings("")
    });
    let reports = reports.unwrap();
    on_a_shard(&reports, a_target_failure);
    assert!(reports.shutdown(soon()));
    assert_eq!(events(&server).len(), 1);
}

#[test]
fn an_event_says_who_where_and_what() {
    let server = Server::start(Mode::Up);
    let reports = start_at(&server);
    on_a_shard(&reports, || {
        a_target_failure();
        an_adapter_error();
        info!("no report");
        error!(name: TARGET_FAILURE, target: "passage::connection", "no report either");
    });
    assert!(reports.shutdown(soon()));
    let [target, adapter] = &events(&server)[..] else {
        panic!("two events, not {:?}", events(&server))
    };
    assert_eq!(target.level, Level::Error);
    assert_eq!(target.message.as_deref(), Some("A target cannot be reached"));
    assert_eq!(target.environment.as_deref(), Some("production"));
    assert_eq!(
        target.release.as_deref(),
        Some(concat!("passage@", env!("CARGO_PKG_VERSION")))
    );
    let user = target.user.as_ref().unwrap();
    assert_eq!(user.username.as_deref(), Some("Steve"));
    assert_eq!(user.id.as_deref(), Some("069a79f4-44e9-4726-a5be-fca90e38aaf5"));
    assert_eq!(user.ip_address.as_ref().unwrap().to_string(), "192.0.2.7");
    let context = serde_json::to_value(&target.contexts).unwrap();
    assert_eq!(context["target"]["identifier"], "lobby-1");
    assert_eq!(context["target"]["address"], "lobby.internal:25566");
    assert_eq!(context["trace"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(context["rust"].is_object(), "{context}");
    let tags = [
        ("shard", "3"),
        ("route", "play.example.net"),
        ("error_type", "connect"),
        ("kind", "target_failure"),
    ];
    for (key, value) in tags {
        assert_eq!(target.tags.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(adapter.tags["adapter_name"], "authentication");
    assert_eq!(adapter.tags["adapter_type"], "mojang");
    assert_eq!(adapter.user.as_ref().unwrap().username, None);
    assert_ne!(adapter.fingerprint, target.fingerprint);
    let head = &server.heads()[0];
    assert!(head.starts_with("post /api/42/envelope/ "), "{head}");
    assert!(head.contains("sentry_key=publickey"), "{head}");
}

#[test]
fn without_personal_data_an_event_says_neither_who_nor_where() {
    let server = Server::start(Mode::Up);
    let mut settings = settings(&server.address.to_string());
    settings.send_pii = false;
    let reports = start(settings).unwrap();
    on_a_shard(&reports, a_target_failure);
    assert!(reports.shutdown(soon()));
    let bodies = server.bodies();
    let [body] = &bodies[..] else { panic!("one event") };
    let text = String::from_utf8_lossy(body);
    for private in ["Steve", "192.0.2.7", "069a79f4", "lobby", "10.1.2.3"] {
        assert!(!text.contains(private), "{private} in {text}");
    }
    assert!(
        text.contains("play.example.net") && text.contains("connect"),
        "{text}"
    );
}

#[test]
fn without_personal_data_a_panic_says_neither_who_nor_where() {
    let mut report = Report::new(Kind::Panic, 0);
    for (key, value) in [
        ("client_ip", "192.0.2.8"),
        ("username", "Alex"),
        ("user_id", "069a79f4-44e9-4726-a5be-fca90e38aaf5"),
        ("target_identifier", "lobby-2"),
        ("target_address", "lobby-2.internal:25566"),
        ("stage", "Login"),
    ] {
        report.details.add(key, format_args!("{value}"));
    }
    let text = serde_json::to_string(&report.into_event(false)).unwrap();
    for private in ["192.0.2.8", "Alex", "069a79f4", "lobby-2"] {
        assert!(!text.contains(private), "{private} in {text}");
    }
    assert!(text.contains("Login"), "{text}");
}

#[test]
fn a_panic_has_its_stack_trace_and_what_its_connection_said() {
    let server = Server::start(Mode::Up);
    let reports = start_at(&server);
    reports.watch_panics();
    on_a_shard(&reports, || {
        let _panic = catch_unwind(|| panic!("of {}", "a connection"));
        a_connection_panicked();
    });
    let alone = thread::Builder::new().name("worker-0".into());
    let alone = alone.spawn(|| panic!("of a worker")).unwrap();
    assert!(alone.join().is_err());
    let _ours = panic::take_hook();
    assert!(reports.shutdown(soon()));
    let events = events(&server);
    let of = |message: &str| {
        let says = |event: &&Event<'_>| {
            event
                .exception
                .iter()
                .any(|one| one.value.as_deref() == Some(message))
        };
        events
            .iter()
            .find(says)
            .unwrap_or_else(|| panic!("{message} in {events:?}"))
    };
    let connection = of("of a connection");
    assert_eq!(
        (connection.level, &*connection.tags["shard"]),
        (Level::Fatal, "3")
    );
    let user = connection.user.as_ref().unwrap();
    assert_eq!(user.ip_address.as_ref().unwrap().to_string(), "192.0.2.8");
    assert_eq!(user.username.as_deref(), Some("Alex"));
    let context = serde_json::to_value(&connection.contexts).unwrap();
    assert_eq!(context["target"]["identifier"], "lobby-2");
    assert_eq!(context["target"]["address"], "lobby-2.internal:25566");
    assert_eq!(connection.tags["route"], "play.example.net");
    assert_eq!(connection.extra["stage"], "Login");
    let frames = &connection.exception[0].stacktrace.as_ref().unwrap().frames;
    let this = |frame: &sentry::protocol::Frame| {
        frame
            .function
            .as_deref()
            .is_some_and(|name| name.contains("a_panic_has_its_stack_trace"))
            && frame.lineno.is_some()
    };
    assert!(frames.iter().any(this), "{frames:?}");
    let worker = of("of a worker");
    assert_eq!(
        (worker.user.is_none(), &*worker.tags["thread"]),
        (true, "worker-0")
    );
    assert!(worker.extra["location"].as_str().unwrap().contains("tests.rs:"));
}

#[test]
fn a_flood_sends_a_burst_and_no_more() {
    let server = Server::start(Mode::Up);
    let reports = start_at(&server);
    on_a_shard(&reports, || (0..10_000).for_each(|_| a_target_failure()));
    on_a_shard(&reports, an_adapter_error);
    let losses = reports.losses();
    assert!(reports.shutdown(soon()));
    let withheld = 10_000 - u64::from(quota::BURST);
    assert_eq!((losses.loss().dropped, losses.loss().failed), (withheld, 0));
    let events = events(&server);
    let adapters = events.iter().filter(|event| event.tags["kind"] == ADAPTER_ERROR);
    assert_eq!(adapters.count(), 1, "each kind has its own quota");
    assert_eq!(events.len(), quota::BURST as usize + 1);
}

#[test]
fn what_sentry_did_not_take_is_counted_in_the_next_event() {
    let server = Server::start(Mode::Status(503, None));
    let reports = start_at(&server);
    on_a_shard(&reports, || (0..3).for_each(|_| a_target_failure()));
    wait_until(|| server.seen() == 3);
    server.set(Mode::Up);
    // The last refusal may still be on its way to the courier; it is then counted by the event after.
    let mut told = 0;
    for _ in 0..5 {
        let before = events(&server).len();
        on_a_shard(&reports, a_target_failure);
        wait_until(|| events(&server).len() > before);
        let all = events(&server);
        told += all
            .last()
            .unwrap()
            .extra
            .get("withheld")
            .and_then(|count| count.as_u64())
            .unwrap_or(0);
        if told == 3 {
            return;
        }
    }
    panic!("{told} of 3 were told");
}

#[test]
fn a_sentry_that_asks_to_be_left_alone_is() {
    let server = Server::start(Mode::Status(429, Some(60)));
    let reports = start_at(&server);
    on_a_shard(&reports, || (0..8).for_each(|_| an_adapter_error()));
    assert!(reports.shutdown(soon()));
    assert_eq!(server.seen(), 1);
}

#[test]
fn a_sentry_that_hangs_stops_neither_shards_nor_the_exit() {
    let server = Server::start(Mode::Hang);
    let reports = start_at(&server);
    let begun = Instant::now();
    on_a_shard(&reports, || {
        for _ in 0..1_000 {
            a_target_failure();
            an_adapter_error();
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    wait_until(|| server.seen() > 0);
    let begun = Instant::now();
    assert!(!reports.shutdown(begun + Duration::from_millis(300)));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn a_sentry_that_is_not_there_costs_nothing_but_the_events() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let reports = start(settings(&address.to_string())).unwrap();
    on_a_shard(&reports, || (0..5).for_each(|_| a_target_failure()));
    assert!(reports.shutdown(soon()), "everything was tried");
}

#[test]
fn a_slow_sentry_gets_everything_if_there_is_time() {
    let server = Server::start(Mode::Slow(Duration::from_millis(100)));
    let reports = start_at(&server);
    on_a_shard(&reports, || {
        (0..4).for_each(|_| a_target_failure());
        let problems = "timeout: found -1";
        error!(name: CONFIGURATION, target: TARGET, problems, "The configuration is wrong");
    });
    assert!(reports.shutdown(soon()));
    let events = events(&server);
    assert_eq!(events.len(), 5);
    assert_eq!(events[4].level, Level::Fatal);
    assert_eq!(events[4].extra["problems"], "timeout: found -1");
}

#[test]
fn what_is_no_dsn_is_refused_and_not_shown() {
    let error = start(Settings {
        address: Token::new("https://hunter2.example.net/1"),
        ..settings("sentry.example.net")
    })
    .unwrap_err();
    assert!(matches!(error, StartError::Address));
    let text = error.to_string();
    assert!(
        text.contains("sentry.address") && !text.contains("hunter2"),
        "{text}"
    );
    assert!(
        is_dsn("https://examplePublicKey@o0.ingest.sentry.io/0"),
        "the guide's"
    );
}

fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    panic!("it did not come to that");
}
