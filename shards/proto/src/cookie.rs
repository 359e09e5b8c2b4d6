//! The two cookies that a client carries between transfers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::identity::{Profile, Property, VerifiedProfile};
use crate::limits::{COOKIE_BYTES_MAX, COOKIE_SECRET_BYTES_MIN};

/// The key of [`AuthCookie`].
pub const AUTHENTICATION_KEY: &str = "passage:authentication";

/// The key of [`SessionCookie`].
pub const SESSION_KEY: &str = "passage:session";

/// How many bytes of `passage:authentication` are its signature.
const SIGNATURE_BYTES: usize = 32;

/// The keys that sign and verify `passage:authentication`; wiped when dropped and never printed.
pub struct CookieKeys {
    current: Zeroizing<Vec<u8>>,
    previous: Option<Zeroizing<Vec<u8>>>,
}

/// A secret is shorter than [`COOKIE_SECRET_BYTES_MIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretTooShort;

impl CookieKeys {
    /// Takes the secret that signs and verifies, and the one before it, which only verifies.
    ///
    /// # Errors
    /// [`SecretTooShort`].
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Result<Self, SecretTooShort> {
        let secrets = [Some(current), previous];
        if secrets
            .into_iter()
            .flatten()
            .any(|secret| secret.len() < COOKIE_SECRET_BYTES_MIN)
        {
            return Err(SecretTooShort);
        }
        let own = |secret: &[u8]| Zeroizing::new(secret.to_vec());
        Ok(Self {
            current: own(current),
            previous: previous.map(own),
        })
    }

    /// Verifies an authentication cookie. The signature is compared in constant time, before anything is
    /// parsed.
    ///
    /// # Errors
    /// Why the cookie counts as absent.
    pub fn verify(&self, payload: &[u8], check: &CookieCheck) -> Result<VerifiedCookie, CookieFlaw> {
        if payload.len() > COOKIE_BYTES_MAX {
            return Err(CookieFlaw::Undecodable);
        }
        let (signature, json) = payload.split_first_chunk().ok_or(CookieFlaw::Undecodable)?;
        if !self.signed(signature, json) {
            return Err(CookieFlaw::Forged);
        }
        let cookie: AuthCookie = serde_json::from_slice(json).map_err(|_| CookieFlaw::Undecodable)?;
        if cookie.timestamp.saturating_add(check.expiry_seconds) < check.unix_seconds {
            return Err(CookieFlaw::Expired);
        }
        if cookie.client_addr.ip().to_canonical() != check.client.to_canonical() {
            return Err(CookieFlaw::OtherAddress);
        }
        let profile = VerifiedProfile::from_verified_cookie(Profile {
            id: cookie.user_id,
            name: cookie.user_name.clone(),
            properties: cookie.profile_properties.clone(),
        });
        let profile = profile.map_err(|_| CookieFlaw::Undecodable)?;
        Ok(VerifiedCookie { profile, cookie })
    }

    fn signed(&self, signature: &[u8; SIGNATURE_BYTES], json: &[u8]) -> bool {
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        keys.any(|key| mac(key, json).is_some_and(|mac| mac.verify(signature.into()).is_ok()))
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

impl CookieFlaw {
    /// The stable name of this flaw in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::OtherAddress => "other_address",
        }
    }
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
    #[serde(default, deserialize_with = "null_as_default")]
    pub profile_properties: Vec<Property>,
    /// What other services keep in the cookie; carried on untouched.
    #[serde(default, deserialize_with = "null_as_default")]
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

    /// The signed payload, or `None` if it would be longer than [`COOKIE_BYTES_MAX`].
    #[must_use]
    pub fn sign(&self, keys: &CookieKeys) -> Option<Vec<u8>> {
        let mut payload = vec![0; SIGNATURE_BYTES];
        serde_json::to_writer(&mut payload, self).ok()?;
        if payload.len() > COOKIE_BYTES_MAX {
            return None;
        }
        let (signature, json) = payload.split_first_chunk_mut::<SIGNATURE_BYTES>()?;
        *signature = mac(&keys.current, json)?.finalize().into_bytes().into();
        Some(payload)
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
    #[serde(default, deserialize_with = "null_as_default")]
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
    pub fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() > COOKIE_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(payload).ok()
    }

    /// The payload, or `None` if it would be longer than [`COOKIE_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self)
            .ok()
            .filter(|payload| payload.len() <= COOKIE_BYTES_MAX)
    }

    /// The W3C trace context of the visit, if the cookie has one of the right shape.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.extra
            .get(TRACEPARENT)?
            .as_str()
            .filter(|text| is_traceparent(text))
    }

    /// Sets the W3C trace context.
    pub fn set_traceparent(&mut self, traceparent: &str) {
        self.extra
            .insert(TRACEPARENT.to_owned(), Value::String(traceparent.to_owned()));
    }
}

const TRACEPARENT: &str = "traceparent";

/// `00-<32 digits>-<16 digits>-<2 digits>`, lower-case hexadecimal, neither id all zeros (W3C Trace Context,
/// 3.2.2).
fn is_traceparent(text: &str) -> bool {
    let hex = |field: &str, digits: usize| {
        field.len() == digits
            && field
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |field: &str, digits: usize| hex(field, digits) && field.bytes().any(|byte| byte != b'0');
    let mut fields = text.split('-');
    fields.next() == Some("00")
        && fields.next().is_some_and(|trace| id(trace, 32))
        && fields.next().is_some_and(|span| id(span, 16))
        && fields.next().is_some_and(|flags| hex(flags, 2))
        && fields.next().is_none()
}

fn mac(key: &[u8], json: &[u8]) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length; `None` never comes.
    Hmac::new_from_slice(key)
        .ok()
        .map(|mac: Hmac<Sha256>| mac.chain_update(json))
}

/// Other services may write `null` where we leave a field out.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl fmt::Display for SecretTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a secret for cookies needs at least {COOKIE_SECRET_BYTES_MIN} bytes"
        )
    }
}

impl std::error::Error for SecretTooShort {}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKeys(redacted)")
    }
}

#[cfg(test)]
mod tests;
