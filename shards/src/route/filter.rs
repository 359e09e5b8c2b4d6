//! Filters: which targets a player may be sent to.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use passage_proto::question::{AskError, Message, Player, Refusal, Target};
use passage_proto::text::keys::DISCONNECT_FILTERED;
use regex::Regex;
use uuid::Uuid;

use super::pattern::{self, PatternError};
use crate::feed::Candidate;

#[cfg(test)]
mod tests;

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

/// Players by name, name pattern or UUID; one of them is enough. A filter that names nobody matches nobody.
///
/// On a relay route name and UUID are what the client claims. A target that authenticates players holds them
/// to their name, but pays no heed to that UUID: there a filter by name is certain, one by UUID is not.
#[derive(Clone, Debug, Default)]
pub struct PlayerFilter {
    /// Names, in lower case.
    pub names: HashSet<String>,
    /// Patterns of names, made by [`Self::pattern`].
    pub patterns: Vec<Regex>,
    /// UUIDs.
    pub ids: HashSet<Uuid>,
}

impl MetaFilter {
    /// The candidates whose target passes, in their order; the same list if all of them do.
    #[must_use]
    pub fn keep(&self, candidates: Arc<[Candidate]>) -> Arc<[Candidate]> {
        if candidates.iter().all(|candidate| self.passes(&candidate.target)) {
            return candidates;
        }
        let kept = candidates
            .iter()
            .filter(|candidate| self.passes(&candidate.target));
        kept.cloned().collect()
    }

    /// Whether all rules hold.
    #[must_use]
    pub fn passes(&self, target: &Target) -> bool {
        let holds = |rule: &MetaRule| rule.test.holds(target.meta.get(&rule.key).map(String::as_str));
        self.rules.iter().all(holds)
    }
}

impl MetaTest {
    /// Whether it is true of this value; `None` for a key that is not there.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Equals(expected) => value == Some(expected),
            Self::NotEquals(unwanted) => value != Some(unwanted),
            Self::Exists => value.is_some(),
            Self::NotExists => value.is_none(),
            Self::In(expected) => value.is_some_and(|value| expected.contains(value)),
            Self::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(value)),
        }
    }
}

impl PlayerFilter {
    /// Reads a pattern of names, `^…$` or `/^…$/`, of bounded size. It has to match the whole name, without
    /// regard to case; `^….*`, which does so, needs no `$`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it and what is expected.
    pub fn pattern(expression: &str) -> Result<Regex, PatternError> {
        pattern::name(expression)
    }

    /// Whether the filter names this player. Names are compared without regard to case. A nil UUID stands for
    /// none.
    #[must_use]
    pub fn matches(&self, player: &Player) -> bool {
        (!player.id.is_nil() && self.ids.contains(&player.id))
            || (!self.names.is_empty() && self.names.contains(&player.name.to_lowercase()))
            || self.patterns.iter().any(|pattern| pattern.is_match(&player.name))
    }

    /// Lets only players who match go on. A ping, which has no player, goes on: nobody gets to play by it.
    ///
    /// # Errors
    ///
    /// What other players read.
    pub fn allow(&self, player: Option<&Player>) -> Result<(), Refusal> {
        match player {
            Some(player) if !self.matches(player) => Err(filtered()),
            _ => Ok(()),
        }
    }

    /// Lets players who match go no further.
    ///
    /// # Errors
    ///
    /// What they read.
    pub fn block(&self, player: Option<&Player>) -> Result<(), Refusal> {
        match player {
            Some(player) if self.matches(player) => Err(filtered()),
            _ => Ok(()),
        }
    }
}

fn filtered() -> Refusal {
    Refusal {
        message: Message {
            key: Cow::Borrowed(DISCONNECT_FILTERED),
            params: Vec::new(),
        },
        cause: AskError::Denied,
    }
}
