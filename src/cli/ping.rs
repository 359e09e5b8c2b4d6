//! `passage ping`: a server-list ping, for people and for health checks.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::text::Text;
use passage_proto::version::Version;
use serde_json::Value;

use crate::adapters::ping::{self, Dialer, Greeting};
use crate::config;
use crate::control::resolve_by_system;

/// Longest text of a server's that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// Why there is no status.
#[derive(Debug)]
pub(super) enum Problem {
    Address,
    Runtime(io::Error),
    Ping(ping::Problem),
}

/// Pings a server and describes its answer.
pub(super) fn report(server: &str, timeout: Duration, protocol: Option<i32>) -> Result<String, Problem> {
    let (host, port) = config::split_address(server).ok_or(Problem::Address)?;
    let greeting = Greeting {
        host: &host,
        port,
        protocol: protocol.unwrap_or(Version::of(i32::MAX).since),
        proxy_header: None,
    };
    let deadline = Instant::now() + timeout;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Problem::Runtime)?;
    let report = runtime.block_on(ask(&greeting, deadline)).map_err(Problem::Ping);
    // A resolver that hangs is left to the end of the process.
    runtime.shutdown_background();
    report
}

async fn ask(greeting: &Greeting<'_>, deadline: Instant) -> Result<String, ping::Problem> {
    let dialer = Dialer::new(Arc::new(resolve_by_system));
    let connection = dialer.dial(greeting.host, greeting.port, deadline).await?;
    let address = connection.address;
    let (status, conversation) = connection.status(greeting, deadline).await?;
    let status = serde_json::from_str(&status)
        .map_err(|error| ping::Problem::Protocol(format!("the status is no JSON: {error}")))?;
    let latency = conversation.round_trip().await?;
    Ok(describe(greeting.host, address, &status, latency))
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

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => {
                f.write_str("no address; expected a host name or IP address, and perhaps a port")
            }
            Self::Runtime(error) => write!(f, "the system does not let us wait for answers: {error}"),
            Self::Ping(problem) => problem.fmt(f),
        }
    }
}
