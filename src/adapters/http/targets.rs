//! Targets from a web server: `{"targets":[{"identifier","address","priority","meta"}]}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use passage_proto::question::{AskError, Target};
use passage_shards::metrics::AdapterName;
use serde::Deserialize;
use serde_json::Value;

use super::{Resource, ResourceError};
use crate::adapters::targets::checked;
use crate::adapters::{Answer, Call, Refreshed, TargetSource};
use crate::config::{self, split_address};
use crate::tls::Trust;

/// Longest page that is read.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A web server that lists targets.
pub struct HttpTargets(Resource<Vec<Arc<Target>>>);

impl HttpTargets {
    /// Asks the service of `settings`, whose certificate these authorities have issued.
    ///
    /// # Errors
    ///
    /// If its address or its token cannot be used.
    pub fn new(settings: &config::Http, trust: &Trust) -> Result<Self, ResourceError> {
        let resource = Resource::new(AdapterName::Discovery, &settings.service, PAGE_BYTES_MAX, trust);
        Ok(Self(resource?))
    }
}

impl TargetSource for HttpTargets {
    fn refresh(&self, call: Call) -> Answer<'_, Result<Refreshed, AskError>> {
        Box::pin(async move {
            let fresh = self.0.fetch(call, read).await?;
            Ok(Refreshed {
                targets: fresh.value,
                valid_for: fresh.valid_for,
            })
        })
    }

    fn threads(&self) -> usize {
        self.0.threads()
    }
}

#[derive(Deserialize)]
struct Listed {
    targets: Vec<Value>,
}

#[derive(Deserialize)]
struct Entry {
    identifier: String,
    address: Address,
    #[serde(default)]
    priority: u32,
    #[serde(default)]
    meta: BTreeMap<String, MetaValue>,
}

/// As the configuration writes it, or in two parts as the gRPC contract has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Address {
    Text(String),
    Parts { hostname: String, port: u16 },
}

/// Services write counts as numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum MetaValue {
    Text(String),
    Number(serde_json::Number),
    Flag(bool),
}

/// Reads a whole page: one bad target spoils it, so that a mistake is found where it was made, and players go
/// on with the targets of before.
pub(in crate::adapters) fn read(page: &[u8]) -> Result<Vec<Arc<Target>>, String> {
    let listed: Listed = serde_json::from_slice(page).map_err(|error| {
        format!("{error}; expected {{\"targets\": [{{\"identifier\", \"address\", …}}, …]}}")
    })?;
    let targets = listed
        .targets
        .into_iter()
        .enumerate()
        .map(|(index, entry)| target(entry).map_err(|problem| format!("target {} {problem}", index + 1)));
    checked(targets.collect::<Result<_, _>>()?)
}

/// # Errors
///
/// What is wrong, to be read after "target …".
fn target(entry: Value) -> Result<Target, String> {
    let name: String = entry["identifier"]
        .as_str()
        .map_or_else(String::new, |name| format!("({:?}) ", shortened(name)));
    let entry: Entry =
        serde_json::from_value(entry).map_err(|error| format!("{name}cannot be read: {error}"))?;
    let (host, port) = match entry.address {
        Address::Parts { hostname, port } => (hostname, port),
        Address::Text(text) => split_address(&text).ok_or_else(|| {
            let shown = shortened(&text);
            format!("{name}has the address {shown:?}; a host name or an IP address, and a port, is expected")
        })?,
    };
    Ok(Target {
        identifier: entry.identifier,
        host,
        port,
        priority: entry.priority,
        meta: entry
            .meta
            .into_iter()
            .map(|(key, value)| (key, value.into_text()))
            .collect(),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

impl MetaValue {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(page: &str) -> String {
        read(page.as_bytes()).expect_err(page)
    }

    #[test]
    fn reads_targets_as_services_write_them() {
        let page = r#"{"targets":[
            {"identifier":"hub-1","address":"10.0.0.1:25566","priority":2,
             "meta":{"players":12,"map":"sky","open":true}},
            {"identifier":"hub-2","address":"hub.internal"},
            {"identifier":"hub-3","address":{"hostname":"::1","port":7},"note":"an unknown key"}
        ],"generated":"today"}"#;
        let targets = read(page.as_bytes()).unwrap();
        let read: Vec<_> = targets
            .iter()
            .map(|target| (target.host.as_str(), target.port, target.priority))
            .collect();
        let expected = [("10.0.0.1", 25566, 2), ("hub.internal", 25565, 0), ("::1", 7, 0)];
        assert_eq!(read, expected);
        let meta: Vec<_> = targets[0]
            .meta
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(meta, [("map", "sky"), ("open", "true"), ("players", "12")]);
        assert_eq!(super::read(br#"{"targets":[]}"#), Ok(Vec::new()));
    }

    #[test]
    fn says_which_target_is_wrong_and_how() {
        let rows = [
            ("", "EOF"),
            ("[]", "expected {\"targets\""),
            ("{}", "missing field `targets`"),
            (r#"{"targets":{}}"#, "expected a sequence"),
            (r#"{"targets":[7]}"#, "target 1 cannot be read"),
            (
                r#"{"targets":[{"identifier":"a","address":"b"},{"identifier":"c"}]}"#,
                "target 2 (\"c\") cannot be read: missing field `address`",
            ),
            (
                r#"{"targets":[{"identifier":"a","address":"b:99999"}]}"#,
                "target 1 (\"a\") has the address \"b:99999\"",
            ),
            (
                r#"{"targets":[{"identifier":"a","address":"b","priority":-1}]}"#,
                "target 1 (\"a\") cannot be read: invalid value",
            ),
            (
                r#"{"targets":[{"identifier":"a","address":"b","meta":{"x":[]}}]}"#,
                "target 1 (\"a\") cannot be read",
            ),
            (
                r#"{"targets":[{"identifier":"a","address":"b"},{"identifier":"a","address":"c"}]}"#,
                "two targets with the identifier \"a\"",
            ),
            (
                r#"{"targets":[{"identifier":"","address":"b"}]}"#,
                "identifier of 0 bytes",
            ),
        ];
        for (page, expected) in rows {
            let problem = problem(page);
            assert!(problem.contains(expected), "{page}: {problem}");
        }
    }

    #[test]
    fn takes_no_more_targets_than_are_allowed() {
        let targets: Vec<_> = (0..5_000)
            .map(|index| format!(r#"{{"identifier":"{index}","address":"b"}}"#))
            .collect();
        let page = format!(r#"{{"targets":[{}]}}"#, targets.join(","));
        assert!(problem(&page).contains("5000 targets, at most 4096"), "{page}");
    }
}
