//! Why the shards did not start, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::engine::EngineError;
use crate::route::RouteError;
use crate::rsa::KeyError;

/// Why the shards did not start. Displays what happened, to what, and what to do next.
#[derive(Debug)]
pub enum StartError {
    /// io_uring cannot be used.
    Engine(EngineError),
    /// Which CPUs this process may run on could not be found out.
    Cpus(io::Error),
    /// There is no RSA key.
    Key(KeyError),
    /// There is nothing to listen on.
    NoAddress,
    /// This address cannot be listened on.
    Address {
        /// The address as configured.
        address: SocketAddr,
        /// The kernel's reason.
        source: io::Error,
    },
    /// These routes cannot be used.
    Routes(Vec<RouteError>),
    /// A thread could not be started.
    Thread {
        /// The shard's number.
        shard: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The executor of a shard could not be started.
    Executor {
        /// The shard's number.
        shard: usize,
        /// What it said.
        reason: String,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Cpus(error) => write!(
                f,
                "cannot read which CPUs this process may run on from /proc/self/status: {error}; mount \
                 /proc, or set shards.count and shards.pin = false"
            ),
            Self::Key(error) => error.fmt(f),
            Self::NoAddress => {
                f.write_str("there is no address to listen on: give at least one in `address`")
            }
            Self::Address { address, source } => {
                write!(
                    f,
                    "cannot listen on {address}: {source}; {}",
                    advice(*address, source)
                )
            }
            Self::Routes(errors) => {
                f.write_str("these routes cannot be used:")?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
            Self::Thread { shard, source } => write!(
                f,
                "cannot start the thread of shard {shard}: {source}; raise the limit of processes \
                 (ulimit -u, TasksMax= in a systemd unit), or lower shards.count"
            ),
            Self::Executor { shard, reason } => write!(
                f,
                "the executor of shard {shard} did not start: {reason}; check that the process may lock \
                 memory (ulimit -l, at least 8192) and use io_uring"
            ),
        }
    }
}

fn advice(address: SocketAddr, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process, perhaps another Passage, listens there: stop it (`ss -ltnp sport = :{}` names \
             it) or configure another `address`",
            address.port()
        ),
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or configure a higher port".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address: configure one that it has, or 0.0.0.0 for all"
                .to_owned()
        }
        io::ErrorKind::Unsupported => {
            "this machine has no support for that address family: remove it from `address`".to_owned()
        }
        _ => "configure another `address`".to_owned(),
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cpus(error) | Self::Address { source: error, .. } | Self::Thread { source: error, .. } => {
                Some(error)
            }
            Self::Engine(error) => Some(error),
            Self::Key(error) => Some(error),
            Self::NoAddress | Self::Routes(_) | Self::Executor { .. } => None,
        }
    }
}
