//! The localization keys of every message that Passage itself shows to players.
//!
//! A key with parameters names them in its text in braces: `{version}`.

/// The client took too long.
pub const DISCONNECT_TIMEOUT: &str = "disconnect_timeout";
/// No route matches the host name that the player used.
pub const DISCONNECT_NO_ROUTE: &str = "disconnect_no_route";
/// No target is left after discovery, actions and strategy.
pub const DISCONNECT_NO_TARGET: &str = "disconnect_no_target";
/// The chosen target could not be reached.
pub const DISCONNECT_TARGET_UNREACHABLE: &str = "disconnect_target_unreachable";
/// The client is older than what the route needs; parameter `version` names the oldest release that will do.
pub const DISCONNECT_VERSION: &str = "disconnect_version";
/// The session server does not know the login: no premium account, or an expired session.
pub const DISCONNECT_NOT_AUTHENTICATED: &str = "disconnect_not_authenticated";
/// The player's name cannot be one of a premium account.
pub const DISCONNECT_INVALID_NAME: &str = "disconnect_invalid_name";
/// The authenticator refuses the player, for example because of a ban.
pub const DISCONNECT_AUTHENTICATION_REFUSED: &str = "disconnect_authentication_refused";
/// The authenticator is asked too often.
pub const DISCONNECT_AUTHENTICATION_BUSY: &str = "disconnect_authentication_busy";
/// The authenticator cannot be reached or answers with an error.
pub const DISCONNECT_AUTHENTICATION_UNAVAILABLE: &str = "disconnect_authentication_unavailable";
/// The authenticator did not answer in time.
pub const DISCONNECT_AUTHENTICATION_TIMEOUT: &str = "disconnect_authentication_timeout";
/// The encryption response was not made with our key or for this connection.
pub const DISCONNECT_ENCRYPTION: &str = "disconnect_encryption";
/// Discovery, an action or the strategy cannot be reached, answers with an error or not in time.
pub const DISCONNECT_DISCOVERY_UNAVAILABLE: &str = "disconnect_discovery_unavailable";
/// A filter does not let the player through.
pub const DISCONNECT_FILTERED: &str = "disconnect_filtered";
/// More logins are under way than are allowed.
pub const DISCONNECT_OVERLOADED: &str = "disconnect_overloaded";
/// The client broke the protocol.
pub const DISCONNECT_FAULT: &str = "disconnect_fault";
/// Passage itself failed.
pub const DISCONNECT_INTERNAL: &str = "disconnect_internal";
/// Passage is shutting down.
pub const DISCONNECT_SHUTDOWN: &str = "disconnect_shutdown";

/// Every key, so that a localization can be checked for completeness.
pub const ALL: [&str; 18] = [
    DISCONNECT_TIMEOUT,
    DISCONNECT_NO_ROUTE,
    DISCONNECT_NO_TARGET,
    DISCONNECT_TARGET_UNREACHABLE,
    DISCONNECT_VERSION,
    DISCONNECT_NOT_AUTHENTICATED,
    DISCONNECT_INVALID_NAME,
    DISCONNECT_AUTHENTICATION_REFUSED,
    DISCONNECT_AUTHENTICATION_BUSY,
    DISCONNECT_AUTHENTICATION_UNAVAILABLE,
    DISCONNECT_AUTHENTICATION_TIMEOUT,
    DISCONNECT_ENCRYPTION,
    DISCONNECT_DISCOVERY_UNAVAILABLE,
    DISCONNECT_FILTERED,
    DISCONNECT_OVERLOADED,
    DISCONNECT_FAULT,
    DISCONNECT_INTERNAL,
    DISCONNECT_SHUTDOWN,
];
