//! What a server says of itself in the server list: JSON, as clients read it, made fit to be shown by us.
//!
//! Whatever cannot be shown is left out, so that one bad part does not take a server out of the list: clients
//! are as lenient. What this does not know (a mod loader's data) is not passed on.

use passage_proto::limits::{STATUS_SAMPLE_MAX, TEXT_BYTES_MAX};
use passage_proto::status::{Players, SamplePlayer, StatusDocument, StatusError, StatusReply};
use passage_proto::text::Text;
use serde_json::Value;
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// Largest number of players that clients can read.
const COUNT_MAX: i64 = i32::MAX as i64;
/// Longest name of a version that is shown, in bytes; clients show a part of it.
const VERSION_BYTES_MAX: usize = 256;

/// A server's entry in the server list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listing {
    /// As it can be encoded, unless all of it together is too long.
    pub(crate) document: StatusDocument,
    /// What was left out.
    pub(crate) dropped: Vec<Dropped>,
}

/// A part that was left out of a status because clients cannot show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Its key.
    pub(crate) key: &'static str,
    /// Why.
    pub(crate) reason: &'static str,
}

impl Listing {
    /// Reads a status as servers write it.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        let status: Value =
            serde_json::from_str(json).map_err(|error| format!("the status is no JSON: {error}"))?;
        if !status.is_object() {
            return Err("the status is no JSON object".into());
        }
        let mut dropped = Vec::new();
        let mut drop = |key, reason| dropped.push(Dropped { key, reason });
        let (version_name, preferred) = version(&status["version"], &mut drop);
        let document = StatusDocument {
            version_name,
            preferred,
            // No client has a version in this range: all are shown what the server says.
            minimum: i32::MAX,
            maximum: i32::MAX,
            players: players(&status["players"], &mut drop),
            description: description(&status["description"], &mut drop),
            favicon: favicon(&status["favicon"], &mut drop),
            enforces_secure_chat: status["enforcesSecureChat"].as_bool(),
        };
        Ok(Self { document, dropped })
    }

    /// Encodes it. Leaves out what keeps it from being shown: a favicon that is none, and then the biggest
    /// parts until the rest is short enough.
    ///
    /// # Errors
    ///
    /// Why not even the rest can be shown.
    pub(crate) fn encode(mut self) -> Result<(StatusReply, Vec<Dropped>), StatusError> {
        loop {
            let error = match StatusReply::new(&self.document) {
                Ok(reply) => return Ok((reply, self.dropped)),
                Err(error) => error,
            };
            let dropped = self.drop_for(error).ok_or(error)?;
            self.dropped.push(dropped);
        }
    }

    fn drop_for(&mut self, error: StatusError) -> Option<Dropped> {
        let document = &mut self.document;
        let sample = document.players.as_mut().map(|players| &mut players.sample);
        let (key, reason) = match error {
            StatusError::FaviconInvalid => ("favicon", "it is no PNG in a data URI"),
            StatusError::FaviconSize(..) => ("favicon", "it has not 64 by 64 pixels"),
            StatusError::TooLong(_) if document.favicon.is_some() => ("favicon", TOO_LONG),
            StatusError::TooLong(_) if sample.is_some_and(|sample| !sample.is_empty()) => {
                ("players.sample", TOO_LONG)
            }
            StatusError::TooLong(_) if document.description.is_some() => ("description", TOO_LONG),
            StatusError::TooLong(_) | StatusError::SampleTooLong(_) | StatusError::RangeEmpty => return None,
        };
        match key {
            "favicon" => document.favicon = None,
            "description" => document.description = None,
            _ => document
                .players
                .iter_mut()
                .for_each(|players| players.sample.clear()),
        }
        Some(Dropped { key, reason })
    }
}

const TOO_LONG: &str = "the whole status is longer than clients accept";

fn version(version: &Value, drop: &mut impl FnMut(&'static str, &'static str)) -> (String, i32) {
    let name = version["name"].as_str().unwrap_or_default();
    let end = name.floor_char_boundary(VERSION_BYTES_MAX);
    if end < name.len() {
        drop(
            "version.name",
            "it is cut, because clients show only its beginning",
        );
    }
    let protocol = version["protocol"]
        .as_i64()
        .and_then(|number| i32::try_from(number).ok());
    if protocol.is_none() {
        drop("version.protocol", "it is no number");
    }
    // No client speaks -1: all of them read the version's name.
    (
        name.get(..end).unwrap_or_default().to_owned(),
        protocol.unwrap_or(-1),
    )
}

fn players(players: &Value, drop: &mut impl FnMut(&'static str, &'static str)) -> Option<Players> {
    if !players.is_object() {
        if !players.is_null() {
            drop("players", "it is no JSON object");
        }
        return None;
    }
    let mut count = |key: &str, name| {
        let number = players[key].as_i64();
        if number.is_none_or(|number| !(0..=COUNT_MAX).contains(&number)) {
            drop(name, "it is no number from 0 to 2147483647");
        }
        u32::try_from(number.unwrap_or(0).clamp(0, COUNT_MAX)).unwrap_or(0)
    };
    let (max, online) = (count("max", "players.max"), count("online", "players.online"));
    let entries = players["sample"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let sample: Vec<_> = entries
        .iter()
        .filter_map(sample_player)
        .take(STATUS_SAMPLE_MAX)
        .collect();
    if sample.len() < entries.len() {
        drop("players.sample", "it has entries without a name, or too many");
    }
    Some(Players { max, online, sample })
}

fn sample_player(entry: &Value) -> Option<SamplePlayer> {
    let id = entry["id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
    Some(SamplePlayer {
        name: entry["name"].as_str()?.to_owned(),
        // Servers that use the list for other texts write any id.
        id: id.unwrap_or_default(),
    })
}

fn description(description: &Value, drop: &mut impl FnMut(&'static str, &'static str)) -> Option<String> {
    if description.is_null() {
        return None;
    }
    let json = description.to_string();
    let is_shown_as_it_is = Text::parse(&json) == Text::literal(&json);
    if json.len() > TEXT_BYTES_MAX || is_shown_as_it_is {
        drop(
            "description",
            "it is no text component, or too long or too deeply nested for one",
        );
        return None;
    }
    Some(json)
}

/// Servers of old break the Base64 into lines.
fn favicon(favicon: &Value, drop: &mut impl FnMut(&'static str, &'static str)) -> Option<String> {
    if favicon.is_null() {
        return None;
    }
    let Some(uri) = favicon.as_str() else {
        drop("favicon", "it is no text");
        return None;
    };
    Some(
        uri.chars()
            .filter(|character| !matches!(character, '\r' | '\n'))
            .collect(),
    )
}
