//! Measured servers as child processes: found, started on their CPU, waited for, ended by their own handle.

use std::fmt;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use passage_loadtest::{pin, server};
use tempfile::TempDir;

use super::config::{PassageFiles, free_address};

/// A server has this long to listen.
const START_MAX: Duration = Duration::from_secs(15);
/// And this long to end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(5);
/// Whatever it still does once it listens, for example making keys and loading certificates, is over when it
/// used less than this within [`SETTLING`].
const SETTLED_CPU: Duration = Duration::from_millis(1);
const SETTLING: Duration = Duration::from_millis(100);
/// A server that is never quiet is measured all the same.
const SETTLING_MAX: Duration = Duration::from_secs(3);
/// Of what a server writes to standard error, so much is kept.
const COMPLAINT_BYTES_MAX: u64 = 16 * 1024;

/// Who runs where.
#[derive(Clone, Debug)]
pub(crate) struct Cpus {
    /// CPUs of the measured server, one a thread; empty if it may run everywhere.
    pub(crate) server: Vec<usize>,
    /// CPU of the load and the backends.
    pub(crate) load: Option<usize>,
}

impl Cpus {
    /// Whether the load has a CPU that the server does not use.
    pub(crate) fn load_is_alone(&self) -> bool {
        self.load.is_some_and(|load| !self.server.contains(&load))
    }

    /// The first two CPUs that are allowed, unless others are asked for. A server of more than one thread
    /// gets further ones, and in the end that of the load.
    pub(crate) fn choose(server: Option<usize>, load: Option<usize>, threads: usize) -> io::Result<Self> {
        let allowed = pin::allowed_cpus();
        for wanted in [server, load].into_iter().flatten() {
            if !allowed.contains(&wanted) {
                return Err(io::Error::other(format!(
                    "CPU {wanted} is not allowed here; allowed are {allowed:?}"
                )));
            }
        }
        if allowed.len() < 2 {
            // Both on one CPU: throughput means little then, CPU time per unit still something.
            return Ok(Self {
                server: Vec::new(),
                load: None,
            });
        }
        if threads > allowed.len() {
            return Err(io::Error::other(format!(
                "{threads} shards need a CPU each; allowed are {allowed:?}"
            )));
        }
        let other = |taken: Option<usize>| allowed.iter().copied().find(|cpu| Some(*cpu) != taken);
        let first = server.or_else(|| other(load));
        let load = load.or_else(|| other(first));
        let mut server: Vec<usize> = first.into_iter().collect();
        server.extend(allowed.iter().filter(|cpu| ![first, load].contains(&Some(**cpu))));
        server.extend(load);
        server.truncate(threads);
        Ok(Self { server, load })
    }

    /// The same for a server of one thread.
    pub(crate) fn single(&self) -> Self {
        Self {
            server: self.server.iter().take(1).copied().collect(),
            load: self.load,
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = self.server.iter().map(ToString::to_string).collect();
        match (list.join(" and "), self.load) {
            (server, Some(load)) => write!(f, "CPU {server}, load and backends on CPU {load}"),
            _ => write!(
                f,
                "the same CPU as its load: only CPU time per unit means something"
            ),
        }
    }
}

/// Finds the program to measure.
pub(crate) fn find_passage(given: Option<&Path>) -> io::Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("passage"),
    };
    if path.is_file() {
        return path.canonicalize();
    }
    let text = format!(
        "no passage program at {}: build it with `cargo build --release -p passage`, or say with --passage \
         where it is",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

/// A server that listens.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it serves its metrics, if it does.
    pub(crate) admin: Option<SocketAddr>,
    complaints: Option<JoinHandle<String>>,
    /// What it reads from, kept as long as it runs.
    files: Vec<TempDir>,
}

/// Starts Passage with a configuration.
pub(crate) fn start_passage(passage: &Path, files: PassageFiles, cpus: &Cpus) -> io::Result<Process> {
    let mut command = Command::new(passage);
    // Nothing of the caller's environment configures a measured server, nor a file where it happens to stand.
    command
        .env_clear()
        .env("RUST_LOG", "warn")
        .arg("--config")
        .arg(files.path());
    let mut process = start("passage", command, files.address, cpus)?;
    process.admin = files.admin;
    process.keep(files.directory);
    Ok(process)
}

/// Starts the double on plain epoll.
pub(crate) fn start_yardstick(cpus: &Cpus) -> io::Result<Process> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["double", "status", "--listen", &address.to_string()]);
    start("the epoll double", command, address, cpus)
}

/// Starts the relay on plain epoll.
pub(crate) fn start_epoll_relay(target: SocketAddr, cpus: &Cpus) -> io::Result<Process> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["double", "relay-epoll", "--listen", &address.to_string()])
        .args(["--target", &target.to_string()]);
    start("the epoll relay", command, address, cpus)
}

/// Starts a server on its CPU and waits until it listens.
pub(crate) fn start(
    name: &str,
    mut command: Command,
    address: SocketAddr,
    cpus: &Cpus,
) -> io::Result<Process> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let cpus = cpus.server.clone();
    // A child inherits the CPUs of the thread that spawns it; a thread of its own keeps this one's as they
    // are.
    let spawner = std::thread::spawn(move || {
        if !cpus.is_empty() {
            pin::pin_thread_to(&cpus)?;
        }
        command.spawn()
    });
    let child = spawner
        .join()
        .map_err(|_| io::Error::other("the spawning thread panicked"))?;
    let mut child =
        child.map_err(|error| io::Error::new(error.kind(), format!("starting {name}: {error}")))?;
    let complaints = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.by_ref().take(COMPLAINT_BYTES_MAX).read_to_end(&mut text);
            // The rest is read and dropped, so that the server never blocks on it.
            let _ = io::copy(&mut stderr, &mut io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let mut process = Process {
        name: name.to_owned(),
        child,
        address,
        admin: None,
        complaints,
        files: Vec::new(),
    };
    process.wait_until_it_listens()?;
    process.explain(process.wait_until_it_is_quiet())?;
    Ok(process)
}

impl Process {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Keeps a directory for as long as it runs.
    pub(crate) fn keep(&mut self, directory: TempDir) {
        self.files.push(directory);
    }

    /// Adds to an error that the server is to blame, if it is.
    pub(crate) fn explain<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| io::Error::new(error.kind(), format!("measuring {}: {error}", self.name)))
    }

    fn wait_until_it_listens(&mut self) -> io::Result<()> {
        let until = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let complaint = self
                    .complaints
                    .take()
                    .and_then(|reader| reader.join().ok())
                    .unwrap_or_default();
                return Err(io::Error::other(format!(
                    "{} ended at once: {status}\n{complaint}",
                    self.name
                )));
            }
            if TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!(
                    "{} does not listen after {START_MAX:?}",
                    self.name
                )));
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Its start is no part of what is measured.
    fn wait_until_it_is_quiet(&self) -> io::Result<()> {
        let until = Instant::now() + SETTLING_MAX;
        let mut before = server::read(self.pid())?.cpu;
        loop {
            std::thread::park_timeout(SETTLING);
            let now = server::read(self.pid())?.cpu;
            if now.saturating_sub(before) < SETTLED_CPU || Instant::now() > until {
                return Ok(());
            }
            before = now;
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        let until = Instant::now() + END_MAX;
        while Instant::now() < until {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.child.kill()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::{Cpus, find_passage, start};

    fn anywhere() -> Cpus {
        Cpus {
            server: Vec::new(),
            load: None,
        }
    }

    #[test]
    fn says_how_to_build_what_is_missing() {
        let error = find_passage(Some(Path::new("/nowhere/passage")))
            .expect_err("missing")
            .to_string();
        assert!(
            error.contains("cargo build --release -p passage") && error.contains("/nowhere"),
            "{error}"
        );
    }

    #[test]
    fn shows_what_a_server_said_that_ended_at_once() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no memlock >&2; exit 3"]);
        let address = super::free_address().expect("a free port");
        let error = start("it", command, address, &anywhere()).expect_err("ended");
        let error = error.to_string();
        assert!(error.contains("no memlock") && error.contains('3'), "{error}");
    }
}
