//! Spans of what adapters ask of other services: the control side's part in a connection's trace.
//!
//! Here a span is one of `tracing`, which `tracing-opentelemetry` turns into one of the OpenTelemetry SDK.
//! When it has ended it waits in a bounded queue for the [exporter](super::traces) that takes the shards'
//! spans as well. Shards make no such spans, and the layer sees no others than those of [`TARGET`], so that
//! all this costs nothing where no connection is traced.
//!
//! An adapter asks like this:
//!
//! ```ignore
//! let span = spans::remote_call(asked.trace.as_ref(), AdapterName::Discovery, AdapterType::Grpc);
//! let answer = call(query).instrument(span.clone()).await; // sends spans::traceparent() along
//! if let Err(error) = &answer {
//!     spans::fail(&span, error.cause(), error);
//! }
//! ```

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor};
use passage_proto::question::AskError;
use passage_shards::metrics::{AdapterName, AdapterType, error_type};
use passage_shards::trace::TraceParent;
use tracing::{Level, Span, Subscriber, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::traces::{Losses, data};

/// The target of the spans that are exported.
pub const TARGET: &str = "passage::adapter";

/// Ended spans that wait for the exporter.
const QUEUE_MAX: usize = 1_024;

/// Most characters that a span keeps of why it failed.
const CAUSE_MAX: usize = 256;

/// Fields that log lines show of a span. The span that is exported has them elsewhere.
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";

/// The span of one call to a service outside of Passage, as a child of `parent`: that of the question which
/// it is to answer ([`Asked::trace`](passage_shards::ask::Asked)). `name` and `kind` are those that the
/// metrics of the adapter have.
///
/// Without a parent, or if that trace is not recorded, there is no span: the disabled one that comes back
/// costs some nanoseconds, and everything that is done with it nothing.
///
/// The span lasts until its last clone is dropped, or was left for the last time. It must not be held entered
/// over an `await`: use `tracing::Instrument`. Log lines within it show its fields, its `trace_id` and its
/// `span_id`.
#[must_use]
pub fn remote_call(parent: Option<&TraceParent>, name: AdapterName, kind: AdapterType) -> Span {
    let Some(parent) = parent.filter(|parent| parent.is_sampled) else {
        return Span::none();
    };
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "adapter_call",
        otel.kind = "client",
        adapter_name = name.label(),
        adapter_type = kind.label(),
        error_type = field::Empty,
        otel.status_code = field::Empty,
        otel.status_description = field::Empty,
        trace_id = field::Empty,
        span_id = field::Empty,
    );
    // Fails where nothing is exported.
    let _ = span.set_parent(Context::new().with_remote_span_context(context_of(parent)));
    if let Some(own) = parent_in(&span) {
        span.record(TRACE_ID, own.trace_id());
        span.record(SPAN_ID, own.span_id());
    }
    span
}

/// Says that the call failed, and why; of the cause the first 256 characters are kept.
pub fn fail(span: &Span, error: AskError, cause: &dyn fmt::Display) {
    if span.is_disabled() {
        return;
    }
    let cause: String = cause.to_string().chars().take(CAUSE_MAX).collect();
    span.record("error_type", error_type(error));
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", cause);
}

/// What a request to another service has to carry in its header or metadata `traceparent`, so that the
/// service can go on with the trace: that of the current span, if it is one of [`remote_call`].
///
/// `None` if there is no such span; the request goes without the header then.
#[must_use]
pub fn traceparent() -> Option<String> {
    Some(parent_in(&Span::current())?.text())
}

fn context_of(parent: &TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(parent.trace),
        SpanId::from_bytes(parent.span),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

/// The span as the parent of what comes next; `None` if it is not exported.
fn parent_in(span: &Span) -> Option<TraceParent> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    own.is_sampled().then(|| TraceParent {
        trace: own.trace_id().to_bytes(),
        span: own.span_id().to_bytes(),
        is_sampled: true,
    })
}

/// Takes the spans that end on the control side, until the exporter comes for them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: Sender<SpanData>,
    spans: Receiver<SpanData>,
    losses: Arc<Losses>,
}

impl Default for Recorder {
    fn default() -> Self {
        let (queue, spans) = bounded(QUEUE_MAX);
        Self {
            queue,
            spans,
            losses: Arc::default(),
        }
    }
}

impl Recorder {
    /// The layer that records the spans of [`TARGET`] whose parent is recorded, and sees nothing else.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .with_span_processor(self.clone())
            .build();
        // Without the hint, disabled levels would no longer be told apart by one comparison.
        let filter = FilterFn::new(|metadata| metadata.is_span() && metadata.target() == TARGET)
            .with_max_level_hint(Level::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer_with_scope(data::scope()))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_level(false)
            .with_context_activation(false)
            .with_filter(filter)
    }

    /// The end at which spans arrive.
    pub(super) fn spans(&self) -> Receiver<SpanData> {
        self.spans.clone()
    }

    /// Where it is counted what did not arrive.
    pub(super) fn losses(&self) -> Arc<Losses> {
        Arc::clone(&self.losses)
    }
}

impl SpanProcessor for Recorder {
    fn on_start(&self, _: &mut SdkSpan, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        span.attributes
            .retain(|attribute| ![TRACE_ID, SPAN_ID].contains(&attribute.key.as_str()));
        if self.queue.try_send(span).is_err() {
            self.losses.spans.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
