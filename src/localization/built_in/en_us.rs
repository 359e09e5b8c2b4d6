//! English (United States).

use passage_proto::text::keys;

pub(super) const MESSAGES: super::Table = &[
    (
        keys::DISCONNECT_TIMEOUT,
        "The connection took too long. Please try again.",
    ),
    (
        keys::DISCONNECT_NO_ROUTE,
        "No server is known under this address. Please check how you typed it.",
    ),
    (
        keys::DISCONNECT_NO_TARGET,
        "No server is available right now. Please try again later.",
    ),
    (
        keys::DISCONNECT_TARGET_UNREACHABLE,
        "The server cannot be reached right now. Please try again later.",
    ),
    (
        keys::DISCONNECT_VERSION,
        "This server needs Minecraft {version} or newer. Please update your game.",
    ),
    (
        keys::DISCONNECT_NOT_AUTHENTICATED,
        "Your login could not be confirmed. Please restart your game and launcher and try again.",
    ),
    (
        keys::DISCONNECT_INVALID_NAME,
        "Your name is not a valid player name.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_REFUSED,
        "You are not allowed to join with this account.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_BUSY,
        "Too many players are logging in right now. Please try again in a minute.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
        "The login service cannot be reached right now. Please try again later.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_TIMEOUT,
        "The login service did not answer in time. Please try again.",
    ),
    (
        keys::DISCONNECT_ENCRYPTION,
        "The connection could not be encrypted. Please try again.",
    ),
    (
        keys::DISCONNECT_DISCOVERY_UNAVAILABLE,
        "The search for a server failed. Please try again later.",
    ),
    (
        keys::DISCONNECT_FILTERED,
        "You are not allowed to join this server.",
    ),
    (
        keys::DISCONNECT_OVERLOADED,
        "Too many players are joining right now. Please try again in a moment.",
    ),
    (
        keys::DISCONNECT_FAULT,
        "Your game sent something that this server does not understand.",
    ),
    (
        keys::DISCONNECT_INTERNAL,
        "Something went wrong on our side. Please try again later.",
    ),
    (
        keys::DISCONNECT_SHUTDOWN,
        "The server is restarting. Please join again in a moment.",
    ),
];
