//! `[shards]`, `[limits]`, `[rate_limiter]`, `[proxy_protocol]`.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use ipnet::IpNet;
use passage_shards::limits::{
    BACKLOG, CONNECTIONS_PER_PREFIX, CONNECTIONS_PER_SHARD, DIAL_SECONDS, HANDSHAKE_SECONDS,
    LOGINS_PER_SHARD, RECEIVE_BUFFERS_PER_SHARD, RELAY_GONE_SECONDS, RELAY_IDLE_SECONDS,
    RELAY_MEMORY_MIB_PER_SHARD, RELAY_PIPES_PER_SHARD, RSA_QUEUE_PER_SHARD, Range, STEP_SECONDS, mib,
};
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
    let shard = Limits {
        connections_per_shard: count(table, "connections_per_shard", CONNECTIONS_PER_SHARD),
        connections_per_prefix: count(table, "connections_per_prefix", CONNECTIONS_PER_PREFIX),
        logins_per_shard: count(table, "logins_per_shard", LOGINS_PER_SHARD),
        rsa_queue_per_shard: count(table, "rsa_queue_per_shard", RSA_QUEUE_PER_SHARD),
        handshake: time(table, "handshake", HANDSHAKE_SECONDS),
        step: time(table, "step", STEP_SECONDS),
        dial: time(table, "dial", DIAL_SECONDS),
        relay_idle: time(table, "relay_idle", RELAY_IDLE_SECONDS),
        relay_gone: time(table, "relay_gone", RELAY_GONE_SECONDS),
        relay_memory_per_shard: mib(count(table, "relay_memory_per_shard", RELAY_MEMORY_MIB_PER_SHARD)),
        relay_pipes_per_shard: count(table, "relay_pipes_per_shard", RELAY_PIPES_PER_SHARD),
        receive_buffers_per_shard: count(table, "receive_buffers_per_shard", RECEIVE_BUFFERS_PER_SHARD),
        backlog: count(table, "backlog", BACKLOG),
    };
    for (inner, written, outer, around) in [
        (
            "rsa_queue_per_shard",
            shard.rsa_queue_per_shard,
            "logins_per_shard",
            shard.logins_per_shard,
        ),
        (
            "logins_per_shard",
            shard.logins_per_shard,
            "connections_per_shard",
            shard.connections_per_shard,
        ),
    ] {
        if table.has(inner) && written > around {
            table.reading.warn(format!(
                "limits.{inner} = {written} never bites: limits.{outer} is {around}, and is reached before"
            ));
        }
    }
    Bounds {
        shard,
        drain: table
            .value("drain", seconds(0..=86_400))
            .unwrap_or(Duration::from_secs(30)),
        workers: table.value("workers", integer(2..=256)).unwrap_or(16),
    }
}

fn count<T>(table: &Section<'_>, key: &'static str, range: Range<T>) -> T
where
    T: Copy + fmt::Display + PartialOrd + TryFrom<i128>,
{
    table
        .value(key, integer(range.min..=range.max))
        .unwrap_or(range.default)
}

/// The value of a key that is a time, in seconds.
pub(super) fn time(table: &Section<'_>, key: &'static str, range: Range<u32>) -> Duration {
    table
        .value(key, seconds(range.min..=range.max))
        .unwrap_or(Duration::from_secs(range.default.into()))
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
