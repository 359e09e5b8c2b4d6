//! `[discovery]` with `type = "dns"`: targets out of SRV or address records.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{refresh_interval, split_address};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::typed::MINECRAFT_PORT;
use crate::config::typed::service::{self, Remote};
use crate::config::value::{Mismatch, Parsed, integer, list, one_of, word};

/// DNS records that name targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dns {
    /// The name that is looked up, without a trailing dot (`domain`).
    pub domain: String,
    /// Which records it has (`record_type`).
    pub records: DnsRecords,
    /// Time between two look-ups; a record's longer TTL wins (`refresh_interval`).
    pub refresh_interval: Duration,
    /// Who is asked; empty for the system's resolvers (`resolver`).
    pub resolvers: Vec<SocketAddr>,
    /// How they are asked.
    pub remote: Remote,
}

/// Which records a domain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsRecords {
    /// SRV: host, port, priority and weight.
    Srv,
    /// A and AAAA: addresses that all have this port (`port`).
    Addresses {
        /// The port.
        port: u16,
    },
}

const RESOLVERS_MAX: usize = 8;
const RESOLVER_PORT: u16 = 53;

#[derive(Clone)]
enum Kind {
    Srv,
    Addresses,
}

pub(super) fn read(table: &Section<'_>) -> Dns {
    let kinds = &[
        ("srv", Kind::Srv),
        ("a", Kind::Addresses),
        ("aaaa", Kind::Addresses),
    ];
    let kind = table.value("record_type", one_of(kinds)).unwrap_or(Kind::Srv);
    let port = table.value("port", integer(1..=u16::MAX));
    let resolvers = table.value("resolver", list(resolver)).unwrap_or_default();
    if resolvers.len() > RESOLVERS_MAX {
        table.blame(
            "resolver",
            format!("{} resolvers", resolvers.len()),
            format!("at most {RESOLVERS_MAX}"),
        );
    }
    Dns {
        domain: table
            .required("domain", "a name such as \"_minecraft._tcp.example.net\"", domain)
            .unwrap_or_default(),
        records: match kind {
            Kind::Srv => DnsRecords::Srv,
            Kind::Addresses => DnsRecords::Addresses {
                port: port.unwrap_or(MINECRAFT_PORT),
            },
        },
        refresh_interval: refresh_interval(table),
        resolvers,
        remote: service::remote(table, Remote::default()),
    }
}

fn domain(node: &Node) -> Parsed<String> {
    let allowed = "a domain name such as \"_minecraft._tcp.example.net\"";
    let name = word(node)?;
    match split_address(&name) {
        Some((host, _)) if !name.contains(':') && host.parse::<IpAddr>().is_err() => Ok(host),
        _ => Mismatch::new(node, allowed).fail(),
    }
}

/// An IP address, and a port where it is not 53.
fn resolver(node: &Node) -> Parsed<SocketAddr> {
    let allowed = "the IP address of a DNS server, and a port where it is not 53, such as \"10.0.0.2:53\"";
    let written = word(node)?;
    let bare = || {
        let ip: IpAddr = written.parse().ok()?;
        Some(SocketAddr::new(ip, RESOLVER_PORT))
    };
    written
        .parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0)
        .or_else(bare)
        .map_or_else(|| Mismatch::new(node, allowed).fail(), Ok)
}
