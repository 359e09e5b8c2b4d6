//! Every instrument that Passage has: name, kind, unit and label keys. No name is written anywhere else.
//!
//! Names, units and monotonic flags are chosen so that the names which Prometheus shows are these names: the
//! collector appends `_total` to monotonic sums and the unit to everything that has one.

use passage_shards::metrics::{ANSWERS, Bounds, RELAYS, TURNS};

/// One instrument.
#[derive(Debug)]
pub(crate) struct Instrument {
    /// The name in OTLP and in Prometheus.
    pub(crate) name: &'static str,
    /// What it counts, in one line.
    pub(crate) description: &'static str,
    /// How it counts.
    pub(crate) kind: Kind,
    /// The OTLP unit; empty for counts, or else a suffix is appended to the name.
    pub(crate) unit: &'static str,
    /// The keys of the labels that its points may carry. The overflow carries [`OVERFLOW`] only.
    pub(crate) labels: &'static [&'static str],
}

/// How an instrument counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A cumulative sum that only grows.
    Counter,
    /// A cumulative sum that only grows but is not said to, so that the collector leaves its name alone.
    UnmarkedCounter,
    /// The state of something, as a whole number.
    Gauge,
    /// The state of something, in seconds.
    Seconds,
    /// A cumulative histogram of seconds with these bounds.
    Histogram(&'static Bounds),
}

/// The label of the series that takes what is over the limit of label sets, as the OpenTelemetry
/// specification names it.
pub(crate) const OVERFLOW: &str = "otel.metric.overflow";

/// The keys of all labels.
pub(crate) mod label {
    pub(crate) const ADAPTER_NAME: &str = "adapter_name";
    pub(crate) const ADAPTER_TYPE: &str = "adapter_type";
    pub(crate) const BOUND: &str = "bound";
    pub(crate) const CLIENT_IP: &str = "client_ip";
    pub(crate) const DIRECTION: &str = "direction";
    pub(crate) const ERROR_TYPE: &str = "error_type";
    pub(crate) const PROTOCOL_VERSION: &str = "protocol_version";
    pub(crate) const RANK: &str = "rank";
    pub(crate) const REASON: &str = "reason";
    pub(crate) const REQUEST_TYPE: &str = "request_type";
    pub(crate) const RESULT: &str = "result";
    pub(crate) const SERVER_ADDRESS: &str = "server_address";
    pub(crate) const SHARD: &str = "shard";
    pub(crate) const SIGNAL: &str = "signal";
    pub(crate) const STAGE: &str = "stage";
    pub(crate) const TARGET_ADDRESS: &str = "target_address";
    pub(crate) const TARGET_IDENTIFIER: &str = "target_identifier";
    pub(crate) const THREAD: &str = "thread";
    pub(crate) const VERSION: &str = "version";
}

use label::{
    ADAPTER_NAME, ADAPTER_TYPE, BOUND, CLIENT_IP, DIRECTION, ERROR_TYPE, PROTOCOL_VERSION, RANK, REASON,
    REQUEST_TYPE, RESULT, SERVER_ADDRESS, SHARD, SIGNAL, STAGE, TARGET_ADDRESS, TARGET_IDENTIFIER, THREAD,
    VERSION,
};

const CONNECTION: &[&str] = &[CLIENT_IP, SERVER_ADDRESS, PROTOCOL_VERSION];
const REQUEST: &[&str] = &[REQUEST_TYPE, ADAPTER_TYPE, RESULT];
const ADAPTER: &[&str] = &[ADAPTER_NAME, ADAPTER_TYPE, ERROR_TYPE];
const TARGET: &[&str] = &[TARGET_IDENTIFIER, TARGET_ADDRESS];

macro_rules! instruments {
    ($($constant:ident: $kind:expr, $unit:literal, $labels:expr, $name:literal, $description:literal;)*) => {
        $(
            #[doc = $description]
            pub(crate) static $constant: Instrument = Instrument {
                name: $name,
                description: $description,
                kind: $kind,
                unit: $unit,
                labels: $labels,
            };
        )*

        /// Every instrument.
        #[cfg(test)]
        pub(crate) static ALL: &[&Instrument] = &[$(&$constant),*];
    };
}

instruments! {
    CONNECTIONS: Kind::Counter, "", CONNECTION,
        "passage_connections_total", "Connection attempts.";
    CONNECTIONS_ACTIVE: Kind::Gauge, "", &[],
        "passage_connections_active", "Connections that are open now.";
    CONNECTIONS_FAILED: Kind::UnmarkedCounter, "", CONNECTION,
        "passage_connections_failed", "Connection attempts that failed.";
    CONNECTIONS_RATE_LIMITED: Kind::UnmarkedCounter, "", CONNECTION,
        "passage_connections_rate_limited", "Connection attempts that the rate limiter refused.";

    REQUESTS: Kind::Counter, "", REQUEST,
        "passage_requests_total", "Status pings and logins.";
    STATUS_REQUESTS: Kind::Counter, "", REQUEST,
        "passage_status_requests_total", "Status pings.";
    LOGIN_REQUESTS: Kind::Counter, "", REQUEST,
        "passage_login_requests_total", "Logins.";
    REQUEST_DURATION: Kind::Histogram(&ANSWERS), "s", REQUEST,
        "passage_request_duration_seconds", "Time from the first byte of a request to its answer.";

    ADAPTER_REQUESTS: Kind::Counter, "", ADAPTER,
        "passage_adapter_requests_total", "Questions to adapters.";
    ADAPTER_ERRORS: Kind::Counter, "", ADAPTER,
        "passage_adapter_errors_total", "Questions to adapters that went wrong.";
    ADAPTER_DURATION: Kind::Histogram(&ANSWERS), "s", ADAPTER,
        "passage_adapter_duration_seconds", "Time that adapters took to answer.";

    TARGETS_DISCOVERED: Kind::Gauge, "", &[],
        "passage_targets_discovered", "Targets that discovery knows now.";
    TARGET_SELECTIONS: Kind::Counter, "", TARGET,
        "passage_target_selections_total", "How often the strategy chose the target.";
    TARGET_CONNECTIONS: Kind::Counter, "", TARGET,
        "passage_target_connections_total", "Players handed over to the target.";
    TARGET_CONNECTION_FAILURES: Kind::Counter, "", TARGET,
        "passage_target_connection_failures_total", "Attempts to connect to the target that failed.";

    UPTIME: Kind::Seconds, "s", &[],
        "passage_uptime_seconds", "Time since the start of the process.";
    VERSION_INFO: Kind::Gauge, "", &[VERSION],
        "passage_version_info", "Always 1; the label tells the version of Passage.";

    RELAY_BYTES: Kind::Counter, "", &[DIRECTION],
        "passage_relay_bytes_total", "Bytes relayed between clients and targets.";
    RELAY_DURATION: Kind::Histogram(&RELAYS), "s", &[],
        "passage_relay_duration_seconds", "How long relayed connections lasted.";

    SHARD_CONNECTIONS: Kind::Gauge, "", &[SHARD],
        "passage_shard_connections", "Open connections of the shard.";
    SHARD_REQUESTS: Kind::Counter, "", &[SHARD],
        "passage_shard_requests_total", "Status pings and logins of the shard.";
    SHARD_REQUEST_QUANTILE: Kind::Seconds, "s", &[SHARD, RANK],
        "passage_shard_request_quantile_seconds",
        "Time that this part of the shard's recent requests did not exceed; 0 if there were none.";
    SHARD_RELAY_BYTES: Kind::Counter, "", &[SHARD, DIRECTION],
        "passage_shard_relay_bytes_total", "Bytes that the shard relayed.";
    SHARD_RATE_LIMITED: Kind::Counter, "", &[SHARD],
        "passage_shard_rate_limited_total", "Connection attempts that the rate limiter refused on the shard.";
    SHARD_LOOP_LAG: Kind::Seconds, "s", &[SHARD],
        "passage_shard_loop_lag_seconds", "Longest recent turn of the shard's loop.";
    SHARD_TURN_DURATION: Kind::Histogram(&TURNS), "s", &[SHARD],
        "passage_shard_turn_duration_seconds", "How long turns of the shard's loop took.";
    SHARD_QUEUE_DEPTH: Kind::Gauge, "", &[SHARD],
        "passage_shard_queue_depth",
        "Most questions that recently waited for the control thread at a time.";
    SHARD_FAILURES: Kind::Counter, "", &[SHARD, REASON, STAGE],
        "passage_shard_failures_total",
        "Connections of the shard that failed, by reason and by how far they had come.";
    SHARD_SHED: Kind::Counter, "", &[SHARD, BOUND],
        "passage_shard_shed_total", "Work that the shard refused at one of its bounds.";
    SHARD_CUT: Kind::Counter, "", &[SHARD, BOUND],
        "passage_shard_cut_total", "Connections and dials that the shard ended at a bound of time or size.";
    SHARD_SHORTAGES: Kind::Counter, "", &[SHARD, BOUND],
        "passage_shard_shortages_total",
        "Receives that found none left of what the shard has of this; they waited or took another way.";
    SHARD_RELAY_MEMORY: Kind::Gauge, "", &[SHARD],
        "passage_shard_relay_memory_bytes",
        "Most bytes that relays of the shard recently held because a side was slow to read.";
    SHARD_ACCEPT_FAILURES: Kind::Counter, "", &[SHARD],
        "passage_shard_accept_failures_total",
        "Connections that the shard could not accept, for want of descriptors or memory.";
    SHARD_PANICS: Kind::Counter, "", &[SHARD],
        "passage_shard_panics_total", "Connections that ended in a panic.";
    SHARD_TELEMETRY_DEFERRED: Kind::Counter, "", &[SHARD],
        "passage_shard_telemetry_deferred_total",
        "Hand-overs of counts that were put off; nothing is lost by it.";

    THREAD_FAILURES: Kind::Counter, "", &[THREAD],
        "passage_thread_failures_total", "How often a thread stood still for over five seconds, or died.";

    TELEMETRY_DROPPED: Kind::Counter, "", &[SIGNAL],
        "passage_telemetry_dropped_total",
        "Points, spans, log lines and reports that were dropped: rejected, or taken by nobody in time.";
    TELEMETRY_EXPORT_FAILURES: Kind::Counter, "", &[SIGNAL],
        "passage_telemetry_export_failures_total", "Posts that the collector or Sentry did not take.";
}

#[cfg(test)]
mod tests;
