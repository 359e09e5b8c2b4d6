//! `passage ping`: a server-list ping, for people and for health checks.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use passage_proto::limits::FRAME_BYTES_MAX;
use passage_proto::packet::handshake::{Handshake, Intent};
use passage_proto::packet::status::{Clientbound, Serverbound};
use passage_proto::text::Text;
use passage_proto::version::Version;
use passage_proto::wire;
use serde_json::Value;

use crate::config;
use crate::control::resolve_by_system;

/// Longest text of a server's that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// What a ping carries and the pong brings back.
pub(super) const PAYLOAD: i64 = 0x0050_6173_7361_6765;

/// Why there is no status.
#[derive(Debug)]
pub(super) enum Problem {
    Address,
    Resolve(io::Error),
    Connect(SocketAddr, io::Error),
    Io(io::Error),
    TimedOut,
    Closed,
    Protocol(String),
}

/// Pings a server and describes its answer.
pub(super) fn report(server: &str, timeout: Duration, protocol: Option<i32>) -> Result<String, Problem> {
    let (host, port) = config::split_address(server).ok_or(Problem::Address)?;
    let deadline = Instant::now() + timeout;
    let protocol = protocol.unwrap_or(Version::of(i32::MAX).since);
    let mut connection = connect(&host, port, deadline)?;
    let address = connection.stream.peer_addr().map_err(Problem::Io)?;

    let mut request = Vec::new();
    Handshake {
        protocol,
        address: &host,
        port,
        intent: Intent::Status,
    }
    .encode(&mut request);
    Serverbound::Request.encode(&mut request);
    connection.send(&request)?;
    let status: Value = match Clientbound::decode(&connection.receive()?) {
        Ok(Clientbound::Response(json)) => serde_json::from_str(json)
            .map_err(|error| Problem::Protocol(format!("the status is no JSON: {error}")))?,
        Ok(Clientbound::Pong(_)) => return Err(Problem::Protocol("a pong instead of a status".into())),
        Err(fault) => return Err(Problem::Protocol(fault.to_string())),
    };
    let latency = connection.ping()?;
    Ok(describe(&host, address, &status, latency))
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    deadline: Instant,
}

/// Tries the host's addresses one after the other.
fn connect(host: &str, port: u16, deadline: Instant) -> Result<Connection, Problem> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => resolve_by_system(host).map_err(Problem::Resolve)?,
    };
    let mut last = Problem::Resolve(io::Error::other("the host name has no address"));
    for ip in addresses {
        let address = SocketAddr::new(ip, port);
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(Problem::Io)?;
                return Ok(Connection {
                    stream,
                    input: Vec::new(),
                    deadline,
                });
            }
            Err(error) => last = Problem::Connect(address, error),
        }
    }
    Err(last)
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.stream
            .set_write_timeout(Some(left(self.deadline)?))
            .map_err(Problem::Io)?;
        self.stream.write_all(bytes).map_err(Problem::from_io)
    }

    /// The next packet, of at most the protocol's own limit.
    fn receive(&mut self) -> Result<Vec<u8>, Problem> {
        loop {
            let frame = wire::split_frame(&self.input, FRAME_BYTES_MAX);
            if let Some(packet) = frame.map_err(|fault| Problem::Protocol(fault.to_string()))? {
                let rest = self.input.split_off(packet.end);
                let mut frame = std::mem::replace(&mut self.input, rest);
                return Ok(frame.split_off(packet.start));
            }
            let mut chunk = [0; 4096];
            self.stream
                .set_read_timeout(Some(left(self.deadline)?))
                .map_err(Problem::Io)?;
            let length = self.stream.read(&mut chunk).map_err(Problem::from_io)?;
            if length == 0 {
                return Err(Problem::Closed);
            }
            self.input.extend(chunk.iter().take(length));
        }
    }

    /// The time of one round trip.
    fn ping(&mut self) -> Result<Duration, Problem> {
        let mut request = Vec::new();
        Serverbound::Ping(PAYLOAD).encode(&mut request);
        let sent = Instant::now();
        self.send(&request)?;
        match Clientbound::decode(&self.receive()?) {
            Ok(Clientbound::Pong(PAYLOAD)) => Ok(sent.elapsed()),
            Ok(_) => Err(Problem::Protocol("no pong, or one with another payload".into())),
            Err(fault) => Err(Problem::Protocol(fault.to_string())),
        }
    }
}

fn left(deadline: Instant) -> Result<Duration, Problem> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(Problem::TimedOut)
    } else {
        Ok(left)
    }
}

fn describe(host: &str, address: SocketAddr, status: &Value, latency: Duration) -> String {
    let version = shown(status["version"]["name"].as_str().unwrap_or("unknown"));
    let protocol = status["version"]["protocol"]
        .as_i64()
        .map_or("unknown".into(), |number| number.to_string());
    let count = |key: &str| {
        status["players"][key]
            .as_i64()
            .map_or("?".into(), |number| number.to_string())
    };
    let motd = match &status["description"] {
        Value::Null => String::new(),
        description => shown(&Text::parse(&description.to_string()).to_plain()),
    };
    format!(
        "{host} ({address})\nversion  {version} (protocol {protocol})\nplayers  {} of {}\nmotd     \
         {motd}\nlatency  {:.2} ms\n",
        count("online"),
        count("max"),
        latency.as_secs_f64() * 1_000.0
    )
}

/// A server's text for a terminal: bounded, on one line, without control characters.
fn shown(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    spaced.take(SHOWN_CHARS_MAX).collect::<String>().trim().to_owned()
}

impl Problem {
    fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => {
                f.write_str("no address; expected a host name or IP address, and perhaps a port")
            }
            Self::Resolve(error) => write!(f, "the host name cannot be resolved: {error}"),
            Self::Connect(address, error) => write!(f, "cannot connect to {address}: {error}"),
            Self::Io(error) => error.fmt(f),
            Self::TimedOut => f.write_str("no complete answer in time"),
            Self::Closed => f.write_str("the server closed the connection before it had answered"),
            Self::Protocol(problem) => write!(f, "no Minecraft server answers there: {problem}"),
        }
    }
}
