//! Families of points in the two text formats that Prometheus reads: its own, 0.0.4, and OpenMetrics 1.0.0,
//! which has exemplars too.
//!
//! The names of samples are those of the instruments as they are, in both formats: what a collector makes of
//! the OTLP export is the same.

use std::fmt::Write as _;
use std::time::Duration;

use passage_shards::metrics::{Bounds, Durations, Exemplar};

use super::aggregate::{Family, Label, LabelValue, Point, Value};
use super::instruments::{Instrument, Kind};

/// How the totals are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// What everybody reads.
    #[default]
    Prometheus,
    /// For those who ask for it.
    OpenMetrics,
}

impl Format {
    /// What goes into the header `Content-Type`.
    #[must_use]
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The families as text.
#[must_use]
pub(crate) fn encode(families: &[Family<'_>], format: Format) -> Vec<u8> {
    let points: usize = families.iter().map(|family| family.points.len()).sum();
    let mut text = String::with_capacity(128 * points + 8_192);
    for family in families {
        write_family(&mut text, family, format);
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text.into_bytes()
}

fn write_family(text: &mut String, family: &Family<'_>, format: Format) {
    let instrument = family.instrument;
    write_head(text, instrument, format);
    let mut labels = String::new();
    for point in &family.points {
        labels.clear();
        write_labels(&mut labels, &point.labels);
        let value = match (point.value, instrument.kind) {
            (Value::Durations(durations), Kind::Histogram(bounds)) => {
                let histogram = Histogram {
                    name: instrument.name,
                    labels: &labels,
                    bounds,
                    durations,
                };
                histogram.write(text, format, point.exemplar);
                continue;
            }
            (Value::Whole(count), _) => count.to_string(),
            (Value::Seconds(seconds), _) => seconds.to_string(),
            (Value::Durations(_), _) => {
                debug_assert!(false, "a histogram among numbers");
                continue;
            }
        };
        write_sample(text, instrument.name, "", &labels, &value);
        write_exemplar(text, exemplar_of(point, format), 1.0);
        text.push('\n');
    }
}

/// Only counters that say so have one; what else counts does not to OpenMetrics.
fn exemplar_of<'a>(point: &Point<'a>, format: Format) -> Option<&'a Exemplar> {
    point.exemplar.filter(|_| format == Format::OpenMetrics)
}

fn write_head(text: &mut String, instrument: &Instrument, format: Format) {
    let (name, kind) = match format {
        Format::Prometheus => (instrument.name, kind(instrument.kind)),
        Format::OpenMetrics => open_metrics(instrument),
    };
    let _ = writeln!(text, "# HELP {name} {}", instrument.description);
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if format == Format::OpenMetrics && name.ends_with("_seconds") {
        let _ = writeln!(text, "# UNIT {name} seconds");
    }
}

/// The type as Prometheus knows it. A counter without the suffix `_total` is not said to be one: tools that
/// check names, such as promtool, would complain.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::UnmarkedCounter => "untyped",
        Kind::Gauge | Kind::Seconds => "gauge",
        Kind::Histogram(_) => "histogram",
    }
}

/// Name and type of the family in OpenMetrics. There a counter's name is without `_total`, which all of its
/// samples have; a counter whose samples have none can only be of no known type.
fn open_metrics(instrument: &Instrument) -> (&'static str, &'static str) {
    match (instrument.kind, instrument.name.strip_suffix("_total")) {
        (Kind::Counter, Some(family)) => (family, "counter"),
        (Kind::Counter | Kind::UnmarkedCounter, _) => (instrument.name, "unknown"),
        (other, _) => (instrument.name, kind(other)),
    }
}

/// A histogram under way.
struct Histogram<'a> {
    name: &'static str,
    labels: &'a str,
    bounds: &'static Bounds,
    durations: Option<&'a Durations>,
}

impl Histogram<'_> {
    fn write(&self, text: &mut String, format: Format, exemplar: Option<&Exemplar>) {
        let Self { name, labels, .. } = *self;
        let comma = if labels.is_empty() { "" } else { "," };
        // The bucket whose exemplar it is: the first that is not below it.
        let mut exemplar = exemplar.filter(|_| format == Format::OpenMetrics);
        let mut count = 0;
        for (at, bound) in self.bounds.iter().enumerate() {
            count += self
                .durations
                .map_or(0, |some| some.buckets().get(at).copied().unwrap_or(0));
            // OpenMetrics wants a decimal point.
            let le = match format {
                Format::Prometheus => seconds(*bound).to_string(),
                Format::OpenMetrics => format!("{:?}", seconds(*bound)),
            };
            let _ = write!(text, "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}");
            let held = exemplar.take_if(|exemplar| exemplar.took <= Duration::from_nanos(*bound));
            write_exemplar(text, held, held.map_or(0.0, |held| held.took.as_secs_f64()));
            text.push('\n');
        }
        let count = self.durations.map_or(0, Durations::count);
        let _ = write!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        write_exemplar(
            text,
            exemplar,
            exemplar.map_or(0.0, |left| left.took.as_secs_f64()),
        );
        text.push('\n');
        let sum = self.durations.map_or(0, Durations::sum_nanoseconds);
        write_sample(text, name, "_sum", labels, &seconds(sum).to_string());
        text.push('\n');
        write_sample(text, name, "_count", labels, &count.to_string());
        text.push('\n');
    }
}

/// A sample without the end of its line.
fn write_sample(text: &mut String, name: &str, suffix: &str, labels: &str, value: &str) {
    let _ = if labels.is_empty() {
        write!(text, "{name}{suffix} {value}")
    } else {
        write!(text, "{name}{suffix}{{{labels}}} {value}")
    };
}

fn write_exemplar(text: &mut String, exemplar: Option<&Exemplar>, value: f64) {
    let Some(exemplar) = exemplar else { return };
    let _ = write!(
        text,
        " # {{trace_id=\"{:032x}\",span_id=\"{:016x}\"}} {value:?} {}.{:03}",
        u128::from_be_bytes(exemplar.trace),
        u64::from_be_bytes(exemplar.span),
        exemplar.unix_nanoseconds / 1_000_000_000,
        exemplar.unix_nanoseconds / 1_000_000 % 1_000,
    );
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

    use super::super::instruments as i;
    use super::*;

    fn encoded_as(format: Format, instrument: &'static Instrument, point: Point<'_>) -> String {
        let points = vec![point];
        String::from_utf8(encode(&[Family { instrument, points }], format)).unwrap()
    }

    fn encoded(instrument: &'static Instrument, labels: Vec<Label<'_>>, value: Value<'_>) -> String {
        let point = Point {
            labels,
            value,
            exemplar: None,
        };
        encoded_as(Format::Prometheus, instrument, point)
    }

    const EXEMPLAR: Exemplar = Exemplar {
        took: Duration::from_millis(43),
        trace: [0xab; 16],
        span: [0x0c; 8],
        unix_nanoseconds: 1_520_879_607_789_456_123,
    };

    fn open_metrics(instrument: &'static Instrument, value: Value<'_>) -> String {
        let labels = vec![(i::label::RESULT, LabelValue::Text("success".into()))];
        let point = Point {
            labels,
            value,
            exemplar: Some(&EXEMPLAR),
        };
        encoded_as(Format::OpenMetrics, instrument, point)
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

    #[test]
    fn open_metrics_names_a_counters_family_without_its_suffix_and_its_samples_with_it() {
        let text = open_metrics(&i::REQUESTS, Value::Whole(3));
        assert_eq!(
            text,
            "# HELP passage_requests Status pings and logins.\n\
             # TYPE passage_requests counter\n\
             passage_requests_total{result=\"success\"} 3 # \
             {trace_id=\"abababababababababababababababab\",span_id=\"0c0c0c0c0c0c0c0c\"} 1.0 \
             1520879607.789\n\
             # EOF\n"
        );
        let unmarked = Point {
            labels: Vec::new(),
            value: Value::Whole(1),
            exemplar: None,
        };
        let text = encoded_as(Format::OpenMetrics, &i::CONNECTIONS_FAILED, unmarked);
        assert!(
            text.ends_with(
                "# TYPE passage_connections_failed unknown\npassage_connections_failed 1\n# EOF\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn open_metrics_shows_an_exemplar_in_the_one_bucket_that_holds_it() {
        let mut durations = Durations::new(&ANSWERS);
        durations.record(EXEMPLAR.took);
        let text = open_metrics(&i::REQUEST_DURATION, Value::Durations(Some(&durations)));
        assert!(
            text.contains("# UNIT passage_request_duration_seconds seconds\n"),
            "{text}"
        );
        assert_eq!(text.matches(" # {").count(), 1, "{text}");
        let line = "_bucket{result=\"success\",le=\"0.05\"} 1 # \
                    {trace_id=\"abababababababababababababababab\",\
                    span_id=\"0c0c0c0c0c0c0c0c\"} 0.043 1520879607.789\n";
        assert!(text.contains(line), "{text}");
        assert!(
            text.contains("le=\"1.0\"} 1\n") && text.contains("le=\"+Inf\"} 1\n"),
            "{text}"
        );
    }

    #[test]
    fn an_exemplar_above_all_bounds_is_in_the_last_bucket() {
        let exemplar = Exemplar {
            took: Duration::from_secs(3_600),
            ..EXEMPLAR
        };
        let mut durations = Durations::new(&ANSWERS);
        durations.record(exemplar.took);
        let point = Point {
            labels: Vec::new(),
            value: Value::Durations(Some(&durations)),
            exemplar: Some(&exemplar),
        };
        let text = encoded_as(Format::OpenMetrics, &i::REQUEST_DURATION, point);
        assert!(text.contains("_bucket{le=\"+Inf\"} 1 # {trace_id="), "{text}");
        assert_eq!(text.matches(" # {").count(), 1, "{text}");
    }
}
