//! The whole table of metrics, as it is exported.

use std::fmt::Write;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, NumberDataPoint};
use passage_proto::question::Target;
use passage_shards::metrics::{Bound, ConnectionLabels, FailureStage, Options, Outlet, Reason, TURNS};
use prost::Message;

use super::*;
use crate::telemetry::instruments;
use crate::telemetry::otlp::message;
use crate::telemetry::otlp::receiver::{attributes, histograms, metrics, numbers};

/// Name, kind, unit and attribute keys of every metric, in the order of the export. Binding: the monitoring
/// guide's queries depend on every word.
const TABLE: &str = "\
passage_connections_total | monotonic cumulative sum, int | '' | client_ip protocol_version server_address
passage_connections_active | gauge, int | '' |
passage_connections_failed | cumulative sum, int | '' | client_ip protocol_version server_address
passage_connections_rate_limited | cumulative sum, int | '' | client_ip protocol_version server_address
passage_requests_total | monotonic cumulative sum, int | '' | adapter_type request_type result
passage_status_requests_total | monotonic cumulative sum, int | '' | adapter_type request_type result
passage_login_requests_total | monotonic cumulative sum, int | '' | adapter_type request_type result
passage_request_duration_seconds | cumulative histogram | 's' | adapter_type request_type result
passage_adapter_requests_total | monotonic cumulative sum, int | '' | adapter_name adapter_type error_type
passage_adapter_errors_total | monotonic cumulative sum, int | '' | adapter_name adapter_type error_type
passage_adapter_duration_seconds | cumulative histogram | 's' | adapter_name adapter_type error_type
passage_targets_discovered | gauge, int | '' |
passage_target_selections_total | monotonic cumulative sum, int | '' | target_address target_identifier
passage_target_connections_total | monotonic cumulative sum, int | '' | target_address target_identifier
passage_target_connection_failures_total | monotonic cumulative sum, int | '' \
| target_address target_identifier
passage_relay_bytes_total | monotonic cumulative sum, int | '' | direction
passage_relay_duration_seconds | cumulative histogram | 's' |
passage_shard_connections | gauge, int | '' | shard
passage_shard_requests_total | monotonic cumulative sum, int | '' | shard
passage_shard_request_quantile_seconds | gauge, double | 's' | rank shard
passage_shard_relay_bytes_total | monotonic cumulative sum, int | '' | direction shard
passage_shard_rate_limited_total | monotonic cumulative sum, int | '' | shard
passage_shard_loop_lag_seconds | gauge, double | 's' | shard
passage_shard_turn_duration_seconds | cumulative histogram | 's' | shard
passage_shard_queue_depth | gauge, int | '' | shard
passage_shard_failures_total | monotonic cumulative sum, int | '' | reason shard stage
passage_shard_shed_total | monotonic cumulative sum, int | '' | bound shard
passage_shard_cut_total | monotonic cumulative sum, int | '' | bound shard
passage_shard_shortages_total | monotonic cumulative sum, int | '' | bound shard
passage_shard_relay_memory_bytes | gauge, int | '' | shard
passage_shard_accept_failures_total | monotonic cumulative sum, int | '' | shard
passage_shard_panics_total | monotonic cumulative sum, int | '' | shard
passage_shard_telemetry_deferred_total | monotonic cumulative sum, int | '' | shard
passage_thread_failures_total | monotonic cumulative sum, int | '' | thread
passage_uptime_seconds | gauge, double | 's' |
passage_version_info | gauge, int | '' | version
passage_telemetry_dropped_total | monotonic cumulative sum, int | '' | signal
passage_telemetry_export_failures_total | monotonic cumulative sum, int | '' | signal
";

/// An aggregate in which every instrument has a point.
fn full() -> Aggregate {
    let (outlet, arrivals) = Outlet::new(Options::default());
    let mut meter = outlet.meter(1);
    let target = Target {
        identifier: "hub-1".into(),
        host: "2001:db8::1".into(),
        port: 25565,
        priority: 0,
        meta: BTreeMap::new(),
    };
    let labels = ConnectionLabels {
        client_ip: [192, 0, 2, 1].into(),
        route: Some("*.example.net"),
        protocol: Some(47),
    };
    meter.connection_opened();
    meter.connection_attempt(&labels);
    let strange = ConnectionLabels {
        route: None,
        protocol: Some(-1),
        ..labels
    };
    meter.connection_failed(&strange, Reason::NoRoute, FailureStage::Login);
    meter.connection_rate_limited(&ConnectionLabels {
        route: None,
        protocol: None,
        ..labels
    });
    meter.request(
        RequestType::Status,
        AdapterType::Http,
        true,
        Duration::from_micros(1_500),
    );
    meter.request(
        RequestType::Login,
        AdapterType::None,
        false,
        Duration::from_secs(11),
    );
    meter.adapter(
        AdapterName::Authentication,
        AdapterType::Mojang,
        Duration::ZERO,
        None,
    );
    meter.adapter(
        AdapterName::Discovery,
        AdapterType::Agones,
        Duration::ZERO,
        Some(AskError::TimedOut),
    );
    meter.target_selected(&target);
    meter.target_connected(&target);
    meter.target_connection_failed(&target);
    meter.relay_bytes(10, 20);
    meter.relay_closed(Duration::from_secs(90));
    meter.shed(Bound::Logins);
    meter.panicked();
    let mut turns = Durations::new(&TURNS);
    turns.record(Duration::from_millis(3));
    meter.turns(&turns);
    meter.queue_depth(4);
    drop(meter);
    let mut aggregate = Aggregate::new(2_000, &[]);
    arrivals.iter().for_each(|deltas| aggregate.merge(&deltas));
    aggregate
}

fn exported(aggregate: &Aggregate, reading: Reading) -> ExportMetricsServiceRequest {
    let families = aggregate.read(Surroundings::default(), reading);
    let bytes = message::encode(
        &families,
        &message::resource("testing"),
        message::Shape::Explicit,
        1_000,
        2_000,
    );
    ExportMetricsServiceRequest::decode(&bytes[..]).unwrap()
}

#[test]
fn the_table_of_metrics_is_the_agreed_one() {
    let request = exported(&full(), Reading::Final);
    let mut table = String::new();
    for metric in metrics(&request) {
        let (kind, keys) = kind_and_keys(metric.data.as_ref().unwrap());
        let unit = &metric.unit;
        writeln!(table, "{} | {kind} | '{unit}' | {keys}", metric.name).unwrap();
        assert!(!metric.description.is_empty());
    }
    assert_eq!(table.replace("| \n", "|\n"), TABLE);
    assert_eq!(
        metrics(&request).count(),
        instruments::ALL.len(),
        "an instrument has no point"
    );
}

fn kind_and_keys(data: &Data) -> (String, String) {
    let cumulative = AggregationTemporality::Cumulative as i32;
    let (kind, labels): (String, Vec<_>) = match data {
        Data::Sum(sum) => {
            assert_eq!(sum.aggregation_temporality, cumulative);
            assert!(
                sum.data_points
                    .iter()
                    .all(|point| point.start_time_unix_nano == 1_000)
            );
            let monotonic = if sum.is_monotonic { "monotonic " } else { "" };
            let kind = format!("{monotonic}cumulative sum, {}", number_kind(&sum.data_points));
            (
                kind,
                sum.data_points.iter().map(|point| &point.attributes).collect(),
            )
        }
        Data::Gauge(gauge) => {
            let kind = format!("gauge, {}", number_kind(&gauge.data_points));
            (
                kind,
                gauge.data_points.iter().map(|point| &point.attributes).collect(),
            )
        }
        Data::Histogram(histogram) => {
            assert_eq!(histogram.aggregation_temporality, cumulative);
            let points = &histogram.data_points;
            assert!(
                points
                    .iter()
                    .all(|point| point.start_time_unix_nano == 1_000 && point.time_unix_nano == 2_000)
            );
            (
                "cumulative histogram".into(),
                points.iter().map(|point| &point.attributes).collect(),
            )
        }
        other => panic!("{other:?}"),
    };
    let mut keys: Vec<_> = labels
        .into_iter()
        .flatten()
        .map(|attribute| attribute.key.clone())
        .collect();
    keys.sort();
    keys.dedup();
    (kind, keys.join(" "))
}

fn number_kind(points: &[NumberDataPoint]) -> &'static str {
    assert!(points.iter().all(|point| point.time_unix_nano == 2_000));
    let ints = points
        .iter()
        .filter(|point| matches!(point.value, Some(Number::AsInt(_))))
        .count();
    match (ints, points.len()) {
        (0, _) => "double",
        (ints, all) if ints == all => "int",
        _ => "mixed",
    }
}

#[test]
fn every_point_has_labels_of_its_instrument_only() {
    let aggregate = full();
    for family in aggregate.read(Surroundings::default(), Reading::Final) {
        for point in &family.points {
            let keys: Vec<_> = point.labels.iter().map(|(key, _)| *key).collect();
            assert!(
                keys.iter().all(|key| family.instrument.labels.contains(key)),
                "{}",
                family.instrument.name
            );
        }
    }
}

#[test]
fn label_values_are_those_of_the_guide() {
    let request = exported(&full(), Reading::Final);
    let of = |name| {
        numbers(&request, name)
            .iter()
            .map(|point| attributes(&point.attributes))
            .collect::<Vec<_>>()
    };
    let connections = of("passage_connections_total");
    assert_eq!(
        connections,
        [[
            "client_ip=192.0.2.1",
            "protocol_version=47",
            "server_address=*.example.net"
        ]]
    );
    for name in ["passage_connections_failed", "passage_connections_rate_limited"] {
        assert_eq!(
            of(name),
            [[
                "client_ip=192.0.2.1",
                "protocol_version=other",
                "server_address=other"
            ]]
        );
    }
    let targets = of("passage_target_selections_total");
    assert_eq!(
        targets,
        [["target_address=[2001:db8::1]:25565", "target_identifier=hub-1"]]
    );
    assert_eq!(
        of("passage_version_info"),
        [[concat!("version=", env!("CARGO_PKG_VERSION"))]]
    );
    let status = of("passage_status_requests_total");
    assert_eq!(
        status,
        [["adapter_type=http", "request_type=status", "result=success"]]
    );
    let adapters = of("passage_adapter_requests_total");
    assert!(adapters.contains(&vec![
        "adapter_name=authentication".into(),
        "adapter_type=mojang".into()
    ]));
    let failed = [
        "adapter_name=discovery",
        "adapter_type=agones",
        "error_type=timed_out",
    ];
    assert!(adapters.contains(&failed.map(String::from).into()));
}

#[test]
fn a_histogram_has_the_bounds_of_the_alerts_and_exact_values() {
    let request = exported(&full(), Reading::Final);
    let points = histograms(&request, "passage_request_duration_seconds");
    let status = points.iter().find(|point| point.max == Some(0.001_5)).unwrap();
    let bounds = [
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0,
    ];
    assert_eq!(status.explicit_bounds, bounds);
    assert_eq!(
        (status.count, status.sum, status.min),
        (1, Some(0.001_5), Some(0.001_5))
    );
    assert_eq!(
        status.bucket_counts,
        [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    let login = points.iter().find(|point| point.max == Some(11.0)).unwrap();
    assert_eq!(login.bucket_counts.last(), Some(&1));
}

#[test]
fn an_unseen_aggregate_reads_zero_and_its_gauges_what_they_are() {
    let mut aggregate = full();
    let request = exported(&aggregate, Reading::BirthsFirst);
    for metric in metrics(&request) {
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => assert!(
                sum.data_points
                    .iter()
                    .all(|point| point.value == Some(Number::AsInt(0)))
            ),
            Data::Histogram(histogram) => assert!(histogram.data_points.iter().all(|point| point.count == 0)),
            _ => {}
        }
    }
    assert_eq!(
        numbers(&request, "passage_connections_active")[0].value,
        Some(Number::AsInt(1))
    );
    let number = aggregate.begin_export();
    aggregate.export_taken(number);
    let seen = exported(&aggregate, Reading::BirthsFirst);
    assert_eq!(
        numbers(&seen, "passage_connections_total")[0].value,
        Some(Number::AsInt(1))
    );
}

#[test]
fn the_summary_joins_all_series_of_a_request_type() {
    let aggregate = full();
    let status = aggregate.summary(RequestType::Status).unwrap();
    assert_eq!((status.count, status.max), (1, Duration::from_micros(1_500)));
    assert!(Aggregate::new(10, &[]).summary(RequestType::Status).is_none());
}

#[test]
fn the_worst_values_are_those_of_the_last_two_windows() {
    let mut aggregate = full();
    let lag = |aggregate: &Aggregate| {
        let request = exported(aggregate, Reading::Final);
        let queue = numbers(&request, "passage_shard_queue_depth")[0].value;
        (
            numbers(&request, "passage_shard_loop_lag_seconds")[0].value,
            queue,
        )
    };
    assert_eq!(
        lag(&aggregate),
        (Some(Number::AsDouble(0.003)), Some(Number::AsInt(4)))
    );
    let now = Instant::now();
    aggregate.turn(now + Duration::from_secs(20));
    assert_eq!(lag(&aggregate).1, Some(Number::AsInt(4)));
    aggregate.turn(now + Duration::from_secs(40));
    assert_eq!(
        lag(&aggregate),
        (Some(Number::AsDouble(0.0)), Some(Number::AsInt(0)))
    );
}

#[test]
fn series_do_not_grow_with_what_clients_send() {
    let mut aggregate = Aggregate::new(100, &[]);
    let (outlet, arrivals) = Outlet::new(Options::default());
    let mut meter = outlet.meter(0);
    for round in 0..200_u32 {
        for step in 0..1_000 {
            let ip = std::net::Ipv4Addr::from(round * 1_000 + step).into();
            let protocol = i32::try_from(step).ok();
            meter.connection_attempt(&ConnectionLabels {
                client_ip: ip,
                route: None,
                protocol,
            });
        }
        meter.hand_over();
        let deltas = arrivals.recv().unwrap();
        aggregate.merge(&deltas);
        deltas.give_back();
    }
    let request = exported(&aggregate, Reading::Final);
    assert_eq!(numbers(&request, "passage_connections_total").len(), 100);
    assert_eq!(
        crate::telemetry::otlp::receiver::total(&request, "passage_connections_total"),
        200_000
    );
    assert!(request.encoded_len() < 64 * 1024, "{}", request.encoded_len());
}
