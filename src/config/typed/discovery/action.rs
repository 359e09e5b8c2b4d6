//! `[[discovery.actions]]`: what happens to the list of targets before one is chosen.

use std::collections::{BTreeSet, HashSet};

use passage_shards::route::{MetaFilter, MetaRule, MetaTest, PlayerFilter};
use regex::Regex;
use uuid::Uuid;

use crate::config::raw::{Node, Value};
use crate::config::section::Section;
use crate::config::typed::route::kind;
use crate::config::typed::service::{self, Protocol, Service};
use crate::config::typed::strategy::{self, Strategy};
use crate::config::value::{Mismatch, Parsed, list, one_of, parsed, text, word};

/// One action.
#[derive(Clone, Debug)]
pub struct Action {
    /// What the operator calls it (`name`).
    pub name: Option<String>,
    /// What it does.
    pub kind: ActionKind,
}

/// What an action does.
#[derive(Clone, Debug)]
pub enum ActionKind {
    /// Keeps the targets whose `meta` passes.
    Meta(MetaFilter),
    /// Lets only players who match reach the targets.
    Allow(PlayerFilter),
    /// Keeps players who match from the targets.
    Block(PlayerFilter),
    /// Asks a service of the network's own.
    Grpc(Service),
}

const ACTIONS_MAX: usize = 64;
const RULES_MAX: usize = 64;

#[derive(Clone)]
enum Kind {
    Meta,
    Allow,
    Block,
    Grpc,
    PlayerFill,
}

/// Reads all actions, and the strategy that may stand among them.
pub(super) fn read_all(table: &Section<'_>) -> (Vec<Action>, Option<Strategy>) {
    let mut actions = Vec::new();
    let mut chosen: Option<Strategy> = None;
    let read = table.tables("actions", read);
    if read.len() > ACTIONS_MAX {
        table.blame(
            "actions",
            format!("{} actions", read.len()),
            format!("at most {ACTIONS_MAX}"),
        );
    }
    for (index, step) in read.into_iter().enumerate() {
        match step {
            Some(Step::Action(action)) => actions.push(action),
            Some(Step::Strategy(strategy)) => {
                let earlier = chosen.replace(strategy);
                if earlier.is_some() {
                    table.blame(
                        &format!("actions[{index}].type"),
                        "a second strategy",
                        "one player_fill_strategy among the actions",
                    );
                }
            }
            None => {}
        }
    }
    (actions, chosen)
}

enum Step {
    Action(Action),
    Strategy(Strategy),
}

fn read(table: &Section<'_>) -> Option<Step> {
    const KINDS: &[(&str, Kind)] = &[
        ("meta_filter", Kind::Meta),
        ("player_allow_filter", Kind::Allow),
        ("player_block_filter", Kind::Block),
        ("grpc", Kind::Grpc),
        ("player_fill_strategy", Kind::PlayerFill),
        ("player_fill", Kind::PlayerFill),
    ];
    if !table.has("type") {
        table.blame(
            "type",
            "nothing",
            "the kind of the action, such as \"meta_filter\"",
        );
        table.skip_rest();
        return None;
    }
    let name = table.value("name", word);
    let kind = match kind(table, Kind::Meta, KINDS)? {
        Kind::Meta => ActionKind::Meta(meta_filter(table)),
        Kind::Allow => ActionKind::Allow(player_filter(table)),
        Kind::Block => ActionKind::Block(player_filter(table)),
        Kind::Grpc => ActionKind::Grpc(service::read(table, Protocol::Grpc)),
        Kind::PlayerFill => return Some(Step::Strategy(strategy::player_fill(table))),
    };
    Some(Step::Action(Action { name, kind }))
}

fn meta_filter(table: &Section<'_>) -> MetaFilter {
    let rules: Vec<MetaRule> = table.tables("rules", rule).into_iter().flatten().collect();
    if !table.has("rules") || rules.len() > RULES_MAX {
        table.blame(
            "rules",
            format!("{} rules", rules.len()),
            format!(
                "1 to {RULES_MAX} rules such as {{ key = \"type\", op = \"equals\", value = \"lobby\" }}"
            ),
        );
    }
    MetaFilter { rules }
}

/// One rule of a filter; `None` if it is wrong.
fn rule(table: &Section<'_>) -> Option<MetaRule> {
    #[derive(Clone)]
    enum Op {
        Equals,
        NotEquals,
        Exists,
        NotExists,
        In,
        NotIn,
    }
    const OPS: &[(&str, Op)] = &[
        ("equals", Op::Equals),
        ("not_equals", Op::NotEquals),
        ("exists", Op::Exists),
        ("not_exists", Op::NotExists),
        ("in", Op::In),
        ("not_in", Op::NotIn),
    ];
    let key = table.required("key", "a key of the targets' meta", word);
    let ops = "\"equals\", \"not_equals\", \"exists\", \"not_exists\", \"in\" or \"not_in\"";
    let Some(op) = table.required("op", ops, one_of(OPS)) else {
        table.skip_rest();
        return None;
    };
    let one = || table.required("value", "the text to compare with", text);
    let several = || {
        let allowed = "a list of texts to compare with";
        let values = table.required("value", allowed, texts)?;
        Some(values.into_iter().collect::<BTreeSet<_>>())
    };
    let test = match op {
        Op::Equals => MetaTest::Equals(one()?),
        Op::NotEquals => MetaTest::NotEquals(one()?),
        Op::Exists => MetaTest::Exists,
        Op::NotExists => MetaTest::NotExists,
        Op::In => MetaTest::In(several()?),
        Op::NotIn => MetaTest::NotIn(several()?),
    };
    Some(MetaRule { key: key?, test })
}

/// A list that is one, and not empty.
fn texts(node: &Node) -> Parsed<Vec<String>> {
    match &node.value {
        Value::List(items) if !items.is_empty() => list(text)(node),
        _ => Mismatch::new(node, "a list of texts, not empty").fail(),
    }
}

fn player_filter(table: &Section<'_>) -> PlayerFilter {
    let names: Option<HashSet<String>> = table
        .value("usernames", list(word))
        .map(|names| names.into_iter().map(|name| name.to_lowercase()).collect());
    let patterns = table.value("username", list(pattern));
    let ids: Option<HashSet<Uuid>> = table
        .value("ids", list(parsed("a UUID")))
        .map(|ids| ids.into_iter().collect());
    let filter = PlayerFilter {
        names: names.unwrap_or_default(),
        patterns: patterns.unwrap_or_default(),
        ids: ids.unwrap_or_default(),
    };
    let written = ["usernames", "username", "ids"].iter().any(|key| table.has(key));
    if filter.names.is_empty() && filter.patterns.is_empty() && filter.ids.is_empty() && !written {
        let path = table.path_of("type");
        table.reading.warn(format!(
            "{path}: a filter without usernames, username and ids names nobody"
        ));
    }
    filter
}

fn pattern(node: &Node) -> Parsed<Regex> {
    PlayerFilter::pattern(&word(node)?).or_else(|reason| {
        let allowed = "a regular expression for the whole name, such as \"^(Admin|Mod)_.*\"";
        Mismatch::new(node, allowed).hint(reason.to_string()).fail()
    })
}
