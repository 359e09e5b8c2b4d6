//! What the measured server uses, read from `/proc`: its process, and all that it started.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde::Serialize;

/// Looks at a family of processes before one that changes all the time is given up.
const READS_MAX: usize = 8;

/// One reading.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    /// The process and all its descendants.
    pub pids: Vec<u32>,
    /// User and system time of all their threads.
    pub cpu: Duration,
    /// Memory at that time.
    pub memory: Memory,
    /// Open file descriptors.
    pub fds: usize,
    /// Threads.
    pub threads: usize,
}

/// What the kernel holds for everybody, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelMemory {
    /// Its objects, sockets among them.
    pub slab: i64,
    /// What is in the buffers of TCP sockets.
    pub buffers: i64,
}

impl KernelMemory {
    /// What it holds more than `before`; negative if it holds less.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            slab: self.slab - before.slab,
            buffers: self.buffers - before.buffers,
        }
    }

    /// All of it.
    #[must_use]
    pub fn sum(self) -> i64 {
        self.slab + self.buffers
    }
}

/// Memory of processes, in bytes.
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

/// Reads what process `pid` and its descendants use now. Kernel threads that work for it (`ksoftirqd`) are
/// not in it; interrupts that hit it are.
///
/// # Errors
/// If the process is gone or another user's.
pub fn read(pid: u32) -> io::Result<Reading> {
    let mut reading = read_family(pid);
    for _ in 0..READS_MAX {
        match &reading {
            // A descendant has ended between two looks, and so belongs to it no more.
            Err(error) if is_gone(error) && family(pid)?.len() > 1 => reading = read_family(pid),
            _ => break,
        }
    }
    reading
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32)
}

fn read_family(pid: u32) -> io::Result<Reading> {
    let pids = family(pid)?;
    let (mut cpu, mut fds, mut threads) = (Duration::ZERO, 0, 0);
    for pid in &pids {
        threads += fs::read_dir(format!("/proc/{pid}/task"))?.count();
        fds += read_fds(*pid)?;
        cpu += read_cpu(*pid)?;
    }
    Ok(Reading {
        at: Instant::now(),
        cpu,
        memory: read_memory(&pids)?,
        pids,
        fds,
        threads,
    })
}

/// A process and its descendants, as far as there are any now.
fn family(pid: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let child = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok());
        // Whatever ends meanwhile belongs to nobody.
        let stat =
            child.and_then(|child| Some((child, fs::read_to_string(format!("/proc/{child}/stat")).ok()?)));
        parents.extend(stat.and_then(|(child, stat)| Some((child, parse_parent(&stat)?))));
    }
    let mut pids = vec![pid];
    let mut next = 0;
    while let Some(&parent) = pids.get(next) {
        pids.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    Ok(pids)
}

/// The parent's id: the second field after the name, which may itself contain spaces and brackets.
fn parse_parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Reads what the kernel holds for all of the machine, so that it means something on a quiet one only.
///
/// # Errors
/// If `/proc` says nothing about it.
pub fn read_kernel_memory() -> io::Result<KernelMemory> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let sockstat = fs::read_to_string("/proc/net/sockstat")?;
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    parse_kernel_memory(&meminfo, &sockstat, &smaps)
        .ok_or_else(|| io::Error::other("neither Slab nor TCP mem in /proc/meminfo and /proc/net/sockstat"))
}

/// `smaps` of any process says how large the pages are that `sockstat` counts.
fn parse_kernel_memory(meminfo: &str, sockstat: &str, smaps: &str) -> Option<KernelMemory> {
    let number_after = |text: &str, line: &str, mark: &str| -> Option<i64> {
        let rest = text.lines().find_map(|candidate| candidate.strip_prefix(line))?;
        let (_, number) = rest.split_once(mark)?;
        number.split_whitespace().next()?.parse().ok()
    };
    let pages = number_after(sockstat, "TCP:", " mem ")?;
    Some(KernelMemory {
        slab: number_after(meminfo, "Slab:", " ")? * 1024,
        buffers: pages * number_after(smaps, "KernelPageSize:", " ")? * 1024,
    })
}

/// Counts the open files of a process. Since Linux 6.2 the size of the directory is their number; to go
/// through thousands of names takes milliseconds.
///
/// # Errors
/// If the process is gone or another user's.
pub fn read_fds(pid: u32) -> io::Result<usize> {
    let directory = format!("/proc/{pid}/fd");
    match fs::metadata(&directory)?.len() {
        0 => Ok(fs::read_dir(&directory)?.count()),
        count => usize::try_from(count).map_err(io::Error::other),
    }
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

/// Reads the memory of processes; what they share counts for each, but in `private`.
///
/// # Errors
/// If a process is gone or another user's.
pub fn read_memory(pids: &[u32]) -> io::Result<Memory> {
    let mut memory = Memory::default();
    for pid in pids {
        add_memory(
            &mut memory,
            &fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?,
        );
    }
    Ok(memory)
}

fn add_memory(memory: &mut Memory, rollup: &str) {
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
            "Rss" => memory.resident += bytes,
            "Private_Clean" | "Private_Dirty" => memory.private += bytes,
            "Anonymous" => memory.anonymous += bytes,
            _ => {}
        }
    }
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
    use super::{KernelMemory, Memory, add_memory, parse_kernel_memory, parse_parent, read, usage};
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
        let mut memory = Memory::default();
        add_memory(&mut memory, text);
        assert_eq!(memory, expected);
        add_memory(&mut memory, text);
        assert_eq!(memory.private, 2 * expected.private);
    }

    #[test]
    fn reads_a_parent_whatever_the_child_is_called() {
        assert_eq!(parse_parent("12 (nginx) S 7 12 12 0"), Some(7));
        assert_eq!(parse_parent("12 (a) R 9 (b)) S 7 12 12 0"), Some(7));
        assert_eq!(parse_parent("12 nginx"), None);
    }

    #[test]
    fn a_child_is_measured_with_its_parent() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("a child");
        let reading = read(std::process::id()).expect("own process");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(reading.pids.contains(&child.id()), "{reading:?}");
    }

    #[test]
    fn reads_the_kernel_memory() {
        let meminfo = "MemTotal: 4000 kB\nSlab:              2000 kB\nSReclaimable:   900 kB\n";
        let sockstat = "sockets: used 90\nTCP: inuse 12 orphan 0 tw 3 alloc 15 mem 7\nUDP: inuse 1 mem 2\n";
        let smaps = "Size: 136 kB\nKernelPageSize:        4 kB\nMMUPageSize: 4 kB\n";
        let read = parse_kernel_memory(meminfo, sockstat, smaps).expect("both");
        let expected = KernelMemory {
            slab: 2000 * 1024,
            buffers: 7 * 4096,
        };
        assert_eq!(read, expected);
        assert_eq!(expected.since(read), KernelMemory::default());
        assert_eq!(parse_kernel_memory(meminfo, "", smaps), None);
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
