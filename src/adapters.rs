//! Adapters that ask the network: what a route's tables name and no shard can answer by itself.

pub mod mojang;

use std::time::Instant;

use passage_proto::identity::Profile;
use passage_proto::question::{AskError, AuthenticateQuery, Message, Refusal};

/// Finds out whether players are who they claim to be. Asked on a worker thread, which it may block.
pub trait Authenticator: Send + Sync {
    /// How many questions may be under way at the same time.
    fn concurrency(&self) -> usize;

    /// The player's verified profile.
    ///
    /// # Errors
    ///
    /// What the player is told and what is counted, at `deadline` at the latest.
    fn authenticate(&self, query: &AuthenticateQuery, deadline: Instant) -> Result<Profile, Refusal>;
}

/// A refusal with words of its own.
fn refusal_with(key: &'static str, cause: AskError) -> Refusal {
    Refusal {
        message: Message {
            key: key.into(),
            params: Vec::new(),
        },
        cause,
    }
}
