//! Connections to targets: names resolved by the control thread, addresses tried in order, all before one
//! deadline.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use futures_lite::future;
use passage_proto::question::{AskError, Target};

use crate::ask::{RemoteAnswer, RemoteQuestion};
use crate::engine::Socket;
use crate::limits::ADDRESSES_MAX;
use crate::shard::{Bell, Shard};
use crate::trace::TraceParent;

/// Why a target could not be dialled.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Its host name could not be resolved.
    Resolve(AskError),
    /// Its host name has no address.
    NoAddress,
    /// The last address that was tried did not take the connection.
    Connect(SocketAddr, io::Error),
    /// The deadline came before anything answered.
    TimedOut,
}

impl DialError {
    /// The stable name of the error.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::NoAddress => "no_address",
            Self::Connect(..) => "connect",
            Self::TimedOut => "timed_out",
        }
    }

    /// Whether nothing answered in time.
    pub(crate) fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Connect(_, error) => error.kind() == io::ErrorKind::TimedOut,
            Self::Resolve(_) | Self::NoAddress => false,
        }
    }

    /// Whether it says something about the target. That this process has no descriptors or ports left does
    /// not, nor that the control thread is busy.
    pub(crate) fn is_targets_fault(&self) -> bool {
        const OURS: [i32; 5] = [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EADDRNOTAVAIL,
        ];
        match self {
            Self::Resolve(cause) => *cause != AskError::Overloaded,
            Self::NoAddress | Self::TimedOut => true,
            Self::Connect(_, error) => {
                error.kind() != io::ErrorKind::QuotaExceeded
                    && error.raw_os_error().is_none_or(|errno| !OURS.contains(&errno))
            }
        }
    }
}

/// Connects to a target. `trace` is what the search for its address is a part of.
///
/// # Errors
///
/// What went wrong last.
pub(crate) async fn dial(
    shard: &Shard,
    target: &Target,
    deadline: Instant,
    trace: Option<TraceParent>,
) -> Result<Socket, DialError> {
    let addresses = resolve(shard, target, deadline, trace).await?;
    let count = addresses.len().min(ADDRESSES_MAX);
    let mut last = DialError::NoAddress;
    for (tried, address) in addresses.into_iter().take(count).enumerate() {
        let now = shard.engine.now();
        let Some(left) = deadline
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
        else {
            return Err(DialError::TimedOut);
        };
        // An address that swallows packets must leave time for those after it.
        let share = left / u32::try_from(count - tried).unwrap_or(u32::MAX);
        match shard.engine.connect(address, now + share).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = DialError::Connect(address, error),
        }
    }
    Err(last)
}

async fn resolve(
    shard: &Shard,
    target: &Target,
    deadline: Instant,
    trace: Option<TraceParent>,
) -> Result<Vec<SocketAddr>, DialError> {
    if let Some(ip) = ip_literal(&target.host) {
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    let answered = Rc::new(Bell::default());
    let ring = Rc::clone(&answered);
    let question = RemoteQuestion::Resolve {
        host: target.host.clone(),
        port: target.port,
    };
    let pending = shard
        .desk
        .ask(question, deadline, trace, Rc::new(move || ring.ring()))
        .map_err(DialError::Resolve)?;
    future::or(answered.rung(), shard.engine.sleep_until(deadline)).await;
    match pending.take() {
        Some(RemoteAnswer::Addresses(addresses)) => addresses.map_err(DialError::Resolve),
        Some(_) => Err(DialError::Resolve(AskError::Failed)),
        None => Err(DialError::TimedOut),
    }
}

fn ip_literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
        .parse()
        .ok()
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(cause) => write!(f, "its host name could not be resolved ({cause:?})"),
            Self::NoAddress => f.write_str("its host name has no address"),
            Self::Connect(address, error) => write!(f, "{address} does not take the connection: {error}"),
            Self::TimedOut => f.write_str("it did not answer in time"),
        }
    }
}

impl std::error::Error for DialError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_addresses_from_names() {
        assert_eq!(ip_literal("192.0.2.1"), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(ip_literal("2001:db8::1"), ip_literal("[2001:db8::1]"));
        assert!(ip_literal("2001:db8::1").is_some());
        assert_eq!(ip_literal("lobby.example.net"), None);
        assert_eq!(
            ip_literal("127.1"),
            None,
            "a name, as in the configuration's own check"
        );
    }
}
