//! The command line: `passage`, `passage check`, `passage route`, `passage ping`,
//! `passage top`.

mod check;
mod inquiry;
mod ping;
mod route;
pub(crate) mod top;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app;

/// `EX_UNAVAILABLE` of sysexits.h: a service that is needed does not answer.
const UNAVAILABLE: u8 = 69;

/// The front door of a Minecraft: Java Edition network.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Arguments {
    /// The configuration file; else the one that CONFIG_FILE names, else the first of config/passage.toml,
    /// config/config.toml, config.toml and /etc/passage/passage.toml, else the built-in defaults.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Accept players (the default).
    Run,
    /// Look for everything that is wrong with the configuration, and say what it does.
    Check {
        /// Ask every service of the adapters once, too, with nothing that has an effect: no player is made
        /// up, nothing is allocated. Exit code 69 if one of them does not answer as it should.
        #[arg(long)]
        adapters: bool,
    },
    /// Show, step by step, what a client gets that uses a host name. Asks the services of the adapters as
    /// they are asked for a player, but authenticates nobody and allocates nothing.
    Route {
        /// The host name that the player types.
        host: String,
        /// The client's protocol version; the newest known one if not given.
        #[arg(long, value_name = "NUMBER")]
        protocol: Option<i32>,
        /// The player's name.
        #[arg(long, value_name = "NAME", default_value = "Player")]
        name: String,
        /// The player's UUID; the one of an offline-mode server if not given.
        #[arg(long, value_name = "UUID")]
        id: Option<uuid::Uuid>,
        /// Ask no service: show only what the configuration itself says.
        #[arg(long)]
        offline: bool,
    },
    /// Ask a server for its status, as the server list does. Exit code 0 means that it answered.
    Ping {
        /// The server: a host name or IP address, and a port if it is not 25565.
        #[arg(value_name = "HOST[:PORT]")]
        server: String,
        /// Seconds for the whole ping.
        #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
        timeout: Duration,
        /// The protocol version that the ping claims to be.
        #[arg(long, value_name = "NUMBER")]
        protocol: Option<i32>,
    },
    /// Show what every shard of a running Passage does. Reads its admin listener ([admin] address).
    Top {
        /// The admin listener; else the one of the configuration.
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        /// Seconds between two looks. Shards hand their counts over once a second.
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
        interval: Duration,
        /// Print one table, of one interval, and end; so it is too where the output is no terminal.
        #[arg(long)]
        once: bool,
    },
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let config = config.as_deref();
    let result = match command.unwrap_or(Command::Run) {
        Command::Run => app::run(config).map_err(Ending::from),
        Command::Check { adapters } => check(config, adapters),
        Command::Route {
            host,
            protocol,
            name,
            id,
            offline,
        } => route(
            config,
            &route::Options {
                host,
                protocol,
                name,
                id,
                is_offline: offline,
            },
        ),
        Command::Ping {
            server,
            timeout,
            protocol,
        } => ping(&server, timeout, protocol),
        Command::Top {
            address,
            interval,
            once,
        } => top::run(
            config,
            &top::Options {
                address,
                interval,
                once,
            },
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ending { code, failure }) => {
            // Standard error is where a failure goes; if it is closed, the exit code has to do.
            let _ = writeln!(io::stderr().lock(), "passage: {failure}");
            ExitCode::from(code)
        }
    }
}

/// A command that did not succeed.
#[derive(Debug)]
struct Ending {
    code: u8,
    failure: String,
}

fn check(config: Option<&Path>, adapters: bool) -> Result<(), Ending> {
    let checked = check::report(config, adapters).map_err(Ending::from)?;
    print(&checked.text)?;
    if checked.missing == 0 {
        return Ok(());
    }
    Err(Ending {
        code: UNAVAILABLE,
        failure: format!(
            "{} of {} services do not answer as they should",
            checked.missing, checked.services
        ),
    })
}

fn route(config: Option<&Path>, options: &route::Options) -> Result<(), Ending> {
    print(&route::report(config, options).map_err(Ending::from)?)
}

fn ping(server: &str, timeout: Duration, protocol: Option<i32>) -> Result<(), Ending> {
    let report = ping::report(server, timeout, protocol);
    print(&report.map_err(|problem| Ending {
        code: 1,
        failure: format!("{server}: {problem}"),
    })?)
}

fn print(text: &str) -> Result<(), Ending> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Ending {
        code: 74,
        failure: format!("standard output: {error}"),
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.01..=600.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a number of seconds from 0.01 to 600".into())
}

impl From<app::Failure> for Ending {
    fn from(failure: app::Failure) -> Self {
        Self {
            code: failure.exit_code(),
            failure: failure.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
