//! The shards' spans as the OpenTelemetry SDK knows spans.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use passage_shards::trace::{self, Finished, Span, SpanName, Value};

/// Who makes the spans of Passage.
#[must_use]
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("passage")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// The spans of a trace that have ended.
pub(super) fn of_shard(finished: Finished, scope: &InstrumentationScope) -> impl Iterator<Item = SpanData> {
    let trace = finished.trace;
    let spans = finished.spans.into_iter();
    spans.map(move |span| of_span(trace, span, scope.clone()))
}

fn of_span(trace: trace::TraceId, span: Span, instrumentation_scope: InstrumentationScope) -> SpanData {
    let span_kind = match span.name {
        SpanName::Connection => SpanKind::Server,
        SpanName::TargetConnection => SpanKind::Client,
        SpanName::StatusRequest
        | SpanName::Authentication
        | SpanName::Discovery
        | SpanName::DiscoveryAction
        | SpanName::Strategy => SpanKind::Internal,
    };
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(trace),
            SpanId::from_bytes(span.id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        // Only a connection's parent, if it has one, is somebody else's.
        parent_span_is_remote: span.name == SpanName::Connection && span.parent.is_some(),
        span_kind,
        name: span.name.name().into(),
        start_time: time(span.began),
        end_time: time(span.ended),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope,
    }
}

fn time(unix_nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_nanoseconds)
}

fn attribute((key, value): (&'static str, Value)) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(key, String::from(text)),
        Value::Whole(number) => KeyValue::new(key, number),
    }
}
