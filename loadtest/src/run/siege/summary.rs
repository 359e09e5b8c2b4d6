//! Battles as two tables, in Markdown: what clients noticed, and what the server spent.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use passage_loadtest::measure::Outcome;
use passage_loadtest::server::Reading;

use super::battle::Battle;
use super::clients::Seen;

/// Counters that are named for each attack, the fastest first.
const TELLS_MAX: usize = 4;

/// Both tables, and a line for each attack with the counters that tell of it.
pub(super) fn text(battles: &[Battle]) -> String {
    let mut text = clients(battles) + "\n\n" + &server(battles) + "\n\n";
    for battle in battles {
        let mut tells: Vec<_> = battle.tells.iter().collect();
        tells.sort_by(|one, other| other.1.total_cmp(one.1));
        let tells: Vec<String> = tells
            .into_iter()
            .take(TELLS_MAX)
            .map(|(key, grown)| format!("`{key}` +{grown:.0}"))
            .collect();
        text += &format!("- {}: {}\n", battle.kind.name(), tells.join(", "));
        for finding in battle.findings() {
            text += &format!("  - **{finding}**\n");
        }
    }
    text
}

fn clients(battles: &[Battle]) -> String {
    let mut table = new_table(&[
        "attack",
        "connections/s",
        "MB/s",
        "at once",
        "pings p50",
        "pings p99",
        "joins p99",
        "relays p99",
        "failed",
    ]);
    for battle in battles {
        let toll = &battle.toll;
        let calm = battle.calm.as_ref().map(Seen::outcomes);
        let busy = battle.busy.as_ref().map(Seen::outcomes);
        let attacked = battle.attacked.outcomes();
        let slowdowns = battle.slowdowns();
        let p99 = |which: usize| {
            let after = short(attacked[which].1, 0.99);
            let before = calm.zip(busy).map(|(calm, busy)| {
                format!(
                    "{}, {} → ",
                    short(calm[which].1, 0.99),
                    short(busy[which].1, 0.99)
                )
            });
            let times = slowdowns.map(|slowdowns| format!(" (× {:.1})", slowdowns[which].1));
            before.unwrap_or_default() + &after + &times.unwrap_or_default()
        };
        let before = calm.map(|calm| format!("{} → ", short(calm[0].1, 0.5)));
        let failed = attacked.map(|(_, outcome)| outcome.tally.failed().to_string());
        table.add_row([
            battle.kind.name(),
            format!("{:.0}", per_second(toll.opened, toll.seconds)),
            format!("{:.1}", per_second(toll.sent_bytes, toll.seconds) / 1e6),
            toll.held_most.to_string(),
            before.unwrap_or_default() + &short(attacked[0].1, 0.5),
            p99(0),
            p99(1),
            p99(2),
            failed.join(" / "),
        ]);
    }
    table.to_string()
}

fn server(battles: &[Battle]) -> String {
    let mut table = new_table(&[
        "attack",
        "server cores",
        "load cores",
        "MiB before",
        "peak",
        "after",
        "in the end",
        "files before",
        "peak",
        "after",
        "log lines",
        "series",
    ]);
    for battle in battles {
        let (before, after) = battle.series;
        table.add_row([
            battle.kind.name(),
            format!("{:.2}", battle.cores.server),
            format!("{:.2}", battle.cores.own),
            mebibytes(battle.before.memory.resident),
            mebibytes(battle.peak.0),
            mebibytes(battle.after.memory.resident),
            in_the_end(&battle.again),
            battle.before.fds.to_string(),
            battle.peak.1.to_string(),
            battle.after.fds.to_string(),
            format!("{} + {} players", battle.logged.others, battle.logged.players),
            format!("{before} → {after}"),
        ]);
    }
    table.to_string()
}

/// Memory after the last time, and how many times the attack came.
fn in_the_end(again: &[Reading]) -> String {
    again.last().map_or("–".to_owned(), |last| {
        format!("{} ({}×)", mebibytes(last.memory.resident), again.len() + 1)
    })
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^53")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-9)
}

/// A quantile in milliseconds.
fn short(outcome: &Outcome, share: f64) -> String {
    format!("{:.2} ms", outcome.tally.quantile(share).as_secs_f64() * 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "a process has less than 2^53 bytes")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1_048_576.0)
}
