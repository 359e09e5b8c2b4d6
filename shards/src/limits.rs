//! Every bound of the data plane that peers can reach, with the relations between them asserted at compile
//! time.
//!
//! Those of the protocol are in [`passage_proto::limits`], those of the I/O engine beside its code. What an
//! operator can set has a [`Range`]; everything else is fixed because nothing good comes of changing it.
//! Over a bound, new work is shed, the cheapest first; who is in goes on being served. Each is counted where
//! it is reached: [`Bound`](crate::metrics::Bound) what was refused, [`Cut`](crate::metrics::Cut) what was
//! ended.

use std::time::Duration;

use passage_proto::limits::{KEEP_ALIVE_INTERVAL, LOCALIZE_GRACE};

use crate::metrics::SHARDS_MAX;

/// What an operator can choose from, and what it is unless chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    /// The smallest value.
    pub min: T,
    /// The value if none is chosen.
    pub default: T,
    /// The largest value.
    pub max: T,
}

/// `limits.connections_per_shard`.
pub const CONNECTIONS_PER_SHARD: Range<usize> = Range {
    min: 1,
    default: 16_384,
    max: 1_000_000,
};

/// `limits.connections_per_prefix`; 0 is no bound.
pub const CONNECTIONS_PER_PREFIX: Range<u32> = Range {
    min: 0,
    default: 1_024,
    max: 1_000_000,
};

/// `limits.logins_per_shard`: half-open logins, from the handshake to the hand-over.
pub const LOGINS_PER_SHARD: Range<usize> = Range {
    min: 1,
    default: 2_048,
    max: 1_000_000,
};

/// `limits.rsa_queue_per_shard`. One RSA operation runs at a time on a shard, the others wait.
pub const RSA_QUEUE_PER_SHARD: Range<usize> = Range {
    min: 1,
    default: 256,
    max: 100_000,
};

/// `limits.backlog`: connections that the kernel holds for a listener of a shard.
pub const BACKLOG: Range<u32> = Range {
    min: 1,
    default: 4_096,
    max: 65_535,
};

/// `limits.handshake`, in seconds: the deadline of the handshake, PROXY header included.
pub const HANDSHAKE_SECONDS: Range<u32> = Range {
    min: 1,
    default: 5,
    max: 600,
};

/// `limits.step`, in seconds: the deadline of each step of a status or login.
pub const STEP_SECONDS: Range<u32> = Range {
    min: 1,
    default: 30,
    max: 600,
};

/// `timeout`, in seconds: the deadline of a whole conversation before its hand-over.
pub const TIMEOUT_SECONDS: Range<u32> = Range {
    min: 1,
    default: 120,
    max: 86_400,
};

/// `limits.dial`, in seconds: the deadline of connecting to targets for one player.
pub const DIAL_SECONDS: Range<u32> = Range {
    min: 1,
    default: 5,
    max: 600,
};

/// `limits.relay_idle`, in seconds: how long a relay may be silent in both directions.
pub const RELAY_IDLE_SECONDS: Range<u32> = Range {
    min: 10,
    default: 600,
    max: 86_400,
};

/// Sockets that a connection may have open: its own and its target's, or one that lingers beside one that has
/// followed it.
pub const SOCKETS_PER_CONNECTION: usize = 2;

/// How long a client may take to read a last message and close, before its socket is closed under it.
pub const LINGER: Duration = Duration::from_secs(2);

/// How long a disconnect waits for a localization service: whoever is sent away must read why while there is
/// still somebody to read it.
pub const WORDS_PATIENCE: Duration = Duration::from_secs(1);

/// Targets that are dialled for one player at most, one after the other.
pub const DIALS_MAX: usize = 3;

/// Addresses of one target's name that are tried at most.
pub const ADDRESSES_MAX: usize = 8;

/// Most targets that an answer may have; one with more has failed.
pub const TARGETS_MAX: usize = 4_096;

/// Servers whose failures one shard remembers. Above it the one whose last failure is the longest ago is
/// forgotten.
pub const FAILING_MAX: usize = 4_096;

/// Sets of prefixes that the rate limiter watches; each is one cache line.
pub const LIMITER_SETS: usize = 1 << 15;

/// Prefixes that a set of the rate limiter watches.
pub const LIMITER_WAYS: usize = 8;

/// Counters in each of the two rows that count the connections of prefixes: 512 KiB a row.
pub const CROWD_COUNTERS: usize = 1 << 17;

/// Finished pieces of traces that wait for the telemetry thread, over all shards.
pub const SPANS_WAITING_MAX: usize = 2_048;

/// Spans that a connection may have at a time. A session asks each question once, so that only a route with
/// more than twenty actions gets here.
pub const SPANS_PER_TRACE_MAX: usize = 32;

/// Most label sets that a metric can be told to have.
pub const LABEL_SETS_MAX: usize = 1 << 20;

/// Most bytes that the names of routes and targets among the labels take together.
pub const LABEL_TEXT_BYTES_MAX: usize = 1 << 20;

/// Least time between two log lines of one kind that an attacker or a broken target could cause by the
/// thousand.
pub const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Least time between two questions for the same status, also where the first has failed.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);

const fn in_order(range: Range<u32>) -> bool {
    range.min <= range.default && range.default <= range.max
}

const fn counts_in_order(range: Range<usize>) -> bool {
    range.min <= range.default && range.default <= range.max
}

const _: () = assert!(counts_in_order(CONNECTIONS_PER_SHARD) && counts_in_order(LOGINS_PER_SHARD));
const _: () = assert!(counts_in_order(RSA_QUEUE_PER_SHARD));
const _: () = assert!(in_order(CONNECTIONS_PER_PREFIX) && in_order(BACKLOG));
const _: () = assert!(in_order(HANDSHAKE_SECONDS) && in_order(STEP_SECONDS) && in_order(TIMEOUT_SECONDS));
const _: () = assert!(in_order(DIAL_SECONDS) && in_order(RELAY_IDLE_SECONDS));

// Logins are connections, and those that wait for an RSA operation are logins: a bound that is above the one
// around it never bites.
const _: () = assert!(RSA_QUEUE_PER_SHARD.default < LOGINS_PER_SHARD.default);
const _: () = assert!(LOGINS_PER_SHARD.default < CONNECTIONS_PER_SHARD.default);
// One prefix alone cannot fill a shard, not even with half-open logins.
const _: () = assert!((CONNECTIONS_PER_PREFIX.default as usize) < LOGINS_PER_SHARD.default);
// What the kernel holds for a shard can be taken in.
const _: () = assert!((BACKLOG.default as usize) < CONNECTIONS_PER_SHARD.default);
// A crowd's counter cannot overflow: at most all connections of all shards are in it.
const _: () = assert!(CONNECTIONS_PER_SHARD.max * SHARDS_MAX <= u32::MAX as usize);

// A deadline that is above the one around it never comes.
const _: () = assert!(HANDSHAKE_SECONDS.default < STEP_SECONDS.default);
const _: () = assert!(STEP_SECONDS.default < TIMEOUT_SECONDS.default);
const _: () = assert!(DIAL_SECONDS.default < STEP_SECONDS.default);
// A player who gets a transfer or a last message still has the time to read it.
const _: () = assert!(LINGER.as_secs() < HANDSHAKE_SECONDS.default as u64);
// The session shows the bare key when its own patience ends; the words at hand have to come before that.
const _: () = assert!(WORDS_PATIENCE.as_millis() < LOCALIZE_GRACE.as_millis());
// Both ends of a relay say something every 15 s (keep-alives), so that a living one is never idle.
const _: () = assert!(RELAY_IDLE_SECONDS.default as u64 > 2 * KEEP_ALIVE_INTERVAL.as_secs());
// A target that swallows packets leaves each of the others a part of the time.
const _: () = assert!(DIALS_MAX <= DIAL_SECONDS.default as usize && DIALS_MAX <= TARGETS_MAX);
const _: () = assert!(FAILING_MAX >= TARGETS_MAX);
// Fixed memory, whatever comes: 2 MiB for the limiter, 1 MiB for the crowds.
const _: () = assert!(LIMITER_SETS * LIMITER_WAYS * size_of::<u64>() <= 2 << 20);
const _: () = assert!(2 * CROWD_COUNTERS * size_of::<u32>() <= 1 << 20);
const _: () = assert!(LIMITER_SETS.is_power_of_two() && CROWD_COUNTERS.is_power_of_two());
const _: () = assert!(SPANS_PER_TRACE_MAX < SPANS_WAITING_MAX);
const _: () = assert!(
    LABEL_SETS_MAX.is_power_of_two() && LABEL_SETS_MAX < u32::MAX as usize,
    "an entry's number fits the index of a table, with room for a tag"
);
