//! Other proxies, set up to do what a relay does: one thread, TCP in, TCP out.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::config::free_address;
use super::process::{self, Cpus, Process};

/// A peer that the relay is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PeerKind {
    /// HAProxy in TCP mode
    Haproxy,
    /// nginx with its stream module
    Nginx,
}

impl PeerKind {
    /// Name of its Debian package, which is also that of its program.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.package())
    }
}

/// Starts a peer that can hold so many relays to `target`; `None` if it is not installed.
pub(super) fn start(
    kind: PeerKind,
    target: SocketAddr,
    relays: usize,
    cpus: &Cpus,
) -> io::Result<Option<Process>> {
    let Some(program) = find_program(kind.package()) else {
        return Ok(None);
    };
    let address = free_address()?;
    let directory = tempfile::TempDir::with_prefix("passage-loadtest-")?;
    let config = directory.path().join("peer.conf");
    std::fs::write(&config, configuration(kind, address, target, relays))?;
    let mut command = Command::new(program);
    match kind {
        PeerKind::Haproxy => command.arg("-db").arg("-f").arg(&config),
        PeerKind::Nginx => command
            .arg("-p")
            .arg(directory.path())
            .args(["-e", "stderr", "-c"])
            .arg(&config),
    };
    // Both have read their configuration when they listen.
    process::start(kind.package(), command, address, cpus).map(Some)
}

fn configuration(kind: PeerKind, address: SocketAddr, target: SocketAddr, relays: usize) -> String {
    // A few more than are opened: both refuse to start where the limit of open files is below what they might
    // need.
    let relays = relays + 64;
    match kind {
        PeerKind::Haproxy => format!(
            "global\n  maxconn {relays}\n  nbthread 1\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n\
             listen relay\n  bind {address}\n  server echo {target}\n"
        ),
        PeerKind::Nginx => {
            // Debian builds the stream module as a file of its own.
            let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
            let load = if module.exists() {
                format!("load_module {};\n", module.display())
            } else {
                String::new()
            };
            let connections = 2 * relays;
            format!(
                "{load}daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\n\
                 events {{ worker_connections {connections}; }}\n\
                 stream {{\n  access_log off;\n  \
                 server {{ listen {address} backlog=4096; proxy_pass {target}; }}\n}}\n"
            )
        }
    }
}

/// Looks a program up where root's programs are too.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::find_program;

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        assert!(find_program("sh").is_some());
        assert!(find_program("passage-loadtest-no-such-program").is_none());
    }
}
