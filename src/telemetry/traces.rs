//! Spans on their way to the collector: in batches, one post at a time, each tried twice.
//!
//! Shards hand over finished spans as plain data ([`passage_shards::trace`]): one that
//! `tracing-opentelemetry` makes costs over a microsecond on the shard even if it is sampled out, and is
//! entered per thread. The control side, which is in no such hurry, makes its spans with it
//! ([`spans`](super::spans)). Here both become the same data of the OpenTelemetry SDK and go out through the
//! exporter of `opentelemetry-otlp`. The batch processor of the SDK is not used because it does not tell how
//! much it dropped, nor how posts ended.

mod courier;
pub(super) mod data;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::trace::SpanData;
use passage_shards::pulse::Pulse;
use passage_shards::trace::{self, Finished, Outlet, Seed};

use self::courier::Courier;
use super::otlp::{self, Client, Complaints, PostError};
use super::spans::Recorder;
use super::{Endpoint, Flush, Signal, StartError};

/// Spans that are posted at once. A batch is sent when it has as many; it may have a trace more.
const BATCH_SPANS: usize = 512;

/// How long a span waits for others to be posted with.
const BATCH_AGE: Duration = Duration::from_secs(2);

/// How often it is looked for spans. Nobody waits at the channels' ends, because a shard would have to wake
/// them: a system call for every trace, and often the loss of its CPU in the middle of its work.
const ROUND: Duration = Duration::from_millis(100);

/// How long a post that failed waits for its second try, unless the collector asks for more.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause that a collector can ask for and still get the same batch; the next one waits for longer.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is left of the exit's time when the last post gives up.
const EXIT_MARGIN: Duration = Duration::from_millis(100);

/// Where spans go, and how many.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where they are posted.
    pub endpoint: Endpoint,
    /// Which connections are traced.
    pub options: trace::Options,
    /// Where the control side leaves its spans.
    pub recorder: Recorder,
}

/// The running exporter.
#[derive(Debug)]
pub(super) struct Traces {
    stop: Sender<Instant>,
    done: Receiver<Flush>,
    losses: Arc<Losses>,
    pulse: Arc<Pulse>,
}

/// What did not arrive since the start.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Spans that were dropped after the shards had handed them over or the control side had ended them,
    /// those among them that the collector rejected.
    pub(super) spans: AtomicU64,
    /// Posts that the collector did not take.
    pub(super) exports: AtomicU64,
}

/// Starts the exporter. Each shard makes its tracer of a clone of the outlet. `environment` is told with
/// every span.
///
/// # Errors
///
/// If the endpoint or the token cannot be used, or if there is no thread to be had.
pub(super) fn start(settings: &Settings, environment: &str) -> Result<(Traces, Outlet), StartError> {
    start_with(settings, environment, BATCH_AGE, RETRY_PAUSE)
}

fn start_with(
    settings: &Settings,
    environment: &str,
    age: Duration,
    pause: Duration,
) -> Result<(Traces, Outlet), StartError> {
    let client = Client::new(Signal::Traces, &settings.endpoint)?;
    let (outlet, arrivals) = Outlet::new(settings.options, seed()?);
    let (stop, stopped) = bounded(1);
    let (finished, done) = bounded(1);
    let losses = settings.recorder.losses();
    let exporter = Exporter {
        complaints: Complaints::new(Signal::Traces, client.endpoint()),
        courier: Courier::new(client, environment)?,
        scope: data::scope(),
        arrivals,
        recorded: settings.recorder.spans(),
        stop: stopped,
        losses: Arc::clone(&losses),
        batch: Batch::default(),
        not_before: Instant::now(),
        age,
        pause,
    };
    let pulse = Arc::new(Pulse::resting());
    let own_pulse = Arc::clone(&pulse);
    let work = move || {
        // Nobody may wait for it any more.
        let _ = finished.send(own_pulse.over(|| exporter.run()));
    };
    let thread = thread::Builder::new().name("otlp-traces".into());
    thread.spawn(work).map_err(StartError::Thread)?;
    let traces = Traces {
        stop,
        done,
        losses,
        pulse,
    };
    Ok((traces, outlet))
}

fn seed() -> Result<Seed, StartError> {
    let mut words = [0; 4];
    for word in &mut words {
        *word = getrandom::u64().map_err(|error| StartError::Thread(error.into()))?;
    }
    Ok(Seed(words))
}

impl Traces {
    pub(super) fn losses(&self) -> Arc<Losses> {
        Arc::clone(&self.losses)
    }

    /// The sign of life of the thread that posts.
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Has what is left exported by `deadline`, without waiting for it.
    pub(super) fn stop(&self, deadline: Instant) {
        let _ = self.stop.try_send(deadline);
    }

    /// Waits until it has stopped, until `deadline` at the latest.
    pub(super) fn wait(self, deadline: Instant) -> Flush {
        self.done.recv_deadline(deadline).unwrap_or(Flush::Failed)
    }
}

/// All that the exporter's thread works with.
struct Exporter {
    courier: Courier,
    scope: InstrumentationScope,
    complaints: Complaints,
    /// From the shards.
    arrivals: Receiver<Finished>,
    /// From the control side.
    recorded: Receiver<SpanData>,
    stop: Receiver<Instant>,
    losses: Arc<Losses>,
    batch: Batch,
    /// The collector wants to be left alone until then.
    not_before: Instant,
    age: Duration,
    pause: Duration,
}

/// Spans that wait for their post.
#[derive(Default)]
struct Batch {
    spans: Vec<SpanData>,
    since: Option<Instant>,
}

impl Exporter {
    /// Works until it is told to stop. While it cannot post, spans wait in the channels, and where one is
    /// full they are dropped and counted.
    fn run(mut self) -> Flush {
        loop {
            self.collect();
            let due = self.batch.due(self.age).map(|due| due.max(self.not_before));
            let word = if due.is_some_and(|due| due <= Instant::now()) {
                self.export()
            } else {
                match self.stop.recv_timeout(ROUND) {
                    Ok(deadline) => Some(deadline),
                    Err(RecvTimeoutError::Disconnected) => Some(Instant::now()),
                    Err(RecvTimeoutError::Timeout) => None,
                }
            };
            if let Some(deadline) = word {
                return self.finish(deadline);
            }
        }
    }

    /// Fills the batch with what waits.
    fn collect(&mut self) {
        while !self.batch.is_full() && self.take() {}
    }

    /// Posts the batch, a second time if the first failed for a passing reason. Gives the deadline, and keeps
    /// the batch, if the word to stop came in between.
    fn export(&mut self) -> Option<Instant> {
        let Err(error) = self.post(self.batch.spans.clone(), otlp::POST) else {
            self.batch.clear();
            return None;
        };
        let pause = self.pause.max(error.retry_after().unwrap_or_default());
        if error.is_passing() && pause <= RETRY_PAUSE_MAX {
            match self.stop.recv_timeout(pause) {
                Ok(deadline) => return Some(deadline),
                Err(RecvTimeoutError::Disconnected) => return Some(Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.post(self.batch.spans.clone(), otlp::POST).is_ok() {
                self.batch.clear();
                return None;
            }
        } else {
            self.not_before = Instant::now() + error.retry_after().unwrap_or_default();
        }
        self.lose(self.batch.spans.len() as u64);
        self.batch.clear();
        None
    }

    /// Posts all that is left, as far as there is time.
    fn finish(mut self, deadline: Instant) -> Flush {
        let mut flush = Flush::Complete;
        loop {
            self.collect();
            if self.batch.spans.is_empty() {
                return flush;
            }
            if let Err(error) = self.post_before(deadline) {
                let pause = self.pause.max(error.retry_after().unwrap_or_default());
                let waits = error.is_passing() && pause + EXIT_MARGIN < otlp::remaining(deadline);
                if waits {
                    thread::park_timeout(pause);
                }
                if !waits || self.post_before(deadline).is_err() {
                    self.lose(self.batch.spans.len() as u64);
                    flush = Flush::Failed;
                }
            }
            self.batch.clear();
        }
    }

    /// Takes what waits in one of the channels; `false` if nothing does.
    fn take(&mut self) -> bool {
        if let Ok(finished) = self.arrivals.try_recv() {
            self.batch.add(data::of_shard(finished, &self.scope));
        } else if let Ok(span) = self.recorded.try_recv() {
            self.batch.add([span]);
        } else {
            return false;
        }
        true
    }

    fn post_before(&mut self, deadline: Instant) -> Result<(), PostError> {
        let patience = otlp::remaining(deadline).saturating_sub(EXIT_MARGIN);
        self.post(self.batch.spans.clone(), patience)
    }

    fn post(&mut self, spans: Vec<SpanData>, patience: Duration) -> Result<(), PostError> {
        match self.courier.post(spans, patience) {
            Ok(taken) => {
                self.lose(taken.rejected);
                self.complaints.taken(&taken);
                Ok(())
            }
            Err(error) => {
                self.losses.exports.fetch_add(1, Ordering::Relaxed);
                self.complaints.failed(&error);
                Err(error)
            }
        }
    }

    fn lose(&self, spans: u64) {
        self.losses.spans.fetch_add(spans, Ordering::Relaxed);
    }
}

impl Batch {
    fn add(&mut self, spans: impl IntoIterator<Item = SpanData>) {
        self.spans.extend(spans);
        self.since.get_or_insert_with(Instant::now);
    }

    fn is_full(&self) -> bool {
        self.spans.len() >= BATCH_SPANS
    }

    /// When it is posted; `None` while there is nothing in it.
    fn due(&self, age: Duration) -> Option<Instant> {
        let since = self.since?;
        Some(if self.is_full() { since } else { since + age })
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.since = None;
    }
}
