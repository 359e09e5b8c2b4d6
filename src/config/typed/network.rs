//! `[shards]`, `[limits]`, `[rate_limiter]`, `[proxy_protocol]`.

use std::num::NonZeroUsize;
use std::time::Duration;

use ipnet::IpNet;
use passage_shards::pool::{Limits, ProxyProtocol, RateLimit, Untrusted};

use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, boolean, integer, list, one_of, seconds, word};

/// `[shards]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    /// How many; `None` for one per CPU that this process may run on.
    pub count: Option<NonZeroUsize>,
    /// Whether each is pinned to its CPU.
    pub pin: bool,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The bounds that shards keep.
    pub shard: Limits,
    /// How long relays and logins may take to end after SIGTERM.
    pub drain: Duration,
    /// Threads that ask session servers and DNS.
    pub workers: usize,
}

pub(super) fn shards(table: &Section<'_>) -> Shards {
    Shards {
        count: table
            .value("count", integer(0..=1_024))
            .and_then(NonZeroUsize::new),
        pin: table.value("pin", boolean).unwrap_or(true),
    }
}

pub(super) fn bounds(table: &Section<'_>) -> Bounds {
    let secs = Duration::from_secs;
    Bounds {
        shard: Limits {
            connections_per_shard: table
                .value("connections_per_shard", integer(1..=1_000_000))
                .unwrap_or(16_384),
            connections_per_prefix: table
                .value("connections_per_prefix", integer(0..=1_000_000))
                .unwrap_or(1_024),
            logins_per_shard: table
                .value("logins_per_shard", integer(1..=1_000_000))
                .unwrap_or(2_048),
            rsa_queue_per_shard: table
                .value("rsa_queue_per_shard", integer(1..=100_000))
                .unwrap_or(256),
            handshake: table.value("handshake", seconds(1..=600)).unwrap_or(secs(5)),
            step: table.value("step", seconds(1..=600)).unwrap_or(secs(30)),
            dial: table.value("dial", seconds(1..=600)).unwrap_or(secs(5)),
            relay_idle: table
                .value("relay_idle", seconds(10..=86_400))
                .unwrap_or(secs(600)),
            backlog: table.value("backlog", integer(1..=65_535)).unwrap_or(4_096),
        },
        drain: table.value("drain", seconds(0..=86_400)).unwrap_or(secs(30)),
        workers: table.value("workers", integer(2..=256)).unwrap_or(16),
    }
}

/// Enabled by its presence, unless it says `enabled = false`.
pub(super) fn rate_limit(table: &Section<'_>) -> Option<RateLimit> {
    let enabled = table
        .value("enabled", boolean)
        .unwrap_or_else(|| table.is_written());
    let limit = RateLimit {
        limit: table
            .value_of(&["limit", "size"], integer(1..=1_000_000))
            .unwrap_or(60),
        duration: table
            .value("duration", seconds(1..=86_400))
            .unwrap_or(Duration::from_secs(60)),
        ipv4_prefix: table.value("ipv4_prefix", integer(8..=32)).unwrap_or(32),
        ipv6_prefix: table.value("ipv6_prefix", integer(16..=128)).unwrap_or(64),
    };
    enabled.then_some(limit)
}

/// Enabled by its presence, unless it says `enabled = false`.
pub(super) fn proxy_protocol(table: &Section<'_>) -> Option<ProxyProtocol> {
    const UNTRUSTED: &[(&str, Untrusted)] = &[("reject", Untrusted::Reject), ("direct", Untrusted::Direct)];
    let enabled = table
        .value("enabled", boolean)
        .unwrap_or_else(|| table.is_written());
    let written = table.has("trusted");
    let trusted = table.value("trusted", list(network));
    let broken = written && trusted.is_none();
    let protocol = ProxyProtocol {
        allow_v1: table.value("allow_v1", boolean).unwrap_or(true),
        allow_v2: table.value("allow_v2", boolean).unwrap_or(true),
        trusted: trusted.unwrap_or_default(),
        untrusted: table
            .value("untrusted", one_of(UNTRUSTED))
            .unwrap_or(Untrusted::Reject),
    };
    if !enabled {
        return None;
    }
    if !protocol.allow_v1 && !protocol.allow_v2 {
        table.blame(
            "allow_v2",
            "neither version allowed",
            "allow_v1 = true, allow_v2 = true, or enabled = false",
        );
    }
    if protocol.trusted.is_empty() && !broken {
        table.blame(
            "trusted",
            "no trusted peer",
            "the networks of your proxies, such as [\"10.0.0.0/8\"]; [\"0.0.0.0/0\", \"::/0\"] trusts \
             everybody",
        );
    }
    Some(protocol)
}

fn network(node: &Node) -> Parsed<IpNet> {
    super::network(&word(node)?).map_or_else(
        || Mismatch::new(node, "a network such as \"10.0.0.0/8\" or an IP address").fail(),
        Ok,
    )
}
