//! `passage top` against a running admin listener, and against everything that is none.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use passage_shards::metrics::{AdapterType, RequestType};

use super::*;
use crate::telemetry::admin::{self, Admin};
use crate::telemetry::{Settings, start};

fn failure(result: Result<String, Ending>) -> String {
    let ending = result.err().unwrap();
    assert_eq!(ending.code, 1);
    ending.failure
}

#[test]
fn one_table_tells_what_the_shards_do() {
    let settings = Settings {
        metrics: None,
        traces: None,
        metrics_interval: Duration::from_secs(15),
        histograms: crate::telemetry::Shape::Explicit,
        label_limit: 100,
        client_ip_label: true,
        environment: String::new(),
        adapters: Vec::new(),
    };
    let (telemetry, outlets) = start(settings).unwrap();
    let admin = Admin::start(
        admin::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
        &telemetry,
        &std::sync::Arc::default(),
    )
    .unwrap();
    telemetry.shards(2);
    let mut meter = outlets.metrics.meter(1);
    for _ in 0..50 {
        meter.connection_opened();
        meter.request(
            RequestType::Login,
            AdapterType::Fixed,
            true,
            Duration::from_millis(20),
        );
    }
    meter.hand_over();
    let source = Source::new(admin.address().to_string());
    let text = once(&source, Duration::from_millis(50)).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1][..2], ["50", "connections,"], "{text}");
    assert_eq!(rows[4][..5], ["0", "0", "0", "-", "-"], "{text}");
    assert_eq!(rows[5][..2], ["1", "50"], "{text}");
    assert!(rows[5][3].starts_with("20."), "{text}");
    assert_eq!(rows[6][..2], ["all", "50"], "{text}");
    drop((telemetry, meter));
}

#[test]
fn without_an_admin_listener_it_is_told_how_to_switch_it_on() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = failure(configured(Some(file.path())));
    for part in ["[admin]", "PASSAGE_ADMIN_ADDRESS=127.0.0.1:9464", "--address"] {
        assert!(text.contains(part), "{text}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = failure(once(&Source::new(closed.to_string()), Duration::ZERO));
    assert!(text.starts_with(&format!("no answer from {closed}: ")), "{text}");
    assert!(text.contains("[admin]"), "{text}");
}

#[test]
fn an_address_for_all_interfaces_is_reached_on_the_loopback() {
    let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
    assert_eq!(reached("0.0.0.0:9464"), "127.0.0.1:9464");
    assert_eq!(reached("[::]:9464"), "[::1]:9464");
    assert_eq!(reached("192.0.2.1:1"), "192.0.2.1:1");
}

/// Answers one request with these bytes.
fn stranger(answer: &'static str) -> Source {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1_024]);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    Source::new(address.to_string())
}

#[test]
fn what_is_no_passage_is_called_so() {
    let text = |answer| failure(once(&stranger(answer), Duration::ZERO));
    let html = text("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>");
    assert!(html.contains("is no admin listener of Passage: line 1"), "{html}");
    let other = text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup 1\n");
    assert!(other.contains("not those of Passage"), "{other}");
    let error = text("HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nnot\x1bnow\r\n");
    assert!(error.ends_with("answered 503: notnow"), "{error:?}");
}

#[test]
fn history_covers_the_window_and_no_restart() {
    let at = |seconds| Snapshot {
        uptime: Duration::from_secs(seconds),
        ..Snapshot::default()
    };
    let mut history = VecDeque::from([at(0)]);
    for second in 1..=20 {
        remember(&mut history, at(second), Duration::from_secs(1));
    }
    let ends = |history: &VecDeque<Snapshot>| [0, history.len() - 1].map(|at| history[at].uptime.as_secs());
    assert_eq!(ends(&history), [15, 20]);
    remember(&mut history, at(30), Duration::from_secs(1));
    assert_eq!(ends(&history), [20, 30]);
    remember(&mut history, at(1), Duration::from_secs(1));
    assert_eq!(ends(&history), [1, 1]);
}
