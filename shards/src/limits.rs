//! Every bound of the data plane that peers can reach, with the relations between them asserted at compile
//! time.
//!
//! Those of the protocol are in [`passage_proto::limits`]. What an operator can set has a [`Range`];
//! everything else is fixed because nothing good comes of changing it: sizes that were measured, and how the
//! engine divides its time, which stands beside its code. Over a bound, new work is shed, the cheapest first;
//! who is in goes on being served. Each is counted where it is reached: [`Bound`](crate::metrics::Bound) what
//! was refused, [`Cut`](crate::metrics::Cut) what was ended, [`Shortage`](crate::metrics::Shortage) what had
//! to wait or to take another way.

use std::time::Duration;

use passage_proto::limits::{KEEP_ALIVE_INTERVAL, LOCALIZE_GRACE};

use crate::metrics::SHARDS_MAX;
use crate::pool::Limits;

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

/// `limits.rsa_queue_per_shard`: logins that wait for an RSA operation, of which a shard does one at a time.
/// At two operations of about 130 µs each, the last of these waits for about a quarter of a second, or twice
/// that beside as much other work.
pub const RSA_QUEUE_PER_SHARD: Range<usize> = Range {
    min: 1,
    default: 1_024,
    max: 100_000,
};

/// Of so many places in that queue, newcomers find one: the others are for those who were asked to encrypt
/// before. A client that has answered cannot read why it is sent away.
#[must_use]
pub const fn rsa_queue_for_newcomers(queue: usize) -> usize {
    queue.div_ceil(4)
}

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
/// Both ends of a living one say something every 15 s, and give up after 30 s of silence themselves.
pub const RELAY_IDLE_SECONDS: Range<u32> = Range {
    min: 30,
    default: 600,
    max: 86_400,
};

/// `limits.relay_gone`, in seconds: how long a side of a relay may acknowledge nothing.
pub const RELAY_GONE_SECONDS: Range<u32> = Range {
    min: 30,
    default: 120,
    max: 3_600,
};

/// `limits.relay_memory_per_shard`, in MiB: what all relays of a shard together may hold outside of the
/// receive buffers, because their sinks are slow.
pub const RELAY_MEMORY_MIB_PER_SHARD: Range<u32> = Range {
    min: 4,
    default: 128,
    max: 65_536,
};

/// `limits.relay_pipes_per_shard`: pipes through which relays carry bulk at the same time. Each takes two
/// descriptors and at most [`PIPE_BYTES`] of the kernel's memory.
pub const RELAY_PIPES_PER_SHARD: Range<u16> = Range {
    min: 0,
    default: 32,
    max: 1_024,
};

/// `limits.receive_buffers_per_shard`: receive buffers of [`RECEIVE_BUFFER_BYTES`] each, rounded up to a
/// power of two.
pub const RECEIVE_BUFFERS_PER_SHARD: Range<u16> = Range {
    min: 64,
    default: 256,
    max: 32_768,
};

/// Size of a receive buffer: the best one for game traffic, as measured.
pub const RECEIVE_BUFFER_BYTES: u16 = 16 * 1024;

/// Receive buffers that the kernel may fill at a time, until that is too few.
pub const RECEIVE_BUFFERS_OFFERED: u16 = 64;

/// Large receive buffers of a shard, for relays that carry bulk while there is no pipe for it. No key: one at
/// a time is filled, and what waits in them counts for its relay.
pub const LARGE_BUFFERS: u16 = 16;

/// Size of a large receive buffer.
pub const LARGE_BUFFER_BYTES: u32 = 256 * 1024;

/// What a pipe should hold, in bytes of whole pages. The kernel fills each of its places with more than a
/// page where it can; 64 places are within what an unprivileged user may have.
pub const PIPE_BYTES: usize = 256 * 1024;

/// Bytes waiting in one direction of a relay above which its source is not received from.
pub const RELAY_HIGH_WATER: usize = 128 * 1024;

/// Bytes waiting in one direction of a relay at or below which its source is received from again.
pub const RELAY_LOW_WATER: usize = 32 * 1024;

/// How long a side of a relay that ended well may take to read the rest.
pub const RELAY_LINGER: Duration = Duration::from_secs(5);

/// Bytes that are kept of a client that is not listened to, before it is not received from any more.
pub const STASH_BYTES_MAX: usize = 4 * 1024;

/// The most bytes that a shard lets the kernel hold back until they are enough to be of use.
pub const EXPECTED_BYTES_MAX: usize = 16 * 1024;

/// Bytes that are discarded at most of a client that reads its last message.
pub const LINGER_BYTES_MAX: u32 = 256 * 1024;

/// Empty vectors that a shard keeps for output.
pub const POOLED_MAX: usize = 64;

/// The largest vector that is kept, in bytes.
pub const POOLED_BYTES_MAX: usize = 64 * 1024;

/// Sockets, listeners and sleepers of a shard: what fits into the tag of an operation of the ring.
pub const SLOTS_MAX: u32 = 1 << 24;

/// Descriptors that a shard has for its own use: the rings of its executor and its own, and what wakes them.
pub const FILES_PER_SHARD: usize = 16;

/// Descriptors of the process that belong to no shard: standard streams, logs, collectors, the admin
/// listener and its connections, and what asks services. Not counted are questions to services beyond some
/// dozens at a time.
pub const FILES_OF_PROCESS: usize = 128;

/// Sockets that a connection may have open: its own and its target's, or one that lingers beside one that has
/// followed it.
pub const SOCKETS_PER_CONNECTION: usize = 2;

/// Descriptors of a pipe.
pub const FILES_PER_PIPE: usize = 2;

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

/// Descriptors that shards with these bounds and so many listeners each may have open, all together and with
/// those of the process.
#[must_use]
pub fn files_wanted(limits: &Limits, shards: usize, listeners: usize) -> usize {
    let sockets = limits
        .connections_per_shard
        .saturating_mul(SOCKETS_PER_CONNECTION);
    let pipes = usize::from(limits.relay_pipes_per_shard) * FILES_PER_PIPE;
    let shard = sockets.saturating_add(pipes + listeners + FILES_PER_SHARD);
    shard.saturating_mul(shards).saturating_add(FILES_OF_PROCESS)
}

/// These limits with as many connections and pipes as so many open files are enough for; at least one
/// connection a shard. A quarter is for pipes: without one, bulk only costs more.
#[must_use]
pub fn within_files(limits: Limits, shards: usize, listeners: usize, files: usize) -> Limits {
    if files >= files_wanted(&limits, shards, listeners) {
        return limits;
    }
    let shards = shards.max(1);
    let none = Limits {
        connections_per_shard: 0,
        relay_pipes_per_shard: 0,
        ..limits
    };
    let fixed = files_wanted(&none, shards, listeners);
    // What is fixed is counted generously, which only matters where files are very few.
    let each = files.saturating_sub(fixed).max(files / 2) / shards;
    let pipes = u16::try_from(each / 4 / FILES_PER_PIPE).unwrap_or(u16::MAX);
    let pipes = pipes.min(limits.relay_pipes_per_shard);
    let left = each - usize::from(pipes) * FILES_PER_PIPE;
    let connections = (left / SOCKETS_PER_CONNECTION).max(1);
    Limits {
        connections_per_shard: connections.min(limits.connections_per_shard),
        relay_pipes_per_shard: pipes,
        ..limits
    }
}

/// `mib` MiB in bytes, or as much as there are addresses.
#[must_use]
pub const fn mib(mib: u32) -> usize {
    (mib as usize).saturating_mul(1 << 20)
}

const fn in_order(range: Range<u32>) -> bool {
    range.min <= range.default && range.default <= range.max
}

const fn sizes_in_order(range: Range<u16>) -> bool {
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
const _: () = assert!(in_order(RELAY_GONE_SECONDS));
const _: () = assert!(in_order(RELAY_MEMORY_MIB_PER_SHARD));
const _: () = assert!(sizes_in_order(RELAY_PIPES_PER_SHARD) && sizes_in_order(RECEIVE_BUFFERS_PER_SHARD));

// Logins are connections, and those that wait for an RSA operation are logins: a bound that is above the one
// around it never bites.
const _: () = assert!(RSA_QUEUE_PER_SHARD.default < LOGINS_PER_SHARD.default);
const _: () = assert!(LOGINS_PER_SHARD.default < CONNECTIONS_PER_SHARD.default);
// Those who were let in while newcomers found a place find one too, unless they come by the hundred at once.
const _: () = assert!(rsa_queue_for_newcomers(RSA_QUEUE_PER_SHARD.min) == RSA_QUEUE_PER_SHARD.min);
const _: () =
    assert!(4 * rsa_queue_for_newcomers(RSA_QUEUE_PER_SHARD.default) == RSA_QUEUE_PER_SHARD.default);
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
// Both ends of a relay say something every 15 s (keep-alives), so that a living one is never idle, whatever
// the operator chooses.
const _: () = assert!(RELAY_IDLE_SECONDS.min as u64 >= 2 * KEEP_ALIVE_INTERVAL.as_secs());
const _: () = assert!(RELAY_IDLE_SECONDS.default as u64 > 2 * KEEP_ALIVE_INTERVAL.as_secs());
// A line that is down for a moment is not a host that is gone: both ends of a relay would wait longer.
const _: () = assert!(RELAY_GONE_SECONDS.min as u64 >= 2 * KEEP_ALIVE_INTERVAL.as_secs());
// Who is gone is found out before who is merely silent.
const _: () = assert!(RELAY_GONE_SECONDS.default < RELAY_IDLE_SECONDS.default);
// The kernel takes at most 32 767 s for what comes before the first probe.
const _: () = assert!(RELAY_GONE_SECONDS.max / 2 <= 32_767);
// A target that swallows packets leaves each of the others a part of the time.
const _: () = assert!(DIALS_MAX <= DIAL_SECONDS.default as usize && DIALS_MAX <= TARGETS_MAX);
const _: () = assert!(FAILING_MAX >= TARGETS_MAX);
// A source that was stopped goes on before its sink has nothing left to send.
const _: () = assert!(0 < RELAY_LOW_WATER && RELAY_LOW_WATER < RELAY_HIGH_WATER);
// A receive buffer alone neither stops a source nor is as much as a large one.
const _: () = assert!((RECEIVE_BUFFER_BYTES as usize) < RELAY_HIGH_WATER);
const _: () = assert!((RECEIVE_BUFFER_BYTES as u32) < LARGE_BUFFER_BYTES);
// A shard with the fewest buffers can offer what it offers at first; buffers are numbered by 16 bits.
const _: () = assert!(RECEIVE_BUFFERS_OFFERED <= RECEIVE_BUFFERS_PER_SHARD.min);
const _: () = assert!(RECEIVE_BUFFERS_OFFERED.is_power_of_two() && LARGE_BUFFERS.is_power_of_two());
const _: () = assert!(RECEIVE_BUFFERS_PER_SHARD.max.is_power_of_two());
// Some relays that are stuck in both directions fit the smallest memory, with a large buffer each that came
// too late to be left with the kernel, and all that a client may have sent before its hand-over.
const _: () = assert!(
    mib(RELAY_MEMORY_MIB_PER_SHARD.min)
        >= 4 * (2 * RELAY_HIGH_WATER + LARGE_BUFFER_BYTES as usize)
            + passage_proto::limits::FRAME_BYTES_DEFAULT
            + STASH_BYTES_MAX
);
// What is fixed is small beside what relays may hold, unless an operator says otherwise.
const _: () = assert!(
    RECEIVE_BUFFERS_PER_SHARD.default as usize * RECEIVE_BUFFER_BYTES as usize
        + LARGE_BUFFERS as usize * LARGE_BUFFER_BYTES as usize
        + RELAY_PIPES_PER_SHARD.default as usize * PIPE_BYTES
        + POOLED_MAX * POOLED_BYTES_MAX
        <= mib(RELAY_MEMORY_MIB_PER_SHARD.default) / 4
);
// Every connection, its target, the listeners and the sleepers of both find a slot.
const _: () = assert!(CONNECTIONS_PER_SHARD.max * SOCKETS_PER_CONNECTION * 2 < SLOTS_MAX as usize);
// What is thrown away of a client costs no more than what it may send in one go.
const _: () = assert!(STASH_BYTES_MAX <= RECEIVE_BUFFER_BYTES as usize);
const _: () = assert!(LINGER.as_secs() <= RELAY_LINGER.as_secs());
const _: () = assert!(RELAY_LINGER.as_secs() < RELAY_IDLE_SECONDS.min as u64);
// Fixed memory, whatever comes: 2 MiB for the limiter, 1 MiB for the crowds.
const _: () = assert!(LIMITER_SETS * LIMITER_WAYS * size_of::<u64>() <= 2 << 20);
const _: () = assert!(2 * CROWD_COUNTERS * size_of::<u32>() <= 1 << 20);
// A set is one cache line.
const _: () = assert!(LIMITER_WAYS * size_of::<u64>() == 64);
const _: () = assert!(LIMITER_SETS.is_power_of_two() && CROWD_COUNTERS.is_power_of_two());
const _: () = assert!(SPANS_PER_TRACE_MAX < SPANS_WAITING_MAX);
const _: () = assert!(
    LABEL_SETS_MAX.is_power_of_two() && LABEL_SETS_MAX < u32::MAX as usize,
    "an entry's number fits the index of a table, with room for a tag"
);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections_per_shard: 1_000,
        connections_per_prefix: 0,
        logins_per_shard: 10,
        rsa_queue_per_shard: 10,
        handshake: Duration::ZERO,
        step: Duration::ZERO,
        dial: Duration::ZERO,
        relay_idle: Duration::ZERO,
        relay_gone: Duration::ZERO,
        relay_memory_per_shard: 0,
        relay_pipes_per_shard: 100,
        receive_buffers_per_shard: 1,
        backlog: 1,
    };

    #[test]
    fn descriptors_are_counted_for_every_socket_pipe_and_listener() {
        let shard = 2 * 1_000 + 2 * 100 + 3 + FILES_PER_SHARD;
        assert_eq!(files_wanted(&LIMITS, 4, 3), 4 * shard + FILES_OF_PROCESS);
        let endless = Limits {
            connections_per_shard: usize::MAX,
            ..LIMITS
        };
        assert_eq!(files_wanted(&endless, 4, 3), usize::MAX);
    }

    #[test]
    fn what_fits_into_few_files_is_taken_and_no_more() {
        let limits = Limits {
            connections_per_shard: 16_384,
            relay_pipes_per_shard: 32,
            ..LIMITS
        };
        let fits = |shards, files| {
            let within = within_files(limits, shards, 1, files);
            (within.connections_per_shard, within.relay_pipes_per_shard)
        };
        assert_eq!(fits(2, files_wanted(&limits, 2, 1)), (16_384, 32), "enough");
        assert_eq!(fits(1, 256), (48, 16));
        assert_eq!(fits(16, 1_024), (15, 4));
        assert_eq!(fits(64, 10), (1, 0), "never none");
        for files in (300..70_000).step_by(97) {
            for shards in [1, 2, 8] {
                let within = within_files(limits, shards, 1, files);
                let wanted = files_wanted(&within, shards, 1);
                assert!(
                    wanted <= files || files < 2 * (FILES_OF_PROCESS + 17 * shards),
                    "{files}"
                );
            }
        }
    }

    #[test]
    fn mebibytes_never_wrap() {
        assert_eq!(mib(128), 128 * 1024 * 1024);
        assert!(mib(u32::MAX) >= mib(RELAY_MEMORY_MIB_PER_SHARD.max));
    }
}
