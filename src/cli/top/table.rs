//! Two snapshots as a table: a row a shard, and one for all of them.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::snapshot::{Shard, Snapshot};

const HEADER: [&str; 13] = [
    "shard",
    "conns",
    "req/s",
    "p50",
    "p99",
    "to target/s",
    "to client/s",
    "limited/s",
    "shed/s",
    "queue",
    "loop lag",
    "panics",
    "deferred",
];

/// What stands where there is nothing to tell.
const NOTHING: &str = "-";

/// The table, with rates of what happened between the two.
pub(super) fn render(address: &str, earlier: &Snapshot, later: &Snapshot) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(HEADER);
    let over = later.since(earlier);
    let mut before_all = Shard::default();
    let mut all = Shard::default();
    for (number, shard) in &later.shards {
        // Who was not there counts from zero.
        let before = earlier.shards.get(number).copied().unwrap_or_default();
        table.add_row(row(&number.to_string(), &before, shard, over));
        before_all.join(&before);
        all.join(shard);
    }
    if later.shards.len() > 1 {
        // Quantiles cannot be added up.
        let mut cells = row("all", &before_all, &all, over);
        let [_, _, _, median, p99, ..] = &mut cells;
        (*median, *p99) = (NOTHING.to_owned(), NOTHING.to_owned());
        table.add_row(cells);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = heading(address, later);
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn heading(address: &str, snapshot: &Snapshot) -> String {
    format!(
        "Passage {} at {address}, up {}\n{} connections, {} targets, {} telemetry dropped, {} exports \
         failed\n\n",
        snapshot.version,
        duration(snapshot.uptime),
        snapshot.connections,
        snapshot.targets,
        snapshot.dropped,
        snapshot.export_failures,
    )
}

fn row(name: &str, before: &Shard, now: &Shard, over: Duration) -> [String; HEADER.len()] {
    let per_second = |of: fn(&Shard) -> f64| {
        let seconds = over.as_secs_f64();
        (seconds > 0.0).then(|| (of(now) - of(before)).max(0.0) / seconds)
    };
    let rate = |of| per_second(of).map_or_else(|| NOTHING.into(), number);
    let bytes = |of| per_second(of).map_or_else(|| NOTHING.into(), bytes);
    [
        name.to_owned(),
        now.connections.to_string(),
        rate(|shard| shard.requests),
        time(now.median),
        time(now.p99),
        bytes(|shard| shard.to_target),
        bytes(|shard| shard.to_client),
        rate(|shard| shard.rate_limited),
        rate(|shard| shard.shed),
        now.queue_depth.to_string(),
        time(now.loop_lag),
        now.panics.to_string(),
        now.deferred.to_string(),
    ]
}

impl Shard {
    /// Makes this one the sum, and the worst, of both.
    fn join(&mut self, other: &Self) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.to_target += other.to_target;
        self.to_client += other.to_client;
        self.rate_limited += other.rate_limited;
        self.shed += other.shed;
        self.panics += other.panics;
        self.deferred += other.deferred;
        self.loop_lag = self.loop_lag.max(other.loop_lag);
        self.queue_depth = self.queue_depth.max(other.queue_depth);
    }
}

fn number(value: f64) -> String {
    if value == 0.0 || value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn bytes(mut value: f64) -> String {
    for unit in ["B", "KiB", "MiB"] {
        if value < 1_024.0 {
            return format!("{} {unit}", number(value));
        }
        value /= 1_024.0;
    }
    format!("{} GiB", number(value))
}

/// Seconds as the nearest unit; nothing was measured at zero.
fn time(seconds: f64) -> String {
    match seconds {
        none if none <= 0.0 => NOTHING.into(),
        short if short < 1e-3 => format!("{:.0} µs", short * 1e6),
        middle if middle < 1.0 => format!("{:.1} ms", middle * 1e3),
        long => format!("{long:.1} s"),
    }
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn snapshot(uptime: u64, shards: [Shard; 2]) -> Snapshot {
        Snapshot {
            version: "1.2.3".into(),
            uptime: Duration::from_secs(uptime),
            connections: 3.0,
            shards: BTreeMap::from_iter(shards.into_iter().enumerate()),
            ..Snapshot::default()
        }
    }

    #[test]
    fn rates_are_those_between_the_two_snapshots() {
        let before = Shard {
            requests: 1_000.0,
            to_target: 10.0,
            ..Shard::default()
        };
        let busy = Shard {
            connections: 2.0,
            requests: 1_500.0,
            median: 0.000_25,
            p99: 0.012,
            to_target: 10.0 + 4.0 * 3.0 * 1_048_576.0,
            to_client: 4.0 * 100.0,
            rate_limited: 2.0,
            loop_lag: 1.5,
            queue_depth: 7.0,
            ..Shard::default()
        };
        let calm = Shard {
            connections: 1.0,
            ..Shard::default()
        };
        let text = render(
            "127.0.0.1:9464",
            &snapshot(3_600, [before, Shard::default()]),
            &snapshot(3_604, [busy, calm]),
        );
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(lines[0], ["Passage 1.2.3 at 127.0.0.1:9464, up 1 h 0 min"]);
        assert_eq!(lines[3], HEADER);
        let busy = [
            "0", "2", "125", "250 µs", "12.0 ms", "3.0 MiB", "100 B", "0.5", "0", "7", "1.5 s", "0", "0",
        ];
        assert_eq!(lines[4], busy);
        assert_eq!(lines[5][..5], ["1", "1", "0", "-", "-"]);
        assert_eq!(lines[6][..6], ["all", "3", "125", "-", "-", "3.0 MiB"]);
    }

    #[test]
    fn without_time_between_them_there_are_no_rates() {
        let one = snapshot(5, [Shard::default(); 2]);
        let text = render("a", &one, &one);
        assert!(text.lines().nth(4).unwrap().contains('-'), "{text}");
        assert!(text.starts_with("Passage 1.2.3 at a, up 5 s\n"), "{text}");
    }
}
