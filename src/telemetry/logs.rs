//! Log lines: their shape, their filter and the thread that writes them.
//!
//! A line is made on the thread that logs and written by a thread of its own, with a bounded queue between
//! them. A standard output that is blocked costs lines, which are counted, and nothing else.

mod export;
mod line;
mod repeats;
mod values;
mod writer;

use std::env::{self, VarError};
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Instant;

use passage_shards::report;
use tracing::level_filters::LevelFilter;
use tracing_log::{AsLog as _, LogTracer};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry};

use export::Export;
use line::LineLayer;
use writer::Queue;

use super::aggregate::Loss;
use super::sentry::Reports;
use super::spans::Recorder;
use super::{Endpoint, StartError};
use crate::watch::{Part, Watch};

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people who look at a terminal.
    Human {
        /// Whether the terminal shows colours.
        colours: bool,
    },
}

/// Why logging could not start.
#[derive(Debug)]
pub enum InitError {
    /// `RUST_LOG` could not be read.
    Filter {
        /// The value of the variable.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something else has set a global subscriber before.
    Taken,
    /// The export to a collector could not start.
    Export(StartError),
    /// The system did not give us the standard output or a thread.
    Writer(io::Error),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter { value, problem } => write!(
                f,
                "RUST_LOG={value:?} cannot be used: {problem}; expected a level (error, warn, info, debug, \
                 trace, off) or a list such as passage=debug,passage::adapters=trace"
            ),
            Self::Taken => f.write_str("logging has been started before"),
            Self::Export(error) => error.fmt(f),
            Self::Writer(cause) => write!(f, "the log writer could not be started: {cause}"),
        }
    }
}

impl std::error::Error for InitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Writer(cause) => Some(cause),
            Self::Export(error) => error.source(),
            Self::Filter { .. } | Self::Taken => None,
        }
    }
}

/// The process's logs, once they have started.
static LOGS: OnceLock<Logs> = OnceLock::new();

/// The running log writer.
#[derive(Clone, Debug)]
pub struct Logs {
    queue: Queue,
    export: Option<Export>,
}

/// Makes `tracing` events of all threads come out on standard output: in human-readable form on a terminal,
/// as JSON otherwise. The filter is that of `RUST_LOG`, or `info`. Events that are reports go to `reports`
/// instead. All lines go to the collector too if there is one: its endpoint and the environment. Spans of
/// remote calls go to the `recorder`, whatever the filter.
///
/// # Errors
///
/// If `RUST_LOG` has a directive that cannot be read, or logging cannot start.
pub fn init(
    reports: Option<&Reports>,
    collector: Option<(&Endpoint, &str)>,
    recorder: Option<&Recorder>,
) -> Result<Logs, InitError> {
    let filter = match env::var("RUST_LOG") {
        Ok(directives) => filter(&directives)?,
        Err(VarError::NotPresent) => filter("")?,
        Err(VarError::NotUnicode(value)) => {
            let value = value.to_string_lossy().into_owned();
            return Err(InitError::Filter {
                value,
                problem: "it is not UTF-8".into(),
            });
        }
    };
    let stdout = io::stdout();
    let format = if stdout.is_terminal() {
        Format::Human {
            colours: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    } else {
        Format::Json
    };
    // Without the lock of the standard library's handle, which the exit would wait for.
    let output = stdout.as_fd().try_clone_to_owned().map_err(InitError::Writer)?;
    let export = collector.map(|(endpoint, environment)| Export::start(endpoint, environment));
    let export = export.transpose().map_err(InitError::Export)?;
    let queue = Queue::start(File::from(output), format, export.clone()).map_err(InitError::Writer)?;
    let lines = LineLayer::new(format, queue.clone(), export.clone());
    let most = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let subscriber = Registry::default()
        .with(lines.with_filter(filter))
        .with(reports.map(Reports::reporter))
        .with(recorder.map(Recorder::layer));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::Taken)?;
    // What other crates say through `log` becomes events too.
    let bridge = LogTracer::builder().with_max_level(most.as_log());
    let bridge = bridge.ignore_all(SECRETIVE).init();
    bridge.map_err(|_| InitError::Taken)?;
    Ok(LOGS.get_or_init(|| Logs { queue, export }).clone())
}

impl Logs {
    /// Has its threads watched.
    pub fn watch(&self, watch: &Watch) {
        watch.add(Part::Logs, None, self.queue.pulse());
        if let Some(export) = &self.export {
            watch.add(Part::LogExport, None, export.pulse());
        }
    }

    /// Writes and exports what is still queued, until `deadline` at the latest: neither a blocked standard
    /// output nor a collector that hangs holds up the exit. Says whether all of it was written.
    pub fn flush(&self, deadline: Instant) -> bool {
        let Some(export) = &self.export else {
            return self.queue.flush(deadline);
        };
        // First the lines, which tell the collector too what was withheld, but a blocked output not for long.
        let left = deadline.saturating_duration_since(Instant::now());
        let is_written = self.queue.flush(deadline - left / 2);
        let _ = export.stop(deadline).recv_deadline(deadline);
        is_written
    }
}

/// Lines that did not arrive since the start, at standard output or at a collector.
pub(crate) fn loss() -> Loss {
    let Some(Logs { queue, export }) = LOGS.get() else {
        return Loss::default();
    };
    let mut loss = export.as_ref().map(Export::loss).unwrap_or_default();
    loss.dropped += queue.loss().dropped;
    loss
}

/// Modules of other crates that are not heard at any level: they dump requests byte by byte, tokens included.
const SECRETIVE: [&str; 1] = ["ureq_proto::util"];

/// The crates whose modules are shown, and asked for, as modules of `passage`: how the program is cut into
/// crates is none of an operator's business.
const CRATES: [&str; 2] = ["passage_shards::", "passage_proto::"];

/// The module's name as operators know it.
fn shown_target(target: &str) -> (&'static str, &str) {
    match CRATES.iter().find_map(|name| target.strip_prefix(name)) {
        Some(module) => ("passage::", module),
        None => ("", target),
    }
}

fn filter(directives: &str) -> Result<EnvFilter, InitError> {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = || -> Result<EnvFilter, ParseError> {
        let filter = builder.parse(widened(directives))?;
        // Reports are no log lines, whatever the level.
        Ok(filter.add_directive(format!("{}=off", report::TARGET).parse()?))
    };
    filter().map_err(|error| InitError::Filter {
        value: directives.to_owned(),
        problem: error.to_string(),
    })
}

/// The same directives, those for a module of `passage` for the modules of the other crates too.
fn widened(directives: &str) -> String {
    let mut all = String::new();
    for directive in split(directives) {
        if let Some(module) = directive.strip_prefix("passage::") {
            CRATES.iter().for_each(|name| all.extend([*name, module, ","]));
        }
        all.extend([directive, ","]);
    }
    all.pop();
    all
}

/// Splits at the commas that are not within brackets.
fn split(directives: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = directives.split(move |c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests;
