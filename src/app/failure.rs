//! Why Passage does not run, in words for its operator and in an exit code for whatever started it.

use std::fmt;
use std::io;

use passage_shards::pool::StartError;

use crate::config::Problems;
use crate::telemetry::{self, admin, logs, sentry};

/// Why Passage did not start, or did not end well.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong.
    Config(Problems),
    /// Something in the configuration cannot be built.
    Plan(String),
    /// Logging cannot start.
    Logs(logs::InitError),
    /// The system gives us no threads.
    Threads(io::Error),
    /// Signals cannot be caught.
    Signals(io::Error),
    /// Telemetry cannot start.
    Telemetry(telemetry::StartError),
    /// Reports to Sentry cannot start.
    Sentry(sentry::StartError),
    /// The admin listener cannot start.
    Admin(admin::StartError),
    /// The shards cannot start.
    Shards(StartError),
    /// The control thread died.
    ControlDied,
    /// The thread that hears signals died.
    SignalsDied,
    /// A shard died, for this reason.
    ShardDied(String),
    /// A second signal cut the drain short.
    Interrupted,
}

/// `EX_SOFTWARE` of sysexits.h: an error of our own.
const SOFTWARE: u8 = 70;
/// `EX_OSERR`: the system lacks something.
const OS: u8 = 71;
/// `EX_TEMPFAIL`: trying again later can help.
const TEMPORARY: u8 = 75;
/// `EX_CONFIG`: the configuration is wrong.
const CONFIG: u8 = 78;
/// What a shell gives for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

impl Failure {
    /// Whether a change of the configuration is what helps.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        self.exit_code() == CONFIG
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Plan(_) => CONFIG,
            Self::Logs(logs::InitError::Filter { .. }) => CONFIG,
            Self::Logs(logs::InitError::Export(error)) => of_telemetry(error),
            Self::Telemetry(error) => of_telemetry(error),
            Self::Sentry(sentry::StartError::Address) => CONFIG,
            Self::Shards(StartError::Routes(_) | StartError::NoAddress) => CONFIG,
            Self::Shards(StartError::Address { .. }) => TEMPORARY,
            Self::Admin(admin::StartError::Address { .. }) => TEMPORARY,
            Self::Logs(_)
            | Self::Threads(_)
            | Self::Signals(_)
            | Self::Sentry(_)
            | Self::Shards(_)
            | Self::Admin(_) => OS,
            Self::ControlDied | Self::SignalsDied | Self::ShardDied(_) => SOFTWARE,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

fn of_telemetry(error: &telemetry::StartError) -> u8 {
    match error {
        telemetry::StartError::Endpoint(..) | telemetry::StartError::Token(_) => CONFIG,
        telemetry::StartError::Thread(_) => OS,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::Plan(problem) => f.write_str(problem),
            Self::Logs(error) => error.fmt(f),
            Self::Threads(error) => {
                write!(
                    f,
                    "a thread cannot be started: {error}; raise the limit of processes (ulimit -u, TasksMax=)"
                )
            }
            Self::Signals(error) => write!(f, "signals cannot be caught: {error}"),
            Self::Telemetry(error) => error.fmt(f),
            Self::Sentry(error) => error.fmt(f),
            Self::Admin(error) => error.fmt(f),
            Self::Shards(error) => error.fmt(f),
            Self::ControlDied => {
                f.write_str("the control thread died; this is a bug of Passage, please report it")
            }
            Self::SignalsDied => f.write_str(
                "the thread that hears signals died, so that nothing could end this process in good order; \
                 this is a bug of Passage, please report it",
            ),
            Self::ShardDied(reason) => write!(
                f,
                "a shard died: {reason}; this is a bug of Passage, please report it"
            ),
            Self::Interrupted => f.write_str("ended by a second signal before all connections had ended"),
        }
    }
}

impl std::error::Error for Failure {}
