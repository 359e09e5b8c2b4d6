//! One run: worker threads, phases, readings of the server, and the sum of it all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use std::net::SocketAddr;

use serde::Serialize;

use crate::drive::ends::{self, Side, bulk, players};
use crate::drive::{Phase, Share, Signals, TICK, churn, hold};
use crate::flow::{Work, idle, login, relay, status, visit};
use crate::pin;
use crate::random::Random;
use crate::schedule::Pace;
use crate::server::{self, KernelMemory, Memory, Reading, Usage};
use crate::tally::Tally;

/// Memory of the server is read this often while load runs.
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);
/// File descriptors that are not for load: standard streams, epoll, timers, `/proc`.
const FILES_RESERVED: usize = 128;

/// How much load, from where, for how long.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Where to; loopback only.
    pub target: SocketAddr,
    /// Closed or open loop.
    pub pace: Pace,
    /// Connections that are kept open, where the work is about kept connections.
    pub connections: usize,
    /// End after this time.
    pub duration: Duration,
    /// End after so many units, if that is sooner.
    pub count: Option<u64>,
    /// Load before counting begins.
    pub warmup: Duration,
    /// A unit that takes longer has failed.
    pub timeout: Duration,
    /// Source addresses; 0 leaves it to the kernel.
    pub sources: u32,
    /// Seeds names, payloads, addresses and schedules.
    pub seed: u64,
    /// Worker threads.
    pub threads: usize,
    /// CPUs for the workers, in turn; empty leaves it to the kernel.
    pub cpus: Vec<usize>,
    /// More failures than this make the run a failed one, and end it.
    pub failures_max: u64,
    /// The process to measure, with all that it started.
    pub pid: Option<u32>,
    /// The load does not sleep between what is due, nor until something comes: waking it up costs the server
    /// time that a network would not. The load needs its CPU for itself then, without doubles or other work.
    pub awake: bool,
    /// Other work at the same time on the same server.
    pub beside: Option<Beside>,
}

/// Work that goes on beside what is measured. One thread does it, on the first of the CPUs.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// What it is made of.
    pub work: Work,
    /// How it is offered.
    pub pace: Pace,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How it was run.
    pub settings: Settings,
    /// What was run.
    pub work: Work,
    /// Counts and latencies.
    pub tally: Tally,
    /// From the first counted moment to the end of the last unit.
    pub elapsed: Duration,
    /// What the server used, if its process is known.
    pub server: Option<Usage>,
    /// What the kernel had more after the load than before the first connection, in all of the machine.
    pub kernel: KernelMemory,
    /// Counts and latencies of what went on beside.
    pub beside: Option<Tally>,
    /// CPU time of the generator itself. Near to `elapsed` times its threads, it is the bottleneck.
    pub own_cpu: Duration,
}

impl Outcome {
    /// Units per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of units is far below 2^53")]
    pub fn throughput(&self) -> f64 {
        self.tally.completed as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Whether more failed than is tolerated.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        let beside = self.beside.as_ref().map_or(0, Tally::failed);
        self.tally.failed() + beside > self.settings.failures_max
    }
}

/// Sees a run's progress: called about 20 times a second.
pub trait Watcher {
    /// `share` of the run is over, from 0 to 1; `units` and `failed` so far.
    fn watch(&mut self, share: f64, units: u64, failed: u64);
}

/// Watches nothing.
#[derive(Debug)]
pub struct Blind;

impl Watcher for Blind {
    fn watch(&mut self, _share: f64, _units: u64, _failed: u64) {}
}

/// Runs load and measures it.
///
/// # Errors
/// If threads, sockets or epoll cannot be had at all, or the server's process cannot be read. Failures of
/// single connections are not errors: they are counted in the tally.
pub fn measure(work: &Work, settings: &Settings, watcher: &mut dyn Watcher) -> io::Result<Outcome> {
    let signals = Arc::new(Signals::default());
    let mut workers = spawn_workers(work, settings, &signals, false)?;
    if let Some(beside) = &settings.beside {
        workers.push(spawn_beside(beside, settings, &signals)?);
    }
    let run = Run {
        settings,
        signals: &signals,
        workers: &workers,
    };
    let result = run.conduct(watcher);
    signals.advance(Phase::Closing);
    let mut tallies = Vec::new();
    for worker in workers {
        let joined = worker
            .join()
            .map_err(|_| io::Error::other("a load thread panicked"))?;
        tallies.push(joined?);
    }
    let beside = settings.beside.as_ref().and_then(|_| tallies.pop());
    let mut tally = Tally::new();
    for part in tallies {
        tally.merge(part);
    }
    let Readings {
        start,
        before,
        after,
        peak,
        own,
        kernel,
    } = result?;
    let elapsed = tally
        .last
        .unwrap_or_else(Instant::now)
        .saturating_duration_since(start);
    let server = before
        .zip(after)
        .map(|(before, after)| server::usage(&before, &after, peak, tally.completed));
    Ok(Outcome {
        settings: settings.clone(),
        work: work.clone(),
        tally,
        elapsed,
        server,
        kernel,
        beside,
        own_cpu: own,
    })
}

fn spawn_workers(
    work: &Work,
    settings: &Settings,
    signals: &Arc<Signals>,
    makes_way: bool,
) -> io::Result<Vec<JoinHandle<io::Result<Tally>>>> {
    let in_flight_max =
        pin::raise_file_limit().saturating_sub(FILES_RESERVED).max(1) / settings.threads.max(1);
    (0..settings.threads)
        .map(|thread| {
            let share = Share {
                makes_way,
                ..share(settings, thread, in_flight_max)
            };
            let (work, signals) = (work.clone(), Arc::clone(signals));
            let cpu = settings.cpus.get(thread % settings.cpus.len().max(1)).copied();
            let name = format!("load-{thread}");
            let work = move || drive(work, share, &signals);
            if makes_way {
                return pin::spawn_behind(&name, cpu, work);
            }
            pin::spawn(&name, cpu, work)
        })
        .collect()
}

fn spawn_beside(
    beside: &Beside,
    settings: &Settings,
    signals: &Arc<Signals>,
) -> io::Result<JoinHandle<io::Result<Tally>>> {
    let settings = Settings {
        pace: beside.pace,
        connections: 0,
        count: None,
        threads: 1,
        // Other names, payloads and addresses than those of the measured work.
        seed: settings.seed ^ (1 << 48),
        cpus: settings.cpus.iter().take(1).copied().collect(),
        awake: false,
        beside: None,
        ..settings.clone()
    };
    // Whoever is measured shares the CPU with it.
    let worker = spawn_workers(&beside.work, &settings, signals, true)?.pop();
    worker.ok_or_else(|| io::Error::other("one thread was asked for"))
}

fn drive(work: Work, share: Share, signals: &Signals) -> io::Result<Tally> {
    let random = Random::split(share.seed, share.thread);
    match work {
        Work::Status { hello } => churn::churn(status::StatusFlow::new(&hello, random), share, signals),
        Work::Login(login) => {
            let flow = login::LoginFlow::new(login, share.target.ip(), random);
            churn::churn(flow, share, signals)
        }
        Work::Relay { hello, message_bytes } => hold::hold(
            relay::RelayTalk {
                hello,
                message_bytes: Some(message_bytes),
            },
            share,
            signals,
        ),
        Work::Visit { hello } => churn::churn(visit::VisitFlow::new(hello, random), share, signals),
        Work::Bulk { hello, up, arrival } => {
            let pours = if up { Side::Client } else { Side::Target };
            let bulk = bulk::Bulk::new(pours, random);
            ends::run(relay::RelayTalk::silent(hello), &arrival, bulk, share, signals)
        }
        Work::Players { hello, rate, arrival } => {
            let players = players::Players::new(rate, random);
            ends::run(relay::RelayTalk::silent(hello), &arrival, players, share, signals)
        }
        Work::Idle {
            hello,
            stage: idle::Stage::Relay,
        } => hold::hold(relay::RelayTalk::silent(hello), share, signals),
        Work::Idle { hello, stage } => hold::hold(idle::IdleTalk { hello, stage }, share, signals),
    }
}

/// Thread number `thread`'s part: what does not divide evenly goes to the first ones.
fn share(settings: &Settings, thread: usize, in_flight_max: usize) -> Share {
    let threads = settings.threads.max(1);
    let part = |whole: usize| whole / threads + usize::from(thread < whole % threads);
    let pace = match settings.pace {
        Pace::Closed { concurrency } => Pace::Closed {
            concurrency: part(concurrency),
        },
        #[expect(clippy::cast_precision_loss, reason = "a handful of threads")]
        Pace::Open { rate, arrivals } => Pace::Open {
            rate: rate / threads as f64,
            arrivals,
        },
    };
    let count = settings.count.map(|count| {
        let (threads, thread) = (threads as u64, thread as u64);
        count / threads + u64::from(thread < count % threads)
    });
    Share {
        target: settings.target,
        pace,
        connections: part(settings.connections),
        count,
        timeout: settings.timeout,
        in_flight_max,
        failures_max: settings.failures_max,
        sources: settings.sources,
        seed: settings.seed,
        thread: thread as u64,
        awake: settings.awake,
        makes_way: false,
    }
}

struct Readings {
    start: Instant,
    before: Option<Reading>,
    after: Option<Reading>,
    peak: Memory,
    own: Duration,
    kernel: KernelMemory,
}

/// A run under way.
struct Run<'a> {
    settings: &'a Settings,
    signals: &'a Signals,
    workers: &'a [JoinHandle<io::Result<Tally>>],
}

impl Run<'_> {
    fn conduct(&self, watcher: &mut dyn Watcher) -> io::Result<Readings> {
        let (empty, kernel_before) = (self.read_server()?, server::read_kernel_memory()?);
        self.wait_for(watcher, |run| {
            run.signals.ready.load(Ordering::Acquire) >= run.workers.len()
        });
        if !self.settings.warmup.is_zero() {
            self.signals.advance(Phase::Warming);
            let warm_at = Instant::now() + self.settings.warmup;
            self.wait_for(watcher, |_| Instant::now() >= warm_at);
        }

        let own_before = server::read_cpu(std::process::id())?;
        let mut before = self.read_server()?;
        let start = Instant::now();
        self.signals.advance(Phase::Measuring);
        let pids = before
            .as_ref()
            .map(|reading| reading.pids.as_slice())
            .unwrap_or_default();
        let peak = self.watch_load(watcher, start, pids);
        self.signals.advance(Phase::Draining);
        self.wait_for(watcher, |run| {
            run.signals.drained.load(Ordering::Acquire) >= run.workers.len()
        });
        let (after, kernel_after) = (self.read_server()?, server::read_kernel_memory()?);
        let own = server::read_cpu(std::process::id())?.saturating_sub(own_before);

        // CPU counts from when load was measured, memory from before the first connection.
        if let (Some(before), Some(empty)) = (&mut before, &empty) {
            before.memory = empty.memory;
        }
        Ok(Readings {
            start,
            before,
            after,
            peak,
            own,
            kernel: kernel_after.since(kernel_before),
        })
    }

    /// Sleeps until the time or all work is over; gives the peak of the server's memory.
    fn watch_load(&self, watcher: &mut dyn Watcher, start: Instant, pids: &[u32]) -> Memory {
        let mut peak = Memory::default();
        let mut read_at = start;
        self.wait_for(watcher, |run| {
            let now = Instant::now();
            if !pids.is_empty() && now >= read_at {
                read_at = now + MEMORY_INTERVAL;
                let memory = server::read_memory(pids).unwrap_or_default();
                if memory.resident > peak.resident {
                    peak = memory;
                }
            }
            now >= start + run.settings.duration
                || run.signals.drained.load(Ordering::Acquire) >= run.workers.len()
                || run.signals.failed.load(Ordering::Relaxed) > run.settings.failures_max
        });
        peak
    }

    /// Waits for a condition, or the end of all threads.
    fn wait_for(&self, watcher: &mut dyn Watcher, mut condition: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        let expected = self.settings.duration + self.settings.warmup;
        while !condition(self) && !self.workers.iter().all(JoinHandle::is_finished) {
            let units = self.signals.progress.load(Ordering::Relaxed);
            let over = begun.elapsed().as_secs_f64() / expected.as_secs_f64().max(1e-9);
            #[expect(clippy::cast_precision_loss, reason = "a count of units is far below 2^53")]
            let counted = self
                .settings
                .count
                .map_or(0.0, |count| units as f64 / count.max(1) as f64);
            watcher.watch(
                over.max(counted).min(1.0),
                units,
                self.signals.failed.load(Ordering::Relaxed),
            );
            std::thread::park_timeout(TICK * 4);
        }
    }

    fn read_server(&self) -> io::Result<Option<Reading>> {
        let Some(pid) = self.settings.pid else {
            return Ok(None);
        };
        let gone = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("reading process {pid}, the measured server: {error}"),
            )
        };
        server::read(pid).map(Some).map_err(gone)
    }
}
