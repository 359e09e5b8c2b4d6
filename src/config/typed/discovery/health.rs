//! `[discovery.health]` and `[discovery.ejection]`: which targets get no players for a while.

use std::time::Duration;

use crate::config::section::Section;
use crate::config::value::{boolean, integer, one_of, seconds, seconds_within};

/// Active checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Health {
    /// What is tried (`type`).
    pub check: Check,
    /// Time between two checks of a target (`interval`).
    pub interval: Duration,
    /// For one check (`timeout`).
    pub timeout: Duration,
    /// Checks in a row that must succeed before players go there again (`successes`).
    pub successes: u32,
    /// Checks in a row that must fail before no player goes there any more (`failures`).
    pub failures: u32,
    /// Checks under way at the same time (`concurrency`).
    pub concurrency: usize,
}

/// What a check tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// A status ping.
    Status,
    /// A TCP connection.
    Tcp,
}

/// What happens to targets whose connections fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ejection {
    /// Failures in a row after which a target gets no players (`failures`).
    pub failures: u32,
    /// For how long at first; it doubles each time (`pause`).
    pub pause: Duration,
    /// For how long at most (`pause_max`).
    pub pause_max: Duration,
    /// How many of the targets of a choice may be left out, in percent (`share_max`).
    pub share_max: u8,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 3,
            pause: Duration::from_secs(10),
            pause_max: Duration::from_secs(300),
            share_max: 50,
        }
    }
}

/// Enabled by its presence, unless it says `enabled = false`.
pub(super) fn read(table: &Section<'_>) -> Option<Health> {
    const CHECKS: &[(&str, Check)] = &[("status", Check::Status), ("tcp", Check::Tcp)];
    let enabled = table
        .value("enabled", boolean)
        .unwrap_or_else(|| table.is_written());
    let health = Health {
        check: table.value("type", one_of(CHECKS)).unwrap_or(Check::Status),
        interval: table
            .value("interval", seconds(1..=3_600))
            .unwrap_or(Duration::from_secs(5)),
        timeout: table
            .value("timeout", seconds_within(0.1..=60.0))
            .unwrap_or(Duration::from_secs(2)),
        successes: table.value("successes", integer(1..=100)).unwrap_or(2),
        failures: table.value("failures", integer(1..=100)).unwrap_or(3),
        concurrency: table.value("concurrency", integer(1..=1_024)).unwrap_or(32),
    };
    enabled.then_some(health)
}

/// Enabled unless it says `enabled = false`.
pub(super) fn read_ejection(table: &Section<'_>) -> Option<Ejection> {
    let enabled = table.value("enabled", boolean).unwrap_or(true);
    let default = Ejection::default();
    let ejection = Ejection {
        failures: table
            .value("failures", integer(1..=1_000))
            .unwrap_or(default.failures),
        pause: table.value("pause", seconds(1..=3_600)).unwrap_or(default.pause),
        pause_max: table
            .value("pause_max", seconds(1..=86_400))
            .unwrap_or(default.pause_max),
        share_max: table
            .value("share_max", integer(0..=100))
            .unwrap_or(default.share_max),
    };
    if ejection.pause > ejection.pause_max {
        table.blame(
            "pause",
            format!(
                "{} s, more than pause_max ({} s)",
                ejection.pause.as_secs_f64(),
                ejection.pause_max.as_secs_f64()
            ),
            "at most pause_max",
        );
    }
    enabled.then_some(ejection)
}
