//! The one command: starts Passage with built-in backends on one core, loads it from another, and measures
//! it; on request it weighs one way of doing something against another.

mod contest;
pub(crate) mod siege;
mod turns;
mod weighing;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use passage_loadtest::double::Double;
use passage_loadtest::double::echo::Echo;
use passage_loadtest::double::session_server::SessionServer;
use passage_loadtest::flow::Work;
use passage_loadtest::flow::idle::Stage;
use passage_loadtest::measure::{Outcome, Settings, measure};
use passage_loadtest::pin;
use passage_loadtest::report;
use passage_loadtest::schedule::{Arrivals, Pace};
use serde_json::{Value, json};

use self::contest::Contest;
use self::weighing::Weighing;
use crate::contestant::config::{Extra, LOGIN_HOST, MOJANG_HOST, PassageFiles, RELAY_HOST, STATUS_HOST};
use crate::contestant::process::{self, Cpus, Process};
use crate::contestant::{OTHER_FILES, hello, logins, pings};
use crate::progress::{Bar, say};

/// What the one command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// The program to measure; next to this one if not given
    #[arg(long)]
    passage: Option<PathBuf>,
    /// Seconds of measured load for each workload
    #[arg(long, default_value = "3", value_parser = crate::cli::parse_seconds)]
    duration: Duration,
    /// Only these workloads
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Connections of the relay workloads
    #[arg(long, default_value_t = 2000)]
    relays: usize,
    /// Connections of the idle workloads, as far as the limit of open files allows
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Length of relayed messages
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Weigh these against the plain way, in alternating rounds
    #[arg(long, value_enum, value_delimiter = ',')]
    weigh: Vec<Contest>,
    /// Logins in flight where discovery is weighed
    #[arg(long, default_value_t = 2000)]
    logins: usize,
    /// Rounds of whatever is weighed
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: u8,
    /// CPU of the measured server
    #[arg(long)]
    server_cpu: Option<usize>,
    /// CPU of the load and the backends
    #[arg(long)]
    load_cpu: Option<usize>,
    /// Seeds names, payloads, addresses and schedules
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// More failures than this in one workload make the exit code 1
    #[arg(long, default_value_t = 0)]
    max_errors: u64,
    /// Write the results as JSON to this file, or to standard output with -
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Workload {
    /// Nothing at all
    Quiet,
    /// Connections that say nothing
    IdleConnected,
    /// Relays that carry nothing
    IdleRelay,
    /// Pings, 64 at once
    Status64,
    /// Pings, 512 at once
    Status512,
    /// Pings of a double on plain epoll: what this machine makes of them
    Yardstick,
    /// Logins up to the Transfer packet
    Login,
    /// The same, with every player looked up at a session server
    LoginMojang,
    /// Logins of returning players
    Transfer,
    /// Messages, one under way on each relay
    Relay,
    /// Messages at a fixed rate
    RelayRate,
}

/// What a whole run found.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) outcomes: Vec<(String, Outcome)>,
    pub(crate) weighings: Vec<Weighing>,
}

impl Results {
    /// Whether anything failed more often than is tolerated.
    pub(crate) fn is_failed(&self) -> bool {
        self.outcomes.iter().any(|(_, outcome)| outcome.is_failed())
            || self.weighings.iter().any(Weighing::is_failed)
    }

    /// Everything that is known.
    pub(crate) fn json(&self) -> Value {
        let outcomes = self.outcomes.iter().map(|(label, outcome)| {
            let mut value = report::json(outcome);
            value["label"] = json!(label);
            value
        });
        let runs: Vec<Value> = outcomes.collect();
        let weighings: Vec<Value> = self.weighings.iter().map(Weighing::json).collect();
        json!({ "version": env!("CARGO_PKG_VERSION"), "runs": runs, "weighings": weighings })
    }
}

/// Runs everything.
///
/// # Errors
/// If Passage is not there or does not start, or sockets, files or threads cannot be had.
pub(crate) fn run(args: &RunArgs) -> io::Result<Results> {
    let passage = process::find_passage(args.passage.as_deref())?;
    let cpus = Cpus::choose(args.server_cpu, args.load_cpu, 1)?;
    say(&format!("passage {} on {cpus}", passage.display()));
    if let Some(cpu) = cpus.load {
        pin::pin_thread(cpu)?;
    }
    let files = pin::raise_file_limit();
    let echo = Double::start(Echo, cpus.load)?;
    let session_server = Double::start(SessionServer::of_everybody(), cpus.load)?;
    let bench = Bench {
        args,
        passage,
        cpus,
        files,
        echo,
        session_server,
    };
    let mut results = Results {
        outcomes: Vec::new(),
        weighings: Vec::new(),
    };
    for workload in <Workload as clap::ValueEnum>::value_variants() {
        let wanted = if args.only.is_empty() {
            args.weigh.is_empty()
        } else {
            args.only.contains(workload)
        };
        if wanted {
            results.outcomes.push(bench.run(*workload)?);
        }
    }
    for contest in &args.weigh {
        results.weighings.push(bench.weigh(*contest)?);
    }
    Ok(results)
}

/// Everything that the workloads share.
struct Bench<'a> {
    args: &'a RunArgs,
    passage: PathBuf,
    cpus: Cpus,
    files: usize,
    echo: Double,
    session_server: Double,
}

impl Bench<'_> {
    /// Runs one workload against a server that was started for it, so that none inherits another's memory.
    fn run(&self, workload: Workload) -> io::Result<(String, Outcome)> {
        let server = match workload {
            Workload::Yardstick => process::start_yardstick(&self.cpus)?,
            _ => self.start_passage(None)?,
        };
        let label = self.label(workload);
        let (work, pace, connections) = self.plan(workload, &server);
        let settings = self.settings(&server, pace, connections);
        let settings = match workload {
            // Counted from the first connection on, and short enough for any handshake deadline.
            Workload::Quiet | Workload::IdleConnected | Workload::IdleRelay => Settings {
                warmup: Duration::from_millis(500),
                duration: Duration::from_secs(2),
                ..settings
            },
            _ => settings,
        };
        let outcome = measure(&work, &settings, &mut Bar::new(&label));
        let outcome = server.explain(outcome)?;
        Ok((label, outcome))
    }

    fn label(&self, workload: Workload) -> String {
        match workload {
            Workload::Quiet => "no connections".to_owned(),
            Workload::IdleConnected => "idle before login".to_owned(),
            Workload::IdleRelay => "idle relays".to_owned(),
            Workload::Status64 | Workload::Status512 => "status".to_owned(),
            Workload::Yardstick => "(status, epoll double)".to_owned(),
            Workload::Login => "login".to_owned(),
            Workload::LoginMojang => "login, session server".to_owned(),
            Workload::Transfer => "transfer".to_owned(),
            Workload::Relay | Workload::RelayRate => format!("relay, {} B", self.args.bytes),
        }
    }

    fn plan(&self, workload: Workload, server: &Process) -> (Work, Pace, usize) {
        let hello = |host: &str| hello(host, server.address);
        let status = || pings(STATUS_HOST, server.address);
        let login = |host: &str, returns| logins(host, returns, server.address);
        let relay = || Work::Relay {
            hello: hello(RELAY_HOST),
            message_bytes: self.args.bytes,
        };
        let idle = |host: &str, stage| Work::Idle {
            hello: hello(host),
            stage,
        };
        let closed = |concurrency| Pace::Closed { concurrency };
        // This process holds both ends of a relay: the client's and the echo's.
        let (idle_max, relay_max) = (
            self.files.saturating_sub(OTHER_FILES),
            self.files.saturating_sub(OTHER_FILES) / 2,
        );
        let (kept, relays) = (self.args.idle.min(idle_max), self.args.relays.min(relay_max));
        let idle_relays = self.args.idle.min(relay_max);
        match workload {
            Workload::Quiet => (idle(STATUS_HOST, Stage::Connected), closed(0), 0),
            Workload::IdleConnected => (idle(STATUS_HOST, Stage::Connected), closed(kept), kept),
            Workload::IdleRelay => (idle(RELAY_HOST, Stage::Relay), closed(idle_relays), idle_relays),
            Workload::Status64 | Workload::Yardstick => (status(), closed(64), 0),
            Workload::Status512 => (status(), closed(512), 0),
            Workload::Login => (login(LOGIN_HOST, false), closed(64), 0),
            Workload::LoginMojang => (login(MOJANG_HOST, false), closed(64), 0),
            Workload::Transfer => (login(LOGIN_HOST, true), closed(64), 0),
            Workload::Relay => (relay(), closed(relays), relays),
            Workload::RelayRate => (
                relay(),
                Pace::Open {
                    rate: 20_000.0,
                    arrivals: Arrivals::Poisson,
                },
                relays.min(1000),
            ),
        }
    }

    fn settings(&self, server: &Process, pace: Pace, connections: usize) -> Settings {
        Settings {
            target: server.address,
            pace,
            connections,
            duration: self.args.duration,
            count: None,
            warmup: Duration::from_millis(500),
            timeout: Duration::from_secs(10),
            sources: 65_536,
            seed: self.args.seed,
            threads: 1,
            cpus: self.cpus.load.into_iter().collect(),
            failures_max: self.args.max_errors,
            pid: Some(server.pid()),
            awake: false,
            beside: None,
        }
    }

    fn start_passage(&self, extra: Option<Extra>) -> io::Result<Process> {
        let files = PassageFiles::write(1, self.echo.address(), self.session_server.address(), extra)?;
        process::start_passage(&self.passage, files, &self.cpus)
    }
}
