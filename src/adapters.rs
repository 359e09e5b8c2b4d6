//! Adapters that ask the network: what a route's tables name and no shard can answer by itself.

pub mod mojang;
pub(crate) mod targets;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::identity::Profile;
use passage_proto::question::{
    AskError, AuthenticateQuery, ChooseQuery, ClientInfo, LocalizeQuery, Message, Refusal, Target,
};
use passage_proto::status::StatusReply;
use passage_shards::trace::TraceParent;

/// An answer that comes later. Dropping it gives the question up.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// On whose behalf a service is asked, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// After this nobody waits any more.
    pub deadline: Instant,
    /// The span that the work belongs to; `None` if the connection is not traced, or there is none.
    pub trace: Option<TraceParent>,
}

/// Gives statuses.
pub trait StatusService: Send + Sync {
    /// A status for clients like this one.
    ///
    /// # Errors
    ///
    /// What went wrong, at the call's deadline at the latest.
    fn status<'a>(
        &'a self,
        client: &'a ClientInfo,
        call: Call,
    ) -> Answer<'a, Result<Arc<StatusReply>, AskError>>;
}

/// Gives targets for one player.
pub trait DiscoveryService: Send + Sync {
    /// The targets, which may be none.
    ///
    /// # Errors
    ///
    /// What went wrong, at the call's deadline at the latest.
    fn discover<'a>(
        &'a self,
        query: &'a ChooseQuery,
        call: Call,
    ) -> Answer<'a, Result<Vec<Arc<Target>>, Refusal>>;
}

/// Gives the same targets to everybody; asked in the background.
pub trait TargetSource: Send + Sync {
    /// The targets of now.
    ///
    /// # Errors
    ///
    /// What went wrong, at the call's deadline at the latest.
    fn refresh(&self, call: Call) -> Answer<'_, Result<Refreshed, AskError>>;
}

/// What a [`TargetSource`] knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The targets, which may be none.
    pub targets: Vec<Arc<Target>>,
    /// How long they are certainly good, as their source says (TTL, `Cache-Control`); `None` if it does not.
    pub valid_for: Option<Duration>,
}

/// Filters or changes targets for one player.
pub trait ActionService: Send + Sync {
    /// What is left of the targets.
    ///
    /// # Errors
    ///
    /// The service's own refusal, or what went wrong, at the call's deadline at the latest.
    fn apply<'a>(
        &'a self,
        query: &'a ChooseQuery,
        targets: &'a [Arc<Target>],
        call: Call,
    ) -> Answer<'a, Result<Vec<Arc<Target>>, Refusal>>;
}

/// Chooses a target for one player.
pub trait StrategyService: Send + Sync {
    /// One of the targets.
    ///
    /// # Errors
    ///
    /// That none was chosen, or what went wrong, at the call's deadline at the latest.
    fn select<'a>(
        &'a self,
        query: &'a ChooseQuery,
        targets: &'a [Arc<Target>],
        call: Call,
    ) -> Answer<'a, Result<Arc<Target>, Refusal>>;
}

/// Gives messages their words.
pub trait LocalizationService: Send + Sync {
    /// The JSON text component to show.
    ///
    /// # Errors
    ///
    /// What went wrong, at the call's deadline at the latest.
    fn localize<'a>(&'a self, query: &'a LocalizeQuery, call: Call) -> Answer<'a, Result<String, AskError>>;
}

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
