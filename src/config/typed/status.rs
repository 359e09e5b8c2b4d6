//! `[status]` and `[unknown_host]`: what the server list shows.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use passage_proto::limits::{STATUS_SAMPLE_MAX, STATUS_UNITS_MAX};
use passage_proto::status::{Players, SamplePlayer, StatusDocument, StatusError, StatusReply};
use passage_proto::version::Version;
use uuid::Uuid;

use super::route::kind;
use super::service::{self, Protocol, Remote, Service};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, boolean, integer, parsed, seconds, text, word};

/// Where a route's pings are answered from.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// From the configuration.
    Fixed(Box<StatusDocument>),
    /// From somebody who is asked.
    Shared(Box<SharedStatus>),
}

/// A status that is asked for, kept, and shown to many.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedStatus {
    /// Who is asked.
    pub source: StatusSource,
    /// How long it is shown before it is asked for again, where who is asked does not say
    /// (`cache_duration`).
    pub cache_duration: Duration,
    /// Shown while there is none; `None` closes the connection (`offline`).
    pub offline: Option<StatusDocument>,
}

/// Who is asked for a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StatusSource {
    /// A web server.
    Http(Service),
    /// A service of the network's own.
    Grpc(Service),
    /// The target that the route would choose.
    Target(Remote),
}

const DESCRIPTION: &str = r#"{"text":"A Minecraft network behind Passage"}"#;
const FAVICON: &str = "\"data:image/png;base64,…\" with a PNG of 64 × 64 pixels";
const FAVICON_EDGE_PIXELS: u32 = 64;
const FAVICON_CHARS_MAX: usize = 24_000;

#[derive(Clone)]
enum Kind {
    Fixed,
    Http,
    Grpc,
    Target,
}

pub(super) fn read(table: &Section<'_>) -> Status {
    let choices = &[
        ("fixed", Kind::Fixed),
        ("http", Kind::Http),
        ("grpc", Kind::Grpc),
        ("target", Kind::Target),
    ];
    let (source, cached_for) = match kind(table, Kind::Fixed, choices) {
        None => return Status::Fixed(Box::default()),
        Some(Kind::Fixed) => return Status::Fixed(Box::new(fixed(table))),
        Some(Kind::Http) => (StatusSource::Http(service::read(table, Protocol::Http)), 60),
        Some(Kind::Grpc) => (StatusSource::Grpc(service::read(table, Protocol::Grpc)), 5),
        Some(Kind::Target) => (StatusSource::Target(service::remote(table, Remote::default())), 5),
    };
    Status::Shared(Box::new(SharedStatus {
        source,
        cache_duration: table
            .value("cache_duration", seconds(1..=86_400))
            .unwrap_or(Duration::from_secs(cached_for)),
        offline: table.table("offline", |table| {
            table.is_written().then(|| read_fixed_only(table))
        }),
    }))
}

/// Reads a status where only a fixed one makes sense.
pub(super) fn read_fixed_only(table: &Section<'_>) -> StatusDocument {
    kind(table, (), &[("fixed", ())]);
    fixed(table)
}

fn fixed(table: &Section<'_>) -> StatusDocument {
    let version = || integer(0..=i32::MAX);
    let status = StatusDocument {
        version_name: table.value("name", text).unwrap_or_else(|| "Passage".into()),
        preferred: table
            .value("preferred_version", version())
            .unwrap_or(Version::of(i32::MAX).since),
        minimum: table.value("min_version", version()).unwrap_or(0),
        maximum: table.value("max_version", version()).unwrap_or(0),
        players: Some(table.table("players", players)),
        description: table
            .value("description", component)
            .or_else(|| Some(DESCRIPTION.into())),
        favicon: table.value("favicon", favicon),
        enforces_secure_chat: table.value("enforces_secure_chat", boolean).or(Some(true)),
    };
    match StatusReply::new(&status) {
        Ok(_) => {}
        Err(StatusError::TooLong(units)) => {
            let found = format!("a status of {units} characters in all");
            table.blame(
                "description",
                found,
                format!("at most {STATUS_UNITS_MAX}, with favicon and players"),
            );
        }
        Err(StatusError::SampleTooLong(count)) => {
            table.blame(
                "players.sample",
                format!("{count} players"),
                format!("at most {STATUS_SAMPLE_MAX}"),
            );
        }
        Err(StatusError::FaviconInvalid | StatusError::FaviconSize(..)) => {
            table.blame("favicon", "a favicon that clients cannot show", FAVICON)
        }
        Err(StatusError::RangeEmpty) => {
            let found = format!("{}, above max_version = {}", status.minimum, status.maximum);
            table.blame("min_version", found, "at most max_version");
        }
    }
    status
}

fn players(table: &Section<'_>) -> Players {
    let count = || integer(0..=2_147_483_647);
    Players {
        online: table.value("online", count()).unwrap_or(0),
        max: table.value("max", count()).unwrap_or(100),
        sample: table.tables("sample", |entry| SamplePlayer {
            name: entry.required("name", "a line of text", text).unwrap_or_default(),
            id: entry.value("id", parsed("a UUID")).unwrap_or(Uuid::nil()),
        }),
    }
}

/// A text component: JSON where it looks like JSON, else the text itself.
fn component(node: &Node) -> Parsed<String> {
    let written = text(node)?;
    match serde_json::from_str(&written) {
        Ok(serde_json::Value::Object(_) | serde_json::Value::Array(_) | serde_json::Value::String(_)) => {
            Ok(written)
        }
        Err(error) if written.trim_start().starts_with(['{', '[', '"']) => Mismatch::new(
            node,
            "a JSON text component such as '{\"text\":\"Welcome\",\"color\":\"gold\"}', or plain text",
        )
        .hint(format!("the JSON breaks off: {error}"))
        .fail(),
        _ => Ok(serde_json::json!({ "text": written }).to_string()),
    }
}

fn favicon(node: &Node) -> Parsed<String> {
    const START: &str = "data:image/png;base64,";
    let written = word(node)?;
    let wrong = |found: &str| Mismatch::new(node, FAVICON).found(found).fail();
    let Some(encoded) = written.strip_prefix(START) else {
        return wrong("text that does not start so");
    };
    if written.len() > FAVICON_CHARS_MAX {
        return wrong(&format!(
            "{} characters, more than {FAVICON_CHARS_MAX}",
            written.len()
        ));
    }
    let Ok(png) = STANDARD.decode(encoded) else {
        return wrong("broken Base64");
    };
    match edges(&png) {
        Some((FAVICON_EDGE_PIXELS, FAVICON_EDGE_PIXELS)) => Ok(written),
        Some((width, height)) => wrong(&format!("a PNG of {width} × {height} pixels")),
        None => wrong("Base64 of something that is no PNG"),
    }
}

/// Width and height of a PNG, from the header chunk that the format puts first.
fn edges(png: &[u8]) -> Option<(u32, u32)> {
    let rest = png
        .strip_prefix(b"\x89PNG\r\n\x1a\n")?
        .get(4..)?
        .strip_prefix(b"IHDR")?;
    let (width, rest) = rest.split_first_chunk()?;
    let (height, _) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}
