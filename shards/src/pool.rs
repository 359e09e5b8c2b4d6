//! Starts, pins, names and joins the executors.
//!
//! Everything that can be wrong in the environment is found out on the caller's thread, before any executor
//! exists: glommio panics where io_uring is forbidden, and a taken port is an ordinary error. A shard that
//! ends without being asked is reported on [`Shards::exits`]; the others go on, and whoever runs them
//! decides.

use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use glommio::{LocalExecutorBuilder, Placement};

use crate::admission::Gatehouse;
use crate::engine::{Engine, RemoteWaker};
use crate::feed::{Publisher, Tray};
use crate::pulse::Pulse;
use crate::route::Routes;
use crate::rsa::KeyPair;
use crate::shard::{self, Command, House, Launch, Terms};

pub use self::blueprint::{Blueprint, Limits, ProxyProtocol, RateLimit, Untrusted};
pub use self::start_error::StartError;

mod affinity;
mod blueprint;
mod sockets;
mod start_error;

/// Memory for glommio's own I/O, which the shards do not use; its default of 10 MiB would be resident.
const EXECUTOR_IO_BYTES: usize = 64 << 10;

/// How long glommio lets tasks run before it looks at its own rings, where nothing of ours happens while a
/// shard is busy. So long that it never comes: glommio 0.9 goes to sleep although tasks are ready if this
/// timer fires before it looks at them, because the thread had lost its CPU meanwhile; a shard that has just
/// been started or woken has nothing else that would wake it then.
const PREEMPT_TIMER: Duration = Duration::from_secs(3_600);

/// How long a shard may take to start.
const START_MAX: Duration = Duration::from_secs(30);

/// How often the end of the threads is looked for.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// How long a shard may take to end after the deadline of its drain.
const END_GRACE: Duration = Duration::from_secs(3);

/// Starts the shards. When this returns they accept connections.
///
/// # Errors
///
/// Whatever the environment lacks, an address that cannot be listened on, or routes that cannot be used.
/// Nothing is left running then.
pub fn start(blueprint: Blueprint) -> Result<Shards, StartError> {
    Engine::probe().map_err(StartError::Engine)?;
    let cpus = match blueprint.shards {
        Some(_) if !blueprint.pin => Vec::new(),
        _ => affinity::allowed_cpus()?,
    };
    let count = blueprint.shards.map_or(cpus.len(), usize::from);
    let routes = Routes::new(
        blueprint.routes.clone(),
        blueprint.unknown_host.clone(),
        blueprint.localization.clone(),
    )
    .map_err(StartError::Routes)?;
    let key = KeyPair::generate().map_err(StartError::Key)?;
    let public_key = Arc::clone(key.public_key());
    let bound = sockets::listen(&blueprint.addresses, count, blueprint.limits.backlog)?;

    let routes = Arc::new(routes);
    let gatehouse = Arc::new(Gatehouse::new(&blueprint, Instant::now()));
    let terms = Terms::of(&blueprint);
    let (exits_in, exits) = unbounded();
    let mut shards = Shards {
        addresses: bound.addresses,
        public_key,
        workers: Vec::with_capacity(count),
        exits,
    };
    for (number, listeners) in bound.listeners.into_iter().enumerate() {
        let house = House {
            number,
            terms: terms.clone(),
            routes: Arc::clone(&routes),
            gatehouse: Arc::clone(&gatehouse),
            key: key.copy().map_err(StartError::Key)?,
            control: blueprint.control.clone(),
            news: blueprint.news.clone(),
            telemetry: blueprint.telemetry.clone(),
            traces: blueprint.traces.clone(),
            tray: Arc::default(),
        };
        let launch = Launch {
            listeners,
            pulse: Arc::default(),
            house,
        };
        let placement = match blueprint.pin {
            true => cpus
                .get(number % cpus.len())
                .map_or(Placement::Unbound, |cpu| Placement::Fixed(*cpu)),
            false => Placement::Unbound,
        };
        match start_one(launch, placement, exits_in.clone()) {
            Ok(worker) => shards.workers.push(worker),
            Err(error) => {
                shards.drain(Instant::now());
                return Err(error);
            }
        }
    }
    Ok(shards)
}

/// The running shards.
pub struct Shards {
    addresses: Vec<SocketAddr>,
    public_key: Arc<[u8]>,
    workers: Vec<Worker>,
    exits: Receiver<ShardExit>,
}

/// The end of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardExit {
    /// Its number, from 0.
    pub shard: usize,
    /// What its drain did; or, if it ended without being asked, why.
    pub end: Result<DrainReport, String>,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that ended by themselves.
    pub finished: usize,
    /// Connections that were cut at the deadline.
    pub cut: usize,
}

impl Shards {
    /// The addresses that are really listened on (port 0 resolved), in the order of the blueprint.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The public key that clients are shown, as DER-encoded `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn public_key(&self) -> &Arc<[u8]> {
        &self.public_key
    }

    /// How many shards were started.
    #[must_use]
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// The sign of life of each shard, by number. One that has drained retires.
    pub fn pulses(&self) -> impl Iterator<Item = Arc<Pulse>> {
        self.workers.iter().map(|worker| Arc::clone(&worker.pulse))
    }

    /// Whether every shard runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.workers.iter().all(|worker| !worker.thread.is_finished())
    }

    /// Where a shard that ends without being asked is reported, at most once each. Its connections are lost
    /// and its share of new ones would be; the process is best ended.
    #[must_use]
    pub fn exits(&self) -> &Receiver<ShardExit> {
        &self.exits
    }

    /// Gives all shards new routes. Connections keep those that they began with.
    pub fn swap_routes(&self, routes: &Arc<Routes>) {
        self.order(|| Command::SwapRoutes(Arc::clone(routes)));
    }

    /// The way of news to these shards.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        let line = |worker: &Worker| (Arc::clone(&worker.tray), worker.waker.clone());
        let shards: Vec<_> = self.workers.iter().map(line).collect();
        Publisher::new(move |update| {
            for (tray, waker) in &shards {
                tray.put(update.clone());
                waker.wake();
            }
        })
    }

    /// Closes the listeners, lets logins finish and relays drain until `deadline`, then ends what is left and
    /// joins the threads. A shard that does not end soon after the deadline is left behind, its connections
    /// counted nowhere.
    pub fn drain(self, deadline: Instant) -> DrainReport {
        self.order(|| Command::Drain { deadline });
        let patience = deadline.max(Instant::now()) + END_GRACE;
        let mut report = DrainReport::default();
        loop {
            // A shard that died before may have been reported to somebody else: its thread has ended all the
            // same.
            let has_ended = self.workers.iter().all(|worker| worker.thread.is_finished());
            match self.exits.recv_timeout(EXIT_POLL) {
                Ok(ShardExit { end: Ok(one), .. }) => {
                    report.finished += one.finished;
                    report.cut += one.cut;
                }
                Ok(ShardExit { end: Err(_), .. }) => {}
                Err(_) if has_ended || Instant::now() > patience => break,
                Err(_) => {}
            }
        }
        for worker in self
            .workers
            .into_iter()
            .filter(|worker| worker.thread.is_finished())
        {
            let _reported_by_exit = worker.thread.join();
        }
        report
    }

    fn order(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            if worker.commands.send(command()).is_ok() {
                worker.waker.wake();
            }
        }
    }
}

struct Worker {
    commands: Sender<Command>,
    tray: Arc<Tray>,
    waker: RemoteWaker,
    pulse: Arc<Pulse>,
    thread: JoinHandle<()>,
}

/// Starts one shard's thread and waits until it accepts.
fn start_one(launch: Launch, placement: Placement, exits: Sender<ShardExit>) -> Result<Worker, StartError> {
    let shard = launch.house.number;
    let (pulse, tray) = (Arc::clone(&launch.pulse), Arc::clone(&launch.house.tray));
    let (commands, orders) = unbounded();
    let (started, ready) = bounded(1);
    let thread = thread::Builder::new()
        .name(format!("passage-shard-{shard}"))
        .spawn(move || {
            let pulse = Arc::clone(&launch.pulse);
            let end = run_executor(placement, || shard::run(launch, orders, started));
            if let Err(reason) = &end {
                pulse.die();
                tracing::error!(target: "passage::shard", shard, reason, "Shard died");
            }
            // Whoever started the shards may have gone.
            let _unheard = exits.send(ShardExit { shard, end });
        })
        .map_err(|source| StartError::Thread { shard, source })?;
    match ready.recv_timeout(START_MAX) {
        Ok(Ok(waker)) => Ok(Worker {
            commands,
            tray,
            waker,
            pulse,
            thread,
        }),
        Ok(Err(error)) => Err(StartError::Engine(error)),
        Err(_) => Err(StartError::Executor {
            shard,
            reason: "it did not start".to_owned(),
        }),
    }
}

/// Runs a shard on this thread. A panic of one of its tasks that nobody catches ends all of it.
fn run_executor<F: Future<Output = Result<DrainReport, String>>>(
    placement: Placement,
    shard: impl FnOnce() -> F,
) -> Result<DrainReport, String> {
    let run = move || {
        let executor = LocalExecutorBuilder::new(placement)
            .io_memory(EXECUTOR_IO_BYTES)
            .preempt_timer(PREEMPT_TIMER)
            .make()
            .map_err(|error| error.to_string())?;
        executor.run(shard())
    };
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(format!("panicked: {}", panic_message(&*panic))))
}

/// What a panic says, if it says anything.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text")
}

/// A shard's listeners, one an address.
pub(crate) type Listeners = Vec<TcpListener>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_shard_with_its_words_wherever_it_comes_from() {
        let end = run_executor(Placement::Unbound, || async { panic!("injected into the shard") });
        assert_eq!(end, Err("panicked: injected into the shard".into()));
        let end = run_executor(Placement::Unbound, || async {
            let task: glommio::Task<()> = glommio::spawn_local(async { panic!("injected into a task") });
            task.await;
            Ok(DrainReport::default())
        });
        assert_eq!(end, Err("panicked: injected into a task".into()));
        let end = run_executor(Placement::Unbound, || async { Ok(DrainReport::default()) });
        assert_eq!(end, Ok(DrainReport::default()), "the next one is not concerned");
    }
}
