//! `[discovery.health]` and `[discovery.ejection]`: which targets get no players for a while.

use std::time::Duration;

use passage_shards::ejection::Terms;

use crate::config::section::Section;
use crate::config::value::{boolean, integer, one_of, seconds, seconds_within, word};

/// Active checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// Key of `meta` that takes how many players a target shows (`players_field`).
    pub players_field: Option<String>,
    /// Key of `meta` that takes how many players a target shows to be allowed (`max_players_field`).
    pub max_players_field: Option<String>,
}

/// What a check tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// A status ping.
    Status,
    /// A TCP connection.
    Tcp,
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
        players_field: table.value("players_field", word),
        max_players_field: table.value("max_players_field", word),
    };
    for (key, field) in [
        ("players_field", &health.players_field),
        ("max_players_field", &health.max_players_field),
    ] {
        if health.check == Check::Tcp && field.is_some() {
            table.blame(
                key,
                "players, which a TCP connection does not tell",
                "type = \"status\", or no such key",
            );
        }
    }
    enabled.then_some(health)
}

/// Enabled unless it says `enabled = false`; then no target is left out.
pub(super) fn read_ejection(table: &Section<'_>) -> Terms {
    let enabled = table.value("enabled", boolean).unwrap_or(true);
    let default = Terms::default();
    let terms = Terms {
        consecutive_failures: table
            .value("failures", integer(1..=1_000))
            .unwrap_or(default.consecutive_failures),
        pause: table.value("pause", seconds(1..=3_600)).unwrap_or(default.pause),
        pause_max: table
            .value("pause_max", seconds(1..=86_400))
            .unwrap_or(default.pause_max),
        share_max: table
            .value("share_max", integer(0..=100))
            .unwrap_or(default.share_max),
    };
    if terms.pause > terms.pause_max {
        table.blame(
            "pause",
            format!(
                "{} s, more than pause_max ({} s)",
                terms.pause.as_secs_f64(),
                terms.pause_max.as_secs_f64()
            ),
            "at most pause_max",
        );
    }
    Terms {
        share_max: if enabled { terms.share_max } else { 0 },
        ..terms
    }
}
