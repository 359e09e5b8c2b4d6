//! Log lines against a collector, and against collectors that misbehave.

use std::io;
use std::thread;

use tracing::{info, warn};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::super::Format;
use super::super::line::LineLayer;
use super::super::writer::LINES_MAX;
use super::*;
use crate::telemetry::Token;
use crate::telemetry::otlp::receiver::{Mode, Receiver as Collector, attributes};
use crate::tls::Trust;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn start_at(collector: &Collector) -> Export {
    let endpoint = Endpoint {
        url: format!("http://{}/v1/logs", collector.address),
        token: Some(Token::new("dXNlcjpwYXNzd29yZA==")),
        trust: Trust::default(),
    };
    Export::start(&endpoint, "production").unwrap()
}

fn end(export: &Export, deadline: Instant) -> bool {
    export.stop(deadline).recv_deadline(deadline).is_ok()
}

fn log(export: &Export, format: Format, log: impl FnOnce()) {
    let queue = Queue::start(io::sink(), format, None).unwrap();
    let layer = LineLayer::new(format, queue, Some(export.clone()));
    tracing::subscriber::with_default(Registry::default().with(layer), log);
}

fn requests(collector: &Collector) -> Vec<ExportLogsServiceRequest> {
    let bodies = collector.bodies();
    let decode = |body: &Vec<u8>| ExportLogsServiceRequest::decode(&body[..]).unwrap();
    bodies.iter().map(decode).collect()
}

fn records(collector: &Collector) -> Vec<LogRecord> {
    let resources = requests(collector)
        .into_iter()
        .flat_map(|request| request.resource_logs);
    let scopes = resources.flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

#[test]
fn a_record_has_all_that_its_line_has() {
    for format in [Format::Json, Format::Human { colours: true }] {
        let collector = Collector::start(Mode::Up);
        let export = start_at(&collector);
        log(&export, format, || {
            warn!(
                client_ip = "192.0.2.7",
                count = 3,
                share = 0.5,
                yes = true,
                trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
                span_id = "00f067aa0ba902b7",
                "hostile \"\u{1b}[31m"
            );
        });
        assert!(end(&export, soon()));
        let [record] = &records(&collector)[..] else {
            panic!("one record")
        };
        let body = record.body.as_ref().unwrap().value.clone().unwrap();
        assert_eq!(body, Any::StringValue("hostile \"\u{1b}[31m".into()));
        assert_eq!((record.severity_number, &*record.severity_text), (13, "WARN"));
        assert_eq!((record.trace_id.len(), record.trace_id[0]), (16, 0x4b));
        assert_eq!((record.span_id.len(), record.span_id[7]), (8, 0xb7));
        let age = record.observed_time_unix_nano.abs_diff(record.time_unix_nano);
        assert!(age < 20_000_000_000, "{age}");
        let values: Vec<_> = record
            .attributes
            .iter()
            .map(|one| (&*one.key, one.value.clone().unwrap().value.unwrap()))
            .collect();
        let expected = [
            ("client_ip", Any::StringValue("192.0.2.7".into())),
            ("count", Any::IntValue(3)),
            ("share", Any::DoubleValue(0.5)),
            ("yes", Any::BoolValue(true)),
            ("target", Any::StringValue(module_path!().into())),
        ];
        assert_eq!(values.len(), expected.len());
        assert!(expected.iter().all(|one| values.contains(one)), "{values:?}");
        let request = &requests(&collector)[0];
        let resource = request.resource_logs[0].resource.as_ref().unwrap();
        assert!(attributes(&resource.attributes).contains(&"service.name=passage".into()));
        let head = &collector.heads()[0];
        assert!(
            head.starts_with("post /v1/logs ") && head.contains("content-encoding: gzip"),
            "{head}"
        );
        assert!(head.contains("authorization: basic "), "{head}");
    }
}

#[test]
fn what_a_failing_export_says_is_written_and_not_exported() {
    let collector = Collector::start(Mode::Status(503, None));
    let export = start_at(&collector);
    // The exporter's own thread complains of each refusal; as a stand-in for it, this thread does.
    EXPORTS.set(true);
    log(&export, Format::Json, || warn!("logs were not exported"));
    EXPORTS.set(false);
    log(&export, Format::Json, || info!("a player came"));
    collector.set(Mode::Up);
    assert!(end(&export, soon()));
    let bodies = records(&collector);
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[test]
fn nothing_is_lost_while_the_collector_is_away_for_a_while() {
    let collector = Collector::start(Mode::Status(503, None));
    let export = start_at(&collector);
    log(&export, Format::Json, || {
        (0..700).for_each(|number| info!(number))
    });
    while collector.seen() == 0 {
        thread::park_timeout(Duration::from_millis(10));
    }
    collector.set(Mode::Up);
    assert!(end(&export, soon()));
    assert_eq!((records(&collector).len(), export.loss().dropped), (700, 0));
}

#[test]
fn a_collector_that_hangs_costs_records_beyond_the_bound_and_no_time() {
    let collector = Collector::start(Mode::Hang);
    let export = start_at(&collector);
    let begun = Instant::now();
    let line = "{\"message\":\"\"}";
    (0..2 * LINES_MAX).for_each(|_| export.push(line));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let kept = (2 * LINES_MAX) as u64 - export.loss().dropped;
    assert!(
        (LINES_MAX as u64..=(LINES_MAX + 2 * RECORDS_MAX) as u64).contains(&kept),
        "{kept} kept"
    );
    let begun = Instant::now();
    assert!(!end(&export, begun + Duration::from_millis(300)));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn what_the_collector_never_takes_is_dropped_and_counted() {
    for (mode, dropped, failed) in [(Mode::Status(400, None), 5, 1), (Mode::Partial(2), 2, 0)] {
        let collector = Collector::start(mode);
        let export = start_at(&collector);
        (0..5).for_each(|_| export.push("{\"message\":\"\"}"));
        assert!(end(&export, soon()));
        assert_eq!(export.loss(), Loss { dropped, failed }, "{mode:?}");
    }
}
