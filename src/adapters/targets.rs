//! What a service may answer when it is asked for targets: bounded, and fit to be counted and connected to.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use passage_proto::question::Target;

use crate::config::split_address;

/// Most targets that one answer may have.
pub(crate) const TARGETS_MAX: usize = 4_096;
/// Longest identifier of a target, in bytes. It becomes a metric label.
pub(crate) const IDENTIFIER_BYTES_MAX: usize = 128;
/// Most entries of `meta`.
const META_ENTRIES_MAX: usize = 256;
/// Longest key or value of `meta`, in bytes.
const META_BYTES_MAX: usize = 8 * 1024;

/// Checks a whole answer: one bad target spoils it, so that a mistake is found where it was made.
///
/// # Errors
///
/// What is wrong with which target.
pub(crate) fn checked(targets: Vec<Target>) -> Result<Vec<Arc<Target>>, String> {
    if targets.len() > TARGETS_MAX {
        return Err(format!(
            "{} targets, at most {TARGETS_MAX} are allowed",
            targets.len()
        ));
    }
    let targets = targets.into_iter().enumerate().map(|(index, target)| {
        checked_one(target).map_err(|problem| format!("target {} {problem}", index + 1))
    });
    let targets = targets.collect::<Result<Vec<_>, _>>()?;
    let mut seen = HashSet::with_capacity(targets.len());
    match targets
        .iter()
        .find(|target| !seen.insert(target.identifier.as_str()))
    {
        Some(twin) => Err(format!("two targets with the identifier {:?}", twin.identifier)),
        None => Ok(targets),
    }
}

/// Checks one target, and writes its host as the rest of the program does.
///
/// # Errors
///
/// What is wrong, to be read after "target …".
pub(crate) fn checked_one(target: Target) -> Result<Arc<Target>, String> {
    let name = &target.identifier;
    if name.is_empty() || name.len() > IDENTIFIER_BYTES_MAX || name.contains(char::is_control) {
        return Err(format!(
            "has an identifier of {} bytes; 1 to {IDENTIFIER_BYTES_MAX} without control characters are \
             allowed",
            name.len()
        ));
    }
    let wrong = |problem: String| Err(format!("({name:?}) {problem}"));
    let Some(host) = host(&target.host) else {
        let shown: String = target.host.chars().take(80).collect();
        return wrong(format!(
            "has the address {shown:?}; a host name or an IP address is expected"
        ));
    };
    if target.port == 0 {
        return wrong("has no port; 1 to 65535 are allowed".into());
    }
    if target.meta.len() > META_ENTRIES_MAX {
        return wrong(format!(
            "has {} entries of meta, at most {META_ENTRIES_MAX} are allowed",
            target.meta.len()
        ));
    }
    let longest = target
        .meta
        .iter()
        .map(|(key, value)| key.len().max(value.len()))
        .max();
    if let Some(bytes) = longest.filter(|bytes| *bytes > META_BYTES_MAX) {
        return wrong(format!(
            "has {bytes} bytes in an entry of meta, at most {META_BYTES_MAX} are allowed"
        ));
    }
    Ok(Arc::new(Target { host, ..target }))
}

/// A host alone, without a port.
fn host(written: &str) -> Option<String> {
    if let Ok(address) = written.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let alone = !written.contains([':', '[', ']']);
    alone
        .then(|| split_address(written))
        .flatten()
        .map(|(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(identifier: &str) -> Target {
        Target {
            identifier: identifier.into(),
            host: "lobby.internal".into(),
            port: 25565,
            priority: 0,
            meta: [("players".to_owned(), "3".to_owned())].into(),
        }
    }

    #[test]
    fn takes_what_can_be_connected_to() {
        let hosts = ["lobby", "lobby.internal.", "10.0.0.1", "::1", "fe80::1"];
        let targets = hosts.iter().map(|host| Target {
            host: (*host).into(),
            ..target(host)
        });
        let taken = checked(targets.collect()).unwrap();
        let taken: Vec<_> = taken.iter().map(|target| target.host.as_str()).collect();
        assert_eq!(taken, ["lobby", "lobby.internal", "10.0.0.1", "::1", "fe80::1"]);
        assert_eq!(checked(Vec::new()), Ok(Vec::new()));
    }

    #[test]
    fn says_which_target_is_wrong_and_why() {
        let long = "x".repeat(META_BYTES_MAX + 1);
        let many = (0..=META_ENTRIES_MAX)
            .map(|n| (n.to_string(), String::new()))
            .collect();
        let cases = [
            (target(""), "target 2 has an identifier of 0 bytes"),
            (target("a\nb"), "target 2 has an identifier of 3 bytes"),
            (
                target(&"x".repeat(129)),
                "target 2 has an identifier of 129 bytes",
            ),
            (
                Target {
                    host: String::new(),
                    ..target("b")
                },
                "target 2 (\"b\") has the address \"\"",
            ),
            (
                Target {
                    host: "a:1".into(),
                    ..target("b")
                },
                "target 2 (\"b\") has the address \"a:1\"",
            ),
            (
                Target {
                    host: "[::1]".into(),
                    ..target("b")
                },
                "target 2 (\"b\") has the address",
            ),
            (
                Target {
                    host: "a b".into(),
                    ..target("b")
                },
                "target 2 (\"b\") has the address \"a b\"",
            ),
            (
                Target {
                    port: 0,
                    ..target("b")
                },
                "target 2 (\"b\") has no port",
            ),
            (
                Target {
                    meta: many,
                    ..target("b")
                },
                "target 2 (\"b\") has 257 entries of meta",
            ),
            (
                Target {
                    meta: [("k".to_owned(), long)].into(),
                    ..target("b")
                },
                "target 2 (\"b\") has 8193 bytes in an entry of meta",
            ),
            (target("a"), "two targets with the identifier \"a\""),
        ];
        for (second, expected) in cases {
            let problem = checked(vec![target("a"), second]).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn bounds_how_many_there_are() {
        let many = |count: usize| (0..count).map(|n| target(&n.to_string())).collect();
        assert_eq!(checked(many(TARGETS_MAX)).unwrap().len(), TARGETS_MAX);
        assert_eq!(
            checked(many(TARGETS_MAX + 1)).unwrap_err(),
            "4097 targets, at most 4096 are allowed"
        );
    }
}
