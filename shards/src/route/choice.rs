//! How a target is chosen out of those that a route knows.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use passage_proto::question::{AskError, ChooseQuery, Message, Refusal, Target};
use passage_proto::text::keys::DISCONNECT_NO_TARGET;

use super::chooser::Chooser;
use super::{Action, Discovery, Strategy, rendezvous};
use crate::feed::Candidate;
use crate::metrics::AdapterType;

#[cfg(test)]
mod tests;

/// What one choice depends on, besides the strategy and the shard's [`Chooser`].
///
/// Candidates that the health checks found down and those that are ejected are left out; if there are no
/// others, they all count, because a check may be wrong and a player who is sent away certainly does not
/// play.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// Who wants to go somewhere.
    pub query: &'a ChooseQuery,
    /// What discovery and actions have left, in their order.
    pub candidates: &'a [Candidate],
    /// Whether this shard lets a target rest (see [`crate::ejection`]).
    pub is_ejected: &'a dyn Fn(&Target) -> bool,
    /// Targets that this player has been refused by already; they are not chosen again.
    pub tried: &'a [Arc<Target>],
    /// The position of the route, for whose turn it is.
    pub route: usize,
}

/// How suitable a candidate is before the strategy compares it with its equals: the lowest is considered
/// only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_out: bool,
    is_full: bool,
    priority: u32,
}

impl Strategy {
    /// The target for one player, or the next best one after those that were tried. Does not allocate, but
    /// for a route's first turn.
    ///
    /// # Errors
    ///
    /// A refusal that says so, if there is no target, or none that was not tried.
    pub fn choose(&self, choice: &Choice<'_>, chooser: &mut Chooser) -> Result<Arc<Target>, Refusal> {
        let chosen = match self {
            Self::Fixed | Self::Remote(_) => choice.first(),
            Self::PlayerFill { field, max_players } => choice.fullest(field, *max_players, chooser),
            Self::Random => choice.random(chooser),
            Self::RoundRobin => choice.next_in_turn(chooser),
            Self::LeastConnections => choice.least_busy(chooser),
            Self::LowestLatency => choice.nearest(chooser),
            Self::Weighted { field } => choice.by_weight(field, chooser),
            Self::Hash { field } => choice.own(field.as_deref()),
        };
        chosen
            .map(|candidate| Arc::clone(&candidate.target))
            .ok_or_else(no_target)
    }

    /// The adapter that chooses.
    #[must_use]
    pub fn kind(&self) -> AdapterType {
        match self {
            Self::Fixed => AdapterType::Fixed,
            Self::PlayerFill { .. } => AdapterType::PlayerFill,
            Self::Random => AdapterType::Random,
            Self::RoundRobin => AdapterType::RoundRobin,
            Self::LeastConnections => AdapterType::LeastConnections,
            Self::LowestLatency => AdapterType::LowestLatency,
            Self::Weighted { .. } => AdapterType::Weighted,
            Self::Hash { .. } => AdapterType::Hash,
            Self::Remote(remote) => remote.kind,
        }
    }
}

impl Discovery {
    /// The adapter that knows the targets.
    #[must_use]
    pub fn kind(&self) -> AdapterType {
        match self {
            Self::Fixed(_) => AdapterType::Fixed,
            Self::Feed { kind, .. } => *kind,
            Self::Remote(remote) => remote.kind,
        }
    }
}

impl Action {
    /// The adapter that changes the list.
    #[must_use]
    pub fn kind(&self) -> AdapterType {
        match self {
            Self::Meta(_) => AdapterType::MetaFilter,
            Self::Allow(_) => AdapterType::PlayerAllowFilter,
            Self::Block(_) => AdapterType::PlayerBlockFilter,
            Self::Remote(remote) => remote.kind,
        }
    }
}

impl<'a> Choice<'a> {
    /// The targets that a strategy's service may choose from, in their order: none that is out, unless all
    /// are.
    pub(crate) fn usable(&self) -> Vec<Arc<Target>> {
        let all_are_out = self.ranked().all(|(rank, _)| rank.is_out);
        self.ranked()
            .filter(|(rank, _)| all_are_out || !rank.is_out)
            .map(|(_, candidate)| Arc::clone(&candidate.target))
            .collect()
    }

    fn first(&self) -> Option<&'a Candidate> {
        // `min_by_key` gives the first of several.
        self.ranked()
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, candidate)| candidate)
    }

    fn fullest(&self, field: &str, max_players: u32, chooser: &mut Chooser) -> Option<&'a Candidate> {
        let ranked = self.ranked().map(|(rank, candidate)| {
            let players = integer(candidate, field);
            let is_full = players.is_some_and(|players| players >= u64::from(max_players));
            let crowd = if is_full {
                (players, Reverse(None))
            } else {
                (None, Reverse(players))
            };
            ((Rank { is_full, ..rank }, crowd), candidate)
        });
        lowest(ranked, chooser)
    }

    fn random(&self, chooser: &mut Chooser) -> Option<&'a Candidate> {
        let (rank, count) = self.best_rank()?;
        let at = chooser.draw(count as u64);
        self.of_rank(rank).nth(usize::try_from(at).unwrap_or(0))
    }

    fn next_in_turn(&self, chooser: &mut Chooser) -> Option<&'a Candidate> {
        let (rank, count) = self.best_rank()?;
        let at = chooser.turn(self.route) % count;
        self.of_rank(rank).nth(at)
    }

    fn least_busy(&self, chooser: &mut Chooser) -> Option<&'a Candidate> {
        let connections = chooser.connections_of_all();
        let connections = connections.borrow();
        let ranked = self.ranked().map(|(rank, candidate)| {
            let count = connections.find(&candidate.target).copied().unwrap_or(0);
            ((rank, count), candidate)
        });
        lowest(ranked, chooser)
    }

    fn nearest(&self, chooser: &mut Chooser) -> Option<&'a Candidate> {
        let ranked = self.ranked().map(|(rank, candidate)| {
            let latency = candidate.latency;
            ((rank, latency.is_none(), latency), candidate)
        });
        lowest(ranked, chooser)
    }

    fn by_weight(&self, field: &str, chooser: &mut Chooser) -> Option<&'a Candidate> {
        let (rank, _) = self.best_rank()?;
        let sum: u64 = self
            .of_rank(rank)
            .map(|candidate| u64::from(weight(candidate, field)))
            .sum();
        if sum == 0 {
            return self.random(chooser);
        }
        let mut left = chooser.draw(sum);
        self.of_rank(rank).find(|candidate| {
            let weight = u64::from(weight(candidate, field));
            let is_it = left < weight;
            left = left.saturating_sub(weight);
            is_it
        })
    }

    fn own(&self, field: Option<&str>) -> Option<&'a Candidate> {
        let key = rendezvous::key(self.query);
        let score = |candidate: &Candidate| {
            let identifier = &candidate.target.identifier;
            field.map_or_else(
                || rendezvous::score(key, identifier),
                |field| rendezvous::weighted_score(key, identifier, weight(candidate, field)),
            )
        };
        let mut best = None;
        for (rank, candidate) in self.ranked() {
            let score = score(candidate);
            if best.is_none_or(|(than, high, _)| rank < than || (rank == than && score > high)) {
                best = Some((rank, score, candidate));
            }
        }
        best.map(|(_, _, candidate)| candidate)
    }

    /// The candidates that were not tried.
    fn ranked(&self) -> impl Iterator<Item = (Rank, &'a Candidate)> {
        let Self {
            candidates,
            is_ejected,
            tried,
            ..
        } = *self;
        let was_tried = move |target: &Target| {
            tried
                .iter()
                .any(|other| other.host == target.host && other.port == target.port)
        };
        candidates
            .iter()
            .filter(move |candidate| !was_tried(&candidate.target))
            .map(move |candidate| {
                let rank = Rank {
                    is_out: !candidate.is_healthy || is_ejected(&candidate.target),
                    is_full: false,
                    priority: candidate.target.priority,
                };
                (rank, candidate)
            })
    }

    /// The best rank that a candidate has, and how many have it.
    fn best_rank(&self) -> Option<(Rank, usize)> {
        self.ranked().fold(None, |best, (rank, _)| match best {
            Some((than, count)) if rank == than => Some((than, count + 1)),
            Some((than, _)) if rank > than => best,
            _ => Some((rank, 1)),
        })
    }

    fn of_rank(&self, rank: Rank) -> impl Iterator<Item = &'a Candidate> {
        self.ranked()
            .filter(move |(own, _)| *own == rank)
            .map(|(_, candidate)| candidate)
    }
}

/// The candidate with the lowest key; of several each is as likely.
fn lowest<'a, K: Ord>(
    candidates: impl Iterator<Item = (K, &'a Candidate)>,
    chooser: &mut Chooser,
) -> Option<&'a Candidate> {
    let mut best: Option<(K, &Candidate)> = None;
    let mut twins = 1;
    for (key, candidate) in candidates {
        let order = best.as_ref().map(|(than, _)| key.cmp(than));
        match order {
            Some(std::cmp::Ordering::Greater) => {}
            Some(std::cmp::Ordering::Equal) => {
                twins += 1;
                if chooser.draw(twins) == 0 {
                    best = Some((key, candidate));
                }
            }
            Some(std::cmp::Ordering::Less) | None => {
                twins = 1;
                best = Some((key, candidate));
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The number in a target's `meta`, if there is one that can be read.
fn integer(candidate: &Candidate, field: &str) -> Option<u64> {
    candidate.target.meta.get(field)?.trim().parse().ok()
}

fn weight(candidate: &Candidate, field: &str) -> u32 {
    integer(candidate, field).map_or(1, |weight| u32::try_from(weight).unwrap_or(u32::MAX))
}

fn no_target() -> Refusal {
    Refusal {
        message: Message {
            key: Cow::Borrowed(DISCONNECT_NO_TARGET),
            params: Vec::new(),
        },
        cause: AskError::Denied,
    }
}
