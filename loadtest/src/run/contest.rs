//! What is weighed against what: the same work on both sides, in alternating rounds.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use passage_loadtest::double::Double;
use passage_loadtest::double::api_server::ApiServer;
use passage_loadtest::double::collector::Collector;
use passage_loadtest::double::status::Status;
use passage_loadtest::double::status_page::StatusPage;
use passage_loadtest::flow::Work;
use passage_loadtest::measure::measure;
use passage_loadtest::schedule::Pace;

use super::turns::Turns;
use super::weighing::{Half, Weighing};
use super::{Bench, Workload};
use crate::contestant::config::{
    AGONES_HOST, Extra, HTTP_STATUS_HOST, LOGIN_HOST, REFRESH, STATUS_HOST, TARGET_STATUS_HOST,
};
use crate::contestant::process::Process;
use crate::contestant::{logins, pings};
use crate::progress::{Bar, say};

/// Seconds between two exports of the metrics where nothing else is configured.
const METRICS_INTERVAL: u64 = 15;
/// How long the service takes that gives a target to each login.
const DISCOVERY_DELAY: Duration = Duration::from_millis(50);
/// A shard hands its counts over once a second: after this they are in its metrics.
const HAND_OVER: Duration = Duration::from_millis(1_500);
/// What both statuses say.
const STATUS: &str = r#"{"version":{"name":"Passage","protocol":772},"players":{"max":100,"online":0},
"description":{"text":"A Minecraft network","color":"gold"}}"#;

/// What is weighed against the plain way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Contest {
    /// Pings with metrics and traces exported, against pings without
    Telemetry,
    /// Pings of a status from a web server, against pings of a fixed one
    HttpStatus,
    /// Pings of a target's own status, against pings of a fixed one
    TargetStatus,
    /// Logins to a target that a service takes 50 ms to give, against logins to a fixed one
    Discovery,
}

/// One side of a contest.
struct Side<'a> {
    name: String,
    server: &'a Process,
    work: Work,
    pace: Pace,
    connections: usize,
    /// Who is asked for what is served, at most once each [`REFRESH`].
    upstream: Option<&'a dyn Fn() -> u64>,
}

impl Bench<'_> {
    /// All rounds of a contest.
    pub(super) fn weigh(&self, contest: Contest) -> io::Result<Weighing> {
        match contest {
            Contest::Telemetry => self.weigh_telemetry(),
            Contest::HttpStatus => {
                let page = StatusPage::new(STATUS);
                let double = Double::start(page.clone(), self.cpus.load)?;
                let extra = Extra::HttpStatus(double.address());
                self.weigh_status("http", HTTP_STATUS_HOST, extra, &|| page.asked())
            }
            Contest::TargetStatus => {
                let double = Double::start(Status::new(STATUS), self.cpus.load)?;
                let pinged = || double.seen().accepted.load(Ordering::Relaxed);
                let extra = Extra::TargetStatus(double.address());
                self.weigh_status("target", TARGET_STATUS_HOST, extra, &pinged)
            }
            Contest::Discovery => self.weigh_discovery(),
        }
    }

    /// Rounds of pings, in turn on a Passage that exports metrics and traces and on one that does not.
    fn weigh_telemetry(&self) -> io::Result<Weighing> {
        let taken = Collector::default();
        let collector = Double::start(taken.clone(), self.cpus.load)?;
        // One export a round, or the interval by default if that is shorter.
        let interval = self.args.duration.as_secs().clamp(1, METRICS_INTERVAL);
        let telemetry = Extra::Telemetry {
            collector: collector.address(),
            interval,
        };
        let (with, without) = (self.start_passage(Some(telemetry))?, self.start_passage(None)?);
        let side = |name, server| self.side(name, server, Workload::Status64);
        let weighing = self.alternate(&[side("telemetry", &with), side("none", &without)])?;
        let taken = taken.taken();
        let (metrics, traces) = (
            taken.metrics.load(Ordering::Relaxed),
            taken.traces.load(Ordering::Relaxed),
        );
        say(&format!(
            "the collector took {metrics} posts of metrics, one each {interval} s, and {traces} of traces"
        ));
        if metrics == 0 || traces == 0 {
            return Err(io::Error::other(
                "no telemetry came, so that the figures would say nothing; choose a longer --duration",
            ));
        }
        Ok(weighing)
    }

    /// Rounds of pings on one Passage, in turn of a status that somebody else gives and of a fixed one.
    fn weigh_status(
        &self,
        name: &str,
        host: &str,
        extra: Extra,
        asked: &dyn Fn() -> u64,
    ) -> io::Result<Weighing> {
        let server = self.start_passage(Some(extra))?;
        let given = Side {
            work: pings(host, server.address),
            upstream: Some(asked),
            ..self.side(name, &server, Workload::Status64)
        };
        let fixed = Side {
            work: pings(STATUS_HOST, server.address),
            ..self.side("fixed", &server, Workload::Status64)
        };
        self.alternate(&[given, fixed])
    }

    /// Rounds of logins on one Passage, in turn to targets that a slow service gives and to a fixed one.
    fn weigh_discovery(&self) -> io::Result<Weighing> {
        let game_servers = self.echo.address();
        let api_server = ApiServer::new(game_servers, DISCOVERY_DELAY);
        let double = Double::start(api_server.clone(), self.cpus.load)?;
        let server = self.start_passage(Some(Extra::Agones(double.address())))?;
        let side = |name, host| Side {
            work: logins(host, false, server.address),
            pace: Pace::Closed {
                concurrency: self.args.logins,
            },
            ..self.side(name, &server, Workload::Login)
        };
        let sides = [side("50 ms discovery", AGONES_HOST), side("fixed", LOGIN_HOST)];
        let weighing = self.alternate(&sides)?;
        let (allocated, transferred) = (api_server.allocated(), weighing.completed()[0]);
        say(&format!(
            "the API server allocated {allocated} game servers; {transferred} of them to measured logins"
        ));
        if allocated < transferred {
            return Err(io::Error::other(format!(
                "{transferred} logins got a game server, but only {allocated} were allocated"
            )));
        }
        Ok(weighing)
    }

    fn side<'a>(&self, name: &str, server: &'a Process, workload: Workload) -> Side<'a> {
        let (work, pace, connections) = self.plan(workload, server);
        Side {
            name: name.to_owned(),
            server,
            work,
            pace,
            connections,
            upstream: None,
        }
    }

    /// Rounds of both sides.
    fn alternate(&self, sides: &[Side<'_>; 2]) -> io::Result<Weighing> {
        let [first, second] = sides;
        let mut weighing = Weighing::new([first.name.clone(), second.name.clone()]);
        for round in 1..=self.args.rounds {
            // Whoever goes first alternates, so that a machine that warms up or slows down favours nobody.
            if round % 2 == 1 {
                let half = self.half(first, round)?;
                weighing.add([half, self.half(second, round)?]);
            } else {
                let half = self.half(second, round)?;
                weighing.add([self.half(first, round)?, half]);
            }
        }
        if first.upstream.is_some() && weighing.calls()[0] == Some(0) {
            return Err(io::Error::other(format!(
                "{}: nobody was asked for what was served",
                first.name
            )));
        }
        Ok(weighing)
    }

    fn half(&self, side: &Side<'_>, round: u8) -> io::Result<Half> {
        let settings = self.settings(side.server, side.pace, side.connections);
        let title = format!("{} {round}/{}", side.name, self.args.rounds);
        let asked = || side.upstream.map_or(0, |asked| asked());
        let before = (asked(), side.server.admin.map(turns_of).transpose()?);
        let begun = Instant::now();
        let outcome = measure(&side.work, &settings, &mut Bar::new(&title));
        let outcome = side.server.explain(outcome)?;
        let (calls, lasted) = (asked() - before.0, begun.elapsed());
        // Between two calls lies at least the time for which a copy is shown, however slow everybody is.
        let most = 1 + lasted.as_secs() / REFRESH.as_secs();
        if calls > most {
            return Err(io::Error::other(format!(
                "{}: asked {calls} times within {lasted:?}; one each {REFRESH:?} makes {most} at most",
                side.name
            )));
        }
        let turns = match (before.1, side.server.admin) {
            (Some(before), Some(admin)) => {
                std::thread::park_timeout(HAND_OVER);
                Some(turns_of(admin)?.since(&before))
            }
            _ => None,
        };
        Ok(Half {
            outcome,
            turns,
            calls: side.upstream.map(|_| calls),
        })
    }
}

fn turns_of(admin: SocketAddr) -> io::Result<Turns> {
    Turns::read(admin).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("reading the server's metrics at {admin}: {error}"),
        )
    })
}
