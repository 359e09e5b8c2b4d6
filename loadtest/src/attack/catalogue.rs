//! Every attack by its name.

use serde::Serialize;

use super::slow::{Slow, Stage};
use super::{Attack, Ground, Origin, Terrain};
use super::{cookies, deaf, floods, frames, hostnames, logins, memory, proxy_headers, resets, strangers};

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Opens connections and closes them at once, from many addresses
    Connects,
    /// The same from one address
    ConnectsFromOne,
    /// Opens connections and never says a word
    Silence,
    /// More such connections than a shard may have
    SilenceBeyondBound,
    /// Sends handshakes byte by byte
    SlowHandshakes,
    /// Sends logins byte by byte
    SlowLogins,
    /// Sends pings byte by byte, after a handshake
    SlowPings,
    /// Sends PROXY headers byte by byte, as a balancer
    SlowProxyHeaders,
    /// Pings
    Pings,
    /// Logins that answer the encryption request with random bytes
    Logins,
    /// Random bytes
    Noise,
    /// ClientHellos of TLS
    Tls,
    /// Requests of HTTP
    Http,
    /// Frames that are too long, negative or endless
    FrameLengths,
    /// Frames of no bytes, thousands at once
    EmptyFrames,
    /// Frames that claim to be compressed two megabytes
    CompressedFrames,
    /// Host names with long tails of Forge and RealIP
    HostTails,
    /// Random host names and versions
    HostNames,
    /// Large, too large and unasked-for cookies
    LargeCookies,
    /// Replayed, expired and forged cookies
    WorthlessCookies,
    /// PROXY headers of peers that are no balancer
    SpoofedProxyHeaders,
    /// Malformed PROXY headers of a balancer
    MalformedProxyHeaders,
    /// Connections that fill every buffer before login, and stay
    Hoards,
    /// Resets at every stage
    Resets,
    /// Relays whose clients never read, from targets that send without end
    DeafClients,
    /// Relays to targets that never read, from clients that send without end
    DeafTargets,
    /// More connections than the process may open files
    FewFiles,
}

impl Kind {
    /// All of them.
    #[must_use]
    pub fn all() -> &'static [Self] {
        <Self as clap::ValueEnum>::value_variants()
    }

    /// Its name on the command line and in tables.
    #[must_use]
    pub fn name(self) -> String {
        let value = <Self as clap::ValueEnum>::to_possible_value(&self);
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What the server has to be like.
    #[must_use]
    pub fn terrain(self) -> Terrain {
        match self {
            Self::SlowProxyHeaders | Self::SpoofedProxyHeaders | Self::MalformedProxyHeaders => {
                Terrain::Balanced
            }
            Self::FewFiles => Terrain::FewFiles,
            _ => Terrain::Open,
        }
    }

    /// Whether it takes something that clients which mean well need too, so that they have to wait or are
    /// turned away while it lasts. What counts then is that the server survives and serves again.
    #[must_use]
    pub fn is_exhausting(self) -> bool {
        matches!(self, Self::SilenceBeyondBound)
    }

    /// The attack itself.
    #[must_use]
    pub fn attack(self, ground: &Ground) -> Box<dyn Attack> {
        match self {
            Self::Connects => Box::new(floods::Connects(Origin::Many)),
            Self::ConnectsFromOne => Box::new(floods::Connects(Origin::One)),
            Self::Silence => Box::new(floods::Silence {
                rate: 2_000.0,
                at_once: 10_000,
            }),
            Self::SilenceBeyondBound => Box::new(floods::Silence {
                rate: 6_000.0,
                at_once: 20_000,
            }),
            Self::FewFiles => Box::new(floods::Silence {
                rate: 1_000.0,
                at_once: 400,
            }),
            Self::SlowHandshakes => Box::new(Slow::new(Stage::Handshake, ground)),
            Self::SlowLogins => Box::new(Slow::new(Stage::Login, ground)),
            Self::SlowPings => Box::new(Slow::new(Stage::Status, ground)),
            Self::SlowProxyHeaders => Box::new(Slow::new(Stage::ProxyHeader, ground)),
            Self::Pings => Box::new(floods::Pings::new(ground)),
            Self::Logins => Box::new(logins::Encryption::new(ground)),
            Self::Noise => Box::new(strangers::Noise),
            Self::Tls => Box::new(strangers::Tls),
            Self::Http => Box::new(strangers::Http),
            Self::FrameLengths => Box::new(frames::Lengths::new(ground)),
            Self::EmptyFrames => Box::new(frames::Empty::new(ground)),
            Self::CompressedFrames => Box::new(frames::Bombs::new(ground)),
            Self::HostTails => Box::new(hostnames::Tails::new(ground)),
            Self::HostNames => Box::new(hostnames::Names::new(ground)),
            Self::LargeCookies => Box::new(cookies::Large::new(ground)),
            Self::WorthlessCookies => Box::new(cookies::Worthless::new(ground)),
            Self::SpoofedProxyHeaders => Box::new(proxy_headers::Spoofed::new(ground)),
            Self::MalformedProxyHeaders => Box::new(proxy_headers::Malformed),
            Self::Hoards => Box::new(memory::Hoard::new(ground)),
            Self::Resets => Box::new(resets::Resets::new(ground)),
            Self::DeafClients => Box::new(deaf::Deaf::new(deaf::Side::Client, ground)),
            Self::DeafTargets => Box::new(deaf::Deaf::new(deaf::Side::Target, ground)),
        }
    }
}
