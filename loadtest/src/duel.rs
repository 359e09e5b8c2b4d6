//! Passage against others: the same load on each, in interleaved rounds.
//!
//! In each round everybody has a turn, on the same CPU and under the same load, and in every round somebody
//! else begins. Each turn has a server process of its own, so that none profits or suffers from what came
//! before, and how memory happens to lie averages out over the rounds.

mod machine;
mod verdict;
mod workload;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use passage_loadtest::double::Double;
use passage_loadtest::double::echo::Echo;
use passage_loadtest::double::session_server::SessionServer;
use passage_loadtest::flow::Arrival;
use passage_loadtest::measure::{Settings, measure};
use passage_loadtest::{pin, server};
use serde_json::{Value, json};

pub(crate) use self::verdict::median;
use self::verdict::{Figures, Verdict};
use self::workload::{EXPLANATION, Targets, Workload};
use crate::contestant::config::PassageFiles;
use crate::contestant::peer::{Examples, PeerKind, Relay};
use crate::contestant::process::{self, Cpus, Process};
use crate::progress::{Bar, say};

/// Load before anything counts.
const WARMUP: Duration = Duration::from_millis(500);
/// The kernel's memory is taken as settled when it shrank by less than this within [`SETTLING`].
const SETTLED_BYTES: i64 = 256 * 1024;
const SETTLING: Duration = Duration::from_millis(300);
const SETTLING_MAX: Duration = Duration::from_secs(6);

/// What a duel takes.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXPLANATION)]
pub(crate) struct DuelArgs {
    /// What is done; see below
    #[arg(long, value_delimiter = ',', required = true)]
    workload: Vec<Workload>,
    /// Who does it too
    #[arg(long, value_enum, value_delimiter = ',')]
    peer: Vec<PeerKind>,
    /// Turns of each
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: u8,
    /// Seconds of measured load in each turn
    #[arg(long, default_value = "2", value_parser = crate::cli::parse_seconds)]
    duration: Duration,
    /// The Passage to measure; next to this program if not given
    #[arg(long)]
    passage: Option<PathBuf>,
    /// Shards of that Passage, each on a CPU of its own. If there is none left for the load, which then
    /// shares the last one, only CPU time means something
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    shards: u8,
    /// The Passage that the peer `baseline` is; the measured one if not given
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// The relay that the peer `ring` is; examples/ring next to the measured Passage if not given
    #[arg(long)]
    ring: Option<PathBuf>,
    /// The relay that the peer `engine` is; examples/relay next to the measured Passage if not given
    #[arg(long)]
    engine: Option<PathBuf>,
    /// CPU of the measured servers
    #[arg(long)]
    server_cpu: Option<usize>,
    /// CPU of the load and the backends
    #[arg(long)]
    load_cpu: Option<usize>,
    /// Seeds names, payloads, addresses and schedules
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// More failures than this in one turn make the exit code 1
    #[arg(long, default_value_t = 0)]
    max_errors: u64,
    /// Write the results as JSON to this file, or to standard output with -
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// What all duels found.
#[derive(Debug)]
pub(crate) struct Verdicts {
    args: DuelArgs,
    verdicts: Vec<Verdict>,
}

impl Verdicts {
    /// Whether anything failed more often than is tolerated.
    pub(crate) fn is_failed(&self) -> bool {
        self.verdicts.iter().any(Verdict::is_failed)
    }

    /// Tables, and what went wrong.
    pub(crate) fn text(&self) -> String {
        let mut text = verdict::table(&self.verdicts) + "\n";
        for line in self.verdicts.iter().flat_map(Verdict::failures) {
            text += &(line + "\n");
        }
        text
    }

    /// Everything that is known.
    pub(crate) fn json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine::describe(),
            "rounds": self.args.rounds,
            "duration_seconds": self.args.duration.as_secs_f64(),
            "shards": self.args.shards,
            "seed": self.args.seed,
            "duels": self.verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
        })
    }
}

/// Holds every duel that was asked for.
///
/// # Errors
/// If a program is not there or does not start, open files do not suffice, or sockets, files or threads
/// cannot be had.
pub(crate) fn run(args: &DuelArgs) -> io::Result<Verdicts> {
    let passage = process::find_passage(args.passage.as_deref())?;
    let baseline = match &args.baseline {
        Some(path) => process::find_passage(Some(path.as_path()))?,
        None => passage.clone(),
    };
    let beside = |name: &str| passage.with_file_name("examples").join(name);
    let examples = Examples {
        ring: args.ring.clone().unwrap_or_else(|| beside("ring")),
        engine: args.engine.clone().unwrap_or_else(|| beside("relay")),
    };
    let cpus = Cpus::choose(args.server_cpu, args.load_cpu, usize::from(args.shards))?;
    say(&format!("passage {} on {cpus}", passage.display()));
    if let Some(paced) = machine::congestion_control().filter(|name| name.starts_with("bbr")) {
        say(&format!(
            "net.ipv4.tcp_congestion_control is {paced}, which paces all that is sent: figures are those of \
             its timers, and not to be compared with those of cubic"
        ));
    }
    if let Some(cpu) = cpus.load {
        pin::pin_thread(cpu)?;
    }
    let files = pin::raise_file_limit();
    let workloads: io::Result<Vec<Workload>> = args
        .workload
        .iter()
        .map(|workload| workload.within(files))
        .collect();
    let ground = Ground {
        echo: Double::start(Echo, cpus.load)?,
        session_server: Double::start(SessionServer::of_everybody(), cpus.load)?,
        arrival: Arrival::listen()?,
        args,
        passage,
        baseline,
        examples,
        cpus,
    };
    let mut verdicts = Vec::new();
    for workload in workloads? {
        verdicts.extend(ground.hold(workload)?);
    }
    Ok(Verdicts {
        args: args.clone(),
        verdicts,
    })
}

/// Who has a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contestant {
    Passage,
    /// The same, without what goes on beside.
    Undisturbed,
    Peer(PeerKind),
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passage => f.write_str("passage"),
            Self::Undisturbed => f.write_str("undisturbed"),
            Self::Peer(kind) => kind.fmt(f),
        }
    }
}

/// What all duels share.
struct Ground<'a> {
    args: &'a DuelArgs,
    passage: PathBuf,
    baseline: PathBuf,
    examples: Examples,
    cpus: Cpus,
    echo: Double,
    session_server: Double,
    arrival: Arrival,
}

impl Ground<'_> {
    /// All rounds of one workload: a verdict for each peer.
    fn hold(&self, workload: Workload) -> io::Result<Vec<Verdict>> {
        let contestants = self.contestants(workload);
        let mut turns: Vec<Vec<Figures>> = vec![Vec::new(); contestants.len()];
        for round in 0..usize::from(self.args.rounds) {
            // Whoever begins changes, so that a machine that warms up or slows down favours nobody.
            for turn in 0..contestants.len() {
                let index = (round + turn) % contestants.len();
                let title = format!(
                    "{workload} {} {}/{}",
                    contestants[index],
                    round + 1,
                    self.args.rounds
                );
                turns[index].push(self.turn(workload, contestants[index], &title)?);
            }
        }
        let mut turns = turns.into_iter();
        let passage = turns.next().unwrap_or_default();
        let verdict = |peer, others| Verdict {
            workload: workload.to_string(),
            peer,
            unit: workload.unit(),
            passage: passage.clone(),
            others,
        };
        if contestants.len() == 1 {
            return Ok(vec![verdict(None, Vec::new())]);
        }
        let names = contestants.iter().skip(1).map(|other| Some(other.to_string()));
        Ok(names
            .zip(turns)
            .map(|(name, others)| verdict(name, others))
            .collect())
    }

    /// Passage, and whoever is asked for, can do it and is there.
    fn contestants(&self, workload: Workload) -> Vec<Contestant> {
        let mut contestants = vec![Contestant::Passage];
        if workload.is_mixed() {
            contestants.push(Contestant::Undisturbed);
        }
        for &kind in self.args.peer.iter().filter(|kind| workload.suits(**kind)) {
            let program = kind.find(&self.examples);
            match program.filter(|_| workload.is_relayed()) {
                Some(Err(error)) => say(&format!("{workload}: {kind} is left out: {error}")),
                _ => contestants.push(Contestant::Peer(kind)),
            }
        }
        contestants
    }

    /// One turn, on a server that is started for it.
    fn turn(&self, workload: Workload, contestant: Contestant, title: &str) -> io::Result<Figures> {
        let targets = Targets {
            echo: self.echo.address(),
            arrival: &self.arrival,
        };
        let server = self.start(workload, contestant, &targets)?;
        let address = server
            .as_ref()
            .map_or(workload.target(&targets), |server| server.address);
        let plan = workload.plan(address, &targets);
        if workload.is_idle() {
            wait_for_the_kernel()?;
        }
        let settings = Settings {
            target: address,
            pace: plan.pace,
            connections: plan.connections,
            duration: workload.duration(self.args.duration),
            count: None,
            warmup: WARMUP,
            timeout: Duration::from_secs(10),
            sources: 65_536,
            seed: self.args.seed,
            threads: 1,
            cpus: self.cpus.load.into_iter().collect(),
            failures_max: self.args.max_errors,
            pid: server.as_ref().map(Process::pid),
            awake: self.cpus.load_is_alone() && plan.work.needs_nobody(),
            beside: plan.beside.filter(|_| contestant != Contestant::Undisturbed),
        };
        let outcome = measure(&plan.work, &settings, &mut Bar::new(title));
        let outcome = match &server {
            Some(server) => server.explain(outcome),
            None => outcome,
        }?;
        Ok(Figures::of(&outcome, workload.is_idle()))
    }

    /// Starts whoever has its turn; `None` if that is nobody, and the target is spoken to directly.
    fn start(
        &self,
        workload: Workload,
        contestant: Contestant,
        targets: &Targets<'_>,
    ) -> io::Result<Option<Process>> {
        let target = workload.target(targets);
        let single = self.cpus.single();
        let passage = |program: &Path, shards: usize, cpus: &Cpus| {
            let files = PassageFiles::write(shards, target, self.session_server.address(), None)?;
            process::start_passage(program, files, cpus)
        };
        match contestant {
            Contestant::Passage | Contestant::Undisturbed => {
                passage(&self.passage, usize::from(self.args.shards), &self.cpus)
            }
            Contestant::Peer(PeerKind::Baseline) => passage(&self.baseline, 1, &single),
            Contestant::Peer(PeerKind::Direct) => return Ok(None),
            Contestant::Peer(PeerKind::Epoll) if !workload.is_relayed() => process::start_yardstick(&single),
            Contestant::Peer(kind) => {
                let relay = Relay {
                    target,
                    connections: workload.connections(),
                    cpus: &single,
                };
                relay.start(kind, &self.examples)
            }
        }
        .map(Some)
    }
}

/// Sockets that were closed are given back late.
fn wait_for_the_kernel() -> io::Result<()> {
    let until = Instant::now() + SETTLING_MAX;
    let mut before = server::read_kernel_memory()?;
    loop {
        std::thread::park_timeout(SETTLING);
        let now = server::read_kernel_memory()?;
        if before.since(now).sum() < SETTLED_BYTES || Instant::now() > until {
            return Ok(());
        }
        before = now;
    }
}
