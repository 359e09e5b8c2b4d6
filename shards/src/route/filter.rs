//! Filters: which targets a player may be sent to.

use std::collections::{BTreeSet, HashSet};

use passage_proto::question::Player;
use regex::Regex;
use uuid::Uuid;

/// Keeps targets by their `meta`. All rules have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaFilter {
    /// At least one rule.
    pub rules: Vec<MetaRule>,
}

/// A rule about one key of a target's `meta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaRule {
    /// The key.
    pub key: String,
    /// What must be true of its value.
    pub test: MetaTest,
}

/// What must be true of a value. A key that is not there differs from every value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaTest {
    /// It is this text.
    Equals(String),
    /// It is not this text.
    NotEquals(String),
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It is one of these.
    In(BTreeSet<String>),
    /// It is none of these.
    NotIn(BTreeSet<String>),
}

/// Players by name, name pattern or UUID; one of them is enough.
#[derive(Clone, Debug, Default)]
pub struct PlayerFilter {
    /// Names, in lower case.
    pub names: HashSet<String>,
    /// Anchored patterns of names.
    pub patterns: Vec<Regex>,
    /// UUIDs.
    pub ids: HashSet<Uuid>,
}

impl PlayerFilter {
    /// Whether the filter names this player. Names are compared without regard to case.
    #[must_use]
    pub fn matches(&self, player: &Player) -> bool {
        self.ids.contains(&player.id)
            || self.names.contains(&player.name.to_lowercase())
            || self.patterns.iter().any(|pattern| pattern.is_match(&player.name))
    }
}
