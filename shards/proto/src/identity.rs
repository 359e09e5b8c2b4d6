//! Who a player claims to be, and who a player is.

use std::fmt::{self, Write as _};

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::limits::{
    PLAYER_NAME_UNITS_MAX, PROFILE_PROPERTIES_MAX, PROPERTY_NAME_UNITS_MAX, PROPERTY_SIGNATURE_UNITS_MAX,
    PROPERTY_VALUE_UNITS_MAX, SHARED_SECRET_BYTES,
};

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

impl Profile {
    /// Whether login success can carry this profile.
    ///
    /// # Errors
    ///
    /// If it cannot.
    pub fn check(&self) -> Result<(), ProfileTooLong> {
        let fits =
            |text: &str, units_max| text.len() <= units_max || text.encode_utf16().count() <= units_max;
        let property_fits = |property: &Property| {
            fits(&property.name, PROPERTY_NAME_UNITS_MAX)
                && fits(&property.value, PROPERTY_VALUE_UNITS_MAX)
                && property
                    .signature
                    .as_ref()
                    .is_none_or(|text| fits(text, PROPERTY_SIGNATURE_UNITS_MAX))
        };
        let fits = !self.name.is_empty()
            && fits(&self.name, PLAYER_NAME_UNITS_MAX)
            && self.properties.len() <= PROFILE_PROPERTIES_MAX
            && self.properties.iter().all(property_fits);
        if fits { Ok(()) } else { Err(ProfileTooLong) }
    }
}

/// A profile that is proven: by an authenticator's answer or by a verified cookie. Login success and new
/// cookies take nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProfile(Profile);

/// A profile has a name, a property or more properties than login success can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileTooLong;

impl VerifiedProfile {
    /// Takes an authenticator's answer.
    pub(crate) fn from_answer(profile: Profile) -> Result<Self, ProfileTooLong> {
        Self::bounded(profile)
    }

    /// Takes what a cookie with a valid signature says.
    pub(crate) fn from_verified_cookie(profile: Profile) -> Result<Self, ProfileTooLong> {
        Self::bounded(profile)
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.0
    }

    fn bounded(profile: Profile) -> Result<Self, ProfileTooLong> {
        profile.check()?;
        Ok(Self(profile))
    }
}

impl fmt::Display for ProfileTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the profile cannot be sent to a client: it may have a name of 1 to \
             {PLAYER_NAME_UNITS_MAX} characters and \
             {PROFILE_PROPERTIES_MAX} properties with names of {PROPERTY_NAME_UNITS_MAX}, values of \
             {PROPERTY_VALUE_UNITS_MAX} and signatures of {PROPERTY_SIGNATURE_UNITS_MAX} characters"
        )
    }
}

impl std::error::Error for ProfileTooLong {}

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
pub struct SharedSecret(Zeroizing<[u8; SHARED_SECRET_BYTES]>);

impl SharedSecret {
    /// Wraps the decrypted secret.
    #[must_use]
    pub fn new(bytes: [u8; SHARED_SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret itself, for the cipher and the session server's digest.
    #[must_use]
    pub fn expose(&self) -> &[u8; SHARED_SECRET_BYTES] {
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
    let mut hex = String::with_capacity(2 * digest.len());
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    let digits = hex.trim_start_matches('0');
    match (negative, digits) {
        (_, "") => "0".to_owned(),
        (true, digits) => format!("-{digits}"),
        (false, digits) => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(name: usize, value: usize, signature: usize) -> Property {
        Property {
            name: "n".repeat(name),
            value: "v".repeat(value),
            signature: Some("s".repeat(signature)),
        }
    }

    fn profile(name: &str, properties: Vec<Property>) -> Profile {
        Profile {
            id: Uuid::nil(),
            name: name.to_owned(),
            properties,
        }
    }

    /// The digests that minecraft.wiki gives as examples.
    #[test]
    fn writes_digests_as_signed_numbers() {
        for (text, hex) in [
            ("Notch", "4ed1f46bbe04bc756bcb17c0c7ce3e4632f06a48"),
            ("jeb_", "-7c9d5b0044c130109a5d7b5fb5c317c02b4e28c1"),
            ("simon", "88e16a1019277b15d58faf0541e11910eb756f6"),
        ] {
            assert_eq!(signed_hex(Sha1::digest(text).into()), hex);
        }
        assert_eq!(signed_hex([0; 20]), "0");
        assert_eq!(signed_hex([0xFF; 20]), "-1");
    }

    #[test]
    fn hashes_server_id_then_secret_then_key() {
        let secret = SharedSecret::new(*b"0123456789abcdef");
        let joined = Sha1::digest(b"id0123456789abcdefDER");
        assert_eq!(server_hash("id", &secret, b"DER"), signed_hex(joined.into()));
    }

    /// What a vanilla server in offline mode calls these players.
    #[test]
    fn derives_offline_ids_as_java_does() {
        assert_eq!(
            offline_id("Notch").to_string(),
            "b50ad385-829d-3141-a216-7e7d7539ba7f"
        );
        assert_eq!(offline_id("").get_version_num(), 3);
    }

    #[test]
    fn knows_which_names_a_premium_account_can_have() {
        for name in ["a", "Notch", "jeb_", "0123456789abcDEF"] {
            assert_eq!(PlayerName::new(name).map(PlayerName::as_str), Some(name));
        }
        for name in ["", "0123456789abcdefg", "a b", "a-b", "ä", "a\0", "a/../b", "a&b"] {
            assert_eq!(PlayerName::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn verifies_only_profiles_that_fit_login_success() {
        let longest = property(
            PROPERTY_NAME_UNITS_MAX,
            PROPERTY_VALUE_UNITS_MAX,
            PROPERTY_SIGNATURE_UNITS_MAX,
        );
        let most = vec![longest.clone(); PROFILE_PROPERTIES_MAX];
        assert!(VerifiedProfile::from_answer(profile("0123456789abcdef", most)).is_ok());
        assert!(VerifiedProfile::from_answer(profile("ääääääääääääääää", Vec::new())).is_ok());
        for (name, properties) in [
            ("", Vec::new()),
            ("0123456789abcdefg", Vec::new()),
            ("x", vec![property(1, 1, 1); PROFILE_PROPERTIES_MAX + 1]),
            ("x", vec![property(PROPERTY_NAME_UNITS_MAX + 1, 1, 1)]),
            ("x", vec![property(1, PROPERTY_VALUE_UNITS_MAX + 1, 1)]),
            ("x", vec![property(1, 1, PROPERTY_SIGNATURE_UNITS_MAX + 1)]),
        ] {
            assert_eq!(
                VerifiedProfile::from_answer(profile(name, properties)),
                Err(ProfileTooLong),
                "{name}"
            );
        }
    }

    #[test]
    fn never_prints_a_secret() {
        assert_eq!(
            format!("{:?}", SharedSecret::new([0x2A; 16])),
            "SharedSecret(redacted)"
        );
    }
}
