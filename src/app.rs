//! Puts everything together: the order in which Passage starts, what it says about itself, and the order in
//! which it ends.
//!
//! Start: configuration, logs, plan, telemetry, admin listener, control thread, the first targets that it
//! finds out, shards. No player is let in before all of it stands. End, in the reverse order: shards first
//! (their logins still need the control thread), then the control thread, then telemetry, which so has every
//! count.

mod announce;
mod failure;
mod plan;
mod reports;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, never, select, unbounded};
use passage_shards::limits::{files_wanted, within_files};
use passage_shards::pool::{self, ShardExit, Shards};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{self, Config, Loaded};
use crate::control::{self, Control, Ended};
use crate::telemetry::admin::{self, Admin};
use crate::telemetry::sentry::Reports;
use crate::telemetry::spans::Recorder;
use crate::telemetry::{self, Telemetry, logs};
use crate::tls::Trust;
use crate::watch::{self, Part, Watch};

pub(crate) use self::announce::{describe, protection};
pub use self::failure::Failure;
pub use self::plan::{Plan, Site, Way};

/// Signals this close together are one: whoever signals a whole process group often signals its members as
/// well.
const ONE_SIGNAL: Duration = Duration::from_millis(500);
/// How long the start waits for the first targets of discoveries that ask the network.
const FIRST_NEWS_MAX: Duration = Duration::from_secs(5);
/// How long the control thread may take to end: its workers have nobody left to answer.
const CONTROL_END_MAX: Duration = Duration::from_secs(1);
/// How long the control thread's end and the last exports may take together: with the last log lines and
/// reports, 5 s.
const FLUSH_MAX: Duration = Duration::from_secs(4);
/// How long the last log lines and reports may take, which a blocked standard output never writes.
const LOGS_FLUSH_MAX: Duration = Duration::from_secs(1);
/// How long each step of the end may take after a second signal: enough where nothing hangs.
const AT_ONCE: Duration = Duration::from_millis(200);
/// How long what is left may take to drain once a part of the process has died.
const DRAIN_OF_THE_REST_MAX: Duration = Duration::from_secs(5);

/// Runs Passage until it is told to end.
///
/// # Errors
///
/// Why it did not start, or what of it died.
pub fn run(named: Option<&Path>) -> Result<(), Failure> {
    let loaded = match config::load(named) {
        Ok(loaded) => loaded,
        Err(problems) => {
            reports::misconfigured(&problems);
            return Err(Failure::Config(problems));
        }
    };
    let trust = Trust::new(&loaded.config.tls.authorities);
    let reports = reports::start(&loaded.config.sentry, &trust)?;
    let otel = &loaded.config.otel;
    let collector = otel.logs.as_ref().map(|logs| plan::endpoint(logs, &trust));
    let collector = collector.as_ref().map(|endpoint| (endpoint, &*otel.environment));
    let recorder = Recorder::default();
    let traced = otel.traces.as_ref().map(|_| &recorder);
    let logs = logs::init(reports.as_ref(), collector, traced).map_err(Failure::Logs)?;
    if let Some(reports) = &reports {
        reports.watch_panics();
    }
    let watch = Arc::<Watch>::default();
    logs.watch(&watch);
    if let Some(reports) = &reports {
        reports.watch(&watch);
    }
    let result = run_logged(&loaded, trust, reports.as_ref(), recorder, &watch);
    if let Err(failure) = &result {
        tracing::error!("{failure}");
        reports::failed(failure);
    }
    let flush_max = match &result {
        Err(Failure::Interrupted) => AT_ONCE,
        _ => LOGS_FLUSH_MAX,
    };
    let deadline = Instant::now() + flush_max;
    if let Some(reports) = &reports {
        reports.stop(deadline);
    }
    logs.flush(deadline);
    if let Some(reports) = reports {
        reports.shutdown(deadline);
    }
    result
}

fn run_logged(
    loaded: &Loaded,
    trust: Trust,
    reports: Option<&Reports>,
    recorder: Recorder,
    watch: &Arc<Watch>,
) -> Result<(), Failure> {
    // Signals are caught before anything listens, so that one that comes during the start drains as well.
    let signals = catch_signals()?;
    let mut config = loaded.config.clone();
    announce::warnings(loaded);
    announce::untrusted(&trust);
    keep_within_files(&mut config);
    let config = &config;
    let plan = Plan::new(config, trust)?;
    let running = Running::start(config, plan, recorder, watch)?;
    let _watchdog = watch::start(watch).map_err(Failure::Threads)?;
    if let Some(reports) = reports {
        running.telemetry.reports(reports);
    }
    announce::started(loaded, &running.shards, running.admin.as_ref());
    let cause = end_of(&signals, running.control.ended(), running.shards.exits());
    running.end(config, cause, &signals, reports)
}

/// Everything that runs.
struct Running {
    shards: Shards,
    control: Control,
    telemetry: Telemetry,
    admin: Option<Admin>,
}

/// Why the process ends.
enum Cause {
    /// It was told to, by this signal.
    Signal(i32),
    /// A part of it died.
    Death(Failure),
}

impl Running {
    fn start(config: &Config, plan: Plan, recorder: Recorder, watch: &Arc<Watch>) -> Result<Self, Failure> {
        let listener = config
            .admin
            .address
            .map(admin::bind)
            .transpose()
            .map_err(Failure::Admin)?;
        let (telemetry, outlets) =
            telemetry::start(plan.telemetry(config, recorder)).map_err(Failure::Telemetry)?;
        telemetry.watch(watch);
        let admin = listener.map(|listener| Admin::start(listener, &telemetry, watch));
        let admin = admin.transpose().map_err(Failure::Admin)?;
        let settings = control::Settings {
            services: plan.services.clone(),
            resolve: Arc::new(control::resolve_by_system),
            workers: config.bounds.workers,
            fixed_targets: plan.fixed_targets(),
            targets_discovered: telemetry.targets_discovered(),
            meter: outlets.metrics.clone().control_meter(),
        };
        let (control, line) = control::start(settings).map_err(Failure::Threads)?;
        let news = control.first_news(Instant::now() + FIRST_NEWS_MAX);
        let shards = pool::start(plan.blueprint(config, line, news, outlets)).map_err(Failure::Shards)?;
        control.attach(shards.publisher());
        telemetry.shards(shards.count());
        watch.add(Part::Control, None, Arc::clone(control.pulse()));
        for (number, pulse) in shards.pulses().enumerate() {
            watch.add(Part::Shard, Some(number), pulse);
        }
        if let Some(admin) = &admin {
            admin.ready();
        }
        Ok(Self {
            shards,
            control,
            telemetry,
            admin,
        })
    }

    /// Drains, stops and flushes, in this order. A second signal cuts the drain or the flush short. Threads
    /// that still post something then are left behind, and end with the process.
    fn end(
        self,
        config: &Config,
        cause: Cause,
        signals: &Receiver<i32>,
        reports: Option<&Reports>,
    ) -> Result<(), Failure> {
        let Self {
            shards,
            control,
            telemetry,
            admin,
        } = self;
        if let Some(admin) = &admin {
            admin.draining();
        }
        let (result, patience) = match cause {
            Cause::Signal(signal) => {
                let patience = config.bounds.drain;
                let name = signal_hook::low_level::signal_name(signal).unwrap_or("signal");
                tracing::info!(
                    "{name}: no new connections; logins and relays have {} s to end, a second signal ends \
                     them at once",
                    patience.as_secs()
                );
                (Ok(()), patience)
            }
            Cause::Death(failure) => {
                tracing::error!("{failure}; ending the process");
                (Err(failure), config.bounds.drain.min(DRAIN_OF_THE_REST_MAX))
            }
        };
        let drained = drain(shards, patience, signals);
        let interrupted = drained.is_none();
        if let Some(report) = drained {
            tracing::info!(finished = report.finished, cut = report.cut, "Drained");
        }
        let (control_max, flush_max) = if interrupted {
            (AT_ONCE, 2 * AT_ONCE)
        } else {
            (CONTROL_END_MAX, FLUSH_MAX)
        };
        let deadline = Instant::now() + flush_max;
        if !control.shutdown(Instant::now() + control_max) {
            tracing::warn!("a worker still waits for a session server or DNS; it is left behind");
        }
        if let Some(reports) = reports {
            reports.stop(deadline);
        }
        let flushed = interruptible("flush", signals, move || telemetry.shutdown(deadline));
        if flushed == Some(telemetry::Flush::Failed) {
            tracing::warn!("the last telemetry did not reach the collector");
        }
        if interrupted || flushed.is_none() {
            result.and(Err(Failure::Interrupted))
        } else {
            result
        }
    }
}

/// Waits for a signal, or for the death of the control thread, of a shard or of the thread that hears
/// signals. Nobody can take over from these: logins would be refused, the share of the connections that the
/// kernel gives to the shard would be lost, or the process could only be killed, with all who are in it.
/// A process that ends with an error is started anew by whatever runs it; one that lives on half dead is not.
fn end_of(signals: &Receiver<i32>, control: &Receiver<Ended>, shards: &Receiver<ShardExit>) -> Cause {
    select! {
        recv(signals) -> signal => match signal {
            Ok(signal) => Cause::Signal(signal),
            Err(_) => Cause::Death(Failure::SignalsDied),
        },
        recv(control) -> _ => Cause::Death(Failure::ControlDied),
        recv(shards) -> exit => Cause::Death(Failure::ShardDied(match exit {
            Ok(exit) => match exit.end {
                Ok(_) => format!("shard {} ended without being asked", exit.shard),
                Err(reason) => format!("shard {}: {reason}", exit.shard),
            },
            Err(_) => "all shards are gone".into(),
        })),
    }
}

/// Drains; `None` if a second signal cut it short.
fn drain(shards: Shards, patience: Duration, signals: &Receiver<i32>) -> Option<pool::DrainReport> {
    let deadline = Instant::now() + patience;
    interruptible("drain", signals, move || shards.drain(deadline))
}

/// Does one step of the end on a thread of its own, so that a second signal can be heard; `None` if there was
/// one.
fn interruptible<T: Send + 'static>(
    step: &str,
    signals: &Receiver<i32>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = bounded(1);
    let begin = Instant::now();
    let begun = thread::Builder::new().name(step.into()).spawn(move || {
        // After a second signal nobody wants to know.
        let _ = done.send(work());
    });
    if begun.is_err() {
        tracing::warn!("no thread for the {step}: it is cut short");
        return None;
    }
    let none = never();
    let mut signals = signals;
    loop {
        select! {
            recv(result) -> result => return result.ok(),
            recv(signals) -> signal => match signal {
                Ok(_) if begin.elapsed() >= ONE_SIGNAL => {
                    tracing::warn!("a second signal: the {step} is cut short");
                    return None;
                }
                Ok(_) => {}
                // Whoever hears signals has died: there will be none.
                Err(_) => signals = &none,
            }
        }
    }
}

/// Passes SIGTERM and SIGINT on as messages.
fn catch_signals() -> Result<Receiver<i32>, Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(Failure::Signals)?;
    let (heard, messages) = unbounded();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if heard.send(signal).is_err() {
                    return;
                }
            }
        })
        .map_err(Failure::Threads)?;
    Ok(messages)
}

/// Every connection takes two file descriptors, and every pipe: takes as many as the system gives. If they
/// are too few, says so and lets shards have what fits, so that what an attacker opens is shed by the bound
/// of connections, which leaves room for players, and not by accepts that fail.
fn keep_within_files(config: &mut Config) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        hard
    } else {
        soft
    };
    let shards = config.shards.count.map_or_else(
        || thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let (wanted, listeners) = (config.bounds.shard, config.addresses.len());
    let files = usize::try_from(limit).unwrap_or(usize::MAX);
    let fits = within_files(wanted, shards, listeners, files);
    let needed = files_wanted(&wanted, shards, listeners);
    if files < needed {
        tracing::warn!(
            "at most {limit} files may be open, but limits.connections_per_shard = {} and \
             limits.relay_pipes_per_shard = {} on {shards} shards can need {needed}: each shard takes {} \
             connections and {} pipes; raise the limit (ulimit -n, LimitNOFILE= in a systemd unit) or \
             lower the two keys",
            wanted.connections_per_shard,
            wanted.relay_pipes_per_shard,
            fits.connections_per_shard,
            fits.relay_pipes_per_shard,
        );
    }
    config.bounds.shard = fits;
}

#[cfg(test)]
mod tests;
