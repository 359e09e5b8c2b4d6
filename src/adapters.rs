//! Adapters that ask the network: what a route's tables name and no shard can answer by itself.

pub mod agones;
pub mod answers;
pub mod call;
pub mod dns;
pub mod grpc;
pub mod health;
pub mod http;
pub(crate) mod listing;
pub mod mojang;
pub mod ping;
pub mod target_status;
pub(crate) mod targets;
mod web;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::identity::Profile;
use passage_proto::question::{
    AskError, AuthenticateQuery, ChooseQuery, ClientInfo, LocalizeQuery, Message, Refusal, Target,
};
use passage_proto::status::StatusReply;
use passage_shards::feed::{Candidate, FeedId};
use passage_shards::metrics::AdapterType;
use passage_shards::trace::TraceParent;
use tokio::sync::watch;

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

/// Finds out whether players are who they claim to be.
pub trait AuthenticationService: Send + Sync {
    /// The player's verified profile.
    ///
    /// # Errors
    ///
    /// What the player is told and what is counted, at the call's deadline at the latest.
    fn authenticate<'a>(
        &'a self,
        query: &'a AuthenticateQuery,
        call: Call,
    ) -> Answer<'a, Result<Profile, Refusal>>;

    /// How many threads it may block at the same time.
    fn threads(&self) -> usize {
        0
    }
}

/// Can be reached without being asked anything that has an effect on anybody: for services whose every
/// question is about a player.
pub trait Reachable: Send + Sync {
    /// Whether the service is there, and would answer a question.
    ///
    /// # Errors
    ///
    /// What went wrong, at the call's deadline at the latest.
    fn reach(&self, call: Call) -> Answer<'_, Result<(), AskError>>;
}

/// Gives statuses.
pub trait StatusService: Send + Sync {
    /// A status for clients like this one.
    ///
    /// # Errors
    ///
    /// What went wrong, at the call's deadline at the latest.
    fn status<'a>(&'a self, client: &'a ClientInfo, call: Call) -> Answer<'a, Result<FreshStatus, AskError>>;

    /// How many threads it may block at the same time.
    fn threads(&self) -> usize {
        0
    }
}

/// What a [`StatusService`] answers.
#[derive(Clone, Debug)]
pub struct FreshStatus {
    /// The encoded status.
    pub reply: Arc<StatusReply>,
    /// How long it is certainly good, as its source says (`Cache-Control`); `None` if it does not.
    pub valid_for: Option<Duration>,
}

impl From<Arc<StatusReply>> for FreshStatus {
    fn from(reply: Arc<StatusReply>) -> Self {
        Self {
            reply,
            valid_for: None,
        }
    }
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

    /// How many threads it may block at the same time.
    fn threads(&self) -> usize {
        0
    }
}

/// What a [`TargetSource`] knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The targets, which may be none.
    pub targets: Vec<Arc<Target>>,
    /// How long they are certainly good, as their source says (TTL, `Cache-Control`); `None` if it does not.
    pub valid_for: Option<Duration>,
}

/// Finds out which targets work.
pub trait HealthService: Send + Sync {
    /// Goes on checking the newest of `targets`, and hands all of them to `publish` whenever anything about
    /// them has changed, for the first time once each was checked. Ends with the sender of `targets`.
    fn watch<'a>(
        &'a self,
        targets: watch::Receiver<Vec<Arc<Target>>>,
        publish: &'a (dyn Fn(Vec<Candidate>) + Send + Sync),
    ) -> Answer<'a, ()>;
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

/// All adapters that the control thread asks. Questions name them by their index.
#[derive(Clone, Default)]
pub struct Services {
    /// Asked by `RemoteQuestion::Authenticate`.
    pub authentication: Vec<Arc<dyn AuthenticationService>>,
    /// Asked by `RemoteQuestion::Status`.
    pub statuses: Vec<StatusFeed>,
    /// Asked by `RemoteQuestion::Discover`.
    pub discovery: Vec<Arc<dyn DiscoveryService>>,
    /// Asked by `RemoteQuestion::Act`.
    pub actions: Vec<Arc<dyn ActionService>>,
    /// Asked by `RemoteQuestion::Select`.
    pub strategies: Vec<Arc<dyn StrategyService>>,
    /// Asked by `RemoteQuestion::Localize`.
    pub localization: Vec<Arc<dyn LocalizationService>>,
    /// Asked in the background.
    pub targets: Vec<TargetFeed>,
}

/// A status that all shards show.
#[derive(Clone)]
pub struct StatusFeed {
    /// Where the shards find it.
    pub feed: FeedId,
    /// Who knows it.
    pub service: Arc<dyn StatusService>,
    /// For labels.
    pub kind: AdapterType,
    /// Whether it differs between protocol versions.
    pub by_version: bool,
    /// How long one question may take, retries included.
    pub timeout: Duration,
    /// How long it is shown without asking again.
    pub refresh_interval: Duration,
}

/// Targets that all shards know.
#[derive(Clone)]
pub struct TargetFeed {
    /// Where the shards find them.
    pub feed: FeedId,
    /// Who knows them.
    pub source: Arc<dyn TargetSource>,
    /// For labels.
    pub kind: AdapterType,
    /// How long one question may take, retries included.
    pub timeout: Duration,
    /// How often they are asked for.
    pub refresh_interval: Duration,
    /// Who finds out which of them work; `None` takes all of them to.
    pub health: Option<Arc<dyn HealthService>>,
    /// Takes what shards are told, for adapters that want to know it, too.
    pub latest: watch::Sender<Arc<[Candidate]>>,
}

impl Services {
    /// How many threads all of them may block at the same time.
    #[must_use]
    pub fn threads(&self) -> usize {
        let authentication = self.authentication.iter().map(|service| service.threads());
        let statuses = self.statuses.iter().map(|feed| feed.service.threads());
        let targets = self.targets.iter().map(|feed| feed.source.threads());
        authentication.chain(statuses).chain(targets).sum()
    }
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
