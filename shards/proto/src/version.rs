//! What differs between protocol versions, as data: one row a range of versions.
//!
//! A row holds from its first version up to the next row's; the last one also serves versions that are newer
//! than this table, snapshots included (their numbers have bit 30 set). **Supporting a version that changes
//! one of these things is one more row.**
//!
//! Source and state of knowledge, November 2026: npm `minecraft-data` 3.117.0 has packet tables up to 26.1
//! (775); the rows from 1.7.6 up to there are checked byte for byte by `tests/golden.rs`. It names 26.2 (776)
//! and 26.3 (777), the newest release, without packets. The repository of `minecraft-data` has their tables
//! already, unreleased: login success ends in a session UUID in both (pull request 1216 saw it on a live
//! server), and 26.3 inserts `post_effects` at 0x0A of the clientbound configuration packets, as ViaVersion's
//! table for 26.3 does too.

/// The first version with cookies and the transfer packet, Minecraft 1.20.5.
pub const TRANSFER_SINCE: i32 = 766;

/// The name of the first version that can be transferred, for messages to players.
pub const TRANSFER_SINCE_NAME: &str = "1.20.5";

/// The first version with a configuration phase, Minecraft 1.20.2.
const CONFIGURATION_SINCE: i32 = 764;

/// The protocol versions of the releases from 1.7.2 to 1.16.5, ascending; the numbers between them were
/// snapshots.
const EARLY_RELEASES: [i32; 29] = [
    4, 5, 47, 107, 108, 109, 110, 210, 315, 316, 335, 338, 340, 393, 401, 404, 477, 480, 485, 490, 498, 573,
    575, 578, 735, 736, 751, 753, 754,
];

/// From 1.17 to 26.3 every number is a release. A newer release moves the end.
const RELEASES: std::ops::RangeInclusive<i32> = 755..=777;

/// Whether this is the protocol version of a release that Passage knows by name: a closed set, fit for a
/// metric label. Others are served all the same.
///
/// The numbers are those of npm `minecraft-data` 3.117.0.
#[must_use]
pub fn is_release(protocol: i32) -> bool {
    RELEASES.contains(&protocol) || EARLY_RELEASES.binary_search(&protocol).is_ok()
}

/// What one range of protocol versions speaks.
#[derive(Debug, PartialEq, Eq)]
pub struct Version {
    /// The first protocol version of the range.
    pub since: i32,
    /// The release that brought it.
    pub name: &'static str,
    /// The fields of login start.
    pub login_start: LoginStartForm,
    /// The fields of encryption request and response.
    pub encryption: EncryptionForm,
    /// The fields of login success.
    pub login_success: LoginSuccessForm,
    /// The configuration phase with cookies and transfer, for versions that have both.
    pub configuration: Option<ConfigurationIds>,
}

/// Which fields login start has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginStartForm {
    /// The name alone.
    Name,
    /// The name and an optional chat key (1.19).
    NameKey,
    /// The name, an optional chat key and an optional UUID (1.19.1 and 1.19.2).
    NameKeyUuid,
    /// The name and an optional UUID (1.19.3 to 1.20.1).
    NameOptionalUuid,
    /// The name and a UUID.
    NameUuid,
}

/// Which fields encryption request and response have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionForm {
    /// Byte arrays with 16-bit lengths (1.7).
    ShortArrays,
    /// Byte arrays with VarInt lengths.
    Arrays,
    /// The response has the token or a signature made with the chat key (1.19 to 1.19.2).
    TokenOrSignature,
    /// The request ends in `should_authenticate`.
    ShouldAuthenticate,
}

/// Which fields login success has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginSuccessForm {
    /// UUID as 32 hexadecimal digits, name (1.7.2 to 1.7.5).
    SimpleText,
    /// UUID as hyphenated text, name.
    HyphenatedText,
    /// UUID, name.
    Binary,
    /// UUID, name, properties.
    Properties,
    /// As [`Self::Properties`], then `strict_error_handling`.
    PropertiesStrict,
    /// As [`Self::Properties`], then a session UUID.
    PropertiesSession,
}

/// Packet ids of the configuration phase that move between versions. The others that Passage speaks never
/// have since there is a transfer packet, and stand with their packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigurationIds {
    /// Clientbound store cookie.
    pub store_cookie: i32,
    /// Clientbound transfer.
    pub transfer: i32,
}

impl Version {
    /// The row for a protocol version. Anything newer than the table gets the newest row; anything older, or
    /// negative, the oldest.
    #[must_use]
    pub fn of(protocol: i32) -> &'static Self {
        TABLE
            .iter()
            .rev()
            .find(|row| row.since <= protocol)
            .unwrap_or(&OLDEST)
    }

    /// Whether this version has a configuration phase after the login.
    #[must_use]
    pub fn has_configuration(&self) -> bool {
        self.since >= CONFIGURATION_SINCE
    }

    /// Whether clients of this version can be transferred.
    #[must_use]
    pub fn can_transfer(&self) -> bool {
        self.configuration.is_some()
    }

    pub(crate) fn configuration_ids(&self) -> ConfigurationIds {
        self.configuration.unwrap_or(IDS_26_3)
    }
}

impl LoginSuccessForm {
    pub(crate) fn has_properties(self) -> bool {
        matches!(
            self,
            Self::Properties | Self::PropertiesStrict | Self::PropertiesSession
        )
    }
}

const IDS_1_20_5: ConfigurationIds = ConfigurationIds {
    store_cookie: 0x0A,
    transfer: 0x0B,
};
const IDS_26_3: ConfigurationIds = ConfigurationIds {
    store_cookie: 0x0B,
    transfer: 0x0C,
};

use EncryptionForm as E;
use LoginStartForm as S;
use LoginSuccessForm as L;

const OLDEST: Version = row(4, "1.7.2", S::Name, E::ShortArrays, L::SimpleText, None);

static TABLE: [Version; 12] = [
    OLDEST,
    row(5, "1.7.6", S::Name, E::ShortArrays, L::HyphenatedText, None),
    row(47, "1.8", S::Name, E::Arrays, L::HyphenatedText, None),
    row(735, "1.16", S::Name, E::Arrays, L::Binary, None),
    row(759, "1.19", S::NameKey, E::TokenOrSignature, L::Properties, None),
    row(
        760,
        "1.19.1",
        S::NameKeyUuid,
        E::TokenOrSignature,
        L::Properties,
        None,
    ),
    row(761, "1.19.3", S::NameOptionalUuid, E::Arrays, L::Properties, None),
    row(
        CONFIGURATION_SINCE,
        "1.20.2",
        S::NameUuid,
        E::Arrays,
        L::Properties,
        None,
    ),
    row(
        TRANSFER_SINCE,
        TRANSFER_SINCE_NAME,
        S::NameUuid,
        E::ShouldAuthenticate,
        L::PropertiesStrict,
        Some(IDS_1_20_5),
    ),
    row(
        768,
        "1.21.2",
        S::NameUuid,
        E::ShouldAuthenticate,
        L::Properties,
        Some(IDS_1_20_5),
    ),
    row(
        776,
        "26.2",
        S::NameUuid,
        E::ShouldAuthenticate,
        L::PropertiesSession,
        Some(IDS_1_20_5),
    ),
    row(
        777,
        "26.3",
        S::NameUuid,
        E::ShouldAuthenticate,
        L::PropertiesSession,
        Some(IDS_26_3),
    ),
];

const fn row(
    since: i32,
    name: &'static str,
    login_start: LoginStartForm,
    encryption: EncryptionForm,
    login_success: LoginSuccessForm,
    configuration: Option<ConfigurationIds>,
) -> Version {
    Version {
        since,
        name,
        login_start,
        encryption,
        login_success,
        configuration,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_and_have_what_later_rows_build_on() {
        assert!(TABLE.iter().is_sorted_by(|row, next| row.since < next.since));
        for row in &TABLE {
            assert_eq!(row.can_transfer(), row.since >= TRANSFER_SINCE, "{}", row.name);
            assert!(!row.can_transfer() || row.has_configuration(), "{}", row.name);
        }
    }

    #[test]
    fn releases_are_known_and_snapshots_are_not() {
        assert!(EARLY_RELEASES.is_sorted() && EARLY_RELEASES.iter().all(|number| is_release(*number)));
        assert!((755..=777).all(is_release));
        assert!(TABLE.iter().all(|row| is_release(row.since)));
        let unknown = [i32::MIN, -1, 0, 6, 48, 737, 778, 1 << 30, i32::MAX];
        assert!(!unknown.into_iter().any(is_release));
    }

    #[test]
    fn every_version_has_its_row() {
        for (protocol, name) in [
            (i32::MIN, "1.7.2"),
            (-1, "1.7.2"),
            (4, "1.7.2"),
            (5, "1.7.6"),
            (46, "1.7.6"),
            (47, "1.8"),
            (758, "1.16"),
            (759, "1.19"),
            (760, "1.19.1"),
            (763, "1.19.3"),
            (765, "1.20.2"),
            (766, "1.20.5"),
            (767, "1.20.5"),
            (768, "1.21.2"),
            (775, "1.21.2"),
            (776, "26.2"),
            (777, "26.3"),
            (778, "26.3"),
            ((1 << 30) + 312, "26.3"),
            (i32::MAX, "26.3"),
        ] {
            assert_eq!(Version::of(protocol).name, name, "{protocol}");
        }
    }
}
