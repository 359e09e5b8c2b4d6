//! What the measured server uses, read from `/proc`.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde::Serialize;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    at: Instant,
    /// User and system time of all threads.
    cpu: Duration,
    /// Memory at that time.
    pub memory: Memory,
    /// Open file descriptors.
    pub fds: usize,
    /// Threads.
    pub threads: usize,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident, shared libraries included.
    pub resident: u64,
    /// Resident and private: what this process alone costs.
    pub private: u64,
    /// Resident and not backed by a file: heap and stacks.
    pub anonymous: u64,
}

/// What a server used between two readings.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    /// CPU time, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Share of one core.
    pub cores: f64,
    /// CPU microseconds per completed unit.
    pub cpu_microseconds_per_unit: Option<f64>,
    /// Before the load.
    pub memory_before: Memory,
    /// The largest of the readings during the load, by resident memory.
    pub memory_peak: Memory,
    /// After it, before connections that are kept open are closed.
    pub memory_after: Memory,
    /// File descriptors, after.
    pub fds: usize,
    /// Threads, after.
    pub threads: usize,
}

/// Reads what process `pid` uses now. Kernel threads that work for it (`ksoftirqd`) are not in it; interrupts
/// that hit it are.
///
/// # Errors
/// If the process is gone or another user's.
pub fn read(pid: u32) -> io::Result<Reading> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?.count();
    let fds = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok(Reading {
        at: Instant::now(),
        cpu: read_cpu(pid)?,
        memory: read_memory(pid)?,
        fds,
        threads,
    })
}

/// Reads the user and system time of process `pid`, threads that have ended included, from its CPU clock:
/// exact to the nanosecond, where `/proc/PID/stat` counts ticks.
///
/// # Errors
/// If the process is gone.
pub fn read_cpu(pid: u32) -> io::Result<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?);
    let time = nix::time::clock_gettime(nix::time::clock_getcpuclockid(pid)?)?;
    Ok(time.into())
}

/// Reads the memory of process `pid`.
///
/// # Errors
/// If the process is gone or another user's.
pub fn read_memory(pid: u32) -> io::Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(parse_memory(&rollup))
}

fn parse_memory(rollup: &str) -> Memory {
    let mut memory = Memory::default();
    for line in rollup.lines() {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        let kibibytes = rest
            .split_whitespace()
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        let bytes = kibibytes.unwrap_or(0) * 1024;
        match name {
            "Rss" => memory.resident = bytes,
            "Private_Clean" | "Private_Dirty" => memory.private += bytes,
            "Anonymous" => memory.anonymous = bytes,
            _ => {}
        }
    }
    memory
}

/// What was used between two readings, for so many units.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a count of units is far below 2^53")]
pub fn usage(before: &Reading, after: &Reading, peak: Memory, units: u64) -> Usage {
    let cpu = after.cpu.saturating_sub(before.cpu);
    let elapsed = after.at.saturating_duration_since(before.at);
    Usage {
        cpu_nanoseconds: u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX),
        cores: cpu.as_secs_f64() / elapsed.as_secs_f64().max(1e-9),
        cpu_microseconds_per_unit: (units > 0).then(|| cpu.as_secs_f64() * 1e6 / units as f64),
        memory_before: before.memory,
        memory_peak: peak,
        memory_after: after.memory,
        fds: after.fds,
        threads: after.threads,
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, parse_memory, read, usage};
    use std::time::{Duration, Instant};

    #[test]
    fn reads_the_rollup() {
        let text = "55d1-7ffc ---p 0 00:00 0 [rollup]\nRss: 1740 kB\nPrivate_Clean: 40 kB\n\
                    Private_Dirty: 112 kB\nAnonymous:  96 kB\nSwap: 3 kB\n";
        let expected = Memory {
            resident: 1740 * 1024,
            private: 152 * 1024,
            anonymous: 96 * 1024,
        };
        assert_eq!(parse_memory(text), expected);
    }

    #[test]
    fn sees_this_process_burn_cpu() {
        let own = std::process::id();
        let before = read(own).expect("own process");
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let after = read(own).expect("own process");
        let usage = usage(&before, &after, after.memory, 1);
        // A busy neighbour may take some of the 50 ms, the scheduler's figure is up to a tick old.
        assert!(usage.cpu_nanoseconds > 10_000_000, "{usage:?}");
        assert!(usage.fds > 2 && usage.threads >= 1 && usage.memory_after.resident > 1_000_000);
    }
}
