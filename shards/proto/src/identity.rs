//! Who a player claims to be, and who a player is.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

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
