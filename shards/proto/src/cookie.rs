//! The two cookies that a client carries between transfers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::identity::{Property, VerifiedProfile};

/// The key of [`AuthCookie`].
pub const AUTHENTICATION_KEY: &str = "passage:authentication";

/// The key of [`SessionCookie`].
pub const SESSION_KEY: &str = "passage:session";

/// The keys that sign and verify `passage:authentication`.
pub struct CookieKeys {}

/// A secret is shorter than [`crate::limits::COOKIE_SECRET_BYTES_MIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretTooShort;

impl CookieKeys {
    /// Takes the secret that signs and verifies, and the one before it, which only verifies.
    ///
    /// # Errors
    /// [`SecretTooShort`].
    pub fn new(_current: &[u8], _previous: Option<&[u8]>) -> Result<Self, SecretTooShort> {
        Ok(Self {})
    }

    /// Verifies an authentication cookie.
    ///
    /// # Errors
    /// Why the cookie counts as absent.
    pub fn verify(&self, _payload: &[u8], _check: &CookieCheck) -> Result<VerifiedCookie, CookieFlaw> {
        Err(CookieFlaw::Undecodable)
    }
}

/// What an authentication cookie is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieCheck {
    /// The client's IP address now.
    pub client: IpAddr,
    /// The time now, in seconds since the Unix epoch.
    pub unix_seconds: u64,
    /// How long a cookie is valid, in seconds.
    pub expiry_seconds: u64,
}

/// Why an authentication cookie counts as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CookieFlaw {
    /// It is too short for a signature, or what is signed is not a cookie of ours.
    Undecodable,
    /// The signature was made with none of the keys.
    Forged,
    /// It is older than the expiry.
    Expired,
    /// It was given to another IP address.
    OtherAddress,
}

/// What a verified authentication cookie proves.
#[derive(Clone, Debug)]
pub struct VerifiedCookie {
    /// Who the player is, whatever the login start claimed.
    pub profile: VerifiedProfile,
    /// The cookie itself.
    pub cookie: AuthCookie,
}

/// What `passage:authentication` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuthCookie {
    /// When it was made, in seconds since the Unix epoch.
    pub timestamp: u64,
    /// The client's address then.
    pub client_addr: SocketAddr,
    /// The player's name.
    pub user_name: String,
    /// The player's UUID.
    pub user_id: Uuid,
    /// The target's identifier.
    #[serde(default)]
    pub target: Option<String>,
    /// The profile's properties.
    #[serde(default)]
    pub profile_properties: Vec<Property>,
    /// What other services keep in the cookie; carried on untouched.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

impl AuthCookie {
    /// A new cookie for a player who is sent to a target.
    #[must_use]
    pub fn new(
        profile: &VerifiedProfile,
        client: SocketAddr,
        target: &str,
        extra: Map<String, Value>,
        unix_seconds: u64,
    ) -> Self {
        let profile = profile.profile();
        Self {
            timestamp: unix_seconds,
            client_addr: client,
            user_name: profile.name.clone(),
            user_id: profile.id,
            target: Some(target.to_owned()),
            profile_properties: profile.properties.clone(),
            extra,
        }
    }

    /// The signed payload, or `None` if it would be longer than [`crate::limits::COOKIE_BYTES_MAX`].
    #[must_use]
    pub fn sign(&self, _keys: &CookieKeys) -> Option<Vec<u8>> {
        None
    }
}

/// What `passage:session` says: the thread of one player's visit to the network. It proves nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionCookie {
    /// The visit's UUID.
    pub id: Uuid,
    /// The host name that the player typed first.
    pub server_address: String,
    /// The port that the player connected to first.
    pub server_port: u16,
    /// What services keep in the cookie, `traceparent` (W3C) among it.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

impl SessionCookie {
    /// Starts a visit. The id is a version 4 UUID of the given random bytes.
    #[must_use]
    pub fn new(random: [u8; 16], server_address: &str, server_port: u16) -> Self {
        Self {
            id: uuid::Builder::from_random_bytes(random).into_uuid(),
            server_address: server_address.to_owned(),
            server_port,
            extra: Map::new(),
        }
    }

    /// Reads a cookie; `None` if it is none of ours.
    #[must_use]
    pub fn decode(_payload: &[u8]) -> Option<Self> {
        None
    }

    /// The payload, or `None` if it would be longer than [`crate::limits::COOKIE_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        None
    }

    /// The W3C trace context of the visit, if the cookie has one of the right shape.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        None
    }

    /// Sets the W3C trace context.
    pub fn set_traceparent(&mut self, _traceparent: &str) {}
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKeys(redacted)")
    }
}
