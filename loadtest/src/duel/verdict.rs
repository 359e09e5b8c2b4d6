//! What a duel found: figures of both sides in each round, their ratios, and the medians.

use comfy_table::{CellAlignment, Table, presets};
use passage_loadtest::measure::Outcome;
use passage_loadtest::report;
use serde_json::{Map, Value, json};

/// What is measured, and compared as a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// CPU microseconds of the server a unit.
    Cpu,
    /// Units a second.
    Throughput,
    /// Latency in microseconds that half of all units kept within.
    P50,
    /// The same of 99 in 100.
    P99,
    /// The same of 999 in 1000.
    P999,
    /// Bytes that the server's resident memory grew by for each connection.
    UserMemory,
    /// Bytes that the kernel's memory grew by for each connection, those of load and target included.
    KernelMemory,
}

/// All of them: the key of the figure, and that of the ratio.
const MEASURES: [(Measure, &str, &str); 7] = [
    (Measure::Cpu, "cpu_microseconds_per_unit", "cpu_ratio"),
    (Measure::Throughput, "units_per_second", "throughput_ratio"),
    (Measure::P50, "p50_microseconds", "p50_ratio"),
    (Measure::P99, "p99_microseconds", "p99_ratio"),
    (Measure::P999, "p999_microseconds", "p999_ratio"),
    (
        Measure::UserMemory,
        "user_bytes_per_connection",
        "user_memory_ratio",
    ),
    (
        Measure::KernelMemory,
        "kernel_bytes_per_connection",
        "kernel_memory_ratio",
    ),
];

type Values = [Option<f64>; MEASURES.len()];

/// What one side did in one round.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    units: u64,
    failed: u64,
    is_failed: bool,
    failures: Vec<String>,
    /// Share of a core that the load took: near to 1, it is the bottleneck.
    load_cores: f64,
    /// The same of the server.
    server_cores: Option<f64>,
    values: Values,
}

impl Figures {
    /// Out of a measurement; `is_idle` if nothing but memory means something.
    pub(super) fn of(outcome: &Outcome, is_idle: bool) -> Self {
        let server = outcome.server.as_ref();
        Self {
            units: outcome.tally.completed,
            failed: outcome.tally.failed() + outcome.beside.as_ref().map_or(0, |beside| beside.failed()),
            is_failed: outcome.is_failed(),
            failures: report::failures(outcome),
            load_cores: outcome.own_cpu.as_secs_f64() / outcome.elapsed.as_secs_f64().max(1e-9),
            server_cores: server.map(|usage| usage.cores),
            values: MEASURES.map(|(measure, ..)| match measure {
                Measure::UserMemory | Measure::KernelMemory => {
                    is_idle.then(|| memory(outcome, measure)).flatten()
                }
                _ if is_idle => None,
                Measure::Cpu => server.and_then(|usage| usage.cpu_microseconds_per_unit),
                Measure::Throughput => Some(outcome.throughput()),
                Measure::P50 => latency(outcome, 0.5),
                Measure::P99 => latency(outcome, 0.99),
                Measure::P999 => latency(outcome, 0.999),
            }),
        }
    }

    fn json(&self) -> Value {
        let mut value = by_key(&self.values);
        value["units"] = json!(self.units);
        value["failed"] = json!(self.failed);
        value["load_cores"] = json!(self.load_cores);
        value["server_cores"] = json!(self.server_cores);
        value
    }
}

fn latency(outcome: &Outcome, share: f64) -> Option<f64> {
    // Streams have none.
    let is_known = !outcome.tally.latency.is_empty();
    is_known.then(|| outcome.tally.quantile(share).as_secs_f64() * 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "a machine has less than 2^53 bytes")]
fn memory(outcome: &Outcome, measure: Measure) -> Option<f64> {
    let connections = outcome.tally.completed;
    if connections == 0 {
        return None;
    }
    let bytes = match measure {
        Measure::KernelMemory => outcome.kernel.sum() as f64,
        _ => {
            let usage = outcome.server.as_ref()?;
            usage.memory_after.resident as f64 - usage.memory_before.resident as f64
        }
    };
    Some(bytes / connections as f64)
}

fn by_key(values: &Values) -> Value {
    let pairs = MEASURES.iter().zip(values);
    Value::Object(
        pairs
            .map(|((_, key, _), value)| ((*key).to_owned(), json!(value)))
            .collect(),
    )
}

/// All rounds of Passage and one peer, or of Passage alone.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(super) workload: String,
    /// `None` if there was nobody to compare with.
    pub(super) peer: Option<String>,
    pub(super) unit: &'static str,
    pub(super) passage: Vec<Figures>,
    /// As many, or none.
    pub(super) others: Vec<Figures>,
}

impl Verdict {
    /// Whether anything failed more often than is tolerated.
    pub(crate) fn is_failed(&self) -> bool {
        self.sides().any(|figures| figures.is_failed)
    }

    /// What went wrong, in lines.
    pub(crate) fn failures(&self) -> Vec<String> {
        let peer = self.peer.as_deref().unwrap_or("nobody");
        let name = format!("{} against {peer}", self.workload);
        self.sides()
            .flat_map(|figures| figures.failures.iter().map(|line| format!("{name}: {line}")))
            .collect()
    }

    /// Everything that is known.
    pub(crate) fn json(&self) -> Value {
        let rounds = self.passage.iter().enumerate().map(|(index, passage)| {
            let other = self.others.get(index);
            let mut round = ratios_by_key(&ratios(passage, other));
            round.insert("passage".to_owned(), passage.json());
            round.insert("peer".to_owned(), json!(other.map(Figures::json)));
            Value::Object(round)
        });
        let rounds: Vec<Value> = rounds.collect();
        let mut median = ratios_by_key(&self.median_ratios());
        median.insert("passage".to_owned(), by_key(&medians(&self.passage)));
        let peer = (!self.others.is_empty()).then(|| by_key(&medians(&self.others)));
        median.insert("peer".to_owned(), json!(peer));
        json!({
            "workload": self.workload,
            "peer": self.peer,
            "unit": self.unit,
            "rounds": rounds,
            "median": median,
        })
    }

    fn sides(&self) -> impl Iterator<Item = &Figures> {
        self.passage.iter().chain(&self.others)
    }

    fn median_ratios(&self) -> Values {
        let pairs = self.passage.iter().zip(&self.others);
        let rounds: Vec<Values> = pairs
            .map(|(passage, other)| ratios(passage, Some(other)))
            .collect();
        each(|index| median(rounds.iter().filter_map(|ratios| ratios[index]).collect()))
    }
}

fn each(value: impl Fn(usize) -> Option<f64>) -> Values {
    std::array::from_fn(value)
}

fn ratios(passage: &Figures, other: Option<&Figures>) -> Values {
    each(|index| {
        let (one, other) = (passage.values[index]?, other?.values[index]?);
        (other > 0.0).then(|| one / other)
    })
}

fn ratios_by_key(ratios: &Values) -> Map<String, Value> {
    let pairs = MEASURES.iter().zip(ratios);
    pairs
        .map(|((_, _, key), ratio)| ((*key).to_owned(), json!(ratio)))
        .collect()
}

fn medians(rounds: &[Figures]) -> Values {
    each(|index| {
        median(
            rounds
                .iter()
                .filter_map(|figures| figures.values[index])
                .collect(),
        )
    })
}

/// The middle value, or the mean of both; `None` if there is none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(middle - 1)?, upper))
}

/// A table with one row for each verdict: medians of Passage, of the peer, and of the ratios of the rounds.
pub(crate) fn table(verdicts: &[Verdict]) -> String {
    let is_idle = |verdict: &&Verdict| {
        let values = medians(&verdict.passage);
        MEASURES
            .iter()
            .zip(values)
            .any(|((measure, ..), value)| *measure == Measure::KernelMemory && value.is_some())
    };
    let (idle, busy): (Vec<&Verdict>, Vec<&Verdict>) = verdicts.iter().partition(is_idle);
    let tables = [
        (
            busy,
            &[
                (Measure::Cpu, "CPU/unit"),
                (Measure::Throughput, "units/s"),
                (Measure::P50, "p50"),
                (Measure::P99, "p99"),
                (Measure::P999, "p99.9"),
            ][..],
        ),
        (
            idle,
            &[
                (Measure::UserMemory, "user memory"),
                (Measure::KernelMemory, "kernel memory"),
            ][..],
        ),
    ];
    let texts = tables
        .iter()
        .filter(|(verdicts, _)| !verdicts.is_empty())
        .map(|(verdicts, columns)| table_of(verdicts, columns));
    texts.collect::<Vec<String>>().join("\n")
}

fn table_of(verdicts: &[&Verdict], columns: &[(Measure, &str)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut header = vec!["workload".to_owned(), "unit".to_owned(), "peer".to_owned()];
    for (_, name) in columns {
        header.extend([(*name).to_owned(), "peer's".to_owned(), "ratio".to_owned()]);
    }
    table.set_header(header);
    for verdict in verdicts {
        let sides = [
            medians(&verdict.passage),
            medians(&verdict.others),
            verdict.median_ratios(),
        ];
        let mut row = vec![
            verdict.workload.clone(),
            verdict.unit.to_owned(),
            verdict.peer.clone().unwrap_or_else(|| "–".to_owned()),
        ];
        for (measure, _) in columns {
            let index = MEASURES.iter().position(|(other, ..)| other == measure);
            let [own, others, ratio] = sides.map(|values| index.and_then(|index| values[index]));
            row.extend([text(*measure, own), text(*measure, others)]);
            row.push(ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.3}")));
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn text(measure: Measure, value: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    match measure {
        Measure::Cpu => format!("{value:.2} µs"),
        Measure::Throughput => format!("{value:.0}"),
        Measure::P50 | Measure::P99 | Measure::P999 if value >= 10_000.0 => format!("{:.1} ms", value / 1e3),
        Measure::P50 | Measure::P99 | Measure::P999 => format!("{value:.0} µs"),
        Measure::UserMemory | Measure::KernelMemory => format!("{value:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Figures, MEASURES, Verdict, median, table};

    fn figures(cpu: f64) -> Figures {
        let mut values = [None; MEASURES.len()];
        values[0] = Some(cpu);
        Figures {
            units: 10,
            failed: 0,
            is_failed: false,
            failures: Vec::new(),
            load_cores: 0.5,
            server_cores: Some(0.5),
            values,
        }
    }

    #[test]
    fn medians_are_of_the_ratios_of_rounds() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        let verdict = Verdict {
            workload: "bulk-1".to_owned(),
            peer: Some("haproxy".to_owned()),
            unit: "MiB",
            passage: [1.0, 2.0, 30.0].map(figures).to_vec(),
            others: [2.0, 8.0, 30.0].map(figures).to_vec(),
        };
        let value = verdict.json();
        assert_eq!(value["median"]["cpu_ratio"], json!(0.5));
        assert_eq!(
            value["median"]["passage"]["cpu_microseconds_per_unit"],
            json!(2.0)
        );
        assert_eq!(value["median"]["peer"]["cpu_microseconds_per_unit"], json!(8.0));
        assert_eq!(value["rounds"][1]["cpu_ratio"], json!(0.25));
        assert_eq!(value["median"]["p99_ratio"], json!(null));
        assert!(table(&[verdict]).contains("0.500"));
    }

    #[test]
    fn who_has_no_peer_has_figures_and_no_ratios() {
        let verdict = Verdict {
            workload: "login".to_owned(),
            peer: None,
            unit: "login",
            passage: vec![figures(3.0)],
            others: Vec::new(),
        };
        let value = verdict.json();
        assert_eq!(
            (&value["peer"], &value["rounds"][0]["peer"]),
            (&json!(null), &json!(null))
        );
        assert_eq!(
            value["median"]["passage"]["cpu_microseconds_per_unit"],
            json!(3.0)
        );
        assert_eq!(value["median"]["cpu_ratio"], json!(null));
        assert!(table(&[verdict]).contains("3.00 µs"));
    }
}
