//! What every shard had counted at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use super::samples::Sample;

/// What the whole process tells, and each of its shards.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) version: String,
    /// Time since the process started, by which rates are reckoned.
    pub(super) uptime: Duration,
    pub(super) connections: f64,
    pub(super) targets: f64,
    /// Log lines, spans and events that were dropped.
    pub(super) dropped: f64,
    pub(super) export_failures: f64,
    pub(super) shards: BTreeMap<usize, Shard>,
}

/// What one shard tells: counts since the start, and the present of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shard {
    pub(super) connections: f64,
    pub(super) requests: f64,
    /// Seconds; zero where there were no requests lately.
    pub(super) median: f64,
    pub(super) p99: f64,
    pub(super) to_target: f64,
    pub(super) to_client: f64,
    pub(super) rate_limited: f64,
    pub(super) shed: f64,
    pub(super) panics: f64,
    pub(super) deferred: f64,
    /// Seconds.
    pub(super) loop_lag: f64,
    pub(super) queue_depth: f64,
}

impl Snapshot {
    /// Of an exposition; `None` if it is not one of Passage.
    pub(super) fn new(samples: &[Sample]) -> Option<Self> {
        let mut snapshot = Self::default();
        let mut is_passage = false;
        for sample in samples {
            let value = sample.value;
            match sample.name.as_str() {
                "passage_uptime_seconds" => {
                    snapshot.uptime = Duration::try_from_secs_f64(value).ok()?;
                    is_passage = true;
                }
                "passage_version_info" => snapshot.version = label(sample, "version").to_owned(),
                "passage_connections_active" => snapshot.connections = value,
                "passage_targets_discovered" => snapshot.targets = value,
                "passage_telemetry_dropped_total" => snapshot.dropped += value,
                "passage_telemetry_export_failures_total" => snapshot.export_failures += value,
                name => {
                    if let (Some(name), Ok(number)) = (
                        name.strip_prefix("passage_shard_"),
                        label(sample, "shard").parse(),
                    ) {
                        snapshot.shards.entry(number).or_default().take(name, sample);
                    }
                }
            }
        }
        is_passage.then_some(snapshot)
    }

    /// Time from `earlier` to this one.
    pub(super) fn since(&self, earlier: &Self) -> Duration {
        self.uptime.saturating_sub(earlier.uptime)
    }
}

impl Shard {
    fn take(&mut self, name: &str, sample: &Sample) {
        let value = sample.value;
        match (name, label(sample, "direction"), label(sample, "rank")) {
            ("connections", ..) => self.connections = value,
            ("requests_total", ..) => self.requests = value,
            ("request_quantile_seconds", _, "0.5") => self.median = value,
            ("request_quantile_seconds", _, "0.99") => self.p99 = value,
            ("relay_bytes_total", "to_target", _) => self.to_target = value,
            ("relay_bytes_total", "to_client", _) => self.to_client = value,
            ("rate_limited_total", ..) => self.rate_limited = value,
            ("shed_total", ..) => self.shed += value,
            ("panics_total", ..) => self.panics = value,
            ("telemetry_deferred_total", ..) => self.deferred = value,
            ("loop_lag_seconds", ..) => self.loop_lag = value,
            ("queue_depth", ..) => self.queue_depth = value,
            // A newer Passage may tell more than this one shows.
            _ => {}
        }
    }
}

fn label<'a>(sample: &'a Sample, key: &str) -> &'a str {
    sample.labels.get(key).map_or("", String::as_str)
}
