//! A fixed number of threads for work that blocks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

/// One piece of work. It tells its result to whom it concerns.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Stack of a worker: enough for TLS, small enough for 256 of them.
const STACK_BYTES: usize = 512 * 1024;

/// The way to the workers. They end when this is dropped and their work is done.
#[derive(Debug)]
pub(super) struct Workers {
    jobs: Sender<Job>,
}

impl Workers {
    /// Starts `count` threads. Each holds a clone of `alive` until it ends.
    pub(super) fn start<A: Clone + Send + 'static>(count: usize, alive: &A) -> std::io::Result<Self> {
        let (jobs, inbox) = bounded::<Job>(count);
        for index in 0..count {
            let (inbox, alive) = (inbox.clone(), alive.clone());
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    work(&inbox);
                    drop(alive);
                })?;
        }
        Ok(Self { jobs })
    }

    /// Hands a job to a worker, or gives it back if all have more than enough to do.
    pub(super) fn give(&self, job: Job) -> Result<(), Job> {
        self.jobs
            .try_send(job)
            .map_err(crossbeam_channel::TrySendError::into_inner)
    }
}

fn work(inbox: &Receiver<Job>) {
    for job in inbox {
        // A job owns all it touches; the panic itself is reported by the process's hook, and what the job had
        // to answer is answered by being dropped.
        let _panicked = catch_unwind(AssertUnwindSafe(job));
    }
}
