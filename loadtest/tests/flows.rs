//! Every flow against a double of its server: what is right passes, and what is wrong is noticed.
#![expect(clippy::expect_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use passage_loadtest::double::login::Flaw;
use passage_loadtest::double::{Double, Service, echo, login, status};
use passage_loadtest::failure::Kind;
use passage_loadtest::flow::idle::Stage;
use passage_loadtest::flow::login::{ExpectedName, Login, Until};
use passage_loadtest::flow::{Hello, Work};
use passage_loadtest::measure::{Blind, Outcome, Settings, measure};
use passage_loadtest::schedule::{Arrivals, Pace};

const SECRET: &[u8] = b"a secret of 24 bytes ...";

fn settings(target: SocketAddr) -> Settings {
    Settings {
        target,
        pace: Pace::Closed { concurrency: 16 },
        connections: 0,
        duration: Duration::from_secs(20),
        count: Some(200),
        warmup: Duration::ZERO,
        timeout: Duration::from_secs(10),
        sources: 1000,
        seed: 42,
        threads: 1,
        cpus: Vec::new(),
        failures_max: 0,
        pid: None,
        awake: false,
        beside: None,
    }
}

fn hello(protocol: i32) -> Hello {
    Hello {
        protocol,
        host: "localhost".to_owned(),
        port: 25565,
    }
}

fn run(work: &Work, settings: &Settings) -> Outcome {
    measure(work, settings, &mut Blind).expect("sockets and threads")
}

fn log_in(flaw: Flaw, protocol: i32, returns: bool, encrypted: bool) -> Outcome {
    let double = login::Login {
        secret: Some(SECRET.to_vec()),
        encrypted,
        flaw,
    };
    let double = Double::start(double, None).expect("a double");
    let login = Login {
        hello: hello(protocol),
        secret: Some(SECRET.to_vec()),
        returns,
        until: Until::Transfer,
        name: ExpectedName::Own,
    };
    // An unoptimised double takes long to decrypt.
    let timeout = Duration::from_secs(if flaw == Flaw::Stalls { 1 } else { 20 });
    let settings = Settings {
        pace: Pace::Closed { concurrency: 2 },
        count: Some(8),
        timeout,
        ..settings(double.address())
    };
    run(&Work::Login(login), &settings)
}

#[test]
fn pings_as_often_as_asked() {
    let double = Double::start(status::Status::default(), None).expect("a double");
    let outcome = run(&Work::Status { hello: hello(772) }, &settings(double.address()));
    assert_eq!((outcome.tally.completed, outcome.tally.failed()), (200, 0));
    assert_eq!(outcome.tally.latency.len(), 200);
}

#[test]
fn threads_share_the_count() {
    let double = Double::start(status::Status::default(), None).expect("a double");
    let settings = Settings {
        threads: 3,
        ..settings(double.address())
    };
    assert_eq!(
        run(&Work::Status { hello: hello(772) }, &settings)
            .tally
            .completed,
        200
    );
}

#[test]
fn logs_in_with_every_dialect() {
    for protocol in [766, 767, 768, 775, 776, 777, 9999] {
        for (returns, encrypted) in [(false, true), (true, true), (true, false)] {
            let outcome = log_in(Flaw::None, protocol, returns, encrypted);
            assert_eq!(
                (outcome.tally.completed, outcome.tally.failed()),
                (8, 0),
                "{:?}",
                outcome.tally.failures
            );
        }
    }
}

#[test]
fn notices_what_a_server_does_wrong() {
    for (flaw, kind) in [
        (Flaw::BelievesClaim, Kind::Mismatch),
        (Flaw::OtherSecret, Kind::Mismatch),
        (Flaw::NoSession, Kind::Mismatch),
        (Flaw::NewSession, Kind::Mismatch),
        (Flaw::Disconnects, Kind::Disconnected),
        (Flaw::Stalls, Kind::TimedOut),
    ] {
        let outcome = log_in(flaw, 772, true, true);
        assert!(outcome.is_failed(), "{flaw:?} passed");
        assert_eq!(outcome.tally.completed, 0, "{flaw:?}");
        assert_eq!(
            outcome.tally.failures.keys().collect::<Vec<_>>(),
            [&kind],
            "{flaw:?}"
        );
    }
}

#[test]
fn notices_that_nothing_listens() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let outcome = run(
        &Work::Status { hello: hello(772) },
        &settings(closed.expect("a free port")),
    );
    assert!(outcome.is_failed());
    assert!(
        outcome.tally.failures.contains_key(&Kind::Refused),
        "{:?}",
        outcome.tally.failures
    );
}

#[test]
fn echoes_messages_of_any_length() {
    let double = Double::start(echo::Echo, None).expect("a double");
    for (message_bytes, connections) in [(1, 50), (100, 50), (300_000, 3)] {
        let pace = Pace::Closed {
            concurrency: connections,
        };
        let settings = Settings {
            pace,
            connections,
            ..settings(double.address())
        };
        let outcome = run(
            &Work::Relay {
                hello: hello(47),
                message_bytes,
            },
            &settings,
        );
        assert_eq!(outcome.tally.failed(), 0, "{:?}", outcome.tally.failures);
        assert!(
            (200..=200 + connections as u64).contains(&outcome.tally.completed),
            "{}",
            outcome.tally.completed
        );
    }
}

/// Echoes, but turns the first byte of every tenth chunk around.
struct Garbler(u32);

impl Service for Garbler {
    type Connection = ();

    fn accept(&mut self, _peer: SocketAddr) {}

    fn receive(&mut self, (): &mut (), bytes: &[u8], output: &mut Vec<u8>) -> bool {
        self.0 += 1;
        let start = output.len();
        output.extend_from_slice(bytes);
        output[start] ^= u8::from(self.0.is_multiple_of(10));
        true
    }
}

#[test]
fn notices_one_wrong_byte_in_an_echo() {
    let double = Double::start(Garbler(0), None).expect("a double");
    let settings = Settings {
        pace: Pace::Closed { concurrency: 4 },
        connections: 4,
        ..settings(double.address())
    };
    let outcome = run(
        &Work::Relay {
            hello: hello(772),
            message_bytes: 100,
        },
        &settings,
    );
    assert!(
        outcome.tally.failures.contains_key(&Kind::Mismatch),
        "{:?}",
        outcome.tally.failures
    );
}

#[test]
fn idle_connections_stand_until_the_end() {
    let double = Double::start(echo::Echo, None).expect("a double");
    for stage in [Stage::Connected, Stage::Handshake, Stage::Relay] {
        let settings = Settings {
            connections: 300,
            count: None,
            duration: Duration::from_millis(100),
            pid: Some(std::process::id()),
            ..settings(double.address())
        };
        // A handshake that is echoed would be bytes that nobody waits for: that stage gets a server that says
        // nothing.
        let silent = Double::start(
            login::Login {
                secret: None,
                encrypted: false,
                flaw: Flaw::Stalls,
            },
            None,
        );
        let silent = silent.expect("a double");
        let target = if stage == Stage::Handshake {
            silent.address()
        } else {
            double.address()
        };
        let outcome = run(
            &Work::Idle {
                hello: hello(772),
                stage,
            },
            &Settings { target, ..settings },
        );
        assert_eq!(
            (outcome.tally.completed, outcome.tally.failed()),
            (300, 0),
            "{stage:?}"
        );
        assert!(outcome.server.is_some_and(|usage| usage.fds > 300), "{stage:?}");
    }
}

/// Answers pings, but stops for a while in the middle.
struct Hesitant {
    inner: status::Status,
    stop_at: Instant,
    stopped: bool,
}

const PAUSE: Duration = Duration::from_millis(400);

impl Service for Hesitant {
    type Connection = <status::Status as Service>::Connection;

    fn accept(&mut self, peer: SocketAddr) -> Self::Connection {
        self.inner.accept(peer)
    }

    fn receive(&mut self, connection: &mut Self::Connection, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        if !self.stopped && Instant::now() > self.stop_at {
            self.stopped = true;
            let until = Instant::now() + PAUSE;
            while Instant::now() < until {
                std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
        }
        self.inner.receive(connection, bytes, output)
    }
}

fn slow_share(pace: Pace) -> f64 {
    let stop_at = Instant::now() + Duration::from_millis(300);
    let service = Hesitant {
        inner: status::Status::default(),
        stop_at,
        stopped: false,
    };
    let double = Double::start(service, None).expect("a double");
    let settings = Settings {
        pace,
        count: None,
        duration: Duration::from_millis(1200),
        ..settings(double.address())
    };
    let tally = run(&Work::Status { hello: hello(772) }, &settings).tally;
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures);
    let slow = tally.latency.count_between(100_000_000, u64::MAX);
    slow as f64 / tally.completed as f64
}

#[test]
fn an_open_loop_counts_from_the_scheduled_start() {
    // 400 of 1200 ms stand still. Whoever was due in the first 300 of these waits longer than 100 ms: a
    // quarter of all.
    let open = slow_share(Pace::Open {
        rate: 1000.0,
        arrivals: Arrivals::Even,
    });
    assert!(
        (0.15..0.40).contains(&open),
        "{open} of the scheduled pings were slow"
    );
    // The closed loop has one connection that waits, and thousands that did not: it hides the pause.
    let closed = slow_share(Pace::Closed { concurrency: 1 });
    assert!(closed < 0.05, "{closed} of the pings of a closed loop were slow");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let double = Double::start(status::Status::default(), None).expect("a double");
    let pace = Pace::Open {
        rate: 500.0,
        arrivals: Arrivals::Even,
    };
    let settings = Settings {
        pace,
        count: None,
        duration: Duration::from_secs(1),
        ..settings(double.address())
    };
    let outcome = run(&Work::Status { hello: hello(772) }, &settings);
    assert!(
        (480..=510).contains(&outcome.tally.completed),
        "{}",
        outcome.tally.completed
    );
}

#[test]
fn targets_outside_of_loopback_are_refused_below_the_command_line_too() {
    let target = "192.0.2.1:25565".parse().expect("literal");
    let error = measure(&Work::Status { hello: hello(772) }, &settings(target), &mut Blind);
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("not a loopback address"), "{error}");
}
