//! Errors on their way to Sentry: panics, adapters that fail, targets that cannot be reached, configurations
//! that are wrong.
//!
//! Whoever meets an error says so with a `tracing` event ([`passage_shards::report`]); a [`Reporter`] in the
//! subscriber makes a report of it, unless there were too many of its kind, and leaves it in a bounded queue.
//! Events are made and posted by a thread of their own, so that a Sentry that is slow, hangs or refuses costs
//! reports, which are counted, and nothing else. There are no breadcrumbs, because a thread serves many
//! connections, and no scopes, because a report has all that its event says.

mod courier;
mod quota;
mod report;

use std::fmt;
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use passage_shards::pulse::Pulse;
use sentry::types::Dsn;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use self::courier::Courier;
use self::quota::Quota;
use self::report::{Details, Kind, Report};
use crate::telemetry::Token;
use crate::telemetry::aggregate::Loss;
use crate::tls::Trust;
use crate::watch::{Part, Watch};

/// Most reports that wait to be posted.
const REPORTS_MAX: usize = 64;

/// Where and how to report.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The DSN. It contains a key.
    pub address: Token,
    /// The environment of all events; empty for none.
    pub environment: String,
    /// Whether every event is logged.
    pub debug: bool,
    /// Whether events say who and where: player name and UUID, IP address, target.
    pub send_pii: bool,
    /// Who has to have certified Sentry.
    pub trust: Trust,
}

/// Why reporting could not start.
#[derive(Debug)]
pub enum StartError {
    /// `sentry.address` is no DSN.
    Address,
    /// The system did not give us a thread.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str(
                "sentry.address is no DSN; it is shown in the settings of the Sentry project under Client \
                 Keys and looks like https://publickey@o0.ingest.sentry.io/1234",
            ),
            Self::Thread(cause) => write!(f, "the thread for Sentry could not be started: {cause}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Whether events can be sent there.
#[must_use]
pub fn is_dsn(address: &str) -> bool {
    address.parse::<Dsn>().is_ok()
}

/// The running reports.
#[derive(Debug)]
pub struct Reports {
    stop: Sender<Instant>,
    ended: Receiver<()>,
    outbox: Outbox,
    pulse: Arc<Pulse>,
}

/// Starts reporting what the threads say with their events; panics only after [`Reports::watch_panics`].
///
/// # Errors
///
/// If the address is no DSN, or there is no thread to be had.
pub fn start(settings: Settings) -> Result<Reports, StartError> {
    let dsn: Dsn = settings
        .address
        .expose()
        .parse()
        .map_err(|_| StartError::Address)?;
    let (notes, arrivals) = bounded(REPORTS_MAX);
    let (stop, stopped) = bounded(1);
    let (ending, ended) = bounded::<()>(0);
    let quotas = Arc::new(Quotas::new(Instant::now()));
    let courier_quotas = Arc::clone(&quotas);
    let pulse = Arc::new(Pulse::resting());
    let own_pulse = Arc::clone(&pulse);
    thread::Builder::new()
        .name("sentry".into())
        .spawn(move || {
            own_pulse.over(|| Courier::new(&dsn, settings, arrivals, stopped, courier_quotas).run());
            drop(ending);
        })
        .map_err(StartError::Thread)?;
    Ok(Reports {
        stop,
        ended,
        outbox: Outbox { notes, quotas },
        pulse,
    })
}

impl Reports {
    /// The layer that reports events.
    pub fn reporter<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let filter = FilterFn::new(|metadata| metadata.target() == passage_shards::report::TARGET);
        Reporter {
            outbox: self.outbox.clone(),
        }
        .with_filter(filter)
    }

    /// Reports every panic of the process from now on, after what was done about panics before.
    pub fn watch_panics(&self) {
        let outbox = self.outbox.clone();
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            previous(panic);
            outbox.panicked(panic);
        }));
    }

    /// Has its thread watched.
    pub fn watch(&self, watch: &Watch) {
        watch.add(Part::Sentry, None, Arc::clone(&self.pulse));
    }

    /// What Sentry did not get.
    pub(crate) fn losses(&self) -> Arc<Losses> {
        Arc::clone(&self.outbox.quotas.losses)
    }

    /// Asks for the end: what waits is posted, until `deadline` at the latest. Does not wait for it.
    pub fn stop(&self, deadline: Instant) {
        let _ = self.stop.try_send(deadline);
    }

    /// Stops, and waits until everything is posted, or for `deadline`. Says which.
    pub fn shutdown(self, deadline: Instant) -> bool {
        self.stop(deadline);
        let end = self.ended.recv_deadline(deadline);
        end == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
    }
}

/// What a thread leaves.
#[derive(Debug)]
enum Note {
    Report(Box<Report>),
    /// What is known about the connection that panicked on this thread.
    Addition(ThreadId, Details),
}

/// Where threads leave what they report. Never waits.
#[derive(Clone, Debug)]
struct Outbox {
    notes: Sender<Note>,
    quotas: Arc<Quotas>,
}

impl Outbox {
    fn leave(&self, report: Report) {
        let (kind, withheld) = (report.kind, report.withheld);
        if self.notes.try_send(Note::Report(Box::new(report))).is_err() {
            self.quotas.withhold(kind, withheld);
        }
    }

    fn panicked(&self, panic: &PanicHookInfo<'_>) {
        let Some(withheld) = self.quotas.pass(Kind::Panic) else {
            return;
        };
        let mut report = Report::new(Kind::Panic, withheld);
        let words = panic.payload_as_str().unwrap_or("a value that is no text");
        report.details.add("message", format_args!("{words}"));
        if let Some(place) = panic.location() {
            report.details.add("location", format_args!("{place}"));
        }
        report.backtrace = Some(backtrace::Backtrace::new_unresolved());
        self.leave(report);
    }
}

/// A quota for each kind of report, and what is lost over all of them.
#[derive(Debug)]
struct Quotas {
    by_kind: [Quota; Kind::ALL.len()],
    losses: Arc<Losses>,
}

/// What Sentry did not get since the start.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Losses {
    /// Reports that did not go out, and posts that were not taken.
    pub(crate) fn loss(&self) -> Loss {
        Loss {
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

impl Quotas {
    fn new(epoch: Instant) -> Self {
        Self {
            by_kind: Kind::ALL.map(|_| Quota::new(epoch)),
            losses: Arc::default(),
        }
    }

    /// Lets a report through, with the number of those before it that did not go out; or counts it as lost.
    fn pass(&self, kind: Kind) -> Option<u64> {
        let passed = self.of(kind).pass(Instant::now());
        if passed.is_none() {
            self.losses.dropped.fetch_add(1, Ordering::Relaxed);
        }
        passed
    }

    /// A report that was let through did not go out after all; so many before it are still untold.
    fn withhold(&self, kind: Kind, withheld: u64) {
        self.of(kind).withhold(withheld + 1);
        self.losses.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A post was not taken.
    fn fail(&self) {
        self.losses.failed.fetch_add(1, Ordering::Relaxed);
    }

    #[expect(clippy::indexing_slicing, reason = "there is one for each kind")]
    fn of(&self, kind: Kind) -> &Quota {
        &self.by_kind[kind as usize]
    }
}

/// Makes reports of events.
struct Reporter {
    outbox: Outbox,
}

impl<S: Subscriber> Layer<S> for Reporter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(kind) = Kind::named(event.metadata().name()) else {
            return;
        };
        if kind == Kind::Panic {
            let mut details = Details::default();
            event.record(&mut details);
            // Where there is no room for it, its panic may go without.
            let _ = self
                .outbox
                .notes
                .try_send(Note::Addition(thread::current().id(), details));
        } else if let Some(withheld) = self.outbox.quotas.pass(kind) {
            let mut report = Report::new(kind, withheld);
            event.record(&mut report.details);
            self.outbox.leave(report);
        }
    }
}

#[cfg(test)]
mod tests;
