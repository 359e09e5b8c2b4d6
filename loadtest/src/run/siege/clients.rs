//! Clients that mean well: they ping and come in through a relay in an open loop, and talk on standing
//! relays.

use std::io;
use std::time::Duration;

use passage_loadtest::flow::{Hello, Work};
use passage_loadtest::measure::{Blind, Outcome, Settings, measure};
use passage_loadtest::report;
use passage_loadtest::schedule::{Arrivals, Pace};
use serde_json::Value;

use super::fortress::{Fortress, PLAY_HOST};

/// Pings in a second, each on a connection of its own.
const PINGS: f64 = 100.0;
/// Players who come in, in a second.
const JOINS: f64 = 50.0;
/// Standing relays, and messages in a second over all of them.
const RELAYS: usize = 20;
const MESSAGES: f64 = 400.0;
const MESSAGE_BYTES: usize = 100;
/// Who waits for longer has not been served.
const PATIENCE: Duration = Duration::from_secs(10);

/// What clients saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) pings: Outcome,
    pub(super) joins: Outcome,
    pub(super) relays: Outcome,
}

impl Seen {
    /// All three kinds, by name.
    pub(super) fn outcomes(&self) -> [(&'static str, &Outcome); 3] {
        [
            ("pings", &self.pings),
            ("joins", &self.joins),
            ("relays", &self.relays),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let outcomes = self
            .outcomes()
            .map(|(name, outcome)| (name.to_owned(), report::json(outcome)));
        Value::Object(outcomes.into_iter().collect())
    }
}

/// What went wrong for one kind, in words.
pub(super) fn failures(name: &str, outcome: &Outcome) -> Vec<String> {
    let lines = report::failures(outcome).into_iter();
    lines.map(|line| format!("{name}: {line}")).collect()
}

/// How long clients come and go: before anything counts, and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
}

/// Pings and talks for that long, while `meanwhile` does what it wants on this thread.
pub(super) fn visit<R>(
    fortress: &Fortress,
    stay: Stay,
    seed: u64,
    cpu: Option<usize>,
    meanwhile: impl FnOnce() -> io::Result<R>,
) -> io::Result<(Seen, R)> {
    let hello = Hello {
        protocol: 772,
        host: PLAY_HOST.to_owned(),
        port: fortress.ground.server.port(),
    };
    let settings = |rate, connections| Settings {
        target: fortress.ground.server,
        pace: Pace::Open {
            rate,
            arrivals: Arrivals::Poisson,
        },
        connections,
        duration: stay.duration,
        count: None,
        warmup: stay.warmup,
        timeout: PATIENCE,
        sources: 65_000,
        seed,
        threads: 1,
        cpus: cpu.into_iter().collect(),
        failures_max: u64::MAX,
        pid: None,
        awake: false,
        beside: None,
    };
    let pings = Work::Status { hello: hello.clone() };
    let joins = Work::Visit { hello: hello.clone() };
    let relays = Work::Relay {
        hello,
        message_bytes: MESSAGE_BYTES,
    };
    std::thread::scope(|scope| {
        let pinging = scope.spawn(|| measure(&pings, &settings(PINGS, 0), &mut Blind));
        let joining = scope.spawn(|| measure(&joins, &settings(JOINS, 0), &mut Blind));
        let relaying = scope.spawn(|| measure(&relays, &settings(MESSAGES, RELAYS), &mut Blind));
        let done = meanwhile();
        let panicked = |_| io::Error::other("a client's thread panicked");
        let (pings, joins, relays) = (
            pinging.join().map_err(panicked)?,
            joining.join().map_err(panicked)?,
            relaying.join().map_err(panicked)?,
        );
        let seen = Seen {
            pings: pings?,
            joins: joins?,
            relays: relays?,
        };
        Ok((seen, done?))
    })
}
