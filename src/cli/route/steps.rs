//! What happened, one thing a line: the step, its milliseconds, and what it did.

use std::fmt::Write as _;
use std::time::Duration;

use passage_proto::question::{AskError, Target};
use passage_shards::metrics::error_type;

/// The lines so far.
#[derive(Default)]
pub(super) struct Steps(String);

impl Steps {
    /// A step that takes no time worth telling.
    pub(super) fn add(&mut self, name: &str, what: &str) {
        self.line(name, "", what);
    }

    /// A step and how long it took, if that is known.
    pub(super) fn timed(&mut self, name: &str, took: impl Into<Option<Duration>>, what: &str) {
        let milliseconds = |took: Duration| format!("{:.2} ms", took.as_secs_f64() * 1_000.0);
        self.line(name, &took.into().map_or_else(String::new, milliseconds), what);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, name: &str, took: &str, what: &str) {
        let _ = writeln!(self.0, "{name:<15} {took:>11}  {what}");
    }
}

/// What went wrong, as precisely as it is known.
pub(super) fn told(cause: AskError, problem: Option<&str>) -> String {
    match problem {
        None => error_type(cause).to_owned(),
        Some(problem) => format!("{} ({problem})", error_type(cause)),
    }
}

/// Where a target is, as it is written in a configuration.
pub(super) fn address(target: &Target) -> String {
    if target.host.contains(':') {
        format!("[{}]:{}", target.host, target.port)
    } else {
        format!("{}:{}", target.host, target.port)
    }
}
