//! What the relay and the status are measured against: other proxies set up to do what a relay does, one
//! thread, TCP in, TCP out; references that do as little as can be done; and no proxy at all.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use super::config::free_address;
use super::process::{self, Cpus, Process};

/// Whoever Passage is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeerKind {
    /// HAProxy in TCP mode
    Haproxy,
    /// The same, forwarding with splice
    HaproxySplice,
    /// The same with buffers of 64 KiB
    #[value(name = "haproxy-64k")]
    Haproxy64k,
    /// nginx with its stream module
    Nginx,
    /// The same with buffers of 64 KiB
    #[value(name = "nginx-64k")]
    Nginx64k,
    /// The relay or the status double on plain epoll, built into this program
    Epoll,
    /// A relay on a bare io_uring: an example of the shards crate
    Ring,
    /// Passage's engine without the rest: an example of the shards crate
    Engine,
    /// No proxy: what client and target take alone
    Direct,
    /// A Passage with one shard, of another build if --baseline names one
    Baseline,
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("hidden", |value| value.get_name()))
    }
}

/// Where programs are that are built with Passage.
#[derive(Clone, Debug)]
pub(crate) struct Examples {
    /// The relay on a bare ring.
    pub(crate) ring: PathBuf,
    /// The relay on the engine.
    pub(crate) engine: PathBuf,
}

impl PeerKind {
    /// The program that this peer needs, if it needs any.
    ///
    /// # Errors
    /// What is missing, and where it comes from.
    pub(crate) fn find(self, examples: &Examples) -> Option<Result<PathBuf, String>> {
        match self {
            Self::Haproxy | Self::HaproxySplice | Self::Haproxy64k => Some(find_program("haproxy")),
            Self::Nginx | Self::Nginx64k => Some(find_program("nginx")),
            Self::Ring => Some(find_example("ring", &examples.ring)),
            Self::Engine => Some(find_example("relay", &examples.engine)),
            Self::Epoll | Self::Direct | Self::Baseline => None,
        }
    }
}

/// A relay by somebody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay<'a> {
    /// Where it relays to.
    pub(crate) target: SocketAddr,
    /// Connections that it has to hold.
    pub(crate) connections: usize,
    /// Where it runs.
    pub(crate) cpus: &'a Cpus,
}

impl Relay<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// If it is not there or does not start, or is no relay of others.
    pub(crate) fn start(&self, kind: PeerKind, examples: &Examples) -> io::Result<Process> {
        match kind {
            PeerKind::Haproxy => self.haproxy("", ""),
            PeerKind::HaproxySplice => self.haproxy(
                "",
                "  option splice-auto\n  option splice-request\n  option splice-response\n",
            ),
            PeerKind::Haproxy64k => self.haproxy("  tune.bufsize 65536\n", ""),
            PeerKind::Nginx => self.nginx(""),
            PeerKind::Nginx64k => self.nginx("  proxy_buffer_size 64k;\n"),
            PeerKind::Epoll => process::start_epoll_relay(self.target, self.cpus),
            PeerKind::Ring => self.example("ring", &examples.ring),
            PeerKind::Engine => self.example("relay", &examples.engine),
            PeerKind::Direct | PeerKind::Baseline => {
                Err(io::Error::other(format!("{kind} is no relay of others")))
            }
        }
    }

    /// A few more than are opened: both refuse to start where the limit of open files is below what they
    /// might need.
    fn room(&self) -> usize {
        self.connections + 64
    }

    fn haproxy(&self, global: &str, defaults: &str) -> io::Result<Process> {
        let (address, target, room) = (free_address()?, self.target, self.room());
        let text = format!(
            "global\n  maxconn {room}\n  nbthread 1\n{global}\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n\
             {defaults}\
             listen relay\n  bind {address}\n  server target {target}\n"
        );
        self.start_with("haproxy", &["-db", "-f"], address, &text)
    }

    fn nginx(&self, server: &str) -> io::Result<Process> {
        let (address, target) = (free_address()?, self.target);
        // Debian builds the stream module as a file of its own.
        let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
        let load = if module.exists() {
            format!("load_module {};\n", module.display())
        } else {
            String::new()
        };
        let connections = 2 * self.room();
        let text = format!(
            "{load}daemon off;\nworker_processes 1;\npid nginx.pid;\n\
             events {{ worker_connections {connections}; }}\n\
             stream {{\n  access_log off;\n{server}  \
             server {{ listen {address} backlog=4096; proxy_pass {target}; }}\n}}\n"
        );
        self.start_with("nginx", &["-e", "stderr", "-c"], address, &text)
    }

    fn start_with(
        &self,
        package: &str,
        arguments: &[&str],
        address: SocketAddr,
        configuration: &str,
    ) -> io::Result<Process> {
        let program = find_program(package).map_err(io::Error::other)?;
        let directory = tempfile::TempDir::with_prefix("passage-loadtest-")?;
        let file = directory.path().join("peer.conf");
        std::fs::write(&file, configuration)?;
        let mut command = Command::new(program);
        // nginx keeps relative paths below its working directory if it is told to with a prefix.
        if package == "nginx" {
            command.arg("-p").arg(directory.path());
        }
        command.args(arguments).arg(&file);
        let mut process = process::start(package, command, address, self.cpus)?;
        process.keep(directory);
        Ok(process)
    }

    fn example(&self, name: &str, program: &Path) -> io::Result<Process> {
        let address = free_address()?;
        let mut command = Command::new(find_example(name, program).map_err(io::Error::other)?);
        command.arg(address.to_string()).arg(self.target.to_string());
        process::start(name, command, address, self.cpus)
    }
}

/// Looks a program up where root's programs are too. It has the name of its Debian package.
fn find_program(package: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let mut programs = directories.map(|directory| directory.join(package));
    let program = programs.find(|program| program.is_file());
    program.ok_or_else(|| format!("not installed (Debian package: {package})"))
}

fn find_example(name: &str, program: &Path) -> Result<PathBuf, String> {
    if program.is_file() {
        return Ok(program.to_owned());
    }
    Err(format!(
        "no program at {}: build it with `cargo build --release -p passage-shards --example {name}`",
        program.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{PeerKind, find_example, find_program};

    #[test]
    fn finds_what_is_there_and_says_what_is_not() {
        assert!(find_program("sh").is_ok());
        let error = find_program("passage-loadtest-no-such-program").expect_err("missing");
        assert!(error.contains("Debian package: passage-loadtest-no"), "{error}");
        let error = find_example("ring", Path::new("/nowhere/ring")).expect_err("missing");
        assert!(
            error.contains("/nowhere/ring") && error.contains("--example ring"),
            "{error}"
        );
    }

    #[test]
    fn peers_are_called_what_they_are_asked_for_by() {
        assert_eq!(PeerKind::Haproxy64k.to_string(), "haproxy-64k");
        assert_eq!(PeerKind::HaproxySplice.to_string(), "haproxy-splice");
    }
}
