//! `[discovery]` with `type = "agones"`: a game server is allocated for each player.
//!
//! The tables follow the `GameServerAllocation` of Agones (`allocation.agones.dev/v1`), whose keys they keep.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::raw::{Node, Value};
use crate::config::section::Section;
use crate::config::typed::service::{self, Remote};
use crate::config::value::{Mismatch, Parsed, integer, number, one_of, seconds_within, text, word};

/// Which game servers are allocated, and how Kubernetes is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Agones {
    /// The cluster; `None` for the one that Passage runs in, else what `KUBECONFIG` says.
    pub cluster: Option<KubernetesFile>,
    /// Where allocations are made; `None` for the namespace of the cluster's credentials (`namespace`).
    pub namespace: Option<String>,
    /// Tried in order; none takes any game server (`selectors`).
    pub selectors: Vec<AgonesSelector>,
    /// Which of several game servers is taken (`priorities`).
    pub priorities: Vec<AgonesPriority>,
    /// `Packed` or `Distributed` (`scheduling`).
    pub scheduling: Option<&'static str>,
    /// Labels that the game server gets, with templates (`metadata.labels`).
    pub labels: BTreeMap<String, String>,
    /// Annotations that the game server gets, with templates (`metadata.annotations`).
    pub annotations: BTreeMap<String, String>,
    /// The name of the game server's port; `None` for its first (`port`).
    pub port: Option<String>,
    /// How often it is tried again while there is no game server.
    pub backoff: Backoff,
    /// How the API server is asked.
    pub remote: Remote,
}

/// A file with credentials for a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KubernetesFile {
    /// The file (`kubeconfig`).
    pub path: PathBuf,
    /// Which of its contexts; `None` for its current one (`context`).
    pub context: Option<String>,
}

/// Which game servers fit, as the API server reads it; texts are templates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgonesSelector(pub serde_json::Value);

/// Which of several game servers is taken, as the API server reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgonesPriority(pub serde_json::Value);

/// Pauses between attempts; all of them end with the adapter's `timeout`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Before the second attempt (`initial_secs`).
    pub initial: Duration,
    /// Longest pause (`max_secs`).
    pub max: Duration,
    /// Attempts in all (`max_attempts`).
    pub max_attempts: u32,
    /// By what each pause is longer than the one before (`factor`).
    pub factor: f64,
    /// At most this much longer by chance (`jitter`).
    pub jitter: Duration,
}

const SELECTORS_MAX: usize = 32;
const DEPTH_MAX: usize = 8;

/// The keys of a selector (Agones' `GameServerSelector`).
const SELECTOR_KEYS: [&str; 6] = [
    "matchLabels",
    "matchExpressions",
    "gameServerState",
    "counters",
    "lists",
    "players",
];
/// The keys of a priority (Agones' `Priority`).
const PRIORITY_KEYS: [&str; 3] = ["type", "key", "order"];

pub(super) fn read(table: &Section<'_>) -> Agones {
    const SCHEDULING: &[(&str, &str)] = &[("Packed", "Packed"), ("Distributed", "Distributed")];
    let kubeconfig = table.value("kubeconfig", word);
    let context = table.value("context", word);
    if context.is_some() && kubeconfig.is_none() && !table.has("kubeconfig") {
        table.blame("context", "a context without kubeconfig", "kubeconfig beside it");
    }
    let (labels, annotations) = table.table("metadata", |metadata| {
        (texts(metadata, "labels"), texts(metadata, "annotations"))
    });
    Agones {
        cluster: kubeconfig.map(|path| KubernetesFile {
            path: path.into(),
            context,
        }),
        namespace: table.value("namespace", namespace),
        selectors: objects(table, "selectors", &SELECTOR_KEYS)
            .into_iter()
            .map(AgonesSelector)
            .collect(),
        priorities: objects(table, "priorities", &PRIORITY_KEYS)
            .into_iter()
            .map(AgonesPriority)
            .collect(),
        scheduling: table.value("scheduling", one_of(SCHEDULING)),
        labels,
        annotations,
        port: table.value("port", word),
        backoff: table.table("backoff", backoff),
        remote: service::remote(table, Remote::default()),
    }
}

fn backoff(table: &Section<'_>) -> Backoff {
    let backoff = Backoff {
        initial: table
            .value("initial_secs", seconds_within(0.05..=60.0))
            .unwrap_or(Duration::from_millis(500)),
        max: table
            .value("max_secs", seconds_within(0.05..=60.0))
            .unwrap_or(Duration::from_secs(60)),
        max_attempts: table.value("max_attempts", integer(1..=100)).unwrap_or(10),
        factor: table.value("factor", number(1.0..=10.0)).unwrap_or(2.0),
        jitter: table
            .value("jitter", seconds_within(0.0..=60.0))
            .unwrap_or(Duration::from_millis(100)),
    };
    if backoff.initial > backoff.max {
        table.blame(
            "initial_secs",
            format!("{} s, more than max_secs", backoff.initial.as_secs_f64()),
            "at most max_secs",
        );
    }
    backoff
}

/// The entries of a table whose keys are free and whose values are text.
fn texts(table: &Section<'_>, key: &'static str) -> BTreeMap<String, String> {
    table.table(key, |entries| {
        entries.skip_rest();
        entries
            .entries()
            .filter_map(|(key, node)| Some((key.to_owned(), entries.checked(key, node, text)?)))
            .collect()
    })
}

/// The tables of a list as they go to the API server; keys that it does not know are problems.
fn objects(table: &Section<'_>, key: &'static str, known: &'static [&'static str]) -> Vec<serde_json::Value> {
    let objects = table.tables(key, |entry| {
        let mut object = serde_json::Map::new();
        for name in known {
            if let Some(value) = entry.value(name, |node| json(node, DEPTH_MAX)) {
                object.insert((*name).to_owned(), value);
            }
        }
        serde_json::Value::Object(object)
    });
    if objects.len() > SELECTORS_MAX {
        table.blame(
            key,
            format!("{} entries", objects.len()),
            format!("at most {SELECTORS_MAX}"),
        );
    }
    objects
}

fn json(node: &Node, depth: usize) -> Parsed<serde_json::Value> {
    use serde_json::Value as Json;
    if depth == 0 {
        return Mismatch::new(node, format!("at most {DEPTH_MAX} tables within each other")).fail();
    }
    let below = |step: String, wrong: Vec<Mismatch>| {
        wrong.into_iter().map(move |mismatch| Mismatch {
            below: format!("{step}{}", mismatch.below),
            ..mismatch
        })
    };
    let mut problems = Vec::new();
    let value = match &node.value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Boolean(flag) => Json::from(*flag),
        Value::Integer(number) => match i64::try_from(*number) {
            Ok(number) => Json::from(number),
            Err(_) => return Mismatch::new(node, "a number of 64 bits").fail(),
        },
        Value::Float(_) | Value::Other(_) => {
            return Mismatch::new(node, "text, a whole number, true, false, a list or a table").fail();
        }
        Value::List(items) => {
            let mut values = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                match json(item, depth - 1) {
                    Ok(value) => values.push(value),
                    Err(wrong) => problems.extend(below(format!("[{index}]"), wrong)),
                }
            }
            Json::Array(values)
        }
        Value::Table(entries) => {
            let mut object = serde_json::Map::new();
            for (key, entry) in entries {
                match json(entry, depth - 1) {
                    Ok(value) => {
                        object.insert(key.clone(), value);
                    }
                    Err(wrong) => problems.extend(below(format!(".{key}"), wrong)),
                }
            }
            Json::Object(object)
        }
    };
    if problems.is_empty() {
        Ok(value)
    } else {
        Err(problems)
    }
}

/// A name as Kubernetes allows it for namespaces (RFC 1123 label).
fn namespace(node: &Node) -> Parsed<String> {
    let name = word(node)?;
    let fits = name.len() <= 63
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        Ok(name)
    } else {
        Mismatch::new(node, "the name of a namespace, such as \"minecraft\"").fail()
    }
}
