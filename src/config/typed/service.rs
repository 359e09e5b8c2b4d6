//! Services that adapters ask: where they are, and the keys that all of them share.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use rustls::pki_types::ServerName;

use super::discovery::split_address;
use super::secret::{Secret, token};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, integer, seconds, seconds_within, url, word};
use crate::tls::ClientIdentity;

pub use crate::adapters::call::Policy as Remote;

/// A service that is asked over HTTP or gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// `http://…` or `https://…`; for gRPC without a path (`address`).
    pub address: String,
    /// Sent as `authorization: Bearer …` (`token`).
    pub token: Option<Secret>,
    /// The name that its certificate has to be for, if it is not that of the address (`server_name`).
    pub server_name: Option<String>,
    /// What Passage shows to a service that asks for a certificate (`certificate_file`, `key_file`).
    pub identity: Option<ClientIdentity>,
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
    let (server_name, identity) = match protocol {
        Protocol::Http => (None, None),
        Protocol::Grpc => (table.value("server_name", server_name), identity(table)),
    };
    let service = Service {
        token: table.value("token", bearer),
        server_name,
        identity,
        remote: remote(table, Remote::default()),
        address,
    };
    check_plain_text(table, &service);
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

/// The client certificate, which takes two keys.
fn identity(table: &Section<'_>) -> Option<ClientIdentity> {
    let certificate = table.value("certificate_file", word);
    let key = table.value("key_file", word);
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) if !table.has("key_file") => {
            table.blame("certificate_file", "a certificate alone", "key_file beside it");
            return None;
        }
        (None, Some(_)) if !table.has("certificate_file") => {
            table.blame("key_file", "a key alone", "certificate_file beside it");
            return None;
        }
        _ => return None,
    };
    match ClientIdentity::read(Path::new(&certificate), Path::new(&key)) {
        Ok(identity) => Some(identity),
        Err(error) => {
            let allowed = "a certificate and its key, both in PEM form";
            table.blame("certificate_file", error.to_string(), allowed);
            None
        }
    }
}

/// A host name or an IP address.
fn server_name(node: &Node) -> Parsed<String> {
    let name = word(node)?;
    match ServerName::try_from(name.as_str()) {
        Ok(_) => Ok(name),
        Err(_) => Mismatch::new(node, "a host name or IP address, as in the service's certificate").fail(),
    }
}

/// Reports what makes no sense without TLS, and warns of a secret that everybody on the way can read.
fn check_plain_text(table: &Section<'_>, service: &Service) {
    let Some(rest) = service.address.strip_prefix("http://") else {
        return;
    };
    for key in ["server_name", "certificate_file"]
        .into_iter()
        .filter(|key| table.has(key))
    {
        table.blame(
            key,
            "an address that starts with http://",
            "https://, or no such key",
        );
    }
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
