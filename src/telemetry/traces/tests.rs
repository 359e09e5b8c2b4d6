//! The exporter against a collector in every mood.

use std::num::NonZeroU32;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span as Exported;
use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::trace::{Options, Span, SpanName, TraceParent, Value};
use tracing::subscriber::with_default;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::telemetry::Token;
use crate::telemetry::otlp::receiver::{Mode, Receiver as Collector, attributes};
use crate::telemetry::spans::remote_call;
use crate::tls::Trust;

const AGE: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_millis(50);

fn settings(url: String) -> Settings {
    Settings {
        endpoint: Endpoint {
            url,
            token: Some(Token::new("dXNlcjpwYXNz")),
            trust: Trust::default(),
        },
        options: Options {
            sample_rate: 1.0,
            per_second: NonZeroU32::new(1_000).unwrap(),
        },
        recorder: Recorder::default(),
    }
}

fn start_quick(collector: &Collector) -> (Traces, Outlet) {
    start_with(&settings(collector.url_of(Signal::Traces)), "testing", AGE, PAUSE).unwrap()
}

/// A login that came from elsewhere and found its target dead.
fn login(number: u64) -> Finished {
    let id = |span: u64| (number << 8 | span).to_be_bytes();
    let text = |text: &str| Value::Text(text.into());
    let span = |child: u64, name, attributes, error: Option<&str>| Span {
        id: id(child),
        parent: Some(if child == 0 { [9; 8] } else { id(0) }),
        name,
        began: 1_000 + child,
        ended: 2_000,
        attributes,
        error: error.map(str::to_owned),
    };
    let spans = vec![
        span(
            1,
            SpanName::Discovery,
            vec![
                ("adapter_type", text("dns")),
                ("targets_found", Value::Whole(i64::MAX)),
            ],
            None,
        ),
        span(
            2,
            SpanName::TargetConnection,
            vec![("target_identifier", text("hub"))],
            Some("it did not answer in time"),
        ),
        span(
            0,
            SpanName::Connection,
            vec![("client_ip", text("192.0.2.1"))],
            Some("unreachable"),
        ),
    ];
    Finished {
        trace: (u128::from(number) + 1).to_be_bytes(),
        spans,
    }
}

fn spans(collector: &Collector) -> Vec<Exported> {
    let requests = collector.taken_as::<ExportTraceServiceRequest>().into_iter();
    let resources = requests.flat_map(|request| request.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn stop(traces: Traces, patience: Duration) -> (Flush, u64, u64) {
    let deadline = Instant::now() + patience;
    let losses = traces.losses();
    traces.stop(deadline);
    let flush = traces.wait(deadline);
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    (flush, count(&losses.spans), count(&losses.exports))
}

fn wait_seen(collector: &Collector, count: usize) {
    while collector.seen() < count {
        thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn a_collector_reads_what_the_shards_wrote() {
    let collector = Collector::start(Mode::Up);
    let (traces, outlet) = start_quick(&collector);
    assert_eq!(outlet.send(login(7)), 0);
    assert_eq!(stop(traces, Duration::from_secs(5)), (Flush::Complete, 0, 0));

    let spans = spans(&collector);
    let [discovery, target, connection] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(
        spans
            .iter()
            .map(|span| (&*span.name, span.kind))
            .collect::<Vec<_>>(),
        [("discovery", 1), ("target_connection", 3), ("connection", 2)]
    );
    for child in [discovery, target] {
        assert_eq!(child.trace_id, connection.trace_id);
        assert_eq!(child.parent_span_id, connection.span_id);
        assert_eq!(child.flags, 0x101);
    }
    assert_eq!(connection.trace_id, 8_u128.to_be_bytes());
    assert_eq!(
        (&*connection.parent_span_id, connection.flags),
        (&[9; 8][..], 0x301)
    );
    assert_eq!(
        (discovery.start_time_unix_nano, discovery.end_time_unix_nano),
        (1_001, 2_000)
    );
    let found = discovery.attributes[1].value.clone().unwrap().value.unwrap();
    assert_eq!(found, Any::IntValue(i64::MAX), "a whole number, not text");
    assert_eq!(attributes(&connection.attributes), ["client_ip=192.0.2.1"]);
    let status = |span: &Exported| {
        let status = span.status.clone().unwrap_or_default();
        (status.code, status.message)
    };
    assert_eq!(status(discovery), (0, String::new()));
    assert_eq!(status(target), (2, "it did not answer in time".into()));
    assert_eq!(status(connection), (2, "unreachable".into()));
}

#[test]
fn the_control_sides_spans_go_along() {
    let collector = Collector::start(Mode::Up);
    let settings = settings(collector.url_of(Signal::Traces));
    let (traces, outlet) = start_with(&settings, "testing", AGE, PAUSE).unwrap();
    let shards = login(7);
    let parent = TraceParent {
        trace: shards.trace,
        span: shards.spans[0].id,
        is_sampled: true,
    };
    with_default(Registry::default().with(settings.recorder.layer()), || {
        drop(remote_call(
            Some(&parent),
            AdapterName::Discovery,
            AdapterType::Grpc,
        ));
    });
    outlet.send(shards);
    assert_eq!(stop(traces, Duration::from_secs(5)), (Flush::Complete, 0, 0));

    let spans = spans(&collector);
    let call = spans.iter().find(|span| span.name == "adapter_call").unwrap();
    let parent = spans.iter().find(|span| span.name == "discovery").unwrap();
    assert_eq!((spans.len(), call.kind, call.flags), (4, 3, 0x101));
    assert_eq!(
        (&call.trace_id, &call.parent_span_id),
        (&parent.trace_id, &parent.span_id)
    );
    assert_eq!(
        attributes(&call.attributes),
        ["adapter_name=discovery", "adapter_type=grpc"]
    );
    let request = collector.taken_as::<ExportTraceServiceRequest>().remove(0);
    let scopes = &request.resource_spans[0].scope_spans;
    assert_eq!(scopes.len(), 1, "all spans are made by one program");
}

#[test]
fn the_control_sides_spans_wait_no_longer_than_others() {
    let collector = Collector::start(Mode::Up);
    let settings = settings(collector.url_of(Signal::Traces));
    let (traces, _outlet) = start_with(&settings, "", AGE, PAUSE).unwrap();
    let parent = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
    with_default(Registry::default().with(settings.recorder.layer()), || {
        drop(remote_call(
            parent.as_ref(),
            AdapterName::Discovery,
            AdapterType::Grpc,
        ));
    });
    collector.wait_taken(1);
    assert_eq!(spans(&collector).len(), 1);
    assert_eq!(stop(traces, Duration::from_secs(5)), (Flush::Complete, 0, 0));
}

#[test]
fn the_request_carries_the_token_and_says_who_exports() {
    let collector = Collector::start(Mode::Up);
    let (traces, outlet) = start_quick(&collector);
    outlet.send(login(1));
    stop(traces, Duration::from_secs(5));
    let head = collector.heads().pop().unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    for line in [
        "content-type: application/x-protobuf",
        "content-encoding: gzip",
        "authorization: basic dxnlcjpwyxnz",
    ] {
        assert!(head.lines().any(|got| got == line), "{line} is not in {head}");
    }
    let request = collector.taken_as::<ExportTraceServiceRequest>().remove(0);
    let resource = request.resource_spans[0].resource.clone().unwrap();
    let attributes = attributes(&resource.attributes);
    for attribute in ["service.name=passage", "deployment.environment=testing"] {
        assert!(attributes.contains(&attribute.into()), "{attributes:?}");
    }
}

#[test]
fn batches_are_full_or_old() {
    let collector = Collector::start(Mode::Up);
    let (traces, outlet) = start_quick(&collector);
    outlet.send(login(0));
    collector.wait_taken(1);
    for number in 1..1_000 {
        while outlet.send(login(number)) > 0 {
            thread::park_timeout(AGE);
        }
    }
    assert_eq!(stop(traces, Duration::from_secs(5)), (Flush::Complete, 0, 0));
    assert_eq!(spans(&collector).len(), 3_000);
    let requests = collector.taken_as::<ExportTraceServiceRequest>();
    let most = requests
        .iter()
        .map(|request| request.resource_spans[0].scope_spans[0].spans.len());
    assert!(most.max() <= Some(BATCH_SPANS + 3));
}

#[test]
fn a_post_that_failed_for_a_moment_is_tried_once_more() {
    for mood in [
        Mode::Status(503, None),
        Mode::Status(429, Some(0)),
        Mode::Status(502, None),
    ] {
        let collector = Collector::start(mood);
        let (traces, outlet) = start_quick(&collector);
        outlet.send(login(1));
        wait_seen(&collector, 1);
        collector.set(Mode::Up);
        collector.wait_taken(1);
        assert_eq!(
            stop(traces, Duration::from_secs(5)),
            (Flush::Complete, 0, 1),
            "{mood:?}"
        );
        assert_eq!(spans(&collector).len(), 3);
    }
}

#[test]
fn what_nobody_takes_is_dropped_and_counted() {
    for (mood, posts) in [
        (Mode::Status(401, None), 1),
        (Mode::Status(400, None), 1),
        (Mode::Status(503, None), 2),
    ] {
        let collector = Collector::start(mood);
        let (traces, outlet) = start_quick(&collector);
        outlet.send(login(1));
        wait_seen(&collector, usize::try_from(posts).unwrap());
        let losses = traces.losses();
        while losses.spans.load(Ordering::Relaxed) < 3 {
            thread::park_timeout(AGE);
        }
        collector.set(Mode::Up);
        outlet.send(login(2));
        assert_eq!(
            stop(traces, Duration::from_secs(5)),
            (Flush::Complete, 3, posts),
            "{mood:?}"
        );
        assert_eq!(spans(&collector).len(), 3, "the exporter goes on after {mood:?}");
    }
}

#[test]
fn spans_that_the_collector_rejects_are_counted() {
    let collector = Collector::start(Mode::Partial(2));
    let (traces, outlet) = start_quick(&collector);
    outlet.send(login(1));
    assert_eq!(stop(traces, Duration::from_secs(5)), (Flush::Complete, 2, 0));
}

#[test]
fn what_is_too_much_for_a_post_is_dropped_and_counted() {
    let collector = Collector::start(Mode::Up);
    let (traces, outlet) = start_quick(&collector);
    let mut endless = login(1);
    endless.spans[0].attributes = vec![("adapter_type", Value::Text("x".repeat(9_000_000).into()))];
    outlet.send(endless);
    let losses = traces.losses();
    while losses.spans.load(Ordering::Relaxed) < 3 {
        thread::park_timeout(AGE);
    }
    outlet.send(login(2));
    assert_eq!(stop(traces, Duration::from_secs(5)), (Flush::Complete, 3, 1));
    assert_eq!((collector.seen(), spans(&collector).len()), (1, 3));
}

#[test]
fn a_collector_that_asks_for_it_is_left_alone() {
    let collector = Collector::start(Mode::Status(429, Some(3_600)));
    let (traces, outlet) = start_quick(&collector);
    outlet.send(login(1));
    wait_seen(&collector, 1);
    let losses = traces.losses();
    while losses.spans.load(Ordering::Relaxed) < 3 {
        thread::park_timeout(AGE);
    }
    outlet.send(login(2));
    thread::park_timeout(10 * AGE);
    assert_eq!(collector.seen(), 1);
}

#[test]
fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let collector = Collector::start(Mode::Hang);
    let (traces, outlet) = start_quick(&collector);
    outlet.send(login(0));
    wait_seen(&collector, 1);
    let begun = Instant::now();
    let dropped: usize = (1..10_000).map(|number| outlet.send(login(number))).sum();
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "a shard waited {:?}",
        begun.elapsed()
    );
    assert!(dropped > 3 * 7_000, "the queue has no bound: {dropped} dropped");
    let begun = Instant::now();
    assert_eq!(stop(traces, Duration::from_millis(500)).0, Flush::Failed);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn the_exit_takes_no_longer_than_it_may() {
    for mood in [
        Mode::Slow(Duration::from_secs(60)),
        Mode::Status(503, None),
        Mode::Status(429, Some(86_400)),
        Mode::Endless,
    ] {
        let collector = Collector::start(mood);
        let (traces, outlet) = start_quick(&collector);
        (0..2_000).for_each(|number| {
            outlet.send(login(number));
        });
        let begun = Instant::now();
        stop(traces, Duration::from_secs(1));
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{mood:?}: {:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn a_collector_that_is_not_there_is_harmless() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = settings(format!("http://{address}/v1/traces"));
    let (traces, outlet) = start_with(&settings, "", AGE, PAUSE).unwrap();
    outlet.send(login(1));
    let (flush, dropped, failures) = stop(traces, Duration::from_secs(1));
    assert_eq!((flush, dropped), (Flush::Failed, 3));
    assert!(failures >= 1);
}
