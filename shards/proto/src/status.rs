//! A status answer that is encoded once and served many times.

use std::fmt;
use std::io::Write as _;

use serde::Serialize;
use uuid::Uuid;

use crate::limits::{LEGACY_KICK_UNITS_MAX, STATUS_SAMPLE_MAX, STATUS_UNITS_MAX};
use crate::packet::legacy::{LegacyForm, write_kick};
use crate::text::Text;
use crate::wire::{var_int_bytes, write_length};

mod favicon;

/// The protocol number that a server of 1.7 and later shows to legacy pings, because none of them can join.
const LEGACY_PROTOCOL: &str = "127";

/// The id of status response.
const RESPONSE: u8 = 0x00;

/// Most characters that a protocol number takes in JSON.
const PROTOCOL_DIGITS_MAX: usize = "-2147483648".len();

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
    /// The icon as a `data:image/png;base64,…` URI of a PNG of 64 by 64 pixels.
    pub favicon: Option<String>,
    /// Whether clients may warn about unsigned chat.
    pub enforces_secure_chat: Option<bool>,
}

/// The player counts of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Players {
    /// Most players.
    pub max: u32,
    /// Players online.
    pub online: u32,
    /// Who is online, for the tool tip; at most [`STATUS_SAMPLE_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<SamplePlayer>,
}

/// One line of the player list's tool tip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SamplePlayer {
    /// The name, or any text.
    pub name: String,
    /// The player's UUID.
    pub id: Uuid,
}

/// Why a status cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusError {
    /// The encoded status has this many UTF-16 units, more than [`STATUS_UNITS_MAX`].
    TooLong(usize),
    /// The player sample has this many entries, more than [`STATUS_SAMPLE_MAX`].
    SampleTooLong(usize),
    /// The favicon is no `data:image/png;base64,` URI.
    FaviconInvalid,
    /// The favicon is a PNG of this width and height, not of 64 by 64 pixels.
    FaviconSize(u32, u32),
    /// `minimum` is above `maximum`.
    RangeEmpty,
}

/// An encoded status; only the protocol number differs between clients.
#[derive(Debug)]
pub struct StatusReply {
    minimum: i32,
    maximum: i32,
    preferred: i32,
    /// The JSON up to the protocol number, and from there on.
    head: Box<str>,
    tail: Box<str>,
    legacy_plain: Box<[u8]>,
    legacy_versioned: Box<[u8]>,
}

impl StatusReply {
    /// Encodes a status.
    ///
    /// # Errors
    /// What makes the status impossible to show.
    pub fn new(document: &StatusDocument) -> Result<Self, StatusError> {
        if document.minimum != 0 && document.maximum != 0 && document.minimum > document.maximum {
            return Err(StatusError::RangeEmpty);
        }
        let sample = document
            .players
            .as_ref()
            .map_or(0, |players| players.sample.len());
        if sample > STATUS_SAMPLE_MAX {
            return Err(StatusError::SampleTooLong(sample));
        }
        document.favicon.as_deref().map_or(Ok(()), favicon::check)?;
        let description = Text::parse(document.description.as_deref().unwrap_or_default());
        let head = format!(
            "{{\"version\":{{\"name\":{},\"protocol\":",
            json(&document.version_name)
        );
        let tail = tail(document, &description);
        let units = head.encode_utf16().count() + PROTOCOL_DIGITS_MAX + tail.encode_utf16().count();
        if units > STATUS_UNITS_MAX {
            return Err(StatusError::TooLong(units));
        }
        let [legacy_plain, legacy_versioned] = legacy_kicks(document, &description.to_plain());
        Ok(Self {
            minimum: document.minimum,
            maximum: document.maximum,
            preferred: document.preferred,
            head: head.into(),
            tail: tail.into(),
            legacy_plain,
            legacy_versioned,
        })
    }

    /// The protocol number that a client of the given version is shown: its own, and so "compatible", within
    /// `minimum..=maximum`, else the preferred one.
    #[must_use]
    pub fn shown_protocol(&self, protocol: i32) -> i32 {
        let new_enough = self.minimum == 0 || protocol >= self.minimum;
        let old_enough = self.maximum == 0 || protocol <= self.maximum;
        if new_enough && old_enough {
            protocol
        } else {
            self.preferred
        }
    }

    /// Appends the whole status response frame for a client of the given protocol version. Allocates nothing
    /// but what `out` needs to grow.
    pub fn encode(&self, protocol: i32, out: &mut Vec<u8>) {
        let mut buffer = [0; PROTOCOL_DIGITS_MAX];
        let mut unused = buffer.as_mut_slice();
        // Every `i32` fits the buffer.
        let _ = write!(unused, "{}", self.shown_protocol(protocol));
        let unused = unused.len();
        let digits = buffer.get(..PROTOCOL_DIGITS_MAX - unused).unwrap_or_default();

        let json = self.head.len() + digits.len() + self.tail.len();
        let packet = 1 + var_int_bytes(json) + json;
        out.reserve(var_int_bytes(packet) + packet);
        write_length(out, packet);
        out.push(RESPONSE);
        write_length(out, json);
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(digits);
        out.extend_from_slice(self.tail.as_bytes());
    }

    /// Appends the whole kick packet that answers a legacy ping.
    pub fn encode_legacy(&self, form: LegacyForm, out: &mut Vec<u8>) {
        out.extend_from_slice(match form {
            LegacyForm::Plain => &self.legacy_plain,
            LegacyForm::Versioned => &self.legacy_versioned,
        });
    }
}

/// The JSON from the protocol number on.
fn tail(document: &StatusDocument, description: &Text) -> String {
    let mut tail = "}".to_owned();
    let mut append = |name: &str, value: &str| tail.extend([",\"", name, "\":", value]);
    if let Some(players) = &document.players {
        append("players", &json(players));
    }
    append("description", &description.to_json());
    if let Some(favicon) = &document.favicon {
        append("favicon", &json(favicon));
    }
    if let Some(enforces) = document.enforces_secure_chat {
        append("enforcesSecureChat", &json(&enforces));
    }
    tail.push('}');
    tail
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and structs of them always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

/// The answers to legacy pings, plain and versioned. The description is cut so that the numbers after it fit.
fn legacy_kicks(document: &StatusDocument, description: &str) -> [Box<[u8]>; 2] {
    let (online, max) = document
        .players
        .as_ref()
        .map_or((0, 0), |players| (players.online, players.max));
    let line: String = description
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let version: String = document
        .version_name
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let version = cut(&version, 64);

    let plain = |description: &str| format!("{description}§{online}§{max}");
    let versioned =
        |description: &str| format!("§1\0{LEGACY_PROTOCOL}\0{version}\0{description}\0{online}\0{max}");
    let kick = |frame: &dyn Fn(&str) -> String, description: &str| {
        let room = LEGACY_KICK_UNITS_MAX.saturating_sub(frame("").encode_utf16().count());
        let mut out = Vec::new();
        write_kick(&mut out, &frame(cut(description, room)));
        out.into_boxed_slice()
    };
    // In the plain form `§` separates the fields: formatting codes have to go.
    [kick(&plain, &without_formatting(&line)), kick(&versioned, &line)]
}

fn without_formatting(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::with_capacity(text.len());
    while let Some(character) = chars.next() {
        if character == '§' {
            chars.next();
        } else {
            out.push(character);
        }
    }
    out.replace('§', "")
}

/// The longest beginning of at most `units_max` UTF-16 code units.
fn cut(text: &str, units_max: usize) -> &str {
    let mut units = 0;
    let end = text.char_indices().find_map(|(index, character)| {
        units += character.len_utf16();
        (units > units_max).then_some(index)
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(units) => write!(
                f,
                "the status takes {units} characters as JSON, but clients accept only {STATUS_UNITS_MAX}: \
                 shorten the \
                 description, the player sample or the favicon"
            ),
            Self::SampleTooLong(entries) => {
                write!(
                    f,
                    "the player sample has {entries} entries, at most {STATUS_SAMPLE_MAX} are allowed"
                )
            }
            Self::FaviconInvalid => f.write_str(
                "the favicon is no PNG in a data URI: expected `data:image/png;base64,` and Base64",
            ),
            Self::FaviconSize(width, height) => {
                write!(
                    f,
                    "the favicon has {width}×{height} pixels, but clients show only 64×64"
                )
            }
            Self::RangeEmpty => f.write_str("the minimum protocol version is above the maximum"),
        }
    }
}

impl std::error::Error for StatusError {}

#[cfg(test)]
mod tests;
