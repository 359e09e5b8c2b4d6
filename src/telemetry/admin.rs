//! The admin listener: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever runs the process.
//!
//! It has a thread of its own, so that a probe is answered even where everything else stands still. The
//! numbers are those of the OTLP export: the telemetry thread reads its one aggregate for both.

mod connection;
mod health;
mod request;
mod response;
mod scrapers;
mod server;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use passage_shards::pulse::Pulse;

use self::health::{Health, Stage};
use self::server::{Bell, Message, Server};
use super::Telemetry;
use crate::watch::{Part, Watch};

/// Why there is no admin listener.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Address {
        /// The value of `admin.address`.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system lacks a thread or a socket.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, source) = match self {
            Self::Address { address, source } => (address, source),
            Self::System(source) => return write!(f, "the admin listener cannot start: {source}"),
        };
        write!(f, "admin.address: cannot listen on {address}: {source}; ")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "another process has port {}, perhaps another Passage: end it, or choose another port here \
                 or in PASSAGE_ADMIN_ADDRESS",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("this machine does not have that address; 127.0.0.1 is a good choice")
            }
            io::ErrorKind::PermissionDenied => {
                f.write_str("ports below 1024 need a privilege; 9464 is a good choice")
            }
            _ => f.write_str("choose another address, or leave it out to do without"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Address { source, .. } | Self::System(source) => Some(source),
        }
    }
}

/// Takes the address, so that nothing else is started where that fails.
///
/// # Errors
///
/// If it cannot be listened on.
pub fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Address { address, source })
}

/// The running admin listener. Ends when dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    health: Arc<Health>,
    bell: Bell,
}

impl Admin {
    /// Starts to answer. `/readyz` says `starting` until [`Self::ready`].
    ///
    /// # Errors
    ///
    /// If the system lacks a thread or a socket.
    pub fn start(
        listener: TcpListener,
        telemetry: &Telemetry,
        watch: &Arc<Watch>,
    ) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(StartError::System)?;
        let health = Arc::new(Health::new(Arc::clone(watch)));
        let server = Server::new(listener, Arc::clone(&health), telemetry.scraper.clone())
            .map_err(StartError::System)?;
        let bell = server.bell();
        let pulse = Arc::new(Pulse::resting());
        watch.add(Part::Admin, None, Arc::clone(&pulse));
        thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                if !pulse.over(|| server.run()) {
                    pulse.die();
                }
            })
            .map_err(StartError::System)?;
        Ok(Self {
            address,
            health,
            bell,
        })
    }

    /// The address that is really listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Players are let in.
    pub fn ready(&self) {
        self.health.enter(Stage::Ready);
    }

    /// Nobody is let in any more. To be called before the listeners close, so that who asks first is not sent
    /// to a closed port.
    pub fn draining(&self) {
        self.health.enter(Stage::Draining);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.bell.ring(Message::Stop);
    }
}

#[cfg(test)]
mod tests;
