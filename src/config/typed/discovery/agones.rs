//! `type = "agones"` of `[discovery]`: a game server for each player, allocated by Agones in Kubernetes.
//!
//! What becomes part of a `GameServerAllocation` (`allocation.agones.dev/v1`) is called here as it is called
//! there, so that it can be copied from one to the other.

mod label;
mod selector;
mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use self::label::value_of as label_value_of;
use self::label::{label_key, label_template};
pub use self::selector::{
    CounterRange, Expression, GameServerState, ListRange, Operator, PlayerRange, Selector,
};
pub use self::template::{Template, TemplateError, Variable};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::typed::service::{self, Remote};
use crate::config::value::{Mismatch, Parsed, integer, number, one_of, seconds_within, text, word};

/// How game servers are allocated.
#[derive(Clone, Debug, PartialEq)]
pub struct Agones {
    /// Where the API server is, and as whom it is asked.
    pub cluster: Cluster,
    /// Where the game servers are; `None` for the namespace of the kubeconfig's context or of the service
    /// account (`namespace`).
    pub namespace: Option<String>,
    /// Which game servers will do, the best first (`selectors`); none for all.
    pub selectors: Vec<Selector>,
    /// Which of them are taken first (`priorities`).
    pub priorities: Vec<Priority>,
    /// How game servers are spread over nodes (`scheduling`).
    pub scheduling: Scheduling,
    /// What an allocated game server is marked with (`metadata`).
    pub metadata: Metadata,
    /// Name of the game server's port that players connect to; `None` for its first (`port`).
    pub port: Option<String>,
    /// When another attempt is made because no game server was free (`backoff`).
    pub backoff: Backoff,
    /// How the API server is asked.
    pub remote: Remote,
}

/// Where the API server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// File with clusters, users and contexts; `None` for the service account of the pod, or outside of a
    /// cluster for `$KUBECONFIG` or `~/.kube/config` (`kubeconfig`).
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; `None` for its current one (`context`).
    pub context: Option<String>,
    /// Folder with the token, the authority and the namespace of the pod's service account
    /// (`service_account`).
    pub service_account: PathBuf,
}

/// Which game servers are taken first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Priority {
    /// What is looked at (`type`).
    pub kind: PriorityType,
    /// Its name (`key`).
    pub key: String,
    /// Whether a small or a large one is better (`order`).
    pub order: Order,
}

/// What a priority looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PriorityType {
    /// A counter's free capacity.
    Counter,
    /// A list's free capacity.
    List,
}

/// Whether a small or a large one is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Little free capacity is better.
    Ascending,
    /// Much free capacity is better.
    Descending,
}

/// How game servers are spread over nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheduling {
    /// On as few nodes as possible.
    Packed,
    /// Over all nodes.
    Distributed,
}

/// What an allocated game server is marked with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Labels; what is filled in is made a valid label value.
    pub labels: BTreeMap<String, Template>,
    /// Annotations.
    pub annotations: BTreeMap<String, Template>,
}

/// Pauses between attempts; the adapter's `timeout` ends them in any case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Before the second attempt (`initial_secs`).
    pub initial: Duration,
    /// Longest pause, without what chance adds (`max_secs`).
    pub max: Duration,
    /// Attempts in all (`max_attempts`).
    pub max_attempts: u32,
    /// How many times as long each pause is as the one before (`factor`).
    pub factor: f64,
    /// Most that chance adds to a pause (`jitter`).
    pub jitter: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(250),
            max: Duration::from_secs(2),
            max_attempts: 10,
            factor: 1.5,
            jitter: Duration::from_millis(100),
        }
    }
}

/// Where Kubernetes mounts the service account of a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const SELECTORS_MAX: usize = 64;
const PRIORITIES_MAX: usize = 64;

/// Reads the keys of the table beside `type` and `actions`.
pub(super) fn read(table: &Section<'_>) -> Agones {
    if table.has("context") && !table.has("kubeconfig") {
        table.blame("context", "a context without kubeconfig", "kubeconfig beside it");
    }
    let agones = Agones {
        cluster: Cluster {
            kubeconfig: table.value("kubeconfig", word).map(PathBuf::from),
            context: table.value("context", word),
            service_account: table
                .value("service_account", word)
                .map_or_else(|| SERVICE_ACCOUNT.into(), PathBuf::from),
        },
        namespace: table.value("namespace", dns_label),
        selectors: table.tables("selectors", selector::read),
        priorities: table.tables("priorities", priority),
        scheduling: table
            .value(
                "scheduling",
                one_of(&[
                    ("Packed", Scheduling::Packed),
                    ("Distributed", Scheduling::Distributed),
                ]),
            )
            .unwrap_or(Scheduling::Packed),
        metadata: table.table("metadata", metadata),
        port: table.value("port", word),
        backoff: table.table("backoff", backoff),
        remote: service::remote(table, Remote::default()),
    };
    for (key, count, max) in [
        ("selectors", agones.selectors.len(), SELECTORS_MAX),
        ("priorities", agones.priorities.len(), PRIORITIES_MAX),
    ] {
        if count > max {
            table.blame(key, format!("{count} entries"), format!("at most {max}"));
        }
    }
    agones
}

fn priority(table: &Section<'_>) -> Priority {
    let kinds = &[("Counter", PriorityType::Counter), ("List", PriorityType::List)];
    let orders = &[("Ascending", Order::Ascending), ("Descending", Order::Descending)];
    Priority {
        kind: table
            .required("type", "\"Counter\" or \"List\"", one_of(kinds))
            .unwrap_or(PriorityType::Counter),
        key: table
            .required("key", "the name of a counter or list", word)
            .unwrap_or_default(),
        order: table.value("order", one_of(orders)).unwrap_or(Order::Ascending),
    }
}

fn metadata(table: &Section<'_>) -> Metadata {
    Metadata {
        labels: table.table("labels", |labels| entries(labels, label_template)),
        annotations: table.table("annotations", |annotations| entries(annotations, template)),
    }
}

/// Reads a table whose keys are those of labels or annotations.
fn entries<T>(table: &Section<'_>, value: impl Fn(&Node) -> Parsed<T>) -> BTreeMap<String, T> {
    table.skip_rest();
    let entry = |(key, node): (&str, &Node)| {
        if !label_key(key) {
            table.blame(key, format!("the key {key:?}"), label::KEY_ALLOWED);
        }
        Some((key.to_owned(), table.checked(key, node, &value)?))
    };
    table.entries().filter_map(entry).collect()
}

/// Text with variables in it.
fn template(node: &Node) -> Parsed<Template> {
    let text = text(node)?;
    Template::parse(&text).or_else(|error| {
        Mismatch::new(node, TemplateError::allowed())
            .found(error.to_string())
            .fail()
    })
}

fn backoff(table: &Section<'_>) -> Backoff {
    let default = Backoff::default();
    let backoff = Backoff {
        initial: table
            .value("initial_secs", seconds_within(0.05..=60.0))
            .unwrap_or(default.initial),
        max: table
            .value("max_secs", seconds_within(0.05..=60.0))
            .unwrap_or(default.max),
        max_attempts: table
            .value("max_attempts", integer(1..=100))
            .unwrap_or(default.max_attempts),
        factor: table
            .value("factor", number(1.0..=10.0))
            .unwrap_or(default.factor),
        jitter: table
            .value("jitter", seconds_within(0.0..=60.0))
            .unwrap_or(default.jitter),
    };
    if backoff.initial > backoff.max {
        table.blame(
            "initial_secs",
            format!("{} s, more than max_secs", backoff.initial.as_secs_f64()),
            format!("at most max_secs ({} s)", backoff.max.as_secs_f64()),
        );
    }
    backoff
}

/// A name as namespaces have them (RFC 1123 label).
fn dns_label(node: &Node) -> Parsed<String> {
    let name = word(node)?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits =
        name.len() <= 63 && name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-');
    if fits {
        Ok(name)
    } else {
        Mismatch::new(node, "at most 63 lower-case letters, digits and hyphens within").fail()
    }
}

#[cfg(test)]
mod tests;
