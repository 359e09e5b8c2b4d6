//! Services that adapters ask: where they are, and the keys that all of them share.

use std::net::{IpAddr, Ipv6Addr};

use super::discovery::split_address;
use super::secret::{Secret, token};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, integer, seconds, seconds_within, url};

pub use crate::adapters::call::Policy as Remote;

/// A service that is asked over HTTP or gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// `http://…` or `https://…`; for gRPC without a path (`address`).
    pub address: String,
    /// Sent as `authorization: Bearer …` (`token`).
    pub token: Option<Secret>,
    /// The bounds of asking it.
    pub remote: Remote,
}

/// What an address may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// With a path, perhaps a query.
    Http,
    /// Only scheme, host and port.
    Grpc,
}

/// Reads where a service is and how it is asked.
pub(super) fn read(table: &Section<'_>, protocol: Protocol) -> Service {
    let (allowed, example) = match protocol {
        Protocol::Http => (
            "the address of the service",
            "an address such as \"https://api.example.net/minecraft\"",
        ),
        Protocol::Grpc => (
            "the address of the service",
            "an address such as \"http://127.0.0.1:50051\", without a path",
        ),
    };
    let address = table
        .required("address", allowed, |node| address(node, protocol, example))
        .unwrap_or_default();
    let service = Service {
        token: table.value("token", bearer),
        remote: remote(table, Remote::default()),
        address,
    };
    warn_of_plain_text(table, &service);
    service
}

/// Reads the keys that all remote adapters share.
pub(super) fn remote(table: &Section<'_>, default: Remote) -> Remote {
    Remote {
        timeout: table
            .value("timeout", seconds_within(0.1..=60.0))
            .unwrap_or(default.timeout),
        concurrency: table
            .value("concurrency", integer(1..=4_096))
            .unwrap_or(default.concurrency),
        retries: table.value("retries", integer(0..=10)).unwrap_or(default.retries),
        breaker_failures: table
            .value("breaker_failures", integer(0..=1_000))
            .unwrap_or(default.breaker_failures),
        breaker_pause: table
            .value("breaker_pause", seconds(1..=600))
            .unwrap_or(default.breaker_pause),
    }
}

/// Warns of a secret that everybody on the way can read.
fn warn_of_plain_text(table: &Section<'_>, service: &Service) {
    let Some(rest) = service.address.strip_prefix("http://") else {
        return;
    };
    if service.token.is_some() && !is_loopback(authority(rest)) {
        table.reading.warn(format!(
            "{} is sent to {} without encryption; use https:// where others can listen",
            table.path_of("token"),
            service.address
        ));
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = split_address(authority).map_or_else(String::new, |(host, _)| host);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Host and port of what follows the scheme.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn address(node: &Node, protocol: Protocol, allowed: &'static str) -> Parsed<String> {
    let written = url(node)?;
    let rest = written.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority(rest);
    let path = rest.strip_prefix(authority).unwrap_or_default();
    let fits = split_address(authority).is_some()
        && authority.parse::<Ipv6Addr>().is_err()
        && !path.contains('#')
        && (protocol == Protocol::Http || matches!(path, "" | "/"));
    if !fits {
        return Mismatch::new(node, allowed).fail();
    }
    match protocol {
        Protocol::Http => Ok(written),
        Protocol::Grpc => Ok(written.trim_end_matches('/').to_owned()),
    }
}

/// A token that fits into a header.
fn bearer(node: &Node) -> Parsed<Secret> {
    let secret = token(node)?;
    if secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(secret);
    }
    Mismatch::new(node, "a token of printable ASCII characters without spaces")
        .found("something else (not shown)")
        .fail()
}
