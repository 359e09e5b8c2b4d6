//! `[[discovery.targets]]`: targets that stand in the configuration, and addresses as operators write them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use passage_proto::question::Target;

use crate::adapters::targets::{IDENTIFIER_BYTES_MAX, TARGETS_MAX};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::typed::MINECRAFT_PORT;
use crate::config::value::{Mismatch, Parsed, integer, text, word};

pub(super) fn read(table: &Section<'_>) -> Vec<Arc<Target>> {
    let targets = table.tables("targets", target);
    if targets.len() > TARGETS_MAX {
        table.blame(
            "targets",
            format!("{} targets", targets.len()),
            format!("at most {TARGETS_MAX}"),
        );
    }
    let mut seen = HashSet::new();
    for (index, target) in targets.iter().enumerate() {
        if !seen.insert(target.identifier.as_str()) {
            table.blame(
                &format!("targets[{index}].identifier"),
                format!("{:?} twice", target.identifier),
                "an identifier that no other target has",
            );
        }
    }
    targets.iter().cloned().map(Arc::new).collect()
}

fn target(table: &Section<'_>) -> Target {
    let (host, port) = table
        .required("address", "a host name or IP address, and a port", address)
        .unwrap_or_default();
    Target {
        identifier: table
            .required("identifier", "a unique name", identifier)
            .unwrap_or_default(),
        host,
        port,
        priority: table.value("priority", integer(0..=u32::MAX)).unwrap_or(0),
        meta: table.table("meta", |meta| {
            meta.skip_rest();
            let entry = |(key, node): (&str, &Node)| Some((key.to_owned(), meta.checked(key, node, text)?));
            meta.entries().filter_map(entry).collect::<BTreeMap<_, _>>()
        }),
    }
}

fn identifier(node: &Node) -> Parsed<String> {
    let identifier = word(node)?;
    let fits = identifier.len() <= IDENTIFIER_BYTES_MAX && !identifier.contains(char::is_control);
    if fits {
        Ok(identifier)
    } else {
        Mismatch::new(
            node,
            format!("at most {IDENTIFIER_BYTES_MAX} bytes, no control characters"),
        )
        .fail()
    }
}

/// `host:port`, `[::1]:port`, or a host alone, which means Minecraft's own port.
fn address(node: &Node) -> Parsed<(String, u16)> {
    let written = word(node)?;
    split_address(&written).map_or_else(
        || {
            Mismatch::new(
                node,
                "a host name or IP address, and a port, such as \"10.0.1.10:25565\"",
            )
            .fail()
        },
        Ok,
    )
}

/// Splits and checks an address as players and operators write it.
pub(crate) fn split_address(written: &str) -> Option<(String, u16)> {
    if let Ok(bare) = written.parse::<std::net::Ipv6Addr>() {
        return Some((bare.to_string(), MINECRAFT_PORT));
    }
    let (host, port) = match written.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            let host = host.parse::<std::net::Ipv6Addr>().ok()?.to_string();
            (
                host,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':')?)
                },
            )
        }
        None => match written.split_once(':') {
            Some((host, port)) => (host_name(host)?, Some(port)),
            None => (host_name(written)?, None),
        },
    };
    let port = port.map_or(Some(MINECRAFT_PORT), |port| {
        port.parse().ok().filter(|port| *port != 0)
    })?;
    Some((host, port))
}

/// A host name as DNS allows it (RFC 1123, and underscores, which private zones use), or an IPv4 address.
fn host_name(host: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (host.len() <= 253 && host.split('.').all(label)).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_addresses_as_operators_write_them() {
        let split = |text| split_address(text).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(split("10.0.1.10:25566").as_deref(), Some("10.0.1.10 25566"));
        assert_eq!(split("lobby.internal").as_deref(), Some("lobby.internal 25565"));
        assert_eq!(split("[::1]:7").as_deref(), Some("::1 7"));
        assert_eq!(split("fe80::1").as_deref(), Some("fe80::1 25565"));
        for wrong in [
            "", ":1", "a:0", "a:65536", "a b:1", "a:1:2", "[::1", "[::1]7", "[a]:1", "a..b:1", "a/b",
        ] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
