//! `GameServerAllocation` of `allocation.agones.dev/v1`: what is asked for, and what becomes of the answer.
//!
//! Source: agones.dev, "GameServerAllocation Specification", and the Go types of Agones' package
//! `allocation/v1`, which the names here are those of.

use std::collections::BTreeMap;
use std::sync::Arc;

use passage_proto::question::{ChooseQuery, Target};
use passage_shards::trace::TraceParent;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::adapters::targets::checked_one;
use crate::config::agones::{
    CounterRange, Expression, GameServerState, ListRange, Operator, Order, Priority, PriorityType,
    Scheduling, Selector, Template, Variable, label_value_of,
};
use crate::config::{self};

/// Entries of `meta` that a game server's counters, lists, labels and annotations may become.
const META_ENTRIES_MAX: usize = 128;
/// Longest key or value that becomes an entry; annotations may be far longer.
const META_BYTES_MAX: usize = 1_024;
/// Longest part of a text of the API server's that is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::adapters) enum Allocation {
    /// A game server is allocated.
    Target(Arc<Target>),
    /// None was free, or somebody else was faster. Nothing is allocated.
    Nothing,
}

/// The object to be created.
pub(super) fn request(settings: &config::Agones, query: &ChooseQuery, trace: Option<TraceParent>) -> Value {
    let fill = Filling { query, trace };
    let mut spec = json!({
        "scheduling": match settings.scheduling {
            Scheduling::Packed => "Packed",
            Scheduling::Distributed => "Distributed",
        },
        "metadata": {
            "labels": fill.labels(&settings.metadata.labels),
            "annotations": fill.texts(&settings.metadata.annotations),
        },
    });
    if !settings.selectors.is_empty() {
        spec["selectors"] = settings.selectors.iter().map(|one| fill.selector(one)).collect();
    }
    if !settings.priorities.is_empty() {
        spec["priorities"] = settings.priorities.iter().map(priority).collect();
    }
    json!({
        "apiVersion": "allocation.agones.dev/v1",
        "kind": "GameServerAllocation",
        "spec": spec,
    })
}

/// Reads the object that was created, with a game server's port of this name, or its first one.
///
/// # Errors
///
/// If it is none, or one that no player can be sent to: the game server is allocated and lost then.
pub(in crate::adapters) fn answer(body: &[u8], port: Option<&str>) -> Result<Allocation, String> {
    let created: Created =
        serde_json::from_slice(body).map_err(|error| format!("no GameServerAllocation: {error}"))?;
    let status = created.status.ok_or("a GameServerAllocation without a status")?;
    match status.state.as_str() {
        "Allocated" => target(status, port).map(Allocation::Target),
        "UnAllocated" | "Contention" => Ok(Allocation::Nothing),
        other => Err(format!("a GameServerAllocation in the state {:?}", shown(other))),
    }
}

/// The beginning of a text that somebody else wrote.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN_CHARS_MAX)
        .collect()
}

/// Whose allocation it is.
struct Filling<'a> {
    query: &'a ChooseQuery,
    trace: Option<TraceParent>,
}

impl Filling<'_> {
    fn text(&self, template: &Template) -> String {
        template.render(|variable| self.value(variable))
    }

    fn label(&self, template: &Template) -> String {
        label_value_of(&self.text(template))
    }

    fn value(&self, variable: Variable) -> String {
        let client = &self.query.client;
        let player = self.query.player.as_ref();
        match variable {
            Variable::ProtocolVersion => client.protocol.to_string(),
            Variable::ServerAddress => client.hostname.clone(),
            Variable::ServerPort => client.port.to_string(),
            Variable::ClientAddress => client.address.ip().to_canonical().to_string(),
            Variable::PlayerName => player.map_or_else(String::new, |player| player.name.clone()),
            Variable::PlayerId => player.map_or_else(String::new, |player| player.id.to_string()),
            Variable::TraceId => self.trace.map_or_else(String::new, |trace| trace.trace_id()),
        }
    }

    fn labels(&self, labels: &BTreeMap<String, Template>) -> Map<String, Value> {
        let entry = |(key, value): (&String, &Template)| (key.clone(), self.label(value).into());
        labels.iter().map(entry).collect()
    }

    fn texts(&self, texts: &BTreeMap<String, Template>) -> Map<String, Value> {
        let entry = |(key, value): (&String, &Template)| (key.clone(), self.text(value).into());
        texts.iter().map(entry).collect()
    }

    fn selector(&self, selector: &Selector) -> Value {
        let mut fields = Map::new();
        if !selector.match_labels.is_empty() {
            fields.insert("matchLabels".into(), self.labels(&selector.match_labels).into());
        }
        if !selector.match_expressions.is_empty() {
            let expressions = selector.match_expressions.iter();
            let expressions = expressions.map(|one| self.expression(one)).collect();
            fields.insert("matchExpressions".into(), expressions);
        }
        if let Some(state) = selector.state {
            let state = match state {
                GameServerState::Ready => "Ready",
                GameServerState::Allocated => "Allocated",
            };
            fields.insert("gameServerState".into(), state.into());
        }
        if let Some(players) = selector.players {
            let range = json!({"minAvailable": players.min_available, "maxAvailable": players.max_available});
            fields.insert("players".into(), range);
        }
        if !selector.counters.is_empty() {
            let counter = |(name, range): (&String, &CounterRange)| (name.clone(), counter(range));
            fields.insert("counters".into(), selector.counters.iter().map(counter).collect());
        }
        if !selector.lists.is_empty() {
            let list = |(name, range): (&String, &ListRange)| (name.clone(), self.list(range));
            fields.insert("lists".into(), selector.lists.iter().map(list).collect());
        }
        fields.into()
    }

    fn expression(&self, expression: &Expression) -> Value {
        let operator = match expression.operator {
            Operator::In => "In",
            Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
        };
        let values: Vec<_> = expression.values.iter().map(|value| self.label(value)).collect();
        json!({"key": expression.key, "operator": operator, "values": values})
    }

    fn list(&self, range: &ListRange) -> Value {
        let value = range.contains_value.as_ref();
        json!({
            "containsValue": value.map_or_else(String::new, |value| self.text(value)),
            "minAvailable": range.min_available,
            "maxAvailable": range.max_available,
        })
    }
}

fn counter(range: &CounterRange) -> Value {
    json!({
        "minCount": range.min_count,
        "maxCount": range.max_count,
        "minAvailable": range.min_available,
        "maxAvailable": range.max_available,
    })
}

fn priority(priority: &Priority) -> Value {
    json!({
        "type": match priority.kind {
            PriorityType::Counter => "Counter",
            PriorityType::List => "List",
        },
        "key": priority.key,
        "order": match priority.order {
            Order::Ascending => "Ascending",
            Order::Descending => "Descending",
        },
    })
}

#[derive(Deserialize)]
struct Created {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    state: String,
    #[serde(default)]
    game_server_name: String,
    ports: Option<Vec<Port>>,
    #[serde(default)]
    address: String,
    metadata: Option<Metadata>,
    counters: Option<BTreeMap<String, Counter>>,
    lists: Option<BTreeMap<String, List>>,
}

#[derive(Deserialize)]
struct Port {
    #[serde(default)]
    name: String,
    port: u16,
}

#[derive(Default, Deserialize)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Counter {
    #[serde(default)]
    count: i64,
}

#[derive(Deserialize)]
struct List {
    values: Option<Vec<String>>,
}

fn target(status: Status, port: Option<&str>) -> Result<Arc<Target>, String> {
    let name = &status.game_server_name;
    let ports = status.ports.as_deref().unwrap_or_default();
    let found = match port {
        Some(wanted) => ports.iter().find(|port| port.name == wanted),
        None => ports.first(),
    };
    let Some(found) = found else {
        let names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
        let wanted = port.map_or_else(String::new, |port| format!(" {port:?}"));
        return Err(shown(&format!(
            "the game server {name:?} without a port{wanted}; it has [{}]",
            names.join(", ")
        )));
    };
    let target = Target {
        identifier: name.clone(),
        host: status.address.clone(),
        port: found.port,
        priority: 0,
        meta: meta(status),
    };
    checked_one(target).map_err(|problem| format!("a game server that {problem}"))
}

/// What is known about the game server. Of entries with the same key the first counts, and what is too much
/// is left out: annotations are anybody's.
fn meta(status: Status) -> BTreeMap<String, String> {
    let counters = status.counters.unwrap_or_default().into_iter();
    let counters = counters.map(|(name, counter)| (name, counter.count.to_string()));
    let lists = status.lists.unwrap_or_default().into_iter();
    let lists = lists.map(|(name, list)| (name, list.values.unwrap_or_default().join(",")));
    let metadata = status.metadata.unwrap_or_default();
    let labels = metadata.labels.unwrap_or_default();
    let annotations = metadata.annotations.unwrap_or_default();
    let mut meta = BTreeMap::from([("state".to_owned(), status.state)]);
    for (key, value) in counters.chain(lists).chain(labels).chain(annotations) {
        let fits = !key.is_empty() && key.len() <= META_BYTES_MAX && value.len() <= META_BYTES_MAX;
        if fits && meta.len() < META_ENTRIES_MAX {
            meta.entry(key).or_insert(value);
        }
    }
    meta
}

#[cfg(test)]
mod tests;
