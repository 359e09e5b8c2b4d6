//! Passage and a peer in alternating rounds: one ratio a round, and their median.

use comfy_table::{CellAlignment, Table, presets};
use passage_loadtest::measure::Outcome;
use passage_loadtest::report;
use serde_json::{Value, json};

use super::peer::PeerKind;

/// Rounds so far.
#[derive(Debug, Default)]
pub(super) struct Rounds(Vec<Round>);

/// One round: both did the same work.
#[derive(Debug)]
struct Round {
    passage: Outcome,
    peer: Outcome,
}

/// All rounds against one peer.
#[derive(Debug)]
pub(crate) struct Duel {
    kind: PeerKind,
    rounds: Vec<Round>,
}

impl Rounds {
    pub(super) fn add(&mut self, passage: Outcome, peer: Outcome) {
        self.0.push(Round { passage, peer });
    }

    pub(super) fn finish(self, kind: PeerKind) -> Duel {
        Duel { kind, rounds: self.0 }
    }
}

impl Duel {
    /// Median over the rounds of Passage's CPU time per message divided by the peer's; `None` without a whole
    /// round.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(self.rounds.iter().filter_map(Round::ratio).collect())
    }

    /// Whether anything failed more often than is tolerated.
    pub(crate) fn is_failed(&self) -> bool {
        self.rounds
            .iter()
            .any(|round| round.passage.is_failed() || round.peer.is_failed())
    }

    /// A table with one row a round.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let its = self.kind.to_string();
        table.set_header(vec![
            "round".to_owned(),
            "passage CPU/message".to_owned(),
            format!("{its} CPU/message"),
            "ratio".to_owned(),
            "passage messages/s".to_owned(),
            format!("{its} messages/s"),
            "passage p99.9".to_owned(),
            format!("{its} p99.9"),
        ]);
        for (index, round) in self.rounds.iter().enumerate() {
            table.add_row(round.row(index + 1));
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let median = self
            .ratio()
            .map_or("none".to_owned(), |ratio| format!("{ratio:.3}"));
        format!(
            "{table}\nCPU per message, passage to {its}, median of {} rounds: {median}",
            self.rounds.len()
        )
    }

    /// Everything that is known.
    pub(crate) fn json(&self) -> Value {
        let rounds: Vec<Value> = self
            .rounds
            .iter()
            .map(|round| {
                json!({
                    "ratio": round.ratio(),
                    "passage": report::json(&round.passage),
                    "peer": report::json(&round.peer),
                })
            })
            .collect();
        json!({ "peer": self.kind.to_string(), "median_ratio": self.ratio(), "rounds": rounds })
    }

    /// What went wrong, in lines.
    pub(crate) fn failures(&self) -> Vec<String> {
        let rounds = self.rounds.iter();
        rounds
            .flat_map(|round| [report::failures(&round.passage), report::failures(&round.peer)])
            .flatten()
            .collect()
    }
}

impl Round {
    fn ratio(&self) -> Option<f64> {
        Some(cpu(&self.passage)? / cpu(&self.peer)?)
    }

    fn row(&self, number: usize) -> Vec<String> {
        let text = |value: Option<f64>, digits: usize| {
            value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let tail = |outcome: &Outcome| format!("{:.1} ms", outcome.tally.quantile(0.999).as_secs_f64() * 1e3);
        vec![
            number.to_string(),
            text(cpu(&self.passage), 2) + " µs",
            text(cpu(&self.peer), 2) + " µs",
            text(self.ratio(), 3),
            format!("{:.0}", self.passage.throughput()),
            format!("{:.0}", self.peer.throughput()),
            tail(&self.passage),
            tail(&self.peer),
        ]
    }
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
