//! `[[discovery.selectors]]`: which game servers will do.

use std::collections::BTreeMap;

use super::label::{KEY_ALLOWED, label_key, label_template};
use super::template::Template;
use super::{entries, template};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, integer, list, one_of, word};

/// Which game servers will do: all conditions have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Labels with these values (`matchLabels`).
    pub match_labels: BTreeMap<String, Template>,
    /// Conditions on labels (`matchExpressions`).
    pub match_expressions: Vec<Expression>,
    /// Their state; `None` for Agones' own default, which is `Ready` (`gameServerState`).
    pub state: Option<GameServerState>,
    /// Their room for players, with Agones' feature `PlayerTracking` (`players`).
    pub players: Option<PlayerRange>,
    /// Their counters by name, with Agones' feature `CountsAndLists` (`counters`).
    pub counters: BTreeMap<String, CounterRange>,
    /// Their lists by name, with Agones' feature `CountsAndLists` (`lists`).
    pub lists: BTreeMap<String, ListRange>,
}

/// A condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expression {
    /// The label's key.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<Template>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// One of the values.
    In,
    /// None of the values.
    NotIn,
    /// Any value.
    Exists,
    /// No such label.
    DoesNotExist,
}

/// Which state a game server is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GameServerState {
    /// Nobody has it.
    Ready,
    /// It was allocated before, and takes more players.
    Allocated,
}

/// Room for players; 0 as the maximum for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlayerRange {
    /// `minAvailable`.
    pub min_available: i64,
    /// `maxAvailable`.
    pub max_available: i64,
}

/// A counter's value and free capacity; 0 as a maximum for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterRange {
    /// `minCount`.
    pub min_count: i64,
    /// `maxCount`.
    pub max_count: i64,
    /// `minAvailable`.
    pub min_available: i64,
    /// `maxAvailable`.
    pub max_available: i64,
}

/// A list's content and free capacity; 0 as the maximum for any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListRange {
    /// A value that has to be in it; `None` for any (`containsValue`).
    pub contains_value: Option<Template>,
    /// `minAvailable`.
    pub min_available: i64,
    /// `maxAvailable`.
    pub max_available: i64,
}

pub(super) fn read(table: &Section<'_>) -> Selector {
    let states = &[
        ("Ready", GameServerState::Ready),
        ("Allocated", GameServerState::Allocated),
    ];
    Selector {
        match_labels: table.table("matchLabels", |labels| entries(labels, label_template)),
        match_expressions: table.tables("matchExpressions", expression),
        state: table.value("gameServerState", one_of(states)),
        players: table.table("players", |players| {
            let (min_available, max_available) = range(players, "minAvailable", "maxAvailable");
            players.is_written().then_some(PlayerRange {
                min_available,
                max_available,
            })
        }),
        counters: table.table("counters", |counters| named(counters, counter)),
        lists: table.table("lists", |lists| named(lists, list_range)),
    }
}

fn expression(table: &Section<'_>) -> Expression {
    let operators = &[
        ("In", Operator::In),
        ("NotIn", Operator::NotIn),
        ("Exists", Operator::Exists),
        ("DoesNotExist", Operator::DoesNotExist),
    ];
    let operator = table.required(
        "operator",
        "\"In\", \"NotIn\", \"Exists\" or \"DoesNotExist\"",
        one_of(operators),
    );
    let values = table.value("values", list(label_template)).unwrap_or_default();
    let needs_values = operator.map(|operator| matches!(operator, Operator::In | Operator::NotIn));
    if needs_values == Some(values.is_empty()) {
        table.blame(
            "values",
            format!("{} values", values.len()),
            "at least one value for In and NotIn, none for Exists and DoesNotExist",
        );
    }
    Expression {
        key: table.required("key", KEY_ALLOWED, key).unwrap_or_default(),
        operator: operator.unwrap_or(Operator::Exists),
        values,
    }
}

fn key(node: &Node) -> Parsed<String> {
    let key = word(node)?;
    if label_key(&key) {
        Ok(key)
    } else {
        Mismatch::new(node, KEY_ALLOWED).fail()
    }
}

/// Reads a table of tables whose keys are names of counters or lists.
fn named<T>(table: &Section<'_>, read: impl Fn(&Section<'_>) -> T) -> BTreeMap<String, T> {
    table.skip_rest();
    let named = table.each_table(|name, table| (name.to_owned(), read(table)));
    named.into_iter().collect()
}

fn counter(table: &Section<'_>) -> CounterRange {
    let (min_count, max_count) = range(table, "minCount", "maxCount");
    let (min_available, max_available) = range(table, "minAvailable", "maxAvailable");
    CounterRange {
        min_count,
        max_count,
        min_available,
        max_available,
    }
}

fn list_range(table: &Section<'_>) -> ListRange {
    let (min_available, max_available) = range(table, "minAvailable", "maxAvailable");
    ListRange {
        contains_value: table.value("containsValue", template),
        min_available,
        max_available,
    }
}

/// A minimum and a maximum, of which 0 means that there is none.
fn range(table: &Section<'_>, min_key: &'static str, max_key: &'static str) -> (i64, i64) {
    let bound = |key| table.value(key, integer(0..=i64::MAX)).unwrap_or(0);
    let (min, max) = (bound(min_key), bound(max_key));
    if max != 0 && max < min {
        table.blame(
            max_key,
            format!("{max}, less than {min_key}"),
            format!("0 for any, or at least {min_key} ({min})"),
        );
    }
    (min, max)
}
