//! Results as a table for people and as JSON for machines.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::flow::Work;
use crate::measure::Outcome;
use crate::schedule::Pace;

/// The quantiles that are reported, with their names.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// A table with one row per run, named by its label.
#[must_use]
pub fn table(outcomes: &[(String, Outcome)]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    let mut header = vec!["work", "pace", "units", "failed", "per second"];
    header.extend(QUANTILES.map(|(name, _)| name));
    header.extend([
        "CPU/unit",
        "cores",
        "RSS before",
        "RSS peak",
        "memory/conn",
        "load cores",
    ]);
    table.set_header(header);
    for (label, outcome) in outcomes {
        table.add_row(row(label, outcome));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn row(label: &str, outcome: &Outcome) -> Vec<String> {
    let mut cells = vec![
        label.to_owned(),
        pace(&outcome.settings.pace),
        format!("{} {}s", outcome.tally.completed, outcome.work.unit()),
        outcome.tally.failed().to_string(),
        format!("{:.0}", outcome.throughput()),
    ];
    cells.extend(QUANTILES.map(|(_, share)| duration(outcome.tally.quantile(share))));
    let server = outcome.server.as_ref();
    let text = |cell: Option<String>| cell.unwrap_or_else(|| "–".to_owned());
    let per_unit = server.and_then(|usage| usage.cpu_microseconds_per_unit);
    cells.push(text(per_unit.map(|microseconds| format!("{microseconds:.1} µs"))));
    cells.push(text(server.map(|usage| format!("{:.2}", usage.cores))));
    cells.push(text(server.map(|usage| mebibytes(usage.memory_before.resident))));
    cells.push(text(server.map(|usage| mebibytes(usage.memory_peak.resident))));
    cells.push(text(
        memory_per_connection(outcome).map(|bytes| format!("{bytes:.0} B")),
    ));
    cells.push(format!("{:.2}", own_cores(outcome)));
    cells
}

/// Private memory that each kept connection added to the server, in bytes.
#[expect(clippy::cast_precision_loss, reason = "a process has less than 2^53 bytes")]
fn memory_per_connection(outcome: &Outcome) -> Option<f64> {
    let connections = match outcome.work {
        Work::Idle { .. } => outcome.tally.completed,
        Work::Relay { .. } => outcome.settings.connections as u64,
        Work::Status { .. } | Work::Login(_) | Work::Join { .. } => 0,
    };
    let usage = outcome.server.as_ref().filter(|_| connections > 0)?;
    let (before, after) = (
        usage.memory_before.private as f64,
        usage.memory_after.private as f64,
    );
    Some((after - before).max(0.0) / connections as f64)
}

/// Everything that is known about a run, its settings and seed included.
#[must_use]
pub fn json(outcome: &Outcome) -> Value {
    let latency: serde_json::Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, share)| {
            (
                (*name).to_owned(),
                json!(microseconds(outcome.tally.quantile(*share))),
            )
        })
        .chain([
            ("mean".to_owned(), json!(outcome.tally.latency.mean() / 1e3)),
            (
                "min".to_owned(),
                json!(microseconds(Duration::from_nanos(outcome.tally.latency.min()))),
            ),
        ])
        .collect();
    json!({
        "work": outcome.work,
        "settings": outcome.settings,
        "unit": outcome.work.unit(),
        "completed": outcome.tally.completed,
        "failed": outcome.tally.failed(),
        "failures": outcome.tally.failures,
        "closed_idle": outcome.tally.closed_idle,
        "units_per_client": outcome.tally.clients.iter().min().zip(outcome.tally.clients.iter().max()).map(
            |(least, most)| json!({"least": least, "most": most}),
        ),
        "elapsed_seconds": outcome.elapsed.as_secs_f64(),
        "per_second": outcome.throughput(),
        "latency_microseconds": latency,
        "server": outcome.server,
        "server_bytes_per_connection": memory_per_connection(outcome),
        "load_cores": own_cores(outcome),
    })
}

/// What went wrong, one line a kind; empty if nothing did.
#[must_use]
pub fn failures(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.tally.failures.iter();
    lines
        .map(|(kind, failures)| format!("{} × {kind:?}, first: {}", failures.count, failures.first))
        .collect()
}

fn own_cores(outcome: &Outcome) -> f64 {
    outcome.own_cpu.as_secs_f64() / outcome.elapsed.as_secs_f64().max(1e-9)
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn pace(pace: &Pace) -> String {
    match pace {
        Pace::Closed { concurrency } => format!("{concurrency} at once"),
        Pace::Open { rate, .. } => format!("{rate:.0}/s"),
    }
}

fn duration(duration: Duration) -> String {
    match duration.as_micros() {
        0..10_000 => format!("{} µs", duration.as_micros()),
        10_000..10_000_000 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a process has less than 2^53 bytes")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
