//! What did not arrive, of each signal, as it shows in the export.

use tracing::error;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

const DROPPED: &str = "passage_telemetry_dropped_total";
const FAILED: &str = "passage_telemetry_export_failures_total";

/// The last value of this counter for this signal.
fn shown(receiver: &Receiver, name: &str, signal: &str) -> i64 {
    let last = receiver.last();
    let label = [format!("signal={signal}")];
    let point = numbers(&last, name)
        .iter()
        .find(|point| attributes(&point.attributes) == label);
    whole(point.unwrap_or_else(|| panic!("{name} has no {signal}")))
}

#[test]
fn every_signal_shows_from_the_start_that_nothing_is_lost() {
    let receiver = Receiver::start(Mode::Up);
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    receiver.wait_taken(1);
    for name in [DROPPED, FAILED] {
        for signal in ["metrics", "traces", "logs", "sentry"] {
            assert_eq!(shown(&receiver, name, signal), 0, "{name} {signal}");
        }
    }
    drop(outlet);
    assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
}

#[test]
fn points_that_the_collector_rejects_are_dropped_and_their_post_has_not_failed() {
    let receiver = Receiver::start(Mode::Partial(3));
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    receiver.wait_taken(3);
    // What was rejected is known to the export after the next at the latest.
    let rejected = shown(&receiver, DROPPED, "metrics");
    assert!(rejected >= 3 && rejected % 3 == 0, "{rejected}");
    assert_eq!(shown(&receiver, FAILED, "metrics"), 0);
    drop(outlet);
    assert_eq!(telemetry.shutdown(deadline()), Flush::Failed);
}

#[test]
fn reports_that_sentry_does_not_take_are_counted() {
    let receiver = Receiver::start(Mode::Up);
    let refusing = Receiver::start(Mode::Status(500, None));
    let reports = sentry::start(sentry::Settings {
        address: Token::new(format!("http://publickey@{}/1", refusing.address)),
        environment: String::new(),
        debug: false,
        send_pii: false,
        trust: Trust::default(),
    });
    let reports = reports.unwrap();
    let (telemetry, outlet) = start_quick(&settings(receiver.url()));
    telemetry.reports(&reports);
    let subscriber = tracing_subscriber::registry().with(reports.reporter());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..100 {
            error!(
                name: passage_shards::report::ADAPTER_ERROR,
                target: passage_shards::report::TARGET,
                "An adapter failed"
            );
        }
    });
    assert!(reports.shutdown(Instant::now() + Duration::from_secs(20)));
    drop(outlet);
    assert_eq!(telemetry.shutdown(deadline()), Flush::Complete);
    assert_eq!(shown(&receiver, DROPPED, "sentry"), 100);
    let posts = i64::try_from(refusing.seen()).unwrap();
    assert_eq!(shown(&receiver, FAILED, "sentry"), posts);
    assert!((1..100).contains(&posts), "{posts} posts");
}
