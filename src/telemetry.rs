//! Metrics and logs on their way out of the process.
//!
//! [`start`] starts the telemetry thread, which merges what the shards count ([`passage_shards::metrics`])
//! and hands the totals to an OpenTelemetry collector. [`logs::init`] gives log lines their shape and a
//! thread that writes them. Neither ever pushes back on a shard: a collector or a standard output that is
//! slow or hangs costs exports or log lines, never counts, never a connection, and at most the given time at
//! the exit.

pub mod admin;
mod aggregate;
mod exposition;
mod instruments;
pub mod logs;
pub(crate) mod otlp;
mod scrape;
pub mod sentry;
pub mod spans;
pub mod traces;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use passage_shards::metrics::{AdapterName, AdapterType, Options, Outlet};
use passage_shards::pulse::Pulse;
use passage_shards::trace;
use zeroize::Zeroizing;

use aggregate::Aggregate;
use otlp::Client;
pub use otlp::message::Shape;
use scrape::Scraper;
use sentry::Reports;
use worker::{Export, Gauges, Worker};

use crate::tls::Trust;
use crate::watch::{Part, Watch};

/// What the telemetry thread needs to know. The control plane has validated it but for the endpoint's URL.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where metrics go; `None` exports none.
    pub metrics: Option<Endpoint>,
    /// Where spans go, and how many; `None` traces nothing.
    pub traces: Option<traces::Settings>,
    /// Time between two exports.
    pub metrics_interval: Duration,
    /// How durations are exported.
    pub histograms: Shape,
    /// Most label sets of a metric, the overflow among them.
    pub label_limit: usize,
    /// Whether connection metrics carry the label `client_ip`.
    pub client_ip_label: bool,
    /// The value of `deployment.environment`.
    pub environment: String,
    /// The adapters that are configured. Their series exist from the start, so that `rate()` sees their first
    /// count.
    pub adapters: Vec<(AdapterName, AdapterType)>,
}

/// Where a signal is posted.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// An `http` or `https` URL with its whole path (`…/v1/metrics`).
    pub url: String,
    /// What stands behind `Basic` in the `Authorization` header.
    pub token: Option<Token>,
    /// Who has to have certified it.
    pub trust: Trust,
}

/// What is exported, each to its own endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Counts and durations.
    Metrics,
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

impl Signal {
    /// Its name in configuration keys, paths and labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Base64 `user:password`. Wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Wraps a token as configured.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    /// The token itself, for the header.
    fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// Why telemetry could not start.
#[derive(Debug)]
pub enum StartError {
    /// The endpoint of this signal is no URL to post to. Holds what is wrong with it.
    Endpoint(Signal, String),
    /// The token of this signal cannot stand in a header.
    Token(Signal),
    /// The system did not give us a thread.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(signal, problem) => write!(
                f,
                "otel.{signal}_endpoint {problem}; it has to be the whole URL that {signal} are posted to, \
                 such as https://otlp.example.net/v1/{signal}"
            ),
            Self::Token(signal) => write!(
                f,
                "otel.{signal}_token has characters that no HTTP header can carry; it has to be the Base64 \
                 form of `user:password`",
            ),
            Self::Thread(cause) => write!(f, "the telemetry thread could not be started: {cause}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(cause) => Some(cause),
            Self::Endpoint(..) | Self::Token(_) => None,
        }
    }
}

/// The running telemetry thread.
#[derive(Debug)]
pub struct Telemetry {
    stop: Sender<Instant>,
    done: Receiver<Flush>,
    gauges: Arc<Gauges>,
    pulses: Vec<(Part, Arc<Pulse>)>,
    scraper: Scraper,
    traces: Option<traces::Traces>,
}

/// Where the shards' telemetry goes.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// What they count.
    pub metrics: Outlet,
    /// Spans; `None` if nothing is traced.
    pub traces: Option<trace::Outlet>,
}

/// How the last export ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// The collector has everything that was counted, or there is none.
    Complete,
    /// The collector did not take the last export in time; the reason is in the log.
    Failed,
}

/// Starts the telemetry thread. Each shard makes its meter and its tracer of a clone of the outlets.
///
/// # Errors
///
/// If the endpoint or the token cannot be used, or if there is no thread to be had.
pub fn start(settings: Settings) -> Result<(Telemetry, Outlets), StartError> {
    let resource = otlp::message::resource(&settings.environment);
    let (traces, spans) = match &settings.traces {
        None => (None, None),
        Some(traces) => {
            let (traces, spans) = traces::start(traces, &settings.environment)?;
            (Some(traces), Some(spans))
        }
    };
    let export = match &settings.metrics {
        None => None,
        Some(endpoint) => {
            let client = Client::new(Signal::Metrics, endpoint)?;
            let export = Export::new(client, resource, settings.metrics_interval);
            Some(
                export
                    .map_err(StartError::Thread)?
                    .with_shape(settings.histograms),
            )
        }
    };
    let (telemetry, metrics) = start_with(&settings, export, traces)?;
    Ok((
        telemetry,
        Outlets {
            metrics,
            traces: spans,
        },
    ))
}

fn start_with(
    settings: &Settings,
    export: Option<Export>,
    traces: Option<traces::Traces>,
) -> Result<(Telemetry, Outlet), StartError> {
    let options = Options {
        label_limit: settings.label_limit,
        client_ip: settings.client_ip_label,
    };
    let (outlet, arrivals) = Outlet::new(options);
    let aggregate = Aggregate::new(settings.label_limit, &settings.adapters);
    let couriers = [
        export.as_ref().map(|export| (Part::Metrics, export.pulse())),
        traces.as_ref().map(|traces| (Part::Traces, traces.pulse())),
    ];
    let (scraper, scrapes) = Scraper::new();
    let (stop, stopped) = bounded(1);
    let (finished, done) = bounded(1);
    let worker = Worker::new(
        aggregate,
        arrivals,
        scrapes,
        stopped,
        traces.as_ref().map(traces::Traces::losses).unwrap_or_default(),
        export,
    );
    let (gauges, pulse) = (worker.gauges(), worker.pulse());
    let mut pulses = vec![(Part::Telemetry, Arc::clone(&pulse))];
    pulses.extend(couriers.into_iter().flatten());
    let work = move || {
        let _ = finished.send(pulse.over(|| worker.run()));
    };
    thread::Builder::new()
        .name("telemetry".into())
        .spawn(work)
        .map_err(StartError::Thread)?;
    Ok((
        Telemetry {
            stop,
            done,
            traces,
            gauges,
            pulses,
            scraper,
        },
        outlet,
    ))
}

impl Telemetry {
    /// What sets `passage_targets_discovered`: how many distinct targets discovery knows over all routes.
    #[must_use]
    pub fn targets_discovered(&self) -> Box<dyn Fn(usize) + Send + Sync> {
        let gauges = Arc::clone(&self.gauges);
        Box::new(move |count| gauges.targets_discovered.store(count as u64, Ordering::Relaxed))
    }

    /// Says how many shards there are, so that each has its series before it counts anything.
    pub fn shards(&self, count: usize) {
        self.gauges.shards.store(count, Ordering::Relaxed);
    }

    /// Counts what Sentry does not get among what is lost.
    pub fn reports(&self, reports: &Reports) {
        // Told of once.
        let _ = self.gauges.sentry.set(reports.losses());
    }

    /// Has its threads watched, and counts what is found out about all threads.
    pub fn watch(&self, watch: &Arc<Watch>) {
        for (part, pulse) in &self.pulses {
            watch.add(*part, None, Arc::clone(pulse));
        }
        // Told of once.
        let _ = self.gauges.watch.set(Arc::clone(watch));
    }

    /// Merges what the shards have sent, exports it and the last spans a last time and ends the threads, at
    /// `deadline` at the latest. To be called once the shards have ended, so that nothing is missing.
    pub fn shutdown(self, deadline: Instant) -> Flush {
        if let Some(traces) = &self.traces {
            traces.stop(deadline);
        }
        let _ = self.stop.try_send(deadline);
        let counts = self.done.recv_deadline(deadline).unwrap_or(Flush::Failed);
        match self.traces.map(|traces| traces.wait(deadline)) {
            Some(Flush::Failed) => Flush::Failed,
            Some(Flush::Complete) | None => counts,
        }
    }
}

#[cfg(test)]
mod tests;
