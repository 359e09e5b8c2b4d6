//! CPU time that is spent for nothing: what an attack costs the machine without what it does to the server.
//!
//! A machine with busy CPUs serves nobody as fast as one that is idle: clocks go down, neighbours interfere,
//! a hypervisor takes its due. To see what an attack adds to that, clients are looked at under such a
//! burden, too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use passage_loadtest::pin;

/// Each stretch of work and pause takes so long.
const PERIOD: Duration = Duration::from_millis(1);
/// What it could not spend because others were served is made up for, up to so much.
const ARREARS_MAX: Duration = Duration::from_millis(20);
/// A smaller share of a CPU is nothing.
const SHARE_MIN: f64 = 0.005;
/// No burden lasts longer, whoever forgets to end it.
const BURDEN_MAX: Duration = Duration::from_secs(120);

/// A burden on some CPUs; ends when dropped.
#[derive(Debug)]
pub(super) struct Burden {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Burden {
    /// Spends a share (0 to 1) of each of these CPUs; `None` is wherever there is room.
    ///
    /// # Errors
    /// If a thread cannot be had.
    pub(super) fn begin(shares: &[(Option<usize>, f64)]) -> io::Result<Self> {
        let mut burden = Self {
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        for &(cpu, share) in shares.iter().filter(|(_, share)| *share >= SHARE_MIN) {
            let stop = Arc::clone(&burden.stop);
            let thread = pin::spawn_behind("burden", cpu, move || spend(share.min(1.0), &stop))?;
            burden.threads.push(thread);
        }
        Ok(burden)
    }

    /// Ends it.
    ///
    /// # Errors
    /// If a thread could not be bound to its CPU, or has no clock.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread
                .join()
                .map_err(|_| io::Error::other("a burden's thread panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn spend(share: f64, stop: &AtomicBool) -> io::Result<()> {
    let begun = Instant::now();
    let mut due = spent()?;
    while !stop.load(Ordering::Acquire) && begun.elapsed() < BURDEN_MAX {
        let period = Instant::now();
        // Nothing is made up for at once that many periods were too short for.
        due = due.min(spent()? + ARREARS_MAX);
        while spent()? < due && !stop.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        std::thread::park_timeout(PERIOD.saturating_sub(period.elapsed()));
        due += period.elapsed().mul_f64(share);
    }
    Ok(())
}

/// CPU time of the calling thread.
fn spent() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use passage_loadtest::server::read_cpu;

    use super::Burden;

    #[test]
    fn spends_what_it_is_told_and_ends() {
        let own = || read_cpu(std::process::id()).expect("a CPU clock");
        let before = own();
        let burden = Burden::begin(&[(None, 0.4), (None, 0.0)]).expect("threads");
        assert_eq!(burden.threads.len(), 1, "no share, no thread");
        // A thread is charged when the kernel looks at it, which may be later than it ran.
        let begun = Instant::now();
        while own() < before + Duration::from_millis(1) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it spends nothing");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        burden.end().expect("a clock");
    }
}
