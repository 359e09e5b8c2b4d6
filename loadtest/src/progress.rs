//! The progress bar.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};
use passage_loadtest::measure::Watcher;

/// A line for whoever watches, out of the way of results.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Thousandths of a run.
const STEPS: u64 = 1000;

/// A bar on standard error; hidden unless that is a terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(title: &str) -> Self {
        let bar = ProgressBar::new(STEPS);
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {elapsed} {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(title.to_owned());
        Self(bar)
    }
}

impl Watcher for Bar {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000"
    )]
    fn watch(&mut self, share: f64, units: u64, failed: u64) {
        self.0.set_position((share * 1000.0) as u64);
        self.0.set_message(format!("{units} done, {failed} failed"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
