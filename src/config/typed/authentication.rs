//! `[authentication]`: how players prove who they are.

use std::time::Duration;

use passage_proto::identity::{Profile, Property};
use uuid::Uuid;

use super::route::kind;
use super::service::{self, Protocol, Remote, Service};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, boolean, list, one_of, parsed, text, url, word};

/// How a route authenticates players.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Mojang's session server, or one that speaks like it.
    Mojang(Mojang),
    /// Not at all.
    Disabled,
    /// Everybody is this player.
    Fixed(Profile),
    /// A service of the network's own.
    Grpc {
        /// Who is asked.
        service: Service,
        /// Whether clients announce the login at their session server, where the service can ask for it
        /// (`should_authenticate`).
        client_must_authenticate: bool,
    },
}

/// How to ask the session server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mojang {
    /// The base address; `/session/minecraft/hasJoined` is added.
    pub url: String,
    /// How it is asked.
    pub remote: Remote,
    /// Whether the session server is told the player's IP address, so that it refuses players who log in to
    /// it from another one.
    pub prevent_proxy_connections: bool,
}

const SESSION_SERVER: &str = "https://sessionserver.mojang.com";

/// Mojang answers slowly at times, and counts how often one address asks.
const SESSION_SERVER_REMOTE: Remote = Remote {
    timeout: Duration::from_secs(10),
    concurrency: 12,
    retries: 2,
    breaker_failures: 5,
    breaker_pause: Duration::from_secs(5),
};

#[derive(Clone)]
enum Kind {
    Mojang,
    Disabled,
    Fixed,
    Grpc,
}

pub(super) fn read(table: &Section<'_>) -> Authentication {
    let choices = &[
        ("mojang", Kind::Mojang),
        ("disabled", Kind::Disabled),
        ("fixed", Kind::Fixed),
        ("grpc", Kind::Grpc),
    ];
    match kind(table, Kind::Mojang, choices) {
        Some(Kind::Grpc) => Authentication::Grpc {
            service: service::read(table, Protocol::Grpc),
            client_must_authenticate: table.value("should_authenticate", boolean).unwrap_or(true),
        },
        Some(Kind::Mojang) => Authentication::Mojang(mojang(table)),
        Some(Kind::Fixed) => Authentication::Fixed(fixed(table)),
        Some(Kind::Disabled) | None => Authentication::Disabled,
    }
}

fn mojang(table: &Section<'_>) -> Mojang {
    // The server id of the encryption request is always empty, as vanilla servers send it.
    table.value("server_id", one_of(&[("", ())]));
    Mojang {
        url: table
            .value("url", url)
            .unwrap_or_else(|| SESSION_SERVER.into())
            .trim_end_matches('/')
            .to_owned(),
        remote: service::remote(table, SESSION_SERVER_REMOTE),
        prevent_proxy_connections: table.value("prevent_proxy_connections", boolean).unwrap_or(false),
    }
}

/// Reads the profile from the table itself or from its table `profile`.
fn fixed(table: &Section<'_>) -> Profile {
    table.table("profile", |nested| {
        if nested.is_written() {
            for key in ["id", "name", "properties"]
                .into_iter()
                .filter(|key| table.has(key))
            {
                table.blame(
                    key,
                    "a value here and a table profile",
                    "the profile in one of both places",
                );
            }
            table.skip_rest();
            profile(nested)
        } else {
            nested.skip_rest();
            profile(table)
        }
    })
}

fn profile(table: &Section<'_>) -> Profile {
    // Upstream's pending moderation actions, which no packet carries to the client.
    table.value("profileActions", list(text));
    Profile {
        id: table
            .required("id", "a UUID", parsed("a UUID"))
            .unwrap_or(Uuid::nil()),
        name: table
            .required("name", "1 to 16 characters", player_name)
            .unwrap_or_default(),
        properties: table.tables("properties", |entry| Property {
            name: entry
                .required("name", "a name such as \"textures\"", word)
                .unwrap_or_default(),
            value: entry.required("value", "text", text).unwrap_or_default(),
            signature: entry.value("signature", word),
        }),
    }
}

fn player_name(node: &Node) -> Parsed<String> {
    let name = word(node)?;
    let fits = name.len() <= 16
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fits {
        Ok(name)
    } else {
        Mismatch::new(node, "1 to 16 letters, digits and underscores").fail()
    }
}
