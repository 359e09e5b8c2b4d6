//! How a target is chosen out of those that a route knows.

use std::borrow::Cow;
use std::sync::Arc;

use passage_proto::question::{AskError, Message, Refusal, Target};
use passage_proto::text::keys::DISCONNECT_NO_TARGET;

use super::{Discovery, Strategy};
use crate::feed::Candidate;
use crate::metrics::AdapterType;

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

impl Strategy {
    /// The target for one player.
    ///
    /// # Errors
    ///
    /// A refusal that says so, if there is no target.
    pub fn choose(&self, candidates: &[Candidate]) -> Result<Arc<Target>, Refusal> {
        // `min_by_key` gives the first of several.
        let chosen = candidates
            .iter()
            .map(|candidate| &candidate.target)
            .min_by_key(|target| target.priority);
        chosen.cloned().ok_or_else(no_target)
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
            Self::Hash => AdapterType::Hash,
            Self::Remote(remote) => remote.kind,
        }
    }
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
