//! The control thread: takes from the shards what needs the network, and answers it; and keeps up to date
//! what all of them know.
//!
//! One thread with a tokio runtime. Every question becomes a task ([`questions`]), within its service's own
//! bounds ([`crate::adapters::call`]), so that a slow one starves no other. A question's deadline counts from
//! the moment when the shard asked it: work that nobody waits for any more is not begun. What blocks (session
//! servers and HTTP through ureq, `getaddrinfo`) runs on threads beside it.
//!
//! In the background it asks for targets ([`feeds`]) and, when a shard shows a stale one, for statuses
//! ([`statuses`]). What it learns it publishes to all shards ([`news`]).

mod feeds;
mod guarded;
mod lookups;
mod news;
mod questions;
mod statuses;
mod tally;

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use passage_proto::question::Target;
use passage_shards::ask::ControlLine;
use passage_shards::feed::{Publisher, Update};
use passage_shards::metrics::Meter;
use passage_shards::pulse::Pulse;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};

use self::news::News;
use self::questions::Questions;
use self::tally::Tally;
use crate::adapters::Services;

/// Questions that may be on their way from all shards; beyond it they are shed.
const QUESTIONS_MAX: usize = 4_096;
/// What is added to the control thread's niceness, and so to that of the threads that it starts: a CPU for
/// which a shard competes with it goes to the shard nine times out of ten. Less, and on a CPU that is busy
/// with logins more than one in a hundred of the shard's turns is cut in two.
const NICENESS: i32 = 10;
/// Stack of a thread for work that blocks: enough for TLS, small enough for many of them.
const STACK_BYTES: usize = 512 * 1024;

/// Finds out the addresses of a host name. May block.
pub type Resolve = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// What the control thread works with.
pub struct Settings {
    /// Who is asked.
    pub services: Services,
    /// Finds out addresses.
    pub resolve: Arc<Resolve>,
    /// Threads for work that blocks; there are more if the services' own bounds ask for it.
    pub workers: usize,
    /// Targets that are known without asking, for the count of all.
    pub fixed_targets: Vec<Arc<Target>>,
    /// Takes how many distinct targets are known, whenever that changes.
    pub targets_discovered: Box<dyn Fn(usize) + Send + Sync>,
    /// Counts what is asked in the background.
    pub meter: Meter,
}

/// The running control thread.
#[derive(Debug)]
pub struct Control {
    stop: oneshot::Sender<Instant>,
    ended: Receiver<Ended>,
    pulse: Arc<Pulse>,
    news: Arc<News>,
    threads: Arc<AtomicUsize>,
}

/// How the control thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to, or there are no shards any more.
    Stopped,
    /// It panicked.
    Panicked,
}

/// Starts the control thread. Questions take the line that comes with it.
///
/// # Errors
///
/// If the system has no threads or no epoll for us.
pub fn start(settings: Settings) -> io::Result<(Control, ControlLine)> {
    let (questions, asked) = bounded(QUESTIONS_MAX);
    let bell = Arc::new(Notify::new());
    let (stop, stopped) = oneshot::channel();
    let (ending, ended) = bounded(1);
    let threads = Arc::<AtomicUsize>::default();
    let names = (settings.workers / 4).max(1);
    let workers = settings.workers.max(settings.services.threads() + names);
    let runtime = runtime(workers, &threads)?;
    let pulse = Arc::<Pulse>::default();
    let news = Arc::new(News::new(
        &settings.services.targets,
        &settings.fixed_targets,
        settings.targets_discovered,
    ));
    let tally = Tally::new(settings.meter);
    let unanswered = asked.clone();
    let own_pulse = Arc::clone(&pulse);
    let questions_ahead = Questions {
        asked,
        bell: Arc::clone(&bell),
        services: Arc::new(settings.services),
        resolve: settings.resolve,
        names,
        news: Arc::clone(&news),
        tally,
        pulse: Arc::clone(&pulse),
    };
    thread::Builder::new().name("control".into()).spawn(move || {
        give_way();
        let run = || runtime.block_on(questions_ahead.answer_until(stopped));
        let end = catch_unwind(AssertUnwindSafe(run));
        if end.is_err() {
            own_pulse.die();
        }
        // What is in line or under way is dropped, and so answered as failed; what blocks has until then to
        // end.
        unanswered.try_iter().for_each(drop);
        drop(unanswered);
        let deadline = end.as_ref().map_or_else(|_| Instant::now(), |deadline| *deadline);
        runtime.shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
        // The channel has room for it, and if the receiver has gone nobody wants to know.
        let _ = ending.try_send(end.map_or(Ended::Panicked, |_| Ended::Stopped));
    })?;
    let rope = Rope(bell);
    let line = ControlLine::new(questions, Arc::new(move || rope.pull()));
    let control = Control {
        stop,
        ended,
        pulse,
        news,
        threads,
    };
    Ok((control, line))
}

/// Lets shards go first where the calling thread shares a CPU with one: its answers can wait a little, all
/// the players of a shard cannot.
fn give_way() {
    // On Linux this is about the calling thread alone.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "the control thread cannot be made nicer: it competes with the shards");
    }
}

/// What may block has `workers` threads, which come and go; `threads` says how many there are.
fn runtime(workers: usize, threads: &Arc<AtomicUsize>) -> io::Result<Runtime> {
    let (coming, going) = (Arc::clone(threads), Arc::clone(threads));
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(workers)
        .thread_name("worker")
        .thread_stack_size(STACK_BYTES)
        .on_thread_start(move || {
            coming.fetch_add(1, Ordering::AcqRel);
        })
        .on_thread_stop(move || {
            going.fetch_sub(1, Ordering::AcqRel);
        })
        .build()
}

impl Control {
    /// Gets a message when the thread has ended, for whatever reason.
    #[must_use]
    pub fn ended(&self) -> &Receiver<Ended> {
        &self.ended
    }

    /// The thread's sign of life.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Waits until every source of targets has answered for the first time, until `deadline` at the latest,
    /// and gives what is known then. What is not there yet is named in the log.
    #[must_use]
    pub fn first_news(&self, deadline: Instant) -> Vec<Update> {
        self.news.first(deadline)
    }

    /// Publishes all that is known, and every change from now on.
    pub fn attach(&self, publisher: Publisher) {
        self.news.attach(publisher);
    }

    /// Stops the thread and waits for it and for what blocks, until `deadline` at the latest: what hangs is
    /// left to the end of the process. Says whether all has ended.
    pub fn shutdown(self, deadline: Instant) -> bool {
        // A thread that has ended already needs no message.
        let _ = self.stop.send(deadline);
        self.ended.recv_deadline(deadline).is_ok() && self.threads.load(Ordering::Acquire) == 0
    }
}

/// Rings the control thread's bell, and does so a last time when nobody is left to pull it: then the line is
/// closed, because a [`ControlLine`] drops its channel first.
struct Rope(Arc<Notify>);

impl Rope {
    fn pull(&self) {
        self.0.notify_one();
    }
}

impl Drop for Rope {
    fn drop(&mut self) {
        self.pull();
    }
}

/// Asks the system's resolver.
///
/// # Errors
///
/// What the resolver says.
#[expect(
    clippy::disallowed_methods,
    reason = "this runs on a thread that is there to be blocked"
)]
pub fn resolve_by_system(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests;
