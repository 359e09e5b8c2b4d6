//! Two servers in alternating rounds of the same work: ratios of each round, and their medians.

use comfy_table::{CellAlignment, Table, presets};
use passage_loadtest::measure::Outcome;
use passage_loadtest::report;
use serde_json::{Value, json};

/// All rounds of two contestants.
#[derive(Debug)]
pub(crate) struct Duel {
    names: [String; 2],
    rounds: Vec<Round>,
}

/// One round: both did the same work.
#[derive(Debug)]
struct Round {
    first: Outcome,
    second: Outcome,
}

impl Duel {
    /// No rounds yet.
    pub(super) fn new(names: [String; 2]) -> Self {
        Self {
            names,
            rounds: Vec::new(),
        }
    }

    /// One more round, in the order of the names.
    pub(super) fn add(&mut self, [first, second]: [Outcome; 2]) {
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
            .any(|round| round.first.is_failed() || round.second.is_failed())
    }

    /// A table with one row a round.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let [first, second] = &self.names;
        let unit = self
            .rounds
            .first()
            .map_or("unit", |round| round.first.work.unit());
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
        format!(
            "{table}\n{first} to {second}, medians of {} rounds: CPU per {unit} {}, {unit}s per second {}",
            self.rounds.len(),
            ratio(self.cpu_ratio()),
            ratio(self.throughput_ratio()),
        )
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
                    "first": report::json(&round.first),
                    "second": report::json(&round.second),
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
            .flat_map(|round| [report::failures(&round.first), report::failures(&round.second)])
            .flatten()
            .collect()
    }
}

impl Round {
    fn cpu_ratio(&self) -> Option<f64> {
        Some(cpu(&self.first)? / cpu(&self.second)?)
    }

    fn throughput_ratio(&self) -> Option<f64> {
        let (first, second) = (self.first.throughput(), self.second.throughput());
        (second > 0.0).then(|| first / second)
    }

    fn row(&self, number: usize) -> Vec<String> {
        let time = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2} µs"));
        let tail = |outcome: &Outcome| format!("{:.1} ms", outcome.tally.quantile(0.999).as_secs_f64() * 1e3);
        vec![
            number.to_string(),
            time(cpu(&self.first)),
            time(cpu(&self.second)),
            ratio(self.cpu_ratio()),
            format!("{:.0}", self.first.throughput()),
            format!("{:.0}", self.second.throughput()),
            ratio(self.throughput_ratio()),
            tail(&self.first),
            tail(&self.second),
        ]
    }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.3}"))
}

fn cpu(outcome: &Outcome) -> Option<f64> {
    outcome
        .server
        .as_ref()
        .and_then(|usage| usage.cpu_microseconds_per_unit)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(middle - 1)?, upper))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
