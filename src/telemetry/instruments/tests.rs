//! Holds what is shipped for operators against the instruments: the same names, types, labels and values.

use std::collections::BTreeSet;
use std::path::Path;

use passage_shards::metrics::{
    AdapterName, AdapterType, Bound, Cut, ERROR_TYPES, FailureStage, Reason, RequestType, Shortage,
    error_type,
};

use super::*;
use crate::watch::Part;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of each row of a table, without the code marks of the first one.
fn rows(document: &str) -> impl Iterator<Item = Vec<&str>> {
    document.lines().filter_map(|line| {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(cells.split(" | ").map(|cell| cell.trim_matches('`')).collect())
    })
}

/// How Prometheus shows an instrument.
fn prometheus_type(instrument: &Instrument) -> &'static str {
    match instrument.kind {
        Kind::Counter | Kind::UnmarkedCounter => "counter",
        Kind::Gauge | Kind::Seconds => "gauge",
        Kind::Histogram(_) => "histogram",
    }
}

#[test]
fn every_instrument_stands_in_the_monitoring_page_as_it_is_and_no_other() {
    let document = read("docs/monitoring.md");
    let documented: BTreeSet<String> = rows(&document)
        .filter(|cells| cells.len() == 4 && cells[0].starts_with("passage_"))
        .map(|cells| format!("{} | {} | {}", cells[0], cells[1], cells[2].replace('`', "")))
        .collect();
    let actual: BTreeSet<String> = ALL
        .iter()
        .map(|one| {
            let labels = if one.labels.is_empty() {
                "–".into()
            } else {
                one.labels.join(", ")
            };
            format!("{} | {} | {labels}", one.name, prometheus_type(one))
        })
        .collect();
    let missing: Vec<_> = actual.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&actual).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/monitoring.md lacks {missing:#?} and has {unknown:#?}"
    );
}

#[test]
fn every_label_and_every_bounded_value_stands_in_the_monitoring_page() {
    let document = read("docs/monitoring.md");
    let values = |label: &str| -> String {
        let row = rows(&document).find(|cells| {
            cells.len() == 2 && cells[0].replace('`', "").split(", ").any(|name| name == label)
        });
        let row = row.unwrap_or_else(|| panic!("docs/monitoring.md does not say what {label} is"));
        format!("`{}`", row[1])
    };
    for label in ALL.iter().flat_map(|one| one.labels) {
        values(label);
    }
    let bounded: [(&str, Vec<&str>); 11] = [
        (ADAPTER_NAME, AdapterName::ALL.map(AdapterName::label).to_vec()),
        (ADAPTER_TYPE, AdapterType::ALL.map(AdapterType::label).to_vec()),
        (REQUEST_TYPE, RequestType::ALL.map(RequestType::label).to_vec()),
        (BOUND, Bound::ALL.map(Bound::label).to_vec()),
        (BOUND, Cut::ALL.map(Cut::label).to_vec()),
        (BOUND, Shortage::ALL.map(Shortage::label).to_vec()),
        (REASON, Reason::all().map(Reason::label).collect()),
        (STAGE, FailureStage::ALL.map(FailureStage::label).to_vec()),
        (ERROR_TYPE, ERROR_TYPES.map(error_type).to_vec()),
        (SIGNAL, vec!["metrics", "traces", "logs", "sentry"]),
        (THREAD, Part::ALL.map(Part::label).to_vec()),
    ];
    for (label, all) in bounded {
        let documented = values(label);
        for value in all {
            assert!(
                documented.contains(&format!("`{value}`")),
                "{label} {value} is not in {documented}"
            );
        }
    }
}

#[test]
fn what_is_shipped_asks_for_instruments_that_there_are() {
    let known: BTreeSet<&str> = ALL.iter().map(|one| one.name).collect();
    for path in [
        "docs/grafana-dashboard.json",
        "config/alerting-rules.yml",
        "docs/monitoring.md",
    ] {
        let text = read(path);
        let names = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("passage_"))
            .map(|word| {
                ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| word.strip_suffix(end))
                    .unwrap_or(word)
            });
        let unknown: BTreeSet<&str> = names.filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{path} asks for {unknown:?}");
    }
}

#[test]
fn the_dashboard_shows_every_instrument() {
    let dashboard = read("docs/grafana-dashboard.json");
    // Parts of a sum that is shown.
    let parts = ["passage_status_requests_total", "passage_login_requests_total"];
    let hidden: Vec<_> = ALL
        .iter()
        .map(|one| one.name)
        .filter(|name| !parts.contains(name) && !dashboard.contains(name))
        .collect();
    assert!(hidden.is_empty(), "no panel shows {hidden:?}");
}
