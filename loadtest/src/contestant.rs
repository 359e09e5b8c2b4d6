//! Measured servers: Passage and others, each configured, started on its CPU and ended here; and what clients
//! say to them.

pub(crate) mod config;
pub(crate) mod peer;
pub(crate) mod process;

use std::net::SocketAddr;

use passage_loadtest::flow::login::{ExpectedName, Login, Until};
use passage_loadtest::flow::{Hello, Work};

use self::config::SECRET;

/// Protocol of the clients: 1.21.7, in the middle of what knows transfers.
const PROTOCOL: i32 = 772;
/// Descriptors that a process needs besides its connections.
pub(crate) const OTHER_FILES: usize = 256;

/// The handshake of a client of `server` that asks for this host name.
pub(crate) fn hello(host: &str, server: SocketAddr) -> Hello {
    Hello {
        protocol: PROTOCOL,
        host: host.to_owned(),
        port: server.port(),
    }
}

/// Pings for this host name.
pub(crate) fn pings(host: &str, server: SocketAddr) -> Work {
    Work::Status {
        hello: hello(host, server),
    }
}

/// Logins for this host name, of new or of returning players.
pub(crate) fn logins(host: &str, returns: bool, server: SocketAddr) -> Work {
    Work::Login(Login {
        hello: hello(host, server),
        secret: Some(SECRET.as_bytes().to_vec()),
        returns,
        until: Until::Transfer,
        name: ExpectedName::Own,
    })
}
