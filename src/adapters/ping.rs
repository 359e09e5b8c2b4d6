//! Server-list pings, as a client makes them: asked by `passage ping`, by statuses that come from a target
//! and by health checks.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;
use passage_proto::limits::STATUS_UNITS_MAX;
use passage_proto::packet::handshake::{Handshake, Intent};
use passage_proto::packet::status::{Clientbound, Serverbound};
use passage_proto::proxy_header::{self, Addresses};
use passage_proto::wire;
use passage_shards::route::ProxyVersion;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::control::Resolve;

#[cfg(test)]
pub(crate) mod double;
#[cfg(test)]
mod tests;

/// What a ping carries and the pong brings back.
pub(crate) const PAYLOAD: i64 = 0x0050_6173_7361_6765;

/// Longest frame that is taken: a status of the protocol's own length, in UTF-8, and what is around it.
const FRAME_BYTES_MAX: usize = 3 * STATUS_UNITS_MAX + 16;
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;
/// Host names whose addresses are remembered.
const NAMES_MAX: u64 = 4_096;
/// How long addresses are used without asking again.
const FRESH: Duration = Duration::from_secs(30);
/// Threads that may be blocked by looking up names.
const LOOKUPS_MAX: usize = 4;

/// Connects to servers by host name or address.
#[derive(Clone)]
pub struct Dialer {
    resolve: Arc<Resolve>,
    names: Cache<Box<str>, Known>,
    lookups: Arc<Semaphore>,
}

/// A host's addresses, and since when they are known.
#[derive(Clone)]
struct Known {
    since: Instant,
    addresses: Arc<[IpAddr]>,
}

/// An open connection to a server, before anything was said.
#[derive(Debug)]
pub struct Dialed {
    /// Where it leads to.
    pub address: SocketAddr,
    /// How long the server took to accept it.
    pub took: Duration,
    stream: TcpStream,
}

/// What a ping says to a server.
#[derive(Clone, Copy, Debug)]
pub struct Greeting<'a> {
    /// The host name of the handshake.
    pub host: &'a str,
    /// The port of the handshake.
    pub port: u16,
    /// The protocol version that the client claims to speak.
    pub protocol: i32,
    /// Comes before all of it.
    pub proxy_header: Option<ProxyVersion>,
}

/// A conversation with a server that has been asked for its status.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    input: Vec<u8>,
    deadline: Instant,
}

/// Why there is no status.
#[derive(Debug)]
pub enum Problem {
    /// The host name has no address, or none could be found out.
    Resolve(io::Error),
    /// The server does not accept connections.
    Connect(SocketAddr, io::Error),
    /// The connection broke.
    Io(io::Error),
    /// The deadline passed.
    TimedOut,
    /// The server closed the connection.
    Closed,
    /// What came is not what a Minecraft server says.
    Protocol(String),
}

impl Dialer {
    /// Looks host names up with `resolve`, on threads that are there to be blocked.
    #[must_use]
    pub fn new(resolve: Arc<Resolve>) -> Self {
        Self {
            resolve,
            names: Cache::new(NAMES_MAX),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }

    /// Connects to one of the host's addresses, which are tried one after the other.
    ///
    /// # Errors
    ///
    /// Why the last one could not be reached.
    pub async fn dial(&self, host: &str, port: u16, deadline: Instant) -> Result<Dialed, Problem> {
        let addresses = self.addresses(host, deadline).await?;
        let mut last = Problem::Resolve(io::Error::other("the host name has no address"));
        for ip in addresses.iter().take(ADDRESSES_MAX) {
            let address = SocketAddr::new(*ip, port);
            let began = Instant::now();
            match within(deadline, TcpStream::connect(address)).await? {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(Problem::Io)?;
                    return Ok(Dialed {
                        address,
                        took: began.elapsed(),
                        stream,
                    });
                }
                Err(error) => last = Problem::Connect(address, error),
            }
        }
        Err(last)
    }

    /// The addresses of a host: those that are known as long as they are fresh, or no newer ones can be had.
    async fn addresses(&self, host: &str, deadline: Instant) -> Result<Arc<[IpAddr]>, Problem> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Arc::from([ip]));
        }
        let known = self.names.get(host).await;
        if let Some(known) = known.as_ref().filter(|known| known.since.elapsed() < FRESH) {
            return Ok(Arc::clone(&known.addresses));
        }
        match (self.look_up(host, deadline).await, known) {
            (Ok(addresses), _) => {
                let known = Known {
                    since: Instant::now(),
                    addresses: Arc::clone(&addresses),
                };
                self.names.insert(host.into(), known).await;
                Ok(addresses)
            }
            (Err(Problem::Resolve(_)), Some(known)) => Ok(known.addresses),
            (Err(problem), _) => Err(problem),
        }
    }

    async fn look_up(&self, host: &str, deadline: Instant) -> Result<Arc<[IpAddr]>, Problem> {
        let closed = |_| Problem::Resolve(io::Error::other("the resolver has stopped"));
        let seat = within(deadline, Arc::clone(&self.lookups).acquire_owned())
            .await?
            .map_err(closed)?;
        let (resolve, host) = (Arc::clone(&self.resolve), host.to_owned());
        let looking = tokio::task::spawn_blocking(move || {
            let found = resolve(&host);
            drop(seat);
            found
        });
        let found = within(deadline, looking).await?;
        let found = found.map_err(|error| Problem::Resolve(io::Error::other(error)))?;
        found.map(Arc::from).map_err(Problem::Resolve)
    }
}

impl Dialed {
    /// Asks for the status and gives it as the server wrote it: JSON, perhaps.
    ///
    /// # Errors
    ///
    /// What came instead, or did not.
    pub async fn status(
        self,
        greeting: &Greeting<'_>,
        deadline: Instant,
    ) -> Result<(String, Conversation), Problem> {
        let mut request = Vec::new();
        if let Some(version) = greeting.proxy_header {
            let source = self.stream.local_addr().map_err(Problem::Io)?;
            let addresses = Addresses {
                source,
                destination: self.address,
            };
            proxy_header::write(version, addresses, &mut request);
        }
        Handshake {
            protocol: greeting.protocol,
            address: greeting.host,
            port: greeting.port,
            intent: Intent::Status,
        }
        .encode(&mut request);
        Serverbound::Request.encode(&mut request);
        let mut conversation = Conversation {
            stream: self.stream,
            input: Vec::new(),
            deadline,
        };
        conversation.send(&request).await?;
        match Clientbound::decode(&conversation.receive().await?) {
            Ok(Clientbound::Response(json)) => Ok((json.to_owned(), conversation)),
            Ok(Clientbound::Pong(_)) => Err(Problem::Protocol("a pong instead of a status".into())),
            Err(fault) => Err(Problem::Protocol(fault.to_string())),
        }
    }
}

impl Conversation {
    /// The time of one round trip.
    ///
    /// # Errors
    ///
    /// What came instead of the pong.
    pub async fn round_trip(mut self) -> Result<Duration, Problem> {
        let mut request = Vec::new();
        Serverbound::Ping(PAYLOAD).encode(&mut request);
        let sent = Instant::now();
        self.send(&request).await?;
        match Clientbound::decode(&self.receive().await?) {
            Ok(Clientbound::Pong(PAYLOAD)) => Ok(sent.elapsed()),
            Ok(_) => Err(Problem::Protocol("no pong, or one with another payload".into())),
            Err(fault) => Err(Problem::Protocol(fault.to_string())),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        within(self.deadline, self.stream.write_all(bytes))
            .await?
            .map_err(Problem::from_io)
    }

    /// The next packet.
    async fn receive(&mut self) -> Result<Vec<u8>, Problem> {
        loop {
            let frame = wire::split_frame(&self.input, FRAME_BYTES_MAX);
            if let Some(packet) = frame.map_err(|fault| Problem::Protocol(fault.to_string()))? {
                let rest = self.input.split_off(packet.end);
                let mut frame = std::mem::replace(&mut self.input, rest);
                return Ok(frame.split_off(packet.start));
            }
            let received = within(self.deadline, self.stream.read_buf(&mut self.input)).await?;
            if received.map_err(Problem::from_io)? == 0 {
                return Err(Problem::Closed);
            }
        }
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, Problem> {
    timeout_at(deadline.into(), work)
        .await
        .map_err(|_| Problem::TimedOut)
}

impl Problem {
    fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "the host name cannot be resolved: {error}"),
            Self::Connect(address, error) => write!(f, "cannot connect to {address}: {error}"),
            Self::Io(error) => error.fmt(f),
            Self::TimedOut => f.write_str("no complete answer in time"),
            Self::Closed => f.write_str("the server closed the connection before it had answered"),
            Self::Protocol(problem) => write!(f, "no Minecraft server answers there: {problem}"),
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("names", &self.names.entry_count())
            .finish_non_exhaustive()
    }
}
