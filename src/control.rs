//! The control thread: takes from the shards what needs the network, and answers it.
//!
//! It only ever dispatches. Whatever blocks (session servers, `getaddrinfo`) runs on a small pool of workers;
//! each adapter has its bounds, so that a slow one starves no other. A question's deadline counts from the
//! moment when the shard asked it: work that nobody waits for any more is not begun.

mod dispatch;
mod lane;
mod lookups;
mod workers;

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use passage_shards::ask::Asked;
use passage_shards::pulse::Pulse;

use self::dispatch::Dispatcher;
use crate::adapters::Authenticator;

/// Questions that may be on their way from all shards; beyond it they are shed.
const QUESTIONS_MAX: usize = 4_096;

/// Finds out the addresses of a host name. May block.
pub type Resolve = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// What the control thread works with.
pub struct Settings {
    /// The authentication adapters; questions name them by index.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Finds out addresses.
    pub resolve: Arc<Resolve>,
    /// Threads for work that blocks.
    pub workers: usize,
}

/// The running control thread.
#[derive(Debug)]
pub struct Control {
    stop: Sender<()>,
    ended: Receiver<Ended>,
    pulse: Arc<Pulse>,
    workers_gone: Receiver<dispatch::Done>,
}

/// How the control thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to, or there are no shards any more.
    Stopped,
    /// It panicked.
    Panicked,
}

/// Starts the control thread and its workers. Questions go into the channel that comes with it.
///
/// # Errors
///
/// If the system has no threads for us.
pub fn start(settings: Settings) -> io::Result<(Control, Sender<Asked>)> {
    let (questions, asked) = bounded(QUESTIONS_MAX);
    let (stop, stopped) = bounded(1);
    let (ending, ended) = bounded(1);
    let (dispatcher, workers_gone) = Dispatcher::new(settings)?;
    let pulse = Arc::<Pulse>::default();
    let beating = Arc::clone(&pulse);
    thread::Builder::new().name("control".into()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| dispatcher.run(&asked, &stopped, &beating)));
        // The channel has room for it, and if the receiver has gone nobody wants to know.
        let _ = ending.try_send(if result.is_ok() {
            Ended::Stopped
        } else {
            Ended::Panicked
        });
    })?;
    Ok((
        Control {
            stop,
            ended,
            pulse,
            workers_gone,
        },
        questions,
    ))
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

    /// Stops the thread and waits for it and its workers, until `deadline` at the latest: a worker that hangs
    /// is left to the end of the process. Says whether all of them have ended.
    pub fn shutdown(self, deadline: Instant) -> bool {
        // A thread that has ended already needs no message.
        let _ = self.stop.try_send(());
        let _ = self.ended.recv_deadline(deadline);
        loop {
            match self.workers_gone.recv_deadline(deadline) {
                Ok(_) => {}
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return true,
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

/// Asks the system's resolver.
///
/// # Errors
///
/// What the resolver says.
#[expect(
    clippy::disallowed_methods,
    reason = "this runs on a worker, which is there to be blocked"
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
