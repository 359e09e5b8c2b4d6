//! What can go wrong with one connection or message, in kinds that can be counted.

use std::fmt;
use std::io;

use serde::Serialize;

/// The kinds, also the keys of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing listens there.
    Refused,
    /// The server, or the kernel for it, reset the connection.
    Reset,
    /// The server closed before the conversation was over.
    Closed,
    /// The conversation was not over in time.
    TimedOut,
    /// The server said goodbye with a disconnect packet.
    Disconnected,
    /// Bytes that are not what the protocol allows there.
    Malformed,
    /// Well-formed, but not what was asked for: an echo, pong, name or cookie that differs.
    Mismatch,
    /// A start that was due before the end of the run and never happened.
    NotStarted,
    /// This side ran out of file descriptors or ports.
    OutOfResources,
    /// Another error of the socket.
    Socket,
}

/// One failed connection or message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For counting.
    pub kind: Kind,
    /// For reading: what happened at which step.
    pub what: String,
}

impl Failure {
    /// A failure with its words.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
        }
    }

    /// An error of the socket, while doing `step`.
    #[must_use]
    pub fn socket(error: &io::Error, step: &str) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => Kind::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Kind::Reset
            }
            io::ErrorKind::TimedOut => Kind::TimedOut,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Kind::OutOfResources,
            _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS)) => Kind::OutOfResources,
            _ => Kind::Socket,
        };
        Self::new(kind, format!("{step}: {error}"))
    }
}

const EMFILE: i32 = nix::errno::Errno::EMFILE as i32;
const ENFILE: i32 = nix::errno::Errno::ENFILE as i32;
const ENOBUFS: i32 = nix::errno::Errno::ENOBUFS as i32;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

impl std::error::Error for Failure {}
