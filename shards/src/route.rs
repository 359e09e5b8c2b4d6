//! Routes: what a host name leads to. Immutable once built, shared by all shards, swapped whole.

use std::sync::Arc;

use passage_proto::cookie::CookieKeys;
use passage_proto::identity::Profile;
use passage_proto::question::{LocalizeQuery, RewriteHost, Target};
use passage_proto::status::StatusReply;

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
    /// How one of them is chosen.
    pub strategy: Strategy,
    /// What disconnect messages read.
    pub localization: Arc<dyn Localizer>,
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

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Where a status comes from.
pub enum StatusSource {
    /// Encoded once, served by the shard.
    Fixed(Arc<StatusReply>),
    /// The ping is relayed to the target that the route would choose (relay routes only).
    Target,
}

/// How players are authenticated.
pub enum Authentication {
    /// Not at all: the claimed name with its offline-mode UUID.
    Disabled,
    /// Everybody is this player.
    Fixed(Profile),
    /// Asks the control thread's adapter with this index.
    Remote {
        /// Index into the control plane's adapters.
        adapter: usize,
        /// For labels.
        kind: crate::metrics::AdapterType,
        /// Whether the client has to announce itself at its session server.
        client_must_authenticate: bool,
    },
}

/// Where targets come from.
pub enum Discovery {
    /// A list that is at hand: fixed, or refreshed in the background and swapped with the routes.
    Snapshot {
        /// For labels.
        kind: crate::metrics::AdapterType,
        /// All known targets.
        targets: Arc<[Arc<Target>]>,
    },
}

/// How a target is chosen out of those discovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The first of the lowest `priority`.
    Fixed,
}

/// Gives disconnect messages their words.
pub trait Localizer: Send + Sync {
    /// The JSON text component for this message, with its parameters filled in. Must not block.
    fn localize(&self, query: &LocalizeQuery) -> String;
}
