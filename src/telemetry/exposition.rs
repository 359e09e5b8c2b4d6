//! Families of points in the Prometheus text exposition format 0.0.4.
//!
//! The names are those of the instruments as they are: what a collector makes of the OTLP export is the same.

use std::fmt::Write as _;
use std::time::Duration;

use passage_shards::metrics::{Bounds, Durations};

use super::aggregate::{Family, Label, LabelValue, Value};
use super::instruments::Kind;

/// What goes into the header `Content-Type`.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The families as text.
#[must_use]
pub(crate) fn encode(families: &[Family<'_>]) -> Vec<u8> {
    let points: usize = families.iter().map(|family| family.points.len()).sum();
    let mut text = String::with_capacity(128 * points + 8_192);
    for family in families {
        write_family(&mut text, family);
    }
    text.into_bytes()
}

fn write_family(text: &mut String, family: &Family<'_>) {
    let instrument = family.instrument;
    let (name, kind) = (instrument.name, kind(instrument.kind));
    let _ = writeln!(text, "# HELP {name} {}", instrument.description);
    let _ = writeln!(text, "# TYPE {name} {kind}");
    let mut labels = String::new();
    for point in &family.points {
        labels.clear();
        write_labels(&mut labels, &point.labels);
        let value = match (point.value, instrument.kind) {
            (Value::Durations(durations), Kind::Histogram(bounds)) => {
                write_histogram(text, name, &labels, bounds, durations);
                continue;
            }
            (Value::Whole(count), _) => count.to_string(),
            (Value::Seconds(seconds), _) => seconds.to_string(),
            (Value::Durations(_), _) => {
                debug_assert!(false, "a histogram among numbers");
                continue;
            }
        };
        write_sample(text, name, "", &labels, &value);
    }
}

/// The type as Prometheus knows it. The format, unlike OpenMetrics, does not ask a counter for the suffix
/// `_total`.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter | Kind::UnmarkedCounter => "counter",
        Kind::Gauge | Kind::Seconds => "gauge",
        Kind::Histogram(_) => "histogram",
    }
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    bounds: &Bounds,
    durations: Option<&Durations>,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut bucket = |le: &str, count: u64| {
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}");
    };
    let mut count = 0;
    for (at, bound) in bounds.iter().enumerate() {
        count += durations.map_or(0, |some| some.buckets().get(at).copied().unwrap_or(0));
        bucket(&seconds(*bound).to_string(), count);
    }
    let count = durations.map_or(0, Durations::count);
    bucket("+Inf", count);
    let sum = durations.map_or(0, Durations::sum_nanoseconds);
    write_sample(text, name, "_sum", labels, &seconds(sum).to_string());
    write_sample(text, name, "_count", labels, &count.to_string());
}

fn write_sample(text: &mut String, name: &str, suffix: &str, labels: &str, value: &str) {
    let _ = if labels.is_empty() {
        writeln!(text, "{name}{suffix} {value}")
    } else {
        writeln!(text, "{name}{suffix}{{{labels}}} {value}")
    };
}

fn write_labels(text: &mut String, labels: &[Label<'_>]) {
    for (at, (key, value)) in labels.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.extend(key.chars().map(|c| if c == '.' { '_' } else { c }));
        text.push_str("=\"");
        match value {
            LabelValue::Text(value) => value.chars().for_each(|c| match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }),
            LabelValue::True => text.push_str("true"),
        }
        text.push('"');
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use passage_shards::metrics::ANSWERS;

    use super::super::aggregate::Point;
    use super::super::instruments as i;
    use super::*;

    fn encoded(instrument: &'static i::Instrument, labels: Vec<Label<'_>>, value: Value<'_>) -> String {
        let points = vec![Point { labels, value }];
        String::from_utf8(encode(&[Family { instrument, points }])).unwrap()
    }

    #[test]
    fn a_label_value_is_escaped_and_the_overflow_has_a_name_that_prometheus_takes() {
        let labels = vec![(
            i::label::TARGET_IDENTIFIER,
            LabelValue::Text("a\\b\"c\nd é".into()),
        )];
        let text = encoded(&i::TARGET_SELECTIONS, labels, Value::Whole(3));
        assert_eq!(
            text,
            "# HELP passage_target_selections_total How often the strategy chose the target.\n\
             # TYPE passage_target_selections_total counter\n\
             passage_target_selections_total{target_identifier=\"a\\\\b\\\"c\\nd é\"} 3\n"
        );
        let text = encoded(
            &i::CONNECTIONS_FAILED,
            vec![(i::OVERFLOW, LabelValue::True)],
            Value::Whole(1),
        );
        assert!(
            text.ends_with("passage_connections_failed{otel_metric_overflow=\"true\"} 1\n"),
            "{text}"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let mut durations = Durations::new(&ANSWERS);
        for millis in [0, 1, 40, 50, 400, 20_000] {
            durations.record(Duration::from_millis(millis));
        }
        let labels = vec![(i::label::RESULT, LabelValue::Text("success".into()))];
        let text = encoded(&i::REQUEST_DURATION, labels, Value::Durations(Some(&durations)));
        let name = "passage_request_duration_seconds";
        for (le, count) in [
            ("0.0001", 1),
            ("0.001", 2),
            ("0.05", 4),
            ("0.5", 5),
            ("1", 5),
            ("10", 5),
            ("+Inf", 6),
        ] {
            let line = format!("{name}_bucket{{result=\"success\",le=\"{le}\"}} {count}\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
        assert!(
            text.contains(&format!("{name}_sum{{result=\"success\"}} 20.491\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!("{name}_count{{result=\"success\"}} 6\n")),
            "{text}"
        );
        assert_eq!(text.matches("_bucket").count(), ANSWERS.len() + 1);
        let none = encoded(&i::RELAY_DURATION, Vec::new(), Value::Durations(None));
        assert!(
            none.contains("passage_relay_duration_seconds_bucket{le=\"86400\"} 0\n"),
            "{none}"
        );
        assert!(
            none.ends_with("passage_relay_duration_seconds_sum 0\npassage_relay_duration_seconds_count 0\n")
        );
    }
}
