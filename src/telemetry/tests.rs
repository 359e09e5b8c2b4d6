//! The telemetry thread against a collector in every mood.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use passage_proto::question::{AskError, Target};
use passage_shards::metrics::{ConnectionLabels, Exemplar, FailureStage, Meter, Reason, RequestType};

use super::otlp::receiver::{Mode, Receiver, attributes, histograms, metrics, numbers, total, whole};
use super::*;

mod faults;
mod losses;
mod series;
mod tls;

const INTERVAL: Duration = Duration::from_millis(50);

/// Operations of each shard in a test of exactness.
const OPERATIONS: u64 = 20_000;

fn settings(url: String) -> Settings {
    Settings {
        metrics: Some(Endpoint {
            url,
            token: Some(Token::new("dXNlcjpwYXNz")),
            trust: Trust::default(),
        }),
        traces: None,
        metrics_interval: INTERVAL,
        histograms: Shape::Explicit,
        label_limit: 2_000,
        client_ip_label: true,
        environment: "testing".into(),
        adapters: vec![
            (AdapterName::Status, AdapterType::Fixed),
            (AdapterName::Discovery, AdapterType::Dns),
        ],
    }
}

/// Starts with the interval of the tests, which is shorter than operators may choose.
fn start_quick(settings: &Settings) -> (Telemetry, Outlet) {
    let client = Client::new(Signal::Metrics, settings.metrics.as_ref().unwrap()).unwrap();
    let export = Export::new(client, otlp::message::resource(&settings.environment), INTERVAL)
        .unwrap()
        .with_shape(settings.histograms)
        .with_interval(INTERVAL);
    start_with(settings, Some(export), None).unwrap()
}

fn labels(ip: u32) -> ConnectionLabels<'static> {
    ConnectionLabels {
        client_ip: std::net::Ipv4Addr::from(ip).into(),
        route: Some("play.example.net"),
        protocol: Some(767),
    }
}

fn target(number: u64) -> Target {
    Target {
        identifier: format!("hub-{number}"),
        host: "hub.example.net".into(),
        port: 25565,
        priority: 0,
        meta: std::collections::BTreeMap::new(),
    }
}

/// Counts as a shard does, with hand-overs far more often.
fn work(meter: &mut Meter, operations: u64) {
    let targets = [target(0), target(1), target(2)];
    for step in 0..operations {
        meter.connection_opened();
        meter.connection_attempt(&labels(u32::try_from(step % 100).unwrap()));
        if step % 3 == 0 {
            meter.connection_failed(&labels(7), Reason::Denied, FailureStage::Login);
        }
        meter.request(
            RequestType::Status,
            AdapterType::Fixed,
            step % 5 != 0,
            Duration::from_nanos(step * 1_000),
        );
        meter.adapter(
            AdapterName::Strategy,
            AdapterType::Grpc,
            INTERVAL,
            (step % 4 == 0).then_some(AskError::Failed),
        );
        meter.target_selected(&targets[usize::try_from(step % 3).unwrap()]);
        meter.relay_bytes(step, 2 * step);
        if step % 2 == 0 {
            meter.connection_closed();
        }
        if step % 64 == 0 {
            meter.hand_over();
        }
    }
}

/// Runs shards on threads of their own, and says how long the slowest took.
fn run_shards(outlet: Outlet, shards: usize) -> Duration {
    let begun = Instant::now();
    let threads: Vec<_> = (0..shards)
        .map(|shard| {
            let outlet = outlet.clone();
            thread::spawn(move || work(&mut outlet.meter(shard), OPERATIONS))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    begun.elapsed()
}

fn assert_exact(receiver: &Receiver, shards: u64) {
    let last = receiver.last();
    let each = |part: u64| i64::try_from(shards * OPERATIONS.div_ceil(part)).unwrap();
    assert_eq!(total(&last, "passage_connections_total"), each(1));
    assert_eq!(total(&last, "passage_connections_failed"), each(3));
    assert_eq!(total(&last, "passage_connections_active"), each(1) - each(2));
    assert_eq!(total(&last, "passage_requests_total"), each(1));
    assert_eq!(total(&last, "passage_status_requests_total"), each(1));
    assert_eq!(total(&last, "passage_login_requests_total"), 0);
    assert_eq!(total(&last, "passage_adapter_requests_total"), each(1));
    assert_eq!(total(&last, "passage_adapter_errors_total"), each(4));
    assert_eq!(total(&last, "passage_target_selections_total"), each(1));
    let steps = OPERATIONS * (OPERATIONS - 1) / 2 * shards;
    assert_eq!(
        total(&last, "passage_relay_bytes_total"),
        i64::try_from(3 * steps).unwrap()
    );
    let requests = histograms(&last, "passage_request_duration_seconds");
    assert_eq!(
        requests.iter().map(|point| point.count).sum::<u64>(),
        shards * OPERATIONS
    );
    assert_eq!(
        requests
            .iter()
            .flat_map(|point| &point.bucket_counts)
            .sum::<u64>(),
        shards * OPERATIONS
    );
    let sum: f64 = requests.iter().filter_map(|point| point.sum).sum();
    assert!(
        (sum - Duration::from_micros(steps).as_secs_f64()).abs() < 1e-6,
        "{sum}"
    );
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(9)
}

#[test]
fn sums_over_shards_are_exact_with_the_collector_up() {
    let receiver = Receiver::start(Mode::Up);
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    run_shards(outlet, 3);
    assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
    assert_exact(&receiver, 3);
}

#[test]
fn a_collector_that_refuses_and_comes_back_gets_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (telemetry, outlet) = start_quick(&settings(format!("http://{address}/v1/metrics")));
    run_shards(outlet, 2);
    let receiver = Receiver::start_on(TcpListener::bind(address).unwrap(), Mode::Up);
    receiver.wait_taken(2);
    assert_exact(&receiver, 2);
    assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
    assert_exact(&receiver, 2);
    assert!(total(&receiver.last(), "passage_telemetry_export_failures_total") > 0);
}

#[test]
fn the_last_export_is_tried_again_while_there_is_time() {
    let receiver = Receiver::start(Mode::Status(503, None));
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    run_shards(outlet, 1);
    let exit = thread::spawn(move || telemetry.shutdown(deadline()));
    let seen = receiver.seen();
    while receiver.seen() < seen + 3 {
        thread::park_timeout(Duration::from_millis(5));
    }
    receiver.set(Mode::Up);
    assert_eq!(exit.join().unwrap(), Flush::Complete);
    assert_exact(&receiver, 1);
}

#[test]
fn shards_do_not_feel_a_collector_that_hangs() {
    let receiver = Receiver::start(Mode::Hang);
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    while receiver.seen() == 0 {
        thread::park_timeout(Duration::from_millis(5));
    }
    let mut meter = outlet.meter(0);
    // The boxes go on coming back while the post hangs.
    for _ in 0..100 {
        meter.connection_opened();
        meter.hand_over();
        thread::park_timeout(Duration::from_millis(2));
    }
    drop(meter);
    assert_eq!(receiver.seen(), 1, "exports pile up behind one that hangs");
    receiver.set(Mode::Up);
    assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
    let last = receiver.last();
    assert_eq!(total(&last, "passage_connections_active"), 100);
    assert!(
        total(&last, "passage_shard_telemetry_deferred_total") < 50,
        "boxes did not come back"
    );
}

#[test]
fn a_collector_that_asks_for_it_is_left_alone() {
    let receiver = Receiver::start(Mode::Status(429, Some(1)));
    let (telemetry, _outlet) = start_quick(&settings(receiver.url()));
    let begun = Instant::now();
    while receiver.seen() < 2 {
        thread::park_timeout(Duration::from_millis(5));
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(telemetry);
}

#[test]
fn an_endpoint_that_does_not_speak_tls_is_an_error_and_no_panic() {
    let receiver = Receiver::start(Mode::Up);
    let url = receiver.url().replace("http:", "https:");
    let client = Client::new(
        Signal::Metrics,
        &Endpoint {
            url,
            token: None,
            trust: Trust::default(),
        },
    )
    .unwrap();
    let error = client.post(b"", Duration::from_secs(2)).unwrap_err();
    assert!(
        error.is_passing() && error.to_string().starts_with("no answer: "),
        "{error}"
    );
}

#[test]
fn the_request_carries_the_token_and_says_who_exports() {
    let receiver = Receiver::start(Mode::Up);
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    drop(outlet);
    assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
    let head = receiver.heads().pop().unwrap();
    assert!(head.starts_with("post /v1/metrics http/1.1"), "{head}");
    for line in [
        "content-type: application/x-protobuf",
        "content-encoding: gzip",
        "authorization: basic dxnlcjpwyxnz",
    ] {
        assert!(head.lines().any(|got| got == line), "{line} is not in {head}");
    }
    let resource = receiver.last().resource_metrics[0].resource.clone().unwrap();
    let attributes = attributes(&resource.attributes);
    let instance = attributes
        .iter()
        .position(|text| text.starts_with("service.instance.id="))
        .unwrap();
    let rest: Vec<_> = attributes
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != instance)
        .map(|(_, text)| text)
        .collect();
    let version = concat!("service.version=", env!("CARGO_PKG_VERSION"));
    let expected = [
        "deployment.environment.name=testing",
        "deployment.environment=testing",
        "service.name=passage",
        "service.namespace=scrayosnet",
        version,
    ];
    assert_eq!(rest, expected);
}

#[test]
fn a_duration_is_shown_with_the_last_trace_of_its_series() {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    for shape in [Shape::Explicit, Shape::Exponential] {
        let receiver = Receiver::start(Mode::Up);
        let settings = Settings {
            histograms: shape,
            ..settings(receiver.url())
        };
        let (telemetry, outlet) = start_quick(&settings);
        let mut meter = outlet.meter(0);
        let (kind, adapter, took) = (RequestType::Status, AdapterType::Fixed, Duration::from_millis(20));
        meter.request(kind, adapter, true, took);
        for number in [1, 2] {
            let exemplar = Exemplar {
                took,
                trace: [number; 16],
                span: [number; 8],
                unix_nanoseconds: number.into(),
            };
            meter.request_exemplar(kind, adapter, true, exemplar);
        }
        drop(meter);
        assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
        let last = receiver.last();
        let name = "passage_request_duration_seconds";
        let data = metrics(&last)
            .find(|metric| metric.name == name)
            .unwrap()
            .data
            .clone();
        let exemplars: Vec<_> = match data.unwrap() {
            Data::Histogram(explicit) => {
                assert_eq!(shape, Shape::Explicit);
                explicit
                    .data_points
                    .into_iter()
                    .flat_map(|point| point.exemplars)
                    .collect()
            }
            Data::ExponentialHistogram(exponential) => {
                assert_eq!(shape, Shape::Exponential);
                let sums = exponential.data_points.iter().filter_map(|point| point.sum);
                assert!((sums.sum::<f64>() - 0.02).abs() < 1e-12);
                let points = exponential.data_points.into_iter();
                points.flat_map(|point| point.exemplars).collect()
            }
            other => panic!("{other:?}"),
        };
        let [exemplar] = &exemplars[..] else {
            panic!("{exemplars:?}")
        };
        assert_eq!(
            (&*exemplar.trace_id, &*exemplar.span_id),
            (&[2; 16][..], &[2; 8][..])
        );
    }
}

#[test]
fn nothing_is_exported_without_an_endpoint() {
    let (telemetry, outlets) = start(Settings {
        metrics: None,
        ..settings(String::new())
    })
    .unwrap();
    run_shards(outlets.metrics, 1);
    assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
}

#[test]
fn an_endpoint_that_is_none_is_refused_with_the_reason() {
    let refused = |url: &str| match Client::new(
        Signal::Metrics,
        &Endpoint {
            url: url.into(),
            token: None,
            trust: Trust::default(),
        },
    ) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{url} is accepted"),
    };
    assert!(refused("otlp.example.net/v1/metrics").contains("has no scheme"));
    assert!(refused("grpc://otlp.example.net:4317").contains("expected http or https"));
    assert!(refused("http://").contains("otel.metrics_endpoint"));
    let token = Some(Token::new("line\nbreak"));
    let error = Client::new(
        Signal::Metrics,
        &Endpoint {
            url: "http://otlp.example.net".into(),
            token: token.clone(),
            trust: Trust::default(),
        },
    )
    .unwrap_err();
    assert!(matches!(error, StartError::Token(Signal::Metrics)));
    assert!(!format!("{error} {token:?}").contains("break"));
}

#[test]
fn a_log_line_about_the_endpoint_has_no_secrets() {
    let url = "https://user:secret@otlp.example.net:4318/v1/metrics?key=secret";
    let client = Client::new(
        Signal::Metrics,
        &Endpoint {
            url: url.into(),
            token: Some(Token::new("c2VjcmV0")),
            trust: Trust::default(),
        },
    )
    .unwrap();
    assert_eq!(client.endpoint(), "https://otlp.example.net:4318/v1/metrics");
    assert!(!format!("{client:?}").contains("c2VjcmV0"));
}
