//! `type = "dns"` of `[discovery]`: targets out of SRV or address records.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{refresh_interval, split_address};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::typed::MINECRAFT_PORT;
use crate::config::typed::service::{self, Remote};
use crate::config::value::{Mismatch, Parsed, integer, list, one_of, word};

/// How targets are found in DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dns {
    /// The name that is asked for, in full and without the dot at its end (`domain`).
    pub domain: String,
    /// What is asked for (`record`).
    pub records: DnsRecords,
    /// Who is asked; empty for whom the system's `resolv.conf` names (`resolver`).
    pub resolvers: Vec<SocketAddr>,
    /// Shortest time between two questions; records with a longer TTL are asked for later
    /// (`refresh_interval`).
    pub refresh_interval: Duration,
    /// How the resolver is asked.
    pub remote: Remote,
}

/// Which records are targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsRecords {
    /// SRV: host, port, priority and weight.
    Srv,
    /// Addresses, all with this port.
    Addresses {
        /// A.
        ipv4: bool,
        /// AAAA.
        ipv6: bool,
        /// Where the targets listen (`port`).
        port: u16,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RecordType {
    Srv,
    A,
    Aaaa,
}

const RECORD_TYPES: &[(&str, RecordType)] = &[
    ("srv", RecordType::Srv),
    ("a", RecordType::A),
    ("aaaa", RecordType::Aaaa),
    ("SRV", RecordType::Srv),
    ("A", RecordType::A),
    ("AAAA", RecordType::Aaaa),
];
const RESOLVERS_MAX: usize = 8;
const RESOLVER_PORT: u16 = 53;

/// Reads the keys of the table beside `type` and `actions`. `record_type` is upstream's name of `record`.
pub(super) fn read(table: &Section<'_>) -> Dns {
    Dns {
        domain: table
            .required("domain", "the name to ask for", domain)
            .unwrap_or_default(),
        records: records(table),
        resolvers: resolvers(table),
        refresh_interval: refresh_interval(table),
        remote: service::remote(table, Remote::default()),
    }
}

fn records(table: &Section<'_>) -> DnsRecords {
    let types = table
        .value_of(&["record", "record_type"], list(one_of(RECORD_TYPES)))
        .unwrap_or_else(|| vec![RecordType::Srv]);
    let port = table.value("port", integer(1..=u16::MAX));
    let key = if table.has("record") {
        "record"
    } else {
        "record_type"
    };
    let allowed = "\"srv\" alone, or \"a\", \"aaaa\" or both";
    if types.is_empty() {
        table.blame(key, "no record type", allowed);
    }
    if !types.contains(&RecordType::Srv) {
        return DnsRecords::Addresses {
            ipv4: types.contains(&RecordType::A),
            ipv6: types.contains(&RecordType::Aaaa),
            port: port.unwrap_or(MINECRAFT_PORT),
        };
    }
    if types.iter().any(|kind| *kind != RecordType::Srv) {
        table.blame(key, "SRV and address records together", allowed);
    }
    if port.is_some() {
        table.reading.warn(format!(
            "{} is not used: SRV records name the port",
            table.path_of("port")
        ));
    }
    DnsRecords::Srv
}

fn domain(node: &Node) -> Parsed<String> {
    let written = word(node)?;
    let name = (!written.contains([':', '[']))
        .then(|| split_address(&written))
        .flatten();
    match name {
        Some((name, _)) if name.parse::<IpAddr>().is_err() => Ok(name.to_ascii_lowercase()),
        _ => Mismatch::new(node, "a name such as \"_minecraft._tcp.example.net\"").fail(),
    }
}

fn resolvers(table: &Section<'_>) -> Vec<SocketAddr> {
    let resolvers = table.value("resolver", list(resolver)).unwrap_or_default();
    if resolvers.len() > RESOLVERS_MAX {
        table.blame(
            "resolver",
            format!("{} resolvers", resolvers.len()),
            format!("at most {RESOLVERS_MAX}"),
        );
    }
    resolvers
}

/// An address with or without a port: resolvers are not looked up in DNS themselves.
fn resolver(node: &Node) -> Parsed<SocketAddr> {
    let written = word(node)?;
    let address = written
        .parse()
        .ok()
        .or_else(|| Some(SocketAddr::new(written.parse().ok()?, RESOLVER_PORT)));
    address.filter(|address| address.port() != 0).map_or_else(
        || {
            Mismatch::new(
                node,
                "an IP address, with a port or without, such as \"127.0.0.1:5353\"",
            )
            .fail()
        },
        Ok,
    )
}
