//! Which CPUs a thread runs on, and how many files it may open.

use std::io;
use std::thread::JoinHandle;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Binds the calling thread, and what it spawns from then on, to one CPU.
///
/// # Errors
/// If there is no such CPU, or it is not allowed to this process.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    pin_thread_to(&[cpu])
}

/// Binds the calling thread, and what it spawns from then on, to these CPUs.
///
/// # Errors
/// If there is no such CPU, or none of them is allowed to this process.
pub fn pin_thread_to(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!(
                "binding to CPU {cpus:?}: {error}; allowed are {:?}",
                allowed_cpus()
            ),
        )
    })
}

/// CPUs that the calling thread may use.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect()
}

/// Added to the niceness of those who share a CPU with somebody who is measured.
const NICENESS: i32 = 10;

/// Starts a thread, on `cpu` if given.
///
/// # Errors
/// If there is no thread to be had. What else fails, the thread says when it is joined.
pub fn spawn<T: Send + 'static>(
    name: &str,
    cpu: Option<usize>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<T>>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(cpu) = cpu {
            pin_thread(cpu)?;
        }
        work()
    })
}

/// As [`spawn`], but lets everybody else go first.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_behind<T: Send + 'static>(
    name: &str,
    cpu: Option<usize>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<T>>> {
    spawn(name, cpu, move || {
        rustix::process::nice(NICENESS)?;
        work()
    })
}

/// More files than any run here needs.
const FILES_MAX: u64 = 262_144;

/// Raises the limit of open files, with privileges beyond the hard limit, and gives what it is then.
#[must_use]
pub fn raise_file_limit() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let wanted = [hard.max(FILES_MAX), hard];
    let raised = wanted
        .into_iter()
        .find(|limit| setrlimit(Resource::RLIMIT_NOFILE, *limit, *limit).is_ok());
    usize::try_from(raised.unwrap_or(soft)).unwrap_or(usize::MAX)
}
