//! The admin listener over real sockets, in every state of what it tells about.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use passage_shards::metrics::{
    AdapterName, AdapterType, ConnectionLabels, FailureStage, Meter, Outlet, Reason, RequestType,
};

use super::server::CONNECTIONS_MAX;
use super::*;
use crate::cli::top::samples::{self, Sample};
use crate::telemetry::otlp::receiver::{Mode, Receiver, numbers, total, whole};
use crate::telemetry::{Endpoint, Flush, Settings, start};
use crate::tls::Trust;
use crate::watch::SILENCE_MAX;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct Process {
    telemetry: Telemetry,
    outlet: Outlet,
    admin: Admin,
    watch: Arc<Watch>,
}

fn process(metrics: Option<String>) -> Process {
    let settings = Settings {
        metrics: metrics.map(|url| Endpoint {
            url,
            token: None,
            trust: Trust::default(),
        }),
        traces: None,
        metrics_interval: Duration::from_secs(1),
        histograms: crate::telemetry::Shape::Explicit,
        label_limit: 50,
        client_ip_label: true,
        environment: "testing".into(),
        adapters: vec![(AdapterName::Status, AdapterType::Fixed)],
    };
    let (telemetry, outlets) = start(settings).unwrap();
    let watch = Arc::<Watch>::default();
    telemetry.watch(&watch);
    let admin = Admin::start(bind(LOOPBACK).unwrap(), &telemetry, &watch).unwrap();
    Process {
        watch,
        telemetry,
        outlet: outlets.metrics,
        admin,
    }
}

/// Sends bytes and reads what comes until the other end closes.
fn converse(admin: &Admin, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(admin.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Status and body of a page.
fn page(admin: &Admin, path: &str) -> (u16, String) {
    let answer = converse(
        admin,
        format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
    );
    split(&answer)
}

fn split(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn scrape(admin: &Admin) -> Vec<Sample> {
    let (status, text) = page(admin, "/metrics");
    assert_eq!(status, 200, "{text}");
    samples::parse(&text).unwrap()
}

/// The answer to a client that takes OpenMetrics.
fn scrape_as_open_metrics(admin: &Admin) -> String {
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    converse(
        admin,
        format!("GET /metrics HTTP/1.1\r\n{accept}\r\n\r\n").as_bytes(),
    )
}

fn scrape_as_prometheus(admin: &Admin) -> Vec<Sample> {
    let request = "GET /metrics HTTP/1.1\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n";
    samples::parse(&split(&converse(admin, request.as_bytes())).1).unwrap()
}

fn sum(samples: &[Sample], name: &str) -> f64 {
    let named = samples.iter().filter(|sample| sample.name == name);
    named.map(|sample| sample.value).sum()
}

fn count(meter: &mut Meter, shard: u64, operations: u64) {
    for step in 0..operations {
        let labels = ConnectionLabels {
            client_ip: std::net::Ipv4Addr::from(u32::try_from(step % 100).unwrap()).into(),
            route: Some("play.\"example\\net"),
            protocol: Some(767),
        };
        meter.connection_opened();
        meter.connection_attempt(&labels);
        if step % 3 == 0 {
            meter.connection_failed(&labels, Reason::Denied, FailureStage::Login);
            meter.connection_rate_limited(&labels);
        }
        let took = Duration::from_micros(step * 100 * (shard + 1));
        meter.request(RequestType::Status, AdapterType::Fixed, step % 5 != 0, took);
        meter.relay_bytes(step, 2 * step);
        if step % 64 == 0 {
            meter.hand_over();
        }
    }
}

#[test]
fn who_takes_open_metrics_gets_the_same_numbers_in_it() {
    let Process {
        telemetry,
        outlet,
        admin,
        ..
    } = process(None);
    count(&mut outlet.clone().meter(0), 0, 100);
    drop(outlet);
    let plain = converse(&admin, b"GET /metrics HTTP/1.1\r\n\r\n");
    assert!(
        plain.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{plain}"
    );
    let open = scrape_as_open_metrics(&admin);
    assert!(
        open.contains(
            "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Length: "
        ),
        "{open}"
    );
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    assert!(!plain.contains("# EOF"), "{plain}");
    let samples = |answer: &str| {
        let samples = samples::parse(&split(answer).1).unwrap().into_iter();
        // Time goes by between the two.
        samples
            .filter(|sample| sample.name != "passage_uptime_seconds" && !sample.labels.contains_key("le"))
            .map(|sample| (sample.name, sample.labels, sample.value.to_bits()))
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(samples(&plain), samples(&open));
    assert!(samples(&open).len() > 50);
    drop(telemetry);
}

#[test]
fn a_scrape_has_the_totals_that_the_collector_gets() {
    let receiver = Receiver::start(Mode::Up);
    let Process {
        telemetry,
        outlet,
        admin,
        ..
    } = process(Some(receiver.url()));
    telemetry.shards(2);
    for shard in 0..2 {
        let mut meter = outlet.clone().meter(shard);
        count(&mut meter, shard as u64, 3_000);
    }
    drop(outlet);
    let scraped = scrape(&admin);
    assert_eq!(
        telemetry.shutdown(Instant::now() + Duration::from_secs(5)),
        Flush::Complete
    );
    let exported = receiver.last();
    for name in [
        "passage_connections_total",
        "passage_connections_active",
        "passage_connections_failed",
        "passage_connections_rate_limited",
        "passage_requests_total",
        "passage_status_requests_total",
        "passage_relay_bytes_total",
        "passage_shard_requests_total",
        "passage_shard_relay_bytes_total",
        "passage_shard_rate_limited_total",
        "passage_adapter_errors_total",
    ] {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let expected = total(&exported, name) as f64;
        assert_eq!(sum(&scraped, name), expected, "{name}");
        let points = scraped.iter().filter(|sample| sample.name == name).count();
        assert_eq!(points, numbers(&exported, name).len(), "{name}");
    }
    assert_eq!(sum(&scraped, "passage_connections_total"), 6_000.0);
    assert_eq!(sum(&scraped, "passage_shard_rate_limited_total"), 2_000.0);
    assert_eq!(sum(&scraped, "passage_request_duration_seconds_count"), 6_000.0);
    let overflow = scraped
        .iter()
        .filter(|sample| sample.labels.contains_key("otel_metric_overflow"));
    assert_eq!(overflow.count(), 3, "one a connection metric");
    assert!(
        scraped
            .iter()
            .any(|sample| sample.labels.get("server_address").map(String::as_str)
                == Some("play.\"example\\net"))
    );
    let quantile = |shard: &str| {
        let mut all = scraped
            .iter()
            .filter(|s| s.name == "passage_shard_request_quantile_seconds");
        all.find(|s| s.labels["shard"] == shard && s.labels["rank"] == "0.5")
            .unwrap()
            .value
    };
    let (first, second) = (quantile("0"), quantile("1"));
    assert!(
        (0.14..0.17).contains(&first) && (0.28..0.33).contains(&second),
        "{first} {second}"
    );
}

#[test]
fn a_scrape_takes_no_birth_away_from_the_collector_nor_from_another_scraper() {
    let receiver = Receiver::start(Mode::Up);
    let Process {
        telemetry,
        outlet,
        admin,
        ..
    } = process(Some(receiver.url()));
    receiver.wait_taken(1);
    let name = "passage_connections_total";
    assert_eq!(sum(&scrape_as_prometheus(&admin), name), 0.0);
    let mut meter = outlet.meter(0);
    count(&mut meter, 0, 1);
    meter.hand_over();
    assert_eq!(
        sum(&scrape(&admin), name),
        1.0,
        "who keeps no history sees what is"
    );
    assert_eq!(sum(&scrape_as_prometheus(&admin), name), 0.0, "new to Prometheus");
    assert_eq!(sum(&scrape_as_prometheus(&admin), name), 1.0);
    receiver.wait_taken(4);
    let taken = receiver.taken();
    let values = taken.iter().flat_map(|request| numbers(request, name)).map(whole);
    assert_eq!(values.take(2).collect::<Vec<_>>(), [0, 1]);
    drop((telemetry, meter));
}

#[test]
fn scrapes_beside_busy_shards_only_grow_and_end_exact() {
    let Process {
        telemetry,
        outlet,
        admin,
        ..
    } = process(None);
    let shards: Vec<_> = (0..2)
        .map(|shard| {
            let outlet = outlet.clone();
            thread::spawn(move || count(&mut outlet.meter(shard), shard as u64, 100_000))
        })
        .collect();
    let mut last = 0.0;
    while shards.iter().any(|shard| !shard.is_finished()) {
        let now = sum(&scrape(&admin), "passage_connections_total");
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
    shards.into_iter().for_each(|shard| shard.join().unwrap());
    assert_eq!(sum(&scrape(&admin), "passage_connections_total"), 200_000.0);
    drop(telemetry);
}

#[test]
fn probes_tell_every_state() {
    let Process {
        telemetry,
        admin,
        watch,
        ..
    } = process(None);
    assert_eq!(page(&admin, "/readyz"), (503, "starting\n".into()));
    assert_eq!(page(&admin, "/livez"), (200, "alive\n".into()));
    admin.ready();
    assert_eq!(page(&admin, "/readyz?verbose"), (200, "ready\n".into()));
    let (moving, stuck) = (
        Arc::<Pulse>::default(),
        Arc::new(Pulse::born_before(SILENCE_MAX * 2)),
    );
    let (gone, courier) = (Arc::<Pulse>::default(), Arc::new(Pulse::resting()));
    gone.retire();
    for (number, pulse) in [&moving, &stuck, &gone].into_iter().enumerate() {
        watch.add(Part::Shard, Some(number), Arc::clone(pulse));
    }
    watch.add(Part::Metrics, None, Arc::clone(&courier));
    let (status, text) = page(&admin, "/livez");
    assert_eq!((status, text.lines().count()), (503, 1), "{text}");
    assert!(text.starts_with("shard 1 has stood still for "), "{text}");
    assert_eq!(page(&admin, "/readyz").0, 200);
    stuck.beat();
    assert_eq!(page(&admin, "/livez"), (200, "alive\n".into()));
    courier.die();
    let text = "alive\nthe otlp-metrics thread has died\n";
    assert_eq!(
        page(&admin, "/livez"),
        (200, text.into()),
        "players go on playing"
    );
    gone.die();
    assert_eq!(
        page(&admin, "/livez"),
        (503, "shard 2 has died\nthe otlp-metrics thread has died\n".into())
    );
    gone.retire();
    admin.draining();
    assert_eq!(page(&admin, "/readyz"), (503, "draining\n".into()));
    assert_eq!(page(&admin, "/livez").0, 200);
    drop(telemetry);
}

#[test]
fn other_requests_are_refused_with_the_reason() {
    let Process { telemetry, admin, .. } = process(None);
    assert_eq!(page(&admin, "/").0, 404);
    assert_eq!(page(&admin, "/metrics/../etc/passwd").0, 404);
    let answer = converse(&admin, b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: GET, HEAD\r\n"),
        "{answer}"
    );
    assert!(converse(&admin, b"\x16\x03\x01\x00\xa5\x01\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let long = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    assert!(converse(&admin, long.as_bytes()).starts_with("HTTP/1.1 431 "));
    for path in ["/livez", "/metrics", "/nothing"] {
        let answer = converse(&admin, format!("HEAD {path} HTTP/1.0\r\n\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("Content-Length: ") && !head.contains("Content-Length: 0"),
            "{head}"
        );
        assert_eq!(body, "", "{path}");
    }
    drop(telemetry);
}

#[test]
fn who_holds_all_places_keeps_nobody_out() {
    let Process { telemetry, admin, .. } = process(None);
    let mut slow: Vec<_> = (0..CONNECTIONS_MAX * 3)
        .map(|_| {
            let mut stream = TcpStream::connect(admin.address()).unwrap();
            // Whoever has lost its place already may be told so.
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nx: ");
            stream
        })
        .collect();
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(page(&admin, "/livez").0, 200);
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        for stream in &mut slow {
            let _ = stream.write_all(b"y");
        }
    }
    drop(telemetry);
}

#[test]
fn a_request_that_never_ends_is_ended() {
    let Process { telemetry, admin, .. } = process(None);
    let begun = Instant::now();
    let answer = converse(&admin, b"GET /livez HTTP/1.1\r\n");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let took = begun.elapsed();
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(9)).contains(&took),
        "{took:?}"
    );
    drop(telemetry);
}

#[test]
fn a_scrape_without_a_telemetry_thread_is_refused_and_probes_are_answered() {
    let Process { telemetry, admin, .. } = process(None);
    assert_eq!(
        telemetry.shutdown(Instant::now() + Duration::from_secs(5)),
        Flush::Complete
    );
    let (status, text) = page(&admin, "/metrics");
    assert_eq!((status, text.as_str()), (503, "the telemetry thread has ended\n"));
    assert_eq!(page(&admin, "/livez").0, 200, "it ended as it should");
}

#[test]
fn a_taken_port_names_the_key_and_the_fix() {
    let taken = bind(LOOPBACK).unwrap();
    let error = bind(taken.local_addr().unwrap()).unwrap_err().to_string();
    assert!(
        error.starts_with("admin.address: cannot listen on 127.0.0.1:"),
        "{error}"
    );
    assert!(error.contains("PASSAGE_ADMIN_ADDRESS"), "{error}");
}
