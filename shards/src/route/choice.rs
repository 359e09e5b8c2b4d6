//! How a target is chosen out of those that a route knows.

use std::borrow::Cow;
use std::sync::Arc;

use passage_proto::question::{AskError, Message, Refusal, Target};
use passage_proto::text::keys::DISCONNECT_NO_TARGET;

use super::{Discovery, Strategy};
use crate::metrics::AdapterType;

impl Discovery {
    /// All targets that are known now.
    #[must_use]
    pub fn targets(&self) -> &[Arc<Target>] {
        match self {
            Self::Snapshot { targets, .. } => targets,
        }
    }

    /// The adapter that knows them.
    #[must_use]
    pub fn kind(&self) -> AdapterType {
        match self {
            Self::Snapshot { kind, .. } => *kind,
        }
    }
}

impl Strategy {
    /// The target for one player.
    ///
    /// # Errors
    ///
    /// A refusal that says so, if there is no target.
    pub fn choose(self, targets: &[Arc<Target>]) -> Result<Arc<Target>, Refusal> {
        let chosen = match self {
            // `min_by_key` gives the first of several.
            Self::Fixed => targets.iter().min_by_key(|target| target.priority),
        };
        chosen.cloned().ok_or_else(no_target)
    }

    /// The adapter that chooses.
    #[must_use]
    pub fn kind(self) -> AdapterType {
        match self {
            Self::Fixed => AdapterType::Fixed,
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
