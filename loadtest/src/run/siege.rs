//! Attacks on a Passage with limits as in production: what clients that mean well notice, what the server
//! spends, and whether all of it comes back.

mod battle;
mod burden;
mod clients;
mod fortress;
mod readings;
mod summary;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use passage_loadtest::attack::Kind;
use passage_loadtest::double::Double;
use passage_loadtest::double::echo::Echo;
use passage_loadtest::double::session_server::SessionServer;
use passage_loadtest::pin;
use serde_json::{Value, json};

use self::battle::Battle;
use crate::contestant::process::{self, Cpus};
use crate::progress::say;

/// What the attacks take.
#[derive(Clone, Debug, Args)]
pub(crate) struct AttackArgs {
    /// The program to attack; next to this one if not given
    #[arg(long)]
    passage: Option<PathBuf>,
    /// Seconds of each attack, and of each look at clients without it; at most 60
    #[arg(long, default_value = "3", value_parser = parse_duration)]
    duration: Duration,
    /// Only these attacks
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Judge what can be counted and no times, at a quarter of the strength: for slow builds
    #[arg(long)]
    counts: bool,
    /// CPU of the attacked server
    #[arg(long)]
    server_cpu: Option<usize>,
    /// CPU of attackers, clients and backends
    #[arg(long)]
    load_cpu: Option<usize>,
    /// Seeds names, payloads and schedules
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the results as JSON to this file, or to standard output with -
    #[arg(long)]
    json: Option<PathBuf>,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = crate::cli::parse_seconds(text)?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(60);
    if bounds.contains(&duration) {
        return Ok(duration);
    }
    Err("expected seconds, from 0.1 to 60".to_owned())
}

/// Everything that the attacks share.
struct Siege<'a> {
    args: &'a AttackArgs,
    passage: PathBuf,
    cpus: Cpus,
    echo: Double,
    session_server: Double,
}

/// Runs the attacks, each on a server of its own. Gives whether all of them were withstood.
///
/// # Errors
/// If Passage is not there or does not start, or sockets, files or threads cannot be had.
pub(crate) fn run(args: &AttackArgs) -> io::Result<bool> {
    let passage = process::find_passage(args.passage.as_deref())?;
    let cpus = Cpus::choose(args.server_cpu, args.load_cpu, 1)?;
    say(&format!("passage {} on {cpus}", passage.display()));
    if let Some(cpu) = cpus.load {
        pin::pin_thread(cpu)?;
    }
    let _ = pin::raise_file_limit();
    let siege = Siege {
        args,
        passage,
        echo: Double::start(Echo, cpus.load)?,
        session_server: Double::start(SessionServer::of_everybody(), cpus.load)?,
        cpus,
    };
    let kinds = if args.only.is_empty() {
        Kind::all()
    } else {
        &args.only
    };
    let mut battles = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let battle = siege.fight(*kind)?;
        for finding in battle.findings() {
            say(&format!("{}: {finding}", kind.name()));
        }
        battles.push(battle);
    }
    publish(args, &battles)?;
    Ok(battles.iter().all(|battle| battle.findings().is_empty()))
}

fn publish(args: &AttackArgs, battles: &[Battle]) -> io::Result<()> {
    let text = summary::text(battles);
    let Some(path) = &args.json else {
        return io::stdout().write_all(text.as_bytes());
    };
    let attacks: Vec<Value> = battles.iter().map(Battle::json).collect();
    let document = json!({ "version": env!("CARGO_PKG_VERSION"), "attacks": attacks });
    let mut document = serde_json::to_vec_pretty(&document)?;
    document.push(b'\n');
    // Standard output belongs to the JSON where that was asked for.
    if path.as_os_str() == "-" {
        io::stderr().write_all(text.as_bytes())?;
        return io::stdout().write_all(&document);
    }
    io::stdout().write_all(text.as_bytes())?;
    std::fs::write(path, document)
}
