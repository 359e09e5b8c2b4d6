//! What a session cannot know by itself, and what it is told.
//!
//! A session has at most one question open. The caller answers it with [`crate::session::Session::answer`];
//! until then the session buffers a bounded amount of input and otherwise waits. Should a session ask again
//! before that (it gave up and wants [`Question::Localize`] answered), the new question replaces the open
//! one.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::cookie::CookieKeys;
use crate::identity::{Claim, Profile, SharedSecret};
use crate::limits::VERIFY_TOKEN_BYTES;
use crate::status::StatusReply;

/// Something that a session needs to be told before it can go on.
#[derive(Debug)]
pub enum Question {
    /// Which route does this host name belong to? Answered by [`Answer::Route`].
    Route(RouteQuery),
    /// What does the server list show? Answered by [`Answer::Status`].
    Status(StatusQuery),
    /// Decrypt the client's encryption response with the private key. Answered by [`Answer::Secret`].
    Decrypt(Box<EncryptedSecret>),
    /// Is this player who they claim to be? Answered by [`Answer::Profile`].
    Authenticate(Box<AuthenticateQuery>),
    /// Which target shall this player go to (discovery, actions and strategy)? Answered by
    /// [`Answer::Target`].
    Choose(Box<ChooseQuery>),
    /// What does this message read in this locale? Answered by [`Answer::Text`].
    Localize(Box<LocalizeQuery>),
}

/// The answer to a [`Question`]. An answer that does not fit the open question is a bug of the caller and
/// ends the session as [`crate::session::End::Bug`].
#[derive(Debug)]
pub enum Answer {
    /// The route's plan for this client, or `None` if no route matches.
    Route(Option<RoutePlan>),
    /// The status to show; `None` closes the connection without an answer.
    Status(Option<Arc<StatusReply>>),
    /// The decrypted secret; `None` if either ciphertext was not made with our key or the token differs.
    Secret(Option<SharedSecret>),
    /// The authenticated profile, or why there is none.
    Profile(Result<Profile, Refusal>),
    /// The chosen target, or why there is none.
    Target(Result<Arc<Target>, Refusal>),
    /// A JSON text component (`{"text":"…"}` or `"…"`). Text that is no valid JSON is shown as it is.
    Text(String),
}

/// What a handshake says about where the client wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteQuery {
    /// The normalised host name (see `crate::hostname::normalise`); empty for legacy pings that name none.
    pub hostname: Arc<str>,
    /// The client's protocol version; negative or unknown for clients we have never heard of.
    pub protocol: i32,
    /// Whether the client wants a status or a login.
    pub purpose: Purpose,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A server-list ping, modern or legacy.
    Status,
    /// A login, with intent 2 (login) or 3 (transfer).
    Login,
}

/// How a route treats this client, decided once after the handshake.
#[derive(Clone, Debug)]
pub enum RoutePlan {
    /// Answer the ping ourselves: the next question is [`Question::Status`].
    Status,
    /// Log in, choose a target and send the client there with a transfer packet.
    Transfer(LoginPlan),
    /// Read the login start, choose a target and relay to it.
    Relay(RelayPlan),
    /// Refuse the login with this message. A client that is too old for a transfer needs none of this: given
    /// [`Self::Transfer`], the session itself tells it which version is needed and ends as
    /// `End::Unsupported`.
    Refuse(Refusal),
}

/// What a login on a transfer route needs.
#[derive(Clone, Debug)]
pub struct LoginPlan {
    /// Whether the connection is encrypted; always true where the client must authenticate or cookies are
    /// used.
    pub encrypt: bool,
    /// Whether the client has to announce the login at its session server (`should_authenticate`).
    pub client_must_authenticate: bool,
    /// The keys that sign and verify `passage:authentication`; `None` switches that cookie off.
    pub cookies: Option<Arc<CookieKeys>>,
    /// The DER-encoded public key (SubjectPublicKeyInfo) that is shown to the client.
    pub public_key: Arc<[u8]>,
}

/// How the replayed handshake of a relayed connection is written.
#[derive(Clone, Debug)]
pub struct RelayPlan {
    /// Which host name the target sees.
    pub rewrite_host: RewriteHost,
}

/// Which host name a relay target reads in the handshake; a `\0FML…` suffix is kept in every case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteHost {
    /// The name that the client sent, byte for byte.
    Keep,
    /// The target's configured host.
    Target,
    /// This name.
    Literal(String),
}

/// What a status may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusQuery {
    /// The client's protocol version.
    pub protocol: i32,
}

/// An encryption response, still encrypted, and the token that it must contain.
#[derive(Clone, Debug)]
pub struct EncryptedSecret {
    /// RSA PKCS #1 v1.5 ciphertext of the 16-byte shared secret.
    pub shared_secret: Vec<u8>,
    /// RSA PKCS #1 v1.5 ciphertext of the verify token.
    pub verify_token: Vec<u8>,
    /// The verify token that was sent to the client.
    pub expected_token: [u8; VERIFY_TOKEN_BYTES],
}

/// A login that waits for an authenticator.
#[derive(Clone, Debug)]
pub struct AuthenticateQuery {
    /// What the client says it is.
    pub claim: Claim,
    /// The client, its version and the server address that it used.
    pub client: ClientInfo,
    /// The connection's secret; `None` on an unencrypted connection.
    pub shared_secret: Option<SharedSecret>,
    /// The DER-encoded public key that the client was shown.
    pub public_key: Arc<[u8]>,
}

/// A player who waits for a target.
#[derive(Clone, Debug)]
pub struct ChooseQuery {
    /// The client, its version and the server address that it used.
    pub client: ClientInfo,
    /// The player, verified on a transfer route and claimed on a relay route; `None` where somebody only
    /// wants to know what a player would get.
    pub player: Option<Player>,
}

/// A player as adapters see one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Player {
    /// The player's name.
    pub name: String,
    /// The player's UUID; nil where a relayed login does not carry one.
    pub id: Uuid,
}

/// The client as adapters see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client's address, from the PROXY header where there is a trusted one.
    pub address: SocketAddr,
    /// The normalised host name of the handshake.
    pub hostname: String,
    /// The port of the handshake.
    pub port: u16,
    /// The client's protocol version.
    pub protocol: i32,
}

/// A message that is about to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalizeQuery {
    /// The client's locale (`de_de`), once it has told us.
    pub locale: Option<String>,
    /// Which message, with its parameters.
    pub message: Message,
}

/// A localization key with the parameters that its text may name in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The key, one of `crate::text::keys` or an adapter's own.
    pub key: Cow<'static, str>,
    /// Parameters by name.
    pub params: Vec<(&'static str, String)>,
}

/// Why an adapter lets a player go no further: what the player reads, and what the operator counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the player is told.
    pub message: Message,
    /// What went wrong, for metrics and logs.
    pub cause: AskError,
}

/// What became of a question that was not answered well. The closed set behind the label `error_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AskError {
    /// The adapter worked and said no: not authenticated, banned, no suitable target.
    Denied,
    /// The adapter's service said that it is asked too often.
    RateLimited,
    /// The adapter's service failed or sent something that is no answer.
    Failed,
    /// The adapter's service could not be reached.
    Unreachable,
    /// No answer came in time.
    TimedOut,
    /// The question was not even asked, because too many are under way.
    Overloaded,
}

/// A server that a player can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The target's unique name, a metric label.
    pub identifier: String,
    /// Host name or IP as configured; never resolved for a transfer.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Lower is preferred.
    pub priority: u32,
    /// What discovery knows about the target besides.
    pub meta: std::collections::BTreeMap<String, String>,
}
