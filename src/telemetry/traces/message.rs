//! Finished spans as the OTLP message that a collector takes.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as proto;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use passage_shards::trace::{Finished, Span, SpanName, TraceId, Value};
use prost::Message;

use crate::telemetry::otlp::message::attribute;

/// The W3C flag "sampled", and the bit that says that the next one is known.
const FLAGS: u32 = 0x101;

/// The bit that says that the parent is a span of another service.
const PARENT_IS_REMOTE: u32 = 0x200;

/// The encoded request.
#[must_use]
pub(crate) fn encode(traces: &[Finished], resource: &Resource) -> Vec<u8> {
    let spans = traces.iter().flat_map(|finished| {
        let spans = finished.spans.iter();
        spans.map(|span| encode_span(finished.trace, span))
    });
    let scope = InstrumentationScope {
        name: "passage".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let scope_spans = proto::ScopeSpans {
        scope: Some(scope),
        spans: spans.collect(),
        schema_url: String::new(),
    };
    let resource_spans = proto::ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![scope_spans],
        schema_url: String::new(),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
    .encode_to_vec()
}

fn encode_span(trace: TraceId, span: &Span) -> proto::Span {
    let kind = match span.name {
        SpanName::Connection => SpanKind::Server,
        SpanName::TargetConnection => SpanKind::Client,
        SpanName::StatusRequest | SpanName::Authentication | SpanName::Discovery | SpanName::Strategy => {
            SpanKind::Internal
        }
    };
    // Only a connection's parent, if it has one, is somebody else's.
    let is_remote = span.name == SpanName::Connection && span.parent.is_some();
    let attributes = span.attributes.iter().map(|(key, value)| match value {
        Value::Text(text) => attribute(key, Any::StringValue(text.to_string())),
        Value::Whole(number) => attribute(key, Any::IntValue(*number)),
    });
    let status = span.error.as_ref().map(|error| proto::Status {
        message: error.clone(),
        code: StatusCode::Error.into(),
    });
    proto::Span {
        trace_id: trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        flags: FLAGS | if is_remote { PARENT_IS_REMOTE } else { 0 },
        name: span.name.name().into(),
        kind: kind.into(),
        start_time_unix_nano: span.began,
        end_time_unix_nano: span.ended,
        attributes: attributes.collect(),
        status,
        ..proto::Span::default()
    }
}
