//! The command line.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use passage_loadtest::address::parse_target;
use passage_loadtest::double::echo::Echo;
use passage_loadtest::double::login::Flaw;
use passage_loadtest::double::relay_epoll::RelayEpoll;
use passage_loadtest::double::status::Status;
use passage_loadtest::double::{self, Double};
use passage_loadtest::flow::idle::Stage;
use passage_loadtest::flow::login::{ExpectedName, Login, Until};
use passage_loadtest::flow::{Hello, Work};
use passage_loadtest::measure::{self, Settings};
use passage_loadtest::report;
use passage_loadtest::schedule::{Arrivals, Pace};
use serde_json::Value;

use crate::duel::{self, DuelArgs};
use crate::progress::{Bar, say};
use crate::run::siege::{self, AttackArgs};
use crate::run::{self, Results, RunArgs};

#[derive(Debug, Parser)]
#[command(
    version,
    about = "Loads a Minecraft server on this machine and measures it. Loopback only."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts Passage with built-in backends, measures every flow, and prints one table (the default)
    Run(RunArgs),
    /// Passage against others, each on one core, in interleaved rounds of the same load
    Duel(DuelArgs),
    /// Starts Passage with limits as in production, attacks it in every way, and measures who notices
    Attack(AttackArgs),
    /// Server-list pings: handshake, request, response, ping, pong, close
    Status {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        hello: HelloArgs,
    },
    /// Logins: encryption, configuration, up to the Transfer packet and its cookies
    Login {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        hello: HelloArgs,
        #[command(flatten)]
        login: LoginArgs,
    },
    /// Logins of returning players: intent 3, a session and a signed authentication cookie
    Transfer {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        hello: HelloArgs,
        #[command(flatten)]
        login: LoginArgs,
    },
    /// Messages through a relay to an echo target and back, on kept connections
    Relay {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        hello: HelloArgs,
        /// Connections that are kept open; each has one message under way unless --rate is given
        #[arg(long, default_value_t = 1000)]
        connections: usize,
        /// Length of a message
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        bytes: u32,
    },
    /// Kept connections without traffic: what each costs the server in memory
    Idle {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        hello: HelloArgs,
        /// Connections that are kept open
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        /// How far they go before they fall silent
        #[arg(long, value_enum, default_value = "connected")]
        stage: Stage,
    },
    /// Runs a stand-in for a server until it is interrupted
    Double {
        /// Which
        #[arg(value_enum)]
        kind: DoubleKind,
        /// Where it listens; loopback only
        #[arg(long, value_parser = parse_target)]
        listen: SocketAddr,
        /// Where a relay leads to; loopback only
        #[arg(long, value_parser = parse_target, required_if_eq("kind", "relay-epoll"))]
        target: Option<SocketAddr>,
        /// CPU that it runs on
        #[arg(long)]
        pin: Option<usize>,
    },
}

#[derive(Clone, Debug, Args)]
struct LoginArgs {
    /// Where a login ends well
    #[arg(long, value_enum, default_value = "transfer")]
    until: Until,
    /// File with the secret that signs cookies; with it the authentication cookie is required and checked
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Take whatever name the server logs the player in with
    #[arg(long)]
    any_name: bool,
}

impl LoginArgs {
    fn work(&self, hello: Hello, returns: bool) -> std::io::Result<Work> {
        let secret = self
            .secret_file
            .as_ref()
            .map(std::fs::read)
            .transpose()
            .map_err(|error| {
                std::io::Error::new(
                    error.kind(),
                    format!("--secret-file {:?}: {error}", self.secret_file),
                )
            })?;
        if returns && secret.is_none() {
            return Err(std::io::Error::other(
                "returning players need signed cookies: give --secret-file",
            ));
        }
        let name = if self.any_name {
            ExpectedName::Any
        } else {
            ExpectedName::Own
        };
        let secret = secret.map(|secret| secret.trim_ascii().to_vec());
        Ok(Work::Login(Login {
            hello,
            secret,
            returns,
            until: self.until,
            name,
        }))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DoubleKind {
    /// Sends back whatever it receives
    Echo,
    /// Answers pings, on plain epoll
    Status,
    /// Logs in and transfers everybody, encrypted, without cookies of authentication
    Login,
    /// Relays to --target, on plain epoll
    RelayEpoll,
}

#[derive(Clone, Debug, Args)]
struct HelloArgs {
    /// Protocol version in the handshake
    #[arg(long, default_value_t = 772)]
    protocol: i32,
    /// Host name in the handshake; the target's address if not given
    #[arg(long)]
    host: Option<String>,
}

#[derive(Clone, Debug, Args)]
struct LoadArgs {
    /// Where to: IP:port or localhost:port, loopback only
    #[arg(long, value_parser = parse_target)]
    target: SocketAddr,
    /// Closed loop: so many at once
    #[arg(long, default_value_t = 64, conflicts_with = "rate")]
    concurrency: usize,
    /// Open loop: so many starts per second; latency counts from the scheduled start
    #[arg(long, value_parser = parse_rate)]
    rate: Option<f64>,
    /// How the starts of an open loop are spread
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    /// Seconds of measured load
    #[arg(long, default_value = "10", value_parser = parse_seconds)]
    duration: Duration,
    /// End after so many units, if that is sooner
    #[arg(long)]
    count: Option<u64>,
    /// Seconds of load before anything counts
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    warmup: Duration,
    /// Seconds after which a unit has failed
    #[arg(long, default_value = "10", value_parser = parse_seconds)]
    timeout: Duration,
    /// Source addresses out of 127.0.0.0/8; 0 leaves it to the kernel
    #[arg(long, default_value_t = 65_536)]
    sources: u32,
    /// Seeds names, payloads, addresses and schedules
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worker threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// CPUs for the worker threads, in turn
    #[arg(long, value_delimiter = ',')]
    pin: Vec<usize>,
    /// More failures than this end the run with exit code 1
    #[arg(long, default_value_t = 0)]
    max_errors: u64,
    /// Process whose CPU time and memory are measured
    #[arg(long)]
    pid: Option<u32>,
    /// Write the results as JSON to this file, or to standard output with -
    #[arg(long)]
    json: Option<PathBuf>,
}

impl LoadArgs {
    fn settings(&self) -> Settings {
        let pace = match self.rate {
            Some(rate) => Pace::Open {
                rate,
                arrivals: self.arrivals,
            },
            None => Pace::Closed {
                concurrency: self.concurrency,
            },
        };
        Settings {
            target: self.target,
            pace,
            connections: 0,
            duration: self.duration,
            count: self.count,
            warmup: self.warmup,
            timeout: self.timeout,
            sources: self.sources,
            seed: self.seed,
            threads: usize::from(self.threads),
            cpus: self.pin.clone(),
            failures_max: self.max_errors,
            pid: self.pid,
            awake: false,
            beside: None,
        }
    }

    /// Settings for connections that are opened once and kept.
    fn kept(&self, connections: usize) -> Settings {
        let pace = match self.settings().pace {
            Pace::Closed { .. } => Pace::Closed {
                concurrency: connections,
            },
            open @ Pace::Open { .. } => open,
        };
        Settings {
            pace,
            connections,
            ..self.settings()
        }
    }

    fn hello(&self, args: &HelloArgs) -> Hello {
        let host = args.host.clone().unwrap_or_else(|| self.target.ip().to_string());
        Hello {
            protocol: args.protocol,
            host,
            port: self.target.port(),
        }
    }
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let command = Cli::parse()
        .command
        .or_else(|| Cli::parse_from(["passage-loadtest", "run"]).command);
    let result = match command {
        None => Ok(true),
        Some(command) => dispatch(command),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("passage-loadtest: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Whether all went well.
fn dispatch(command: Command) -> std::io::Result<bool> {
    match command {
        Command::Run(args) => run_all(&args),
        Command::Duel(args) => run_duels(&args),
        Command::Attack(args) => siege::run(&args),
        Command::Status { load, hello } => run_one(
            &load,
            &load.settings(),
            &Work::Status {
                hello: load.hello(&hello),
            },
        ),
        Command::Login { load, hello, login } => login
            .work(load.hello(&hello), false)
            .and_then(|work| run_one(&load, &load.settings(), &work)),
        Command::Transfer { load, hello, login } => login
            .work(load.hello(&hello), true)
            .and_then(|work| run_one(&load, &load.settings(), &work)),
        Command::Relay {
            load,
            hello,
            connections,
            bytes,
        } => {
            let work = Work::Relay {
                hello: load.hello(&hello),
                message_bytes: bytes as usize,
            };
            run_one(&load, &load.kept(connections), &work)
        }
        Command::Idle {
            load,
            hello,
            connections,
            stage,
        } => run_one(
            &load,
            &load.kept(connections),
            &Work::Idle {
                hello: load.hello(&hello),
                stage,
            },
        ),
        Command::Double {
            kind: DoubleKind::RelayEpoll,
            listen,
            target: Some(target),
            pin,
        } => run_relay(listen, target, pin),
        Command::Double {
            kind, listen, pin, ..
        } => run_double(kind, listen, pin),
    }
}

fn run_one(load: &LoadArgs, settings: &Settings, work: &Work) -> std::io::Result<bool> {
    let outcome = measure::measure(work, settings, &mut Bar::new(work.name()))?;
    let results = Results {
        outcomes: vec![(work.name().to_owned(), outcome)],
        weighings: Vec::new(),
    };
    publish(&results, load.json.as_deref())
}

fn run_all(args: &RunArgs) -> std::io::Result<bool> {
    publish(&run::run(args)?, args.json.as_deref())
}

/// Serves until the process is ended.
fn run_double(kind: DoubleKind, listen: SocketAddr, cpu: Option<usize>) -> std::io::Result<bool> {
    let _ = passage_loadtest::pin::raise_file_limit();
    let double = match kind {
        DoubleKind::Echo => Double::start_at(listen, Echo, cpu),
        DoubleKind::Login => Double::start_at(
            listen,
            double::login::Login {
                secret: None,
                encrypted: true,
                flaw: Flaw::None,
            },
            cpu,
        ),
        DoubleKind::Status => Double::start_at(listen, Status::default(), cpu),
        DoubleKind::RelayEpoll => return Err(std::io::Error::other("a relay needs --target")),
    }?;
    announce(kind, double.address())?;
    loop {
        std::thread::park();
    }
}

/// Relays until the process is ended.
fn run_relay(listen: SocketAddr, target: SocketAddr, cpu: Option<usize>) -> std::io::Result<bool> {
    let _ = passage_loadtest::pin::raise_file_limit();
    if let Some(cpu) = cpu {
        passage_loadtest::pin::pin_thread(cpu)?;
    }
    let relay = RelayEpoll::bind(listen, target)?;
    announce(DoubleKind::RelayEpoll, relay.address())?;
    relay.serve().map(|()| true)
}

fn announce(kind: DoubleKind, address: SocketAddr) -> std::io::Result<()> {
    let pid = std::process::id();
    writeln!(std::io::stdout(), "{kind:?} at {address}, process {pid}")
}

fn run_duels(args: &DuelArgs) -> std::io::Result<bool> {
    let verdicts = duel::run(args)?;
    write_out(&verdicts.text(), args.json.as_deref(), || verdicts.json())?;
    Ok(!verdicts.is_failed())
}

/// Prints tables, failures and JSON. Gives whether no more failed than is tolerated.
fn publish(results: &Results, json: Option<&Path>) -> std::io::Result<bool> {
    let mut text = String::new();
    if !results.outcomes.is_empty() {
        text += &(report::table(&results.outcomes) + "\n");
    }
    for (label, outcome) in &results.outcomes {
        for line in report::failures(outcome) {
            text += &format!("{label}: {line}\n");
        }
    }
    for weighing in &results.weighings {
        text += &(weighing.table() + "\n");
        for line in weighing.failures() {
            text += &(line + "\n");
        }
    }
    write_out(&text, json, || results.json())?;
    Ok(!results.is_failed())
}

/// Standard output belongs to the JSON where that was asked for, and to the text otherwise.
fn write_out(text: &str, path: Option<&Path>, json: impl Fn() -> Value) -> std::io::Result<()> {
    let to_stdout = path.is_some_and(|path| path.as_os_str() == "-");
    if to_stdout {
        std::io::stderr().write_all(text.as_bytes())?;
    } else {
        std::io::stdout().write_all(text.as_bytes())?;
    }
    let Some(path) = path else { return Ok(()) };
    let mut document = serde_json::to_vec_pretty(&json())?;
    document.push(b'\n');
    if to_stdout {
        std::io::stdout().write_all(&document)
    } else {
        std::fs::write(path, document)
    }
}

/// Reads seconds, up to a day.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|duration| *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| "expected seconds, from 0 to 86400, for example 2.5".to_owned())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse::<f64>()
        .ok()
        .filter(|rate| (0.001..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "expected starts per second, from 0.001 to 10000000".to_owned())
}
