//! What the control side traces, from a call to the queue of the exporter.

use opentelemetry::trace::{SpanKind, Status};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::with_default;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

fn parent() -> TraceParent {
    TraceParent::parse(TEXT).unwrap()
}

/// Runs this under a subscriber with the layer, and gives the spans that ended.
fn recorded(work: impl FnOnce()) -> Vec<SpanData> {
    let recorder = Recorder::default();
    with_default(Registry::default().with(recorder.layer()), work);
    recorder.spans().try_iter().collect()
}

fn only(spans: Vec<SpanData>) -> SpanData {
    let [span] = <[_; 1]>::try_from(spans).unwrap();
    span
}

fn told(span: &SpanData) -> Vec<String> {
    let attributes = span.attributes.iter();
    attributes
        .map(|attribute| format!("{}={}", attribute.key, attribute.value))
        .collect()
}

#[test]
fn a_call_is_a_child_of_the_shards_span() {
    let mut sent = None;
    let span = only(recorded(|| {
        let span = remote_call(Some(&parent()), AdapterName::Discovery, AdapterType::Grpc);
        sent = span.in_scope(traceparent);
    }));
    assert_eq!(span.name, "adapter_call");
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(span.span_context.trace_id().to_bytes(), parent().trace);
    assert_eq!(span.parent_span_id.to_bytes(), parent().span);
    assert!(!span.parent_span_is_remote, "it is the same service's");
    assert_eq!(told(&span), ["adapter_name=discovery", "adapter_type=grpc"]);
    assert_eq!(span.status, Status::Unset);
    let sent = TraceParent::parse(&sent.unwrap()).unwrap();
    assert_eq!(sent.trace, parent().trace);
    assert_eq!(
        sent.span,
        span.span_context.span_id().to_bytes(),
        "the service goes on with the call"
    );
    assert!(sent.is_sampled);
}

#[test]
fn a_call_that_failed_says_why() {
    let span = only(recorded(|| {
        let span = remote_call(Some(&parent()), AdapterName::Authentication, AdapterType::Mojang);
        fail(&span, AskError::TimedOut, &"no answer".repeat(1_000));
    }));
    assert_eq!(
        told(&span)[2..],
        [format!("error_type={}", error_type(AskError::TimedOut))]
    );
    let Status::Error { description } = &span.status else {
        panic!("{span:?}")
    };
    assert!(description.starts_with("no answer"), "{description}");
    assert_eq!(description.len(), CAUSE_MAX);
}

#[test]
fn a_call_without_a_recorded_trace_has_no_span() {
    let unsampled = TraceParent {
        is_sampled: false,
        ..parent()
    };
    let spans = recorded(|| {
        for parent in [None, Some(&unsampled)] {
            let span = remote_call(parent, AdapterName::Discovery, AdapterType::Http);
            assert!(span.is_none());
            fail(&span, AskError::Failed, &"nobody asks");
            assert_eq!(span.in_scope(traceparent), None);
        }
    });
    assert!(spans.is_empty(), "{spans:?}");
}

#[test]
fn calls_that_take_turns_do_not_mix() {
    let parents = [1_u128, 2, 3].map(|trace| TraceParent {
        trace: trace.to_be_bytes(),
        ..parent()
    });
    let spans = recorded(|| {
        let calls =
            parents.map(|parent| remote_call(Some(&parent), AdapterName::Strategy, AdapterType::Grpc));
        for _ in 0..3 {
            for (call, parent) in calls.iter().zip(&parents) {
                let sent = call.in_scope(traceparent).unwrap();
                assert!(sent.contains(&parent.trace_id()), "{sent}");
            }
        }
        // A call that begins within another one has its own parent all the same.
        let within =
            calls[0].in_scope(|| remote_call(Some(&parents[1]), AdapterName::Strategy, AdapterType::Grpc));
        assert_eq!(parent_in(&within).unwrap().trace, parents[1].trace);
    });
    assert_eq!(spans.len(), 4);
    assert!(
        spans
            .iter()
            .all(|span| span.parent_span_id.to_bytes() == parent().span)
    );
}

#[test]
fn nothing_else_is_seen() {
    let span = only(recorded(|| {
        let call = remote_call(Some(&parent()), AdapterName::Status, AdapterType::Http);
        let _call = call.enter();
        tracing::info_span!("adapter_call").in_scope(|| tracing::error!(target: TARGET, "an event"));
        tracing::error!("another one");
        let _other = tracing::error_span!(target: "passage::connection", "connection").entered();
    }));
    assert!(span.events.is_empty() && span.status == Status::Unset, "{span:?}");
    let layer = Recorder::default().layer::<Registry>();
    assert_eq!(
        layer.max_level_hint(),
        Some(LevelFilter::INFO),
        "debug lines stay disabled by one comparison"
    );
}

#[test]
fn what_finds_the_queue_full_is_dropped_and_counted() {
    let recorder = Recorder::default();
    with_default(Registry::default().with(recorder.layer()), || {
        for _ in 0..QUEUE_MAX + 7 {
            drop(remote_call(
                Some(&parent()),
                AdapterName::Discovery,
                AdapterType::Dns,
            ));
        }
    });
    assert_eq!(recorder.spans().len(), QUEUE_MAX);
    assert_eq!(recorder.losses().spans.load(Ordering::Relaxed), 7);
}

#[test]
fn without_an_exporter_a_call_goes_on() {
    with_default(Registry::default(), || {
        let span = remote_call(Some(&parent()), AdapterName::Discovery, AdapterType::Http);
        assert_eq!(span.in_scope(traceparent), None);
        fail(&span, AskError::Unreachable, &"nobody is there");
    });
}
