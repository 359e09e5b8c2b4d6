//! Series: how they are born, which are there from the start, and what becomes of too many.

use super::*;

#[test]
fn a_new_series_is_zero_first_and_its_value_next() {
    let receiver = Receiver::start(Mode::Up);
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    receiver.wait_taken(1);
    let mut meter = outlet.meter(0);
    meter.connection_attempt(&labels(1));
    meter.adapter(AdapterName::Discovery, AdapterType::Agones, INTERVAL, None);
    meter.hand_over();
    let name = "passage_connections_total";
    while receiver
        .taken()
        .iter()
        .filter(|request| !numbers(request, name).is_empty())
        .count()
        < 3
    {
        thread::park_timeout(Duration::from_millis(5));
    }
    let taken = receiver.taken();
    let values: Vec<_> = taken
        .iter()
        .flat_map(|request| numbers(request, name))
        .map(whole)
        .collect();
    assert_eq!(&values[..3], [0, 1, 1]);
    let agones = |request| {
        let all = histograms(request, "passage_adapter_duration_seconds").iter();
        all.filter(|point| attributes(&point.attributes).contains(&"adapter_type=agones".into()))
            .collect::<Vec<_>>()
    };
    let births: Vec<_> = taken.iter().flat_map(agones).collect();
    assert_eq!(
        (births[0].count, births[0].sum, births[0].min),
        (0, Some(0.0), None)
    );
    assert_eq!(births[0].bucket_counts, vec![0; 17]);
    assert_eq!(
        (births[1].count, births[1].sum, births[1].min),
        (1, Some(0.05), Some(0.05))
    );
    drop((telemetry, meter));
}

#[test]
fn a_birth_that_no_collector_took_is_shown_again() {
    let receiver = Receiver::start(Mode::Status(503, None));
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    let mut meter = outlet.meter(0);
    meter.connection_attempt(&labels(1));
    meter.hand_over();
    while receiver.seen() < 4 {
        thread::park_timeout(Duration::from_millis(5));
    }
    receiver.set(Mode::Up);
    receiver.wait_taken(3);
    let taken = receiver.taken();
    let values: Vec<_> = taken
        .iter()
        .map(|request| total(request, "passage_connections_total"))
        .collect();
    assert_eq!(&values[..2], [0, 1]);
    drop((telemetry, meter));
}

#[test]
fn series_with_few_labels_exist_from_the_start() {
    let receiver = Receiver::start(Mode::Up);
    let (telemetry, _outlet) = start_quick(&settings(receiver.url()));
    telemetry.targets_discovered()(5);
    receiver.wait_taken(2);
    let second = &receiver.taken()[1];
    let [active] = numbers(second, "passage_connections_active") else {
        panic!("one point")
    };
    assert_eq!((whole(active), active.attributes.len()), (0, 0));
    assert_eq!(total(second, "passage_targets_discovered"), 5);
    assert_eq!(numbers(second, "passage_requests_total").len(), 4);
    assert_eq!(numbers(second, "passage_adapter_errors_total").len(), 12);
    assert_eq!(numbers(second, "passage_relay_bytes_total").len(), 2);
    assert_eq!(histograms(second, "passage_relay_duration_seconds")[0].count, 0);
}

#[test]
fn label_sets_over_the_limit_share_one_series_and_nothing_is_lost() {
    let receiver = Receiver::start(Mode::Up);
    let settings = Settings {
        label_limit: 50,
        ..settings(receiver.url())
    };
    let (telemetry, outlet) = start_quick(&settings);
    let threads: Vec<_> = (0..2_u32)
        .map(|shard| {
            let outlet = outlet.clone();
            thread::spawn(move || {
                let mut meter = outlet.meter(shard as usize);
                for step in 0..5_000 {
                    meter.connection_attempt(&labels(shard * 1_000 + step % 500));
                    meter.connection_rate_limited(&labels(step));
                    if step % 40 == 0 {
                        meter.hand_over();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
    let last = receiver.last();
    for name in ["passage_connections_total", "passage_connections_rate_limited"] {
        let points = numbers(&last, name);
        assert_eq!((points.len(), total(&last, name)), (50, 10_000), "{name}");
        let overflow = points
            .iter()
            .filter(|point| attributes(&point.attributes) == ["otel.metric.overflow=true"]);
        assert_eq!(overflow.count(), 1, "{name}");
    }
}
