//! A status answer that is encoded once and served many times.

use std::fmt;

use uuid::Uuid;

use crate::packet::legacy::LegacyForm;

/// What the server list shows, before it is encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusDocument {
    /// The version's name, shown to clients whose protocol version is not the shown one.
    pub version_name: String,
    /// The protocol version shown to clients outside of `minimum..=maximum`.
    pub preferred: i32,
    /// The oldest protocol version that is shown as compatible; 0 is open.
    pub minimum: i32,
    /// The newest protocol version that is shown as compatible; 0 is open.
    pub maximum: i32,
    /// Player counts; the client shows `???` without them.
    pub players: Option<Players>,
    /// The description (MOTD) as a JSON text component; text that is no JSON is shown as it is.
    pub description: Option<String>,
    /// The icon as a `data:image/png;base64,…` URI.
    pub favicon: Option<String>,
    /// Whether clients may warn about unsigned chat.
    pub enforces_secure_chat: Option<bool>,
}

/// The player counts of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Players {
    /// Players online.
    pub online: u32,
    /// Most players.
    pub max: u32,
    /// Who is online, for the tool tip.
    pub sample: Vec<SamplePlayer>,
}

/// One line of the player list's tool tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplePlayer {
    /// The name, or any text.
    pub name: String,
    /// The player's UUID.
    pub id: Uuid,
}

/// Why a status cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusError {
    /// The encoded status has this many UTF-16 units, more than [`crate::limits::STATUS_UNITS_MAX`].
    TooLong(usize),
    /// The player sample has this many entries, more than [`crate::limits::STATUS_SAMPLE_MAX`].
    SampleTooLong(usize),
    /// The favicon is no `data:image/png;base64,` URI of a PNG.
    FaviconInvalid,
    /// `minimum` is above `maximum`.
    RangeEmpty,
}

/// An encoded status; only the protocol number differs between clients.
#[derive(Debug)]
pub struct StatusReply {}

impl StatusReply {
    /// Encodes a status.
    ///
    /// # Errors
    /// What makes the status impossible to show.
    pub fn new(_document: &StatusDocument) -> Result<Self, StatusError> {
        Ok(Self {})
    }

    /// The protocol number that a client of the given version is shown.
    #[must_use]
    pub fn shown_protocol(&self, protocol: i32) -> i32 {
        protocol
    }

    /// Appends the whole status response frame for a client of the given protocol version.
    pub fn encode(&self, _protocol: i32, _out: &mut Vec<u8>) {}

    /// Appends the whole kick packet that answers a legacy ping.
    pub fn encode_legacy(&self, _form: LegacyForm, _out: &mut Vec<u8>) {}
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for StatusError {}
