//! The same work done in two ways, in alternating rounds: ratios of each round, and their medians.

use comfy_table::{CellAlignment, Table, presets};
use passage_loadtest::measure::Outcome;
use passage_loadtest::report;
use passage_loadtest::tally::Tally;
use serde_json::{Value, json};

use super::turns::Turns;
use crate::duel::median;

/// All rounds of two contestants.
#[derive(Debug)]
pub(crate) struct Weighing {
    names: [String; 2],
    rounds: Vec<Round>,
}

/// One round: both did the same work.
#[derive(Debug)]
struct Round {
    first: Half,
    second: Half,
}

/// What one of them did in a round.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) outcome: Outcome,
    /// The turns of its loop, if they are known.
    pub(super) turns: Option<Turns>,
    /// How often it asked somebody else for what it served, if it is known.
    pub(super) calls: Option<u64>,
}

impl Weighing {
    /// No rounds yet.
    pub(super) fn new(names: [String; 2]) -> Self {
        Self {
            names,
            rounds: Vec::new(),
        }
    }

    /// One more round, in the order of the names.
    pub(super) fn add(&mut self, [first, second]: [Half; 2]) {
        self.rounds.push(Round { first, second });
    }

    /// Median over the rounds of the first's CPU time per unit divided by the second's; `None` without a
    /// whole round.
    pub(crate) fn cpu_ratio(&self) -> Option<f64> {
        median(self.rounds.iter().filter_map(Round::cpu_ratio).collect())
    }

    /// The same of units per second.
    pub(crate) fn throughput_ratio(&self) -> Option<f64> {
        median(self.rounds.iter().filter_map(Round::throughput_ratio).collect())
    }

    /// Whether anything failed more often than is tolerated.
    pub(crate) fn is_failed(&self) -> bool {
        self.rounds
            .iter()
            .any(|round| round.first.outcome.is_failed() || round.second.outcome.is_failed())
    }

    /// Units that each of both completed in all rounds.
    pub(super) fn completed(&self) -> [u64; 2] {
        self.halves()
            .map(|halves| halves.iter().map(|half| half.outcome.tally.completed).sum())
    }

    /// How often each of both asked somebody else in all rounds, where that is known.
    pub(super) fn calls(&self) -> [Option<u64>; 2] {
        self.halves()
            .map(|halves| halves.iter().map(|half| half.calls).sum())
    }

    /// All rounds of each.
    fn halves(&self) -> [Vec<&Half>; 2] {
        let rounds = || self.rounds.iter();
        [
            rounds().map(|round| &round.first).collect(),
            rounds().map(|round| &round.second).collect(),
        ]
    }

    /// A table with one row a round.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let [first, second] = &self.names;
        let unit = self
            .rounds
            .first()
            .map_or("unit", |round| round.first.outcome.work.unit());
        table.set_header(vec![
            "round".to_owned(),
            format!("{first} CPU/{unit}"),
            format!("{second} CPU/{unit}"),
            "ratio".to_owned(),
            format!("{first} {unit}s/s"),
            format!("{second} {unit}s/s"),
            "ratio".to_owned(),
            format!("{first} p99.9"),
            format!("{second} p99.9"),
        ]);
        for (index, round) in self.rounds.iter().enumerate() {
            table.add_row(round.row(index + 1));
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!(
            "{table}\n{first} to {second}, medians of {} rounds: CPU per {unit} {}, {unit}s per second {}",
            self.rounds.len(),
            ratio(self.cpu_ratio()),
            ratio(self.throughput_ratio()),
        );
        for (name, halves) in self.names.iter().zip(self.halves()) {
            text += &format!("\n{name}: {}", summary(&halves, unit));
        }
        text
    }

    /// Everything that is known.
    pub(crate) fn json(&self) -> Value {
        let rounds: Vec<Value> = self
            .rounds
            .iter()
            .map(|round| {
                json!({
                    "cpu_ratio": round.cpu_ratio(),
                    "throughput_ratio": round.throughput_ratio(),
                    "first": round.first.json(),
                    "second": round.second.json(),
                })
            })
            .collect();
        json!({
            "names": self.names,
            "median_cpu_ratio": self.cpu_ratio(),
            "median_throughput_ratio": self.throughput_ratio(),
            "rounds": rounds,
        })
    }

    /// What went wrong, in lines.
    pub(crate) fn failures(&self) -> Vec<String> {
        let rounds = self.rounds.iter();
        rounds
            .flat_map(|round| [&round.first, &round.second].map(|half| report::failures(&half.outcome)))
            .flatten()
            .collect()
    }
}

impl Half {
    fn json(&self) -> Value {
        let mut value = report::json(&self.outcome);
        value["turns"] = json!(self.turns.as_ref().map(Turns::json));
        value["upstream_calls"] = json!(self.calls);
        value
    }
}

impl Round {
    fn cpu_ratio(&self) -> Option<f64> {
        Some(cpu(&self.first)? / cpu(&self.second)?)
    }

    fn throughput_ratio(&self) -> Option<f64> {
        let (first, second) = (self.first.outcome.throughput(), self.second.outcome.throughput());
        (second > 0.0).then(|| first / second)
    }

    fn row(&self, number: usize) -> Vec<String> {
        let time = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2} µs"));
        let tail = |half: &Half| milliseconds(&half.outcome.tally, 0.999);
        vec![
            number.to_string(),
            time(cpu(&self.first)),
            time(cpu(&self.second)),
            ratio(self.cpu_ratio()),
            format!("{:.0}", self.first.outcome.throughput()),
            format!("{:.0}", self.second.outcome.throughput()),
            ratio(self.throughput_ratio()),
            tail(&self.first),
            tail(&self.second),
        ]
    }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.3}"))
}

/// All rounds of one contestant, in a line.
fn summary(halves: &[&Half], unit: &str) -> String {
    let mut all = Tally::new();
    for half in halves {
        all.merge(half.outcome.tally.clone());
    }
    let mut text = format!(
        "{} {unit}s, p50 {}, p99 {}, longest {}",
        all.completed,
        milliseconds(&all, 0.5),
        milliseconds(&all, 0.99),
        milliseconds(&all, 1.0),
    );
    if let Some((least, most)) = all.clients.iter().min().zip(all.clients.iter().max()) {
        text += &format!("; each client {least} to {most} a round");
    }
    let turns = halves.iter().filter_map(|half| half.turns.as_ref());
    if let Some(turns) = turns.cloned().reduce(|one, other| one.and(&other)) {
        text += &format!("; {turns}");
    }
    if let Some(calls) = halves.iter().map(|half| half.calls).sum::<Option<u64>>() {
        text += &format!("; {calls} upstream calls, one a refresh");
    }
    text
}

fn milliseconds(tally: &Tally, share: f64) -> String {
    format!("{:.1} ms", tally.quantile(share).as_secs_f64() * 1e3)
}

fn cpu(half: &Half) -> Option<f64> {
    half.outcome
        .server
        .as_ref()
        .and_then(|usage| usage.cpu_microseconds_per_unit)
}
