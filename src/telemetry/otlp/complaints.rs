//! What is said about a collector that does not take what it is sent.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{PostError, Taken};
use crate::telemetry::Signal;

/// How often a lasting failure is warned about.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Warns about failures: at the first one, then once in a while with how many there were, and when it is
/// over.
pub(crate) struct Complaints {
    signal: Signal,
    endpoint: String,
    failures: u64,
    rejected: u64,
    in_a_row: u64,
    warned: Option<Instant>,
    warned_of_rejection: Option<Instant>,
}

impl Complaints {
    /// Nothing to complain about yet.
    #[must_use]
    pub(crate) fn new(signal: Signal, endpoint: String) -> Self {
        Self {
            signal,
            endpoint,
            failures: 0,
            rejected: 0,
            in_a_row: 0,
            warned: None,
            warned_of_rejection: None,
        }
    }

    /// Posts that were not taken, since the start.
    #[must_use]
    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    /// Pieces of taken posts that were rejected, since the start.
    #[must_use]
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// A post was not taken.
    pub(crate) fn failed(&mut self, error: &PostError) {
        self.failures += 1;
        self.in_a_row += 1;
        if is_due(&mut self.warned) {
            let (signal, endpoint, failures) = (self.signal, &self.endpoint, self.in_a_row);
            let remedy = match signal {
                Signal::Metrics | Signal::Logs => "they go along next time",
                Signal::Traces => "they are dropped if the second try fails as well",
            };
            warn!(endpoint, failures, cause = %error, "{signal} were not exported; {remedy}");
        }
    }

    /// A post was taken, though perhaps not all of it.
    pub(crate) fn taken(&mut self, taken: &Taken) {
        let (signal, endpoint) = (self.signal, &self.endpoint);
        if self.in_a_row > 0 {
            info!(endpoint, failures = self.in_a_row, "{signal} are exported again");
        }
        (self.in_a_row, self.warned) = (0, None);
        self.rejected += taken.rejected;
        if taken.rejected > 0 && is_due(&mut self.warned_of_rejection) {
            let (rejected, cause) = (taken.rejected, &taken.message);
            warn!(
                endpoint,
                rejected, cause, "the collector rejected a part of the {signal}"
            );
        }
    }
}

fn is_due(last: &mut Option<Instant>) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL);
    if due {
        *last = Some(Instant::now());
    }
    due
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_lasting_failure_is_told_once_with_endpoint_and_cause_and_its_end_too() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut complaints = Complaints::new(Signal::Metrics, "http://collector/v1/metrics".into());
            let status = http::StatusCode::UNAUTHORIZED;
            let error = PostError::Status {
                signal: Signal::Metrics,
                status,
                text: "who are you?".into(),
                retry_after: None,
            };
            (0..100).for_each(|_| complaints.failed(&error));
            (0..10).for_each(|_| complaints.taken(&Taken::default()));
            (0..10).for_each(|_| {
                complaints.taken(&Taken {
                    rejected: 3,
                    message: "too many".into(),
                })
            });
            assert_eq!(complaints.failures(), 100);
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let [failed, again, rejected] = text.lines().collect::<Vec<_>>()[..] else {
            panic!("{text}")
        };
        assert!(
            failed.contains("WARN") && failed.contains("endpoint=\"http://collector/v1/metrics\""),
            "{failed}"
        );
        assert!(
            failed.contains("401 Unauthorized (is otel.metrics_token right?): who are you?"),
            "{failed}"
        );
        assert!(
            again.contains("INFO") && again.contains("failures=100"),
            "{again}"
        );
        assert!(rejected.contains("rejected=3 cause=\"too many\""), "{rejected}");
    }
}
