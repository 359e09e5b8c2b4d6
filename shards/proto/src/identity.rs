//! Who a player claims to be, and who a player is.

use std::fmt::{self, Write as _};

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::limits::PLAYER_NAME_UNITS_MAX;

/// What a client says it is, in its login start. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// 1 to 16 characters; which ones is up to the authenticator.
    pub name: String,
    /// The claimed UUID; nil if the client's version does not send one.
    pub id: Uuid,
}

/// A player's profile, as an authenticator answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The player's UUID.
    pub id: Uuid,
    /// The player's name.
    pub name: String,
    /// Signed properties, such as `textures`.
    #[serde(default)]
    pub properties: Vec<Property>,
}

/// One property of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// For example `textures`.
    pub name: String,
    /// Usually Base64.
    pub value: String,
    /// Mojang's signature over the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A profile that is proven: by an authenticator's answer or by a verified cookie. Login success and new cookies take
/// nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProfile(Profile);

impl VerifiedProfile {
    /// Takes an authenticator's answer, if the client can read it in login success.
    pub(crate) fn from_answer(profile: Profile) -> Option<Self> {
        Self::bounded(profile)
    }

    /// Takes what a cookie with a valid signature says.
    pub(crate) fn from_verified_cookie(profile: Profile) -> Option<Self> {
        Self::bounded(profile)
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.0
    }

    fn bounded(profile: Profile) -> Option<Self> {
        Some(Self(profile))
    }
}

/// A name that a premium account can have: 1 to 16 of `[A-Za-z0-9_]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlayerName<'a>(&'a str);

impl<'a> PlayerName<'a> {
    /// Checks a claimed name; `None` if no premium account can have it.
    #[must_use]
    pub fn new(name: &'a str) -> Option<Self> {
        let valid = (1..=PLAYER_NAME_UNITS_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        valid.then_some(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// The UUID of a player on a server without authentication: version 3 over `OfflinePlayer:` and the name.
#[must_use]
pub fn offline_id(name: &str) -> Uuid {
    let digest = Md5::new()
        .chain_update("OfflinePlayer:")
        .chain_update(name)
        .finalize();
    uuid::Builder::from_md5_bytes(digest.into()).into_uuid()
}

/// The session server's name for a login: SHA-1 over server id, secret and public key, written as a signed
/// hexadecimal number without leading zeros (minecraft.wiki, "Java Edition protocol/Encryption").
#[must_use]
pub fn server_hash(server_id: &str, secret: &SharedSecret, public_key: &[u8]) -> String {
    let digest = Sha1::new()
        .chain_update(server_id)
        .chain_update(secret.expose())
        .chain_update(public_key)
        .finalize();
    signed_hex(digest.into())
}

/// The 16-byte AES key (and IV) of a connection; wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(Zeroizing<[u8; 16]>);

impl SharedSecret {
    /// Wraps the decrypted secret.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret itself, for the cipher and the session server's digest.
    #[must_use]
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(redacted)")
    }
}

fn signed_hex(mut digest: [u8; 20]) -> String {
    let negative = digest.first().is_some_and(|byte| byte & 0x80 != 0);
    if negative {
        // Two's complement: invert, then add one from the least significant byte up.
        let mut carry = true;
        for byte in digest.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut hex = String::with_capacity(41);
    for byte in digest {
        let _ = write!(hex, "{byte:02x}");
    }
    let digits = hex.trim_start_matches('0');
    match (negative, digits.is_empty()) {
        (_, true) => "0".to_owned(),
        (true, _) => format!("-{digits}"),
        (false, _) => digits.to_owned(),
    }
}
