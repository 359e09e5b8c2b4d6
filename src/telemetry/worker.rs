//! The telemetry thread: merges what shards hand over, and exports the totals.
//!
//! Posts are made by a courier, a thread of its own: a collector that hangs keeps boxes from going back to
//! their shards no longer than a merge takes. While a post is under way no other begins; totals are
//! cumulative, so that an export left out costs resolution only.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, tick};
use opentelemetry_proto::tonic::resource::v1::Resource;
use passage_shards::metrics::{Deltas, RequestType};
use passage_shards::pulse::{PULSE_INTERVAL, Pulse};
use tracing::{info, warn};

use super::aggregate::{Aggregate, ExportNumber, Loss, Lost, Reading, Surroundings};
use super::otlp::message::Shape;
use super::otlp::{self, Client, Complaints, PostError, Taken, message};
use super::scrape::{Scrape, Scraped};
use super::traces::Losses;
use super::{Flush, Signal, exposition, logs, sentry};
use crate::watch::Watch;

/// Shortest time between two exports.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// First pause between two tries of the last export; each further one is twice as long.
const LAST_EXPORT_BACKOFF: Duration = Duration::from_millis(200);

/// What is left of the exit's time when the last post gives up.
const EXIT_MARGIN: Duration = Duration::from_millis(100);

/// All that the telemetry thread works with.
pub(crate) struct Worker {
    aggregate: Aggregate,
    arrivals: Receiver<Box<Deltas>>,
    scrapes: Receiver<Scrape>,
    stop: Receiver<Instant>,
    span_losses: Arc<Losses>,
    gauges: Arc<Gauges>,
    pulse: Arc<Pulse>,
    export: Option<Export>,
    started: Instant,
}

/// What the process knows besides what its shards count.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Distinct targets that discovery knows.
    pub(crate) targets_discovered: AtomicU64,
    /// How many shards there are.
    pub(crate) shards: AtomicUsize,
    /// What Sentry did not get, if anything is reported.
    pub(crate) sentry: OnceLock<Arc<sentry::Losses>>,
    /// Who watches the threads, if anybody does.
    pub(crate) watch: OnceLock<Arc<Watch>>,
}

/// What exports need.
pub(crate) struct Export {
    client: Client,
    courier: Courier,
    resource: Resource,
    shape: Shape,
    start: u64,
    interval: Duration,
    not_before: Instant,
    complaints: Complaints,
}

impl Export {
    /// Exports every `interval` through this client.
    ///
    /// # Errors
    ///
    /// If there is no thread for the posts.
    pub(crate) fn new(client: Client, resource: Resource, interval: Duration) -> io::Result<Self> {
        let courier = Courier::start(client.clone())?;
        Ok(Self {
            complaints: Complaints::new(Signal::Metrics, client.endpoint()),
            client,
            courier,
            resource,
            shape: Shape::default(),
            start: message::unix_nanoseconds(SystemTime::now()),
            interval: interval.max(INTERVAL_MIN),
            not_before: Instant::now(),
        })
    }

    /// The same with histograms of this shape.
    #[must_use]
    pub(crate) fn with_shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// The sign of life of the thread that posts.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.courier.pulse)
    }

    fn loss(&self) -> Loss {
        Loss {
            dropped: self.complaints.rejected(),
            failed: self.complaints.failures(),
        }
    }

    /// The same with an interval below what operators may choose.
    #[cfg(test)]
    pub(crate) fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }
}

impl Worker {
    /// A worker that has not begun.
    #[must_use]
    pub(crate) fn new(
        aggregate: Aggregate,
        arrivals: Receiver<Box<Deltas>>,
        scrapes: Receiver<Scrape>,
        stop: Receiver<Instant>,
        span_losses: Arc<Losses>,
        export: Option<Export>,
    ) -> Self {
        let window = export.as_ref().map_or(Duration::ZERO, |export| export.interval);
        Self {
            aggregate: aggregate.with_window(window),
            arrivals,
            scrapes,
            stop,
            span_losses,
            gauges: Arc::default(),
            pulse: Arc::default(),
            export,
            started: Instant::now(),
        }
    }

    /// Where the rest of the process sets what is no count of a shard's.
    #[must_use]
    pub(crate) fn gauges(&self) -> Arc<Gauges> {
        Arc::clone(&self.gauges)
    }

    /// The thread's sign of life.
    #[must_use]
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self) -> Flush {
        let mut answers = self
            .export
            .as_ref()
            .map_or_else(never, |export| export.courier.answers.clone());
        let mut next_export = Instant::now();
        let ticks = tick(PULSE_INTERVAL);
        loop {
            self.pulse.beat();
            let due = if self.export.is_some() {
                crossbeam_channel::at(next_export)
            } else {
                never()
            };
            select! {
                recv(self.arrivals) -> deltas => match deltas {
                    Ok(deltas) => self.merge(deltas),
                    // No shard is left, nor will there be one.
                    Err(_) => self.arrivals = never(),
                },
                recv(answers) -> answer => match answer {
                    Ok(answer) => self.answered(answer),
                    // The courier is gone, as only a panic in a library makes it go: no exports but the last
                    // one.
                    Err(_) => answers = never(),
                },
                recv(due) -> _ => next_export = self.begin_export(next_export),
                recv(self.scrapes) -> scrape => match scrape {
                    Ok(scrape) => self.scrape(scrape),
                    Err(_) => self.scrapes = never(),
                },
                recv(ticks) -> _ => {}
                recv(self.stop) -> deadline => {
                    self.pulse.retire();
                    return deadline.map_or(Flush::Failed, |deadline| self.finish(deadline));
                }
            }
        }
    }

    /// Merges what the shards have sent until now, and hands the totals out as text. Exports know nothing of
    /// it: a series is still new to the collector although it was scraped.
    fn scrape(&mut self, scrape: Scrape) {
        while let Ok(deltas) = self.arrivals.try_recv() {
            self.merge(deltas);
        }
        self.refresh();
        let number = self.aggregate.begin_export();
        let families = self.aggregate.read(self.surroundings(), scrape.reading);
        let text = exposition::encode(&families, scrape.format);
        (scrape.then)(Scraped { number, text });
    }

    fn refresh(&mut self) {
        self.aggregate.turn(Instant::now());
        let shards = self.gauges.shards.load(Ordering::Relaxed);
        self.aggregate.expect_shards(shards);
    }

    fn merge(&mut self, deltas: Box<Deltas>) {
        self.aggregate.turn(Instant::now());
        self.aggregate.merge(&deltas);
        deltas.give_back();
    }

    /// Gives the courier an export, unless it is still on its way with the last one or the collector wants to
    /// be left alone. Says when the next export is due.
    fn begin_export(&mut self, due: Instant) -> Instant {
        self.refresh();
        let around = self.surroundings();
        let now = Instant::now();
        let Some(export) = &mut self.export else {
            return now;
        };
        if export.courier.is_free() && now >= export.not_before {
            let number = self.aggregate.begin_export();
            let families = self.aggregate.read(around, Reading::BirthsFirst);
            let time = message::unix_nanoseconds(SystemTime::now());
            export.courier.send(
                number,
                message::encode(&families, &export.resource, export.shape, export.start, time),
            );
        }
        (due + export.interval).max(now + export.interval / 2)
    }

    fn answered(&mut self, (number, answer): (ExportNumber, Result<Taken, PostError>)) {
        let Some(export) = &mut self.export else { return };
        export.courier.arrived();
        match answer {
            Ok(taken) => {
                self.aggregate.export_taken(number);
                export.complaints.taken(&taken);
            }
            Err(error) => {
                if let Some(wait) = error.retry_after() {
                    export.not_before = Instant::now() + wait;
                }
                export.complaints.failed(&error);
            }
        }
    }

    /// Merges what is left and exports it a last time, with what every series really counted. Retries while
    /// there is time, because no export comes after this one.
    fn finish(mut self, deadline: Instant) -> Flush {
        while let Ok(deltas) = self.arrivals.try_recv() {
            self.merge(deltas);
        }
        self.say_goodbye();
        self.await_courier(deadline);
        let around = self.surroundings();
        let Some(export) = &self.export else {
            return Flush::Complete;
        };
        let families = self.aggregate.read(around, Reading::Final);
        let time = message::unix_nanoseconds(SystemTime::now());
        let message = message::encode(&families, &export.resource, export.shape, export.start, time);
        let mut backoff = LAST_EXPORT_BACKOFF;
        loop {
            let error = match export
                .client
                .post(&message, otlp::remaining(deadline).saturating_sub(EXIT_MARGIN))
            {
                Ok(taken) if taken.rejected == 0 => return Flush::Complete,
                Ok(taken) => {
                    warn!(
                        rejected = taken.rejected,
                        cause = taken.message,
                        "the last export was not taken whole"
                    );
                    return Flush::Failed;
                }
                Err(error) => error,
            };
            let pause = backoff.max(error.retry_after().unwrap_or_default());
            if !error.is_passing() || pause + EXIT_MARGIN >= otlp::remaining(deadline) {
                let endpoint = export.client.endpoint();
                warn!(endpoint, cause = %error, "the last export of metrics was not taken");
                return Flush::Failed;
            }
            let _ = after(pause).recv();
            backoff *= 2;
        }
    }

    /// Lets an export that is under way arrive, so that it does not overtake the last one; but not for long.
    fn await_courier(&mut self, deadline: Instant) {
        let Some(export) = &self.export else { return };
        if !export.courier.is_free() {
            let patience = otlp::remaining(deadline) / 4;
            if let Ok(answer) = export.courier.answers.recv_timeout(patience) {
                self.answered(answer);
            }
        }
    }

    fn say_goodbye(&self) {
        for kind in RequestType::ALL {
            if let Some(summary) = self.aggregate.summary(kind) {
                info!(
                    request_type = kind.label(),
                    count = summary.count,
                    median_ms = summary.median.as_secs_f64() * 1e3,
                    p99_ms = summary.p99.as_secs_f64() * 1e3,
                    max_ms = summary.max.as_secs_f64() * 1e3,
                    "requests answered"
                );
            }
        }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            uptime: self.started.elapsed(),
            targets_discovered: self.gauges.targets_discovered.load(Ordering::Relaxed),
            lost: Lost {
                metrics: self.export.as_ref().map(Export::loss).unwrap_or_default(),
                traces: Loss {
                    dropped: self.span_losses.spans.load(Ordering::Relaxed),
                    failed: self.span_losses.exports.load(Ordering::Relaxed),
                },
                logs: logs::loss(),
                sentry: self
                    .gauges
                    .sentry
                    .get()
                    .map(|losses| losses.loss())
                    .unwrap_or_default(),
            },
            thread_failures: self
                .gauges
                .watch
                .get()
                .map(|watch| watch.failures())
                .unwrap_or_default(),
        }
    }
}

/// Carries one export at a time to the collector.
struct Courier {
    exports: Sender<(ExportNumber, Vec<u8>)>,
    answers: Receiver<(ExportNumber, Result<Taken, PostError>)>,
    under_way: bool,
    pulse: Arc<Pulse>,
}

impl Courier {
    fn start(client: Client) -> io::Result<Self> {
        let (exports, orders) = bounded::<(ExportNumber, Vec<u8>)>(1);
        let (answer, answers) = bounded(1);
        let pulse = Arc::new(Pulse::resting());
        let own_pulse = Arc::clone(&pulse);
        let carry = move || {
            for (number, message) in orders {
                if answer.send((number, client.post(&message, otlp::POST))).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("otlp-metrics".into())
            .spawn(move || own_pulse.over(carry))?;
        Ok(Self {
            exports,
            answers,
            under_way: false,
            pulse,
        })
    }

    fn is_free(&self) -> bool {
        !self.under_way
    }

    fn send(&mut self, number: ExportNumber, message: Vec<u8>) {
        self.under_way = self.exports.try_send((number, message)).is_ok();
    }

    fn arrived(&mut self) {
        self.under_way = false;
    }
}
