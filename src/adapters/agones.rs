//! A game server for each player: allocated by Agones, which is asked through the Kubernetes API.
//!
//! An allocation is not idempotent: who asks twice may get two game servers, of which one stays allocated
//! without a player. So another attempt is made only where it is certain that the one before allocated
//! nothing: Agones said so (`UnAllocated`, `Contention`), the API server refused to look at it (429), or
//! there was no connection to it.

pub(super) mod allocation;
mod cluster;
mod pauses;
mod refusal;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use passage_proto::question::{AskError, ChooseQuery, Refusal, Target};
use passage_shards::ask::choice_refusal;
use passage_shards::metrics::{AdapterName, AdapterType};
use tokio::time::sleep;

use self::allocation::Allocation;
use self::cluster::Access;
use self::pauses::Pauses;
use super::call::{Caller, Repeat};
use super::{Answer, Call, DiscoveryService, Reachable};
use crate::config;

/// Allocates game servers.
pub struct Agones {
    settings: config::Agones,
    caller: Caller,
    access: Access,
}

impl Agones {
    /// Asks nothing yet, and reads no credentials.
    #[must_use]
    pub fn new(settings: config::Agones) -> Self {
        let service = match &settings.namespace {
            Some(namespace) => format!("GameServerAllocation in {namespace}"),
            None => "GameServerAllocation".to_owned(),
        };
        Self {
            caller: Caller::new(
                AdapterName::Discovery,
                AdapterType::Agones,
                service,
                settings.remote,
            ),
            access: Access::new(&settings),
            settings,
        }
    }

    /// Allocates a game server, with as many attempts as it takes and is allowed. None if no game server is
    /// free.
    async fn allocate(&self, query: &ChooseQuery, call: Call) -> Result<Option<Arc<Target>>, AskError> {
        if query.player.is_none() {
            tracing::error!("a ping asked for a game server; only players are given one");
            return Err(AskError::Denied);
        }
        let request = allocation::request(&self.settings, query, call.trace).to_string();
        let deadline = call.deadline.min(Instant::now() + self.settings.remote.timeout);
        let mut pauses = Pauses::new(self.settings.backoff);
        loop {
            // Passing is only what certainly allocated nothing, so that it is safe to repeat it.
            let attempt = |_attempt| self.access.allocate(&request);
            match self.caller.call(call, Repeat::Safe, attempt).await? {
                Allocation::Target(target) => return Ok(Some(target)),
                Allocation::Nothing => {}
            }
            match pauses.next(rand::random()) {
                Some(pause) if Instant::now() + pause < deadline => sleep(pause).await,
                _ => return Ok(None),
            }
        }
    }
}

impl Reachable for Agones {
    fn reach(&self, call: Call) -> Answer<'_, Result<(), AskError>> {
        let ask = |_attempt| self.access.may_allocate();
        Box::pin(self.caller.call(call, Repeat::Safe, ask))
    }
}

impl DiscoveryService for Agones {
    fn discover<'a>(
        &'a self,
        query: &'a ChooseQuery,
        call: Call,
    ) -> Answer<'a, Result<Vec<Arc<Target>>, Refusal>> {
        Box::pin(async move {
            let target = self.allocate(query, call).await.map_err(choice_refusal)?;
            Ok(target.into_iter().collect())
        })
    }
}

impl fmt::Debug for Agones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agones")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
