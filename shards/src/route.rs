//! Routes: what a host name leads to. Immutable once built, shared by all shards, swapped whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use passage_proto::cookie::CookieKeys;
use passage_proto::identity::Profile;
use passage_proto::question::{LocalizeQuery, RewriteHost};
use passage_proto::status::StatusReply;

use crate::ejection::Terms;
use crate::feed::{Candidate, FeedId};
use crate::metrics::AdapterType;

pub use passage_proto::proxy_header::ProxyVersion;

pub use self::choice::Choice;
pub use self::chooser::{Chooser, Counted};
pub use self::filter::{MetaFilter, MetaRule, MetaTest, PlayerFilter};
pub use self::pattern::{PATTERN_BYTES_MAX, Pattern, PatternError};

mod choice;
mod chooser;
mod filter;
mod pattern;
mod plan;
mod rendezvous;
#[cfg(test)]
mod tests;

/// All routes, ready for look-ups: an exact name costs one look in a hash map however many there are, a name
/// without a route of its own is compared with the patterns in order.
pub struct Routes {
    routes: Arc<[Route]>,
    exact: HashMap<String, usize>,
    patterns: Vec<(Pattern, usize)>,
    /// Shown to pings for no route; `None` closes them.
    pub unknown_host: Option<Arc<StatusReply>>,
    /// Words for whoever has no route, or none yet.
    pub localization: Localization,
}

impl Routes {
    /// Builds the table. The order of `routes` is the order in which patterns are tried.
    ///
    /// # Errors
    ///
    /// All routes whose host name is no pattern or was already taken by a route before.
    pub fn new(
        routes: Arc<[Route]>,
        unknown_host: Option<Arc<StatusReply>>,
        localization: Localization,
    ) -> Result<Self, Vec<RouteError>> {
        let mut table = Self {
            routes: Arc::clone(&routes),
            exact: HashMap::with_capacity(routes.len()),
            patterns: Vec::new(),
            unknown_host,
            localization,
        };
        let errors: Vec<_> = routes
            .iter()
            .enumerate()
            .filter_map(|(at, route)| table.add(at, route).err())
            .collect();
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    /// The position of the route for a normalised host name: its exact name, else the first pattern that
    /// matches.
    #[must_use]
    pub fn find(&self, hostname: &str) -> Option<usize> {
        let by_pattern = || {
            self.patterns
                .iter()
                .find(|(pattern, _)| pattern.matches(hostname))
                .map(|(_, at)| *at)
        };
        self.exact.get(hostname).copied().or_else(by_pattern)
    }

    /// The route at a position that [`Self::find`] gave, or `None` beyond the last.
    #[must_use]
    pub fn route(&self, at: usize) -> Option<&Route> {
        self.routes.get(at)
    }

    /// All routes, in order.
    #[must_use]
    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    fn add(&mut self, at: usize, route: &Route) -> Result<(), RouteError> {
        let error = |problem| RouteError {
            route: Arc::clone(&route.name),
            position: at,
            problem,
        };
        let pattern = Pattern::parse(&route.name).map_err(|reason| error(RouteProblem::Pattern(reason)))?;
        let twin = match pattern {
            Pattern::Exact(name) => self.exact.insert(name, at),
            pattern => {
                let twin = self
                    .patterns
                    .iter()
                    .find(|(other, _)| other.same_as(&pattern))
                    .map(|(_, at)| *at);
                self.patterns.push((pattern, at));
                twin
            }
        };
        twin.map_or(Ok(()), |first| Err(error(RouteProblem::Duplicate { first })))
    }
}

/// A route that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    /// The host name as configured.
    pub route: Arc<str>,
    /// Its position, from 0.
    pub position: usize,
    /// What is wrong.
    pub problem: RouteProblem,
}

/// What is wrong with a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteProblem {
    /// Its host name is none.
    Pattern(PatternError),
    /// A route before it has the same host name, so that this one would never be used.
    Duplicate {
        /// Position of the route before it, from 0.
        first: usize,
    },
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {} ({:?}): ", self.position + 1, self.route)?;
        match &self.problem {
            RouteProblem::Pattern(reason) => reason.fmt(f),
            RouteProblem::Duplicate { first } => {
                write!(
                    f,
                    "route {} has the same host name; remove one of them",
                    first + 1
                )
            }
        }
    }
}

impl std::error::Error for RouteError {}

/// One `[[routes]]` entry (or the catch-all made of the top-level tables), ready for use by a shard.
pub struct Route {
    /// The host name as configured; the value of the label `server_address`.
    pub name: Arc<str>,
    /// What happens to a login.
    pub mode: Mode,
    /// How a relayed connection is made; ignored in transfer mode.
    pub relay: RelayOptions,
    /// Where pings are answered from.
    pub status: StatusSource,
    /// How players are authenticated; ignored in relay mode.
    pub authentication: Authentication,
    /// Where targets come from.
    pub discovery: Discovery,
    /// What happens to the list of targets, in order.
    pub actions: Vec<Action>,
    /// How one of them is chosen.
    pub strategy: Strategy,
    /// When targets that relays could not dial get no players for a while. Transfers keep away from them,
    /// too.
    pub ejection: Terms,
    /// What disconnect messages read.
    pub localization: Localization,
    /// Keys of the authentication cookie; `None` switches it off.
    pub cookies: Option<Arc<CookieKeys>>,
}

/// What happens to a login after the target is chosen (SPEC: "Modes of a route").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Transfer packet; clients from protocol 766 on.
    Transfer,
    /// Byte relay; every version.
    Relay,
    /// Transfer for clients from protocol 766 on, relay for older ones.
    Auto,
}

/// How relayed connections are made.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// PROXY header that the target gets first.
    pub send_proxy_protocol: Option<ProxyVersion>,
    /// Host name that the target reads.
    pub rewrite_host: RewriteHost,
}

/// Where a status comes from.
pub enum StatusSource {
    /// Encoded once, served by the shard.
    Fixed(Arc<StatusReply>),
    /// Asked for by the control thread, shared by all who want it, shown while it is asked for again.
    Shared {
        /// Where the shards find it.
        feed: FeedId,
        /// Who is asked for a new one.
        adapter: Remote,
        /// Whether it differs between protocol versions.
        by_version: bool,
        /// Shown if there is none; `None` closes the connection.
        offline: Option<Arc<StatusReply>>,
    },
}

/// An adapter that only the control thread can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Index among the control plane's adapters of the same name.
    pub adapter: usize,
    /// For labels.
    pub kind: AdapterType,
    /// How long a question may take, retries included.
    pub timeout: Duration,
}

/// How players are authenticated.
pub enum Authentication {
    /// Not at all: the claimed name with its offline-mode UUID.
    Disabled,
    /// Everybody is this player.
    Fixed(Profile),
    /// Asks the control thread.
    Remote {
        /// Who is asked.
        adapter: Remote,
        /// Whether the client has to announce itself at its session server.
        client_must_authenticate: bool,
    },
}

/// Where targets come from.
pub enum Discovery {
    /// From the configuration.
    Fixed(Arc<[Candidate]>),
    /// Kept up to date by the control thread: refreshed in the background, or checked for their health.
    Feed {
        /// Where the shards find them.
        feed: FeedId,
        /// For labels.
        kind: AdapterType,
    },
    /// Asked for each player.
    Remote(Remote),
}

/// What changes the list of discovered targets before one is chosen.
#[derive(Clone, Debug)]
pub enum Action {
    /// Keeps the targets whose `meta` passes.
    Meta(MetaFilter),
    /// Lets only players who match reach the targets.
    Allow(PlayerFilter),
    /// Keeps players who match from the targets.
    Block(PlayerFilter),
    /// Asked for each player.
    Remote(Remote),
}

/// How a target is chosen out of those that are left. Lower priorities come first in every one of them: a
/// target is only considered where none of a lower `priority` can take the player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The first one.
    Fixed,
    /// The fullest one below `max_players`, whatever its priority before one that is full; any of several. Of
    /// full ones the least crowded.
    PlayerFill {
        /// Key of `meta` whose integer is the number of players. A target without one is taken for the
        /// emptiest.
        field: String,
        /// Players at which a target is full.
        max_players: u32,
    },
    /// Each as likely.
    Random,
    /// One after the other, per route and shard.
    RoundRobin,
    /// The one with the fewest relays and logins of this shard; any of several.
    LeastConnections,
    /// The one with the shortest round trip in its health checks; any of several. Those that were not
    /// measured last.
    LowestLatency,
    /// Each as likely as its weight says.
    Weighted {
        /// Key of `meta` whose integer is the weight; 1 where there is none. 0 keeps players away as long as
        /// another target has a weight.
        field: String,
    },
    /// The same one for the same player as long as there is one: rendezvous hashing of the player's UUID.
    Hash {
        /// Key of `meta` whose integer is the weight, as in [`Self::Weighted`]; `None` for equal shares.
        field: Option<String>,
    },
    /// Asked for each player. Where its choice could not be reached, the rest is tried in the order of
    /// [`Self::Fixed`].
    Remote(Remote),
}

/// What disconnect messages read.
#[derive(Clone)]
pub struct Localization {
    /// Words that are at hand.
    pub words: Arc<dyn Localizer>,
    /// Who is asked first; `words` stand in if there is no answer.
    pub remote: Option<Remote>,
}

/// Gives disconnect messages their words.
pub trait Localizer: Send + Sync {
    /// The JSON text component for this message, with its parameters filled in. Must not block.
    fn localize(&self, query: &LocalizeQuery) -> String;
}
