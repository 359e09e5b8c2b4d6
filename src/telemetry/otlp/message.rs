//! Families of points as the OTLP message that a collector takes.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as ExemplarValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::resource::v1::Resource;
use passage_shards::metrics::{Bounds, Durations, Exemplar};
use prost::Message;
use uuid::Uuid;

use crate::telemetry::aggregate::{Family, Label, LabelValue, Point, Value};
use crate::telemetry::instruments::Kind;

/// Sums and histograms count since the start of the process.
const CUMULATIVE: i32 = proto::AggregationTemporality::Cumulative as i32;

/// The time in nanoseconds since the Unix epoch, as OTLP wants it.
#[must_use]
pub(crate) fn unix_nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What is known of the process that exports: the same for all signals.
#[must_use]
pub(crate) fn identity(environment: &str) -> [(&'static str, String); 6] {
    static INSTANCE: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);
    [
        ("service.name", "passage".into()),
        ("service.namespace", "scrayosnet".into()),
        ("service.version", env!("CARGO_PKG_VERSION").into()),
        ("service.instance.id", INSTANCE.to_string()),
        ("deployment.environment", environment.into()),
        ("deployment.environment.name", environment.into()),
    ]
}

/// The process that exports, for messages that are made here.
#[must_use]
pub(crate) fn resource(environment: &str) -> Resource {
    let attributes = identity(environment)
        .map(|(key, value)| attribute(key, Any::StringValue(value)))
        .into();
    Resource {
        attributes,
        ..Resource::default()
    }
}

/// The encoded request. `start` and `now` are Unix times in nanoseconds.
#[must_use]
pub(crate) fn encode(
    families: &[Family<'_>],
    resource: &Resource,
    shape: Shape,
    start: u64,
    now: u64,
) -> Vec<u8> {
    let times = Times { start, now };
    let scope = InstrumentationScope {
        name: "passage".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let scope_metrics = proto::ScopeMetrics {
        scope: Some(scope),
        metrics: families
            .iter()
            .map(|family| metric(family, shape, times))
            .collect(),
        schema_url: String::new(),
    };
    let resource_metrics = proto::ResourceMetrics {
        resource: Some(resource.clone()),
        scope_metrics: vec![scope_metrics],
        schema_url: String::new(),
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![resource_metrics],
    }
    .encode_to_vec()
}

/// How histograms are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// With the bounds that the queries of the monitoring guide need.
    #[default]
    Explicit,
    /// With buckets that grow by the same factor each.
    Exponential,
}

#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

fn metric(family: &Family<'_>, shape: Shape, times: Times) -> proto::Metric {
    let instrument = family.instrument;
    let data = match instrument.kind {
        Kind::Counter | Kind::UnmarkedCounter => Data::Sum(proto::Sum {
            data_points: numbers(family, times.start, times.now),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: instrument.kind == Kind::Counter,
        }),
        Kind::Gauge | Kind::Seconds => Data::Gauge(proto::Gauge {
            data_points: numbers(family, 0, times.now),
        }),
        Kind::Histogram(_) if shape == Shape::Exponential => {
            Data::ExponentialHistogram(proto::ExponentialHistogram {
                data_points: family
                    .points
                    .iter()
                    .map(|point| exponential(point, times))
                    .collect(),
                aggregation_temporality: CUMULATIVE,
            })
        }
        Kind::Histogram(bounds) => Data::Histogram(proto::Histogram {
            data_points: family
                .points
                .iter()
                .map(|point| histogram(point, bounds, times))
                .collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    proto::Metric {
        name: instrument.name.into(),
        description: instrument.description.into(),
        unit: instrument.unit.into(),
        metadata: Vec::new(),
        data: Some(data),
    }
}

fn numbers(family: &Family<'_>, start: u64, now: u64) -> Vec<proto::NumberDataPoint> {
    let points = family.points.iter();
    let points = points.map(|point| proto::NumberDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: start,
        time_unix_nano: now,
        exemplars: exemplars(point, |_| ExemplarValue::AsInt(1)),
        flags: 0,
        value: Some(number(point.value)),
    });
    points.collect()
}

fn number(value: Value<'_>) -> Number {
    match value {
        Value::Whole(count) => Number::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
        Value::Seconds(seconds) => Number::AsDouble(seconds),
        Value::Durations(durations) => {
            debug_assert!(false, "a histogram among numbers");
            Number::AsInt(durations.map_or(0, |durations| {
                i64::try_from(durations.count()).unwrap_or(i64::MAX)
            }))
        }
    }
}

fn durations<'a>(point: &Point<'a>) -> Option<&'a Durations> {
    match point.value {
        Value::Durations(durations) => durations,
        Value::Whole(_) | Value::Seconds(_) => None,
    }
}

fn exponential(point: &Point<'_>, times: Times) -> proto::ExponentialHistogramDataPoint {
    let durations = durations(point);
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    proto::ExponentialHistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: durations.map_or(0, |some| some.count()),
        sum: Some(durations.map_or(0.0, |some| seconds_of(some.sum_nanoseconds()))),
        exemplars: exemplars(point, duration_of),
        min: durations.and_then(Durations::min).map(seconds),
        max: durations.and_then(Durations::max).map(seconds),
        ..super::exponential::point(durations)
    }
}

fn histogram(point: &Point<'_>, bounds: &Bounds, times: Times) -> proto::HistogramDataPoint {
    let durations = durations(point);
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    proto::HistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: durations.map_or(0, |some| some.count()),
        sum: Some(durations.map_or(0.0, |some| seconds_of(some.sum_nanoseconds()))),
        bucket_counts: durations.map_or_else(|| vec![0; bounds.len() + 1], |some| some.buckets().to_vec()),
        explicit_bounds: bounds.iter().map(|bound| seconds_of(*bound)).collect(),
        exemplars: exemplars(point, duration_of),
        flags: 0,
        min: durations.and_then(|some| some.min()).map(seconds),
        max: durations.and_then(|some| some.max()).map(seconds),
    }
}

fn exemplars(point: &Point<'_>, value: fn(&Exemplar) -> ExemplarValue) -> Vec<proto::Exemplar> {
    let exemplars = point.exemplar.into_iter().map(|exemplar| proto::Exemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: exemplar.unix_nanoseconds,
        span_id: exemplar.span.to_vec(),
        trace_id: exemplar.trace.to_vec(),
        value: Some(value(exemplar)),
    });
    exemplars.collect()
}

fn duration_of(exemplar: &Exemplar) -> ExemplarValue {
    ExemplarValue::AsDouble(exemplar.took.as_secs_f64())
}

fn seconds_of(nanoseconds: u64) -> f64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64()
}

fn attributes(labels: &[Label<'_>]) -> Vec<KeyValue> {
    let labels = labels.iter();
    let attributes = labels.map(|(key, value)| match value {
        LabelValue::Text(text) => attribute(key, Any::StringValue(text.to_string())),
        LabelValue::True => attribute(key, Any::BoolValue(true)),
    });
    attributes.collect()
}

/// An attribute of a point, a record or the resource.
pub(crate) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
