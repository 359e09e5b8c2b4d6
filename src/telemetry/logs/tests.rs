//! Lines as they come out at the other end.

use std::io::{PipeReader, Read, pipe};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::trace::TraceParent;
use serde_json::Value;
use tracing::{debug, error, info, info_span, warn};

use super::values::VALUE_BYTES_MAX;
use super::writer::{LINES_MAX, QUEUE_BYTES_MAX};
use super::*;
use crate::telemetry::spans;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// What comes out while `log` runs.
fn lines(format: Format, directives: &str, log: impl FnOnce()) -> Vec<String> {
    let output = Output::default();
    let queue = Queue::start(output.clone(), format, None).unwrap();
    let layer = LineLayer::new(format, queue.clone(), None).with_filter(filter(directives).unwrap());
    let subscriber = Registry::default().with(layer).with(Recorder::default().layer());
    tracing::subscriber::with_default(subscriber, log);
    assert!(queue.flush(soon()));
    let bytes = output.0.lock().unwrap().clone();
    String::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The one JSON line that comes out while `log` runs, with its keys in order.
fn json(log: impl FnOnce()) -> (Value, Vec<String>) {
    let lines = lines(Format::Json, "trace", log);
    let [line] = &lines[..] else {
        panic!("one line, not {lines:?}")
    };
    (
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")),
        keys(line),
    )
}

/// Says something as a crate that speaks through `log` does.
fn record(target: &str, level: log::Level, words: &str) {
    let words = format_args!("{words}");
    let mut record = log::Record::builder();
    record
        .target(target)
        .level(level)
        .module_path(Some(target))
        .line(Some(7));
    log::Log::log(&LogTracer::new(), &record.args(words).build());
}

#[test]
fn what_is_said_through_log_is_a_line_like_any_other() {
    let (line, keys) = json(|| record("rustls::client", log::Level::Warn, "an odd \"alert\""));
    assert_eq!(line["target"], "rustls::client");
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "an odd \"alert\"");
    assert_eq!(keys, ["timestamp", "level", "target", "message"]);
}

#[test]
fn what_is_said_through_log_is_filtered_by_its_own_target() {
    let said = || {
        record("ureq::pool", log::Level::Debug, "pooled");
        record("rustls::client", log::Level::Debug, "hello");
        record("rustls::client", log::Level::Error, "farewell");
    };
    let shown = |directives: &str| {
        let lines = lines(Format::Json, directives, said);
        lines.iter().filter(|line| !line.is_empty()).count()
    };
    assert_eq!(shown("debug"), 3);
    assert_eq!(shown("info"), 1);
    assert_eq!(shown("info,ureq=debug"), 2);
    assert_eq!(shown("off,rustls=error"), 1);
    assert_eq!(shown("info,rustls=off"), 0);
}

/// The keys as they stand in the text, duplicates included, which a parser would hide.
fn keys(line: &str) -> Vec<String> {
    struct Keys(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Pairs;
            impl<'de> serde::de::Visitor<'de> for Pairs {
                type Value = Keys;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                    let mut keys = Vec::new();
                    while let Some((key, _)) = map.next_entry::<String, Value>()? {
                        keys.push(key);
                    }
                    Ok(Keys(keys))
                }
            }
            from.deserialize_map(Pairs)
        }
    }
    serde_json::from_str::<Keys>(line).unwrap().0
}

#[test]
fn a_line_has_the_shape_of_the_guide() {
    let (line, keys) = json(|| {
        info!(
            target: "passage::connection",
            client_ip = %"192.168.1.100",
            username = "Steve",
            user_id = %uuid::uuid!("069a79f4-44e9-4726-a5be-fca90e38aaf5"),
            target = "hub-1",
            "Connection established"
        );
    });
    let expected = [
        "timestamp",
        "level",
        "target",
        "message",
        "client_ip",
        "username",
        "user_id",
        "target_identifier",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        (&line["level"], &line["target"]),
        (&"INFO".into(), &"passage::connection".into())
    );
    assert_eq!(
        (&line["message"], &line["username"]),
        (&"Connection established".into(), &"Steve".into())
    );
    assert_eq!(
        (&line["client_ip"], &line["target_identifier"]),
        (&"192.168.1.100".into(), &"hub-1".into())
    );
    assert_eq!(line["user_id"], "069a79f4-44e9-4726-a5be-fca90e38aaf5");
    let timestamp = line["timestamp"].as_str().unwrap();
    assert_eq!(
        (timestamp.len(), &timestamp[10..11], &timestamp[23..]),
        (24, "T", "Z"),
        "{timestamp}"
    );
}

#[test]
fn a_line_of_a_remote_call_shows_its_span() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let mut traceparent = None;
    let (line, keys) = json(|| {
        let parent = TraceParent::parse(parent);
        let call = spans::remote_call(parent.as_ref(), AdapterName::Discovery, AdapterType::Grpc);
        let _call = call.entered();
        traceparent = spans::traceparent();
        warn!("it takes long");
    });
    let expected = [
        "timestamp",
        "level",
        "target",
        "message",
        "adapter_name",
        "adapter_type",
        "trace_id",
        "span_id",
    ];
    assert_eq!(keys, expected);
    let own = TraceParent::parse(&traceparent.unwrap()).unwrap();
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["span_id"], own.span_id());
}

#[test]
fn values_keep_their_types() {
    let (line, _) = json(|| {
        let failed = io::Error::other(InitError::Taken);
        error!(
            count = 3_u64, below = -3_i64, part = 0.5, yes = true, huge = u128::MAX, nan = f64::NAN,
            debug = ?Some("x"), cause = &failed as &(dyn std::error::Error + 'static),
        );
    });
    assert_eq!(
        (line["count"].as_u64(), line["below"].as_i64()),
        (Some(3), Some(-3))
    );
    assert_eq!(
        (line["part"].as_f64(), line["yes"].as_bool()),
        (Some(0.5), Some(true))
    );
    assert_eq!(
        (&line["huge"], &line["nan"]),
        (&u128::MAX.to_string().into(), &"NaN".into())
    );
    assert_eq!(
        (&line["debug"], &line["message"]),
        (&"Some(\"x\")".into(), &"".into())
    );
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("logging has been started before")
    );
}

#[test]
fn hostile_text_stays_within_its_value() {
    let all: String = (0..0x2100).filter_map(char::from_u32).collect();
    let evil = format!("\"}},\r\n{{\"level\":\"ERROR\u{1b}[2J\u{7f}\u{9b}\u{202e}\\{all}");
    for format in [Format::Json, Format::Human { colours: false }] {
        let lines = lines(format, "info", || info!(username = evil, ?evil, "{evil}"));
        let [line] = &lines[..] else {
            panic!("one line, not {}", lines.len())
        };
        assert!(!line.chars().any(char::is_control), "{line}");
        assert!(!line.contains(['\u{202e}', '\u{2028}']));
        if format == Format::Json {
            let parsed: Value = serde_json::from_str(line).unwrap();
            let username = parsed["username"].as_str().unwrap();
            assert!(username.len() > 1_000 && evil.starts_with(username.trim_end_matches('…')));
            assert_eq!(parsed["level"], "INFO");
        }
    }
}

#[test]
fn long_values_and_many_fields_are_cut_and_the_line_stays_valid() {
    let long = "é".repeat(100_000);
    let (line, _) = json(|| {
        info!(
            a = long,
            b = long,
            c = long,
            d = long,
            e = long,
            f = long,
            g = long,
            "{long}"
        );
    });
    let message = line["message"].as_str().unwrap();
    assert!(
        message.ends_with("é…") && message.len() <= VALUE_BYTES_MAX + 3,
        "{}",
        message.len()
    );
    assert_eq!((line.get("a").is_some(), line.get("g").is_some()), (true, false));
    assert!(line.to_string().len() < 32 * 1024);
}

#[test]
fn no_key_stands_twice() {
    let (line, keys) = json(|| {
        let outer = info_span!(
            "connection",
            client_ip = "10.0.0.1",
            username = tracing::field::Empty,
            target = "a"
        );
        outer.record("username", "Alice");
        outer.record("username", "Steve");
        let _outer = outer.entered();
        let _inner = info_span!("strategy", adapter_type = "fixed", client_ip = "10.0.0.2").entered();
        warn!(
            target = "hub",
            target_identifier = "other",
            timestamp = 1,
            level = 2,
            adapter_type = "grpc",
            "twice"
        );
    });
    let mut unique = keys.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), keys.len(), "{keys:?}");
    assert_eq!(
        (&line["username"], &line["client_ip"]),
        (&"Steve".into(), &"10.0.0.2".into())
    );
    assert_eq!(
        (&line["target_identifier"], &line["adapter_type"]),
        (&"hub".into(), &"grpc".into())
    );
    assert_eq!(
        (&line["event_timestamp"], &line["event_level"]),
        (&1.into(), &2.into())
    );
    assert_eq!(line["level"], "WARN");
}

#[test]
fn a_terminal_gets_words() {
    let log = || info!(target: "passage_shards::accept", address = "[::]:25565", shards = 2, "listening");
    let plain = lines(Format::Human { colours: false }, "info", log);
    assert_eq!(
        &plain[0][24..],
        "  INFO passage::accept: listening address=\"[::]:25565\" shards=2"
    );
    let coloured = lines(Format::Human { colours: true }, "info", log);
    assert!(coloured[0].contains("\u{1b}[32m INFO\u{1b}[0m"), "{coloured:?}");
}

#[test]
fn the_filter_is_that_of_the_guide() {
    let log = || {
        info!(target: "passage::app", "a");
        debug!(target: "passage::adapters::mojang", "b");
        debug!(target: "passage_shards::connection", "c");
        debug!(target: "passage_shards::accept", "d");
        error!(target: "ureq", "e");
    };
    let shown = |directives: &str| {
        let lines = lines(Format::Json, directives, log).into_iter();
        let messages = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap()["message"].clone());
        messages
            .map(|message| message.as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(shown(""), "ae");
    assert_eq!(shown("error"), "e");
    assert_eq!(shown("debug"), "abcde");
    assert_eq!(shown("off"), "");
    assert_eq!(shown("passage=debug"), "abcd");
    assert_eq!(shown("warn,passage::connection=debug"), "ce");
    assert_eq!(shown("passage=info, passage::adapter=trace"), "ab");
}

#[test]
fn a_directive_that_cannot_be_read_is_named() {
    let error = filter("passage=loud").unwrap_err().to_string();
    assert!(
        error.contains("RUST_LOG=\"passage=loud\"") && error.contains("expected a level"),
        "{error}"
    );
    let one = "::a[{x=1,y=2}]=debug";
    let three = format!("passage_shards{one},passage_proto{one},passage{one},warn");
    assert_eq!(widened(&format!("passage{one},warn")), three);
}

#[test]
fn a_blocked_output_stops_neither_those_who_log_nor_the_exit_and_drops_are_counted_and_told() {
    let (mut reader, writer) = pipe().unwrap();
    let queue = Queue::start(writer, Format::Json, None).unwrap();
    let layer = LineLayer::new(Format::Json, queue.clone(), None);
    let subscriber = tracing::Dispatch::new(Registry::default().with(layer));
    let begun = Instant::now();
    let threads: Vec<_> = (0..2)
        .map(|shard| {
            let subscriber = subscriber.clone();
            thread::spawn(move || {
                tracing::dispatcher::with_default(&subscriber, || {
                    (0..LINES_MAX).for_each(|number| debug!(shard, number, "a line that nobody reads"));
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let dropped = queue.loss().dropped;
    assert!(dropped > 0 && dropped < 2 * LINES_MAX as u64, "{dropped}");
    let begun = Instant::now();
    assert!(!queue.flush(begun + Duration::from_millis(100)));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());

    drop(subscriber);
    let collected = thread::spawn(move || read_all(&mut reader));
    assert!(queue.flush(soon()));
    drop(queue);
    let text = collected.join().unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines.iter().filter_map(|line| line["dropped"].as_u64()).collect();
    assert_eq!(told, [dropped]);
    assert_eq!(lines.len() as u64 - 1 + dropped, 2 * LINES_MAX as u64);
}

fn read_all(reader: &mut PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_queue_holds_a_bounded_number_of_bytes() {
    let (reader, writer) = pipe().unwrap();
    let queue = Queue::start(writer, Format::Json, None).unwrap();
    let line = "x".repeat(16 * 1024);
    let fit = (QUEUE_BYTES_MAX / line.len()) as u64;
    (0..2 * fit).for_each(|_| queue.push(&line));
    assert!(
        (fit - 8..=fit + 8).contains(&queue.loss().dropped),
        "{} dropped",
        queue.loss().dropped
    );
    drop(reader);
}

#[test]
fn an_output_that_fails_costs_its_lines_only() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let queue = Queue::start(writer, Format::Json, None).unwrap();
    queue.push("to nobody\n");
    assert!(queue.flush(soon()));
    assert_eq!(queue.loss().dropped, 1);
}

#[test]
fn a_flood_of_warnings_is_a_few_lines_and_a_count() {
    let lines = lines(Format::Json, "debug", || {
        let shards: [_; 2] = std::array::from_fn(|_| tracing::dispatcher::get_default(Clone::clone));
        thread::scope(|scope| {
            for subscriber in shards {
                scope.spawn(move || {
                    tracing::dispatcher::with_default(&subscriber, || {
                        (0..50_000).for_each(|number| warn!(number, "Target cannot be reached"));
                    });
                });
            }
        });
        warn!("another place");
        (0..100).for_each(|_| debug!("asked for"));
    });
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    let told = lines
        .iter()
        .filter_map(|line| line["withheld"].as_u64())
        .sum::<u64>();
    let shown = count("Target cannot be reached") as u64;
    assert_eq!(shown + told, 100_000);
    assert!(shown < 1_000, "{shown} lines");
    assert_eq!((count("another place"), count("asked for")), (1, 100));
    let more = lines.iter().find(|line| line["withheld"].is_u64()).unwrap();
    let message = more["message"].as_str().unwrap();
    let is_told = message.starts_with("… ") && message.ends_with(" more: Target cannot be reached");
    assert!(is_told, "{message}");
    assert_eq!(
        (&more["level"], &more["target"]),
        (&"WARN".into(), &module_path!().into())
    );
    let grouped = [1_284, 1_000_007].map(|number| repeats::Grouped(number).to_string());
    assert_eq!(grouped, ["1 284", "1 000 007"]);
}

#[test]
fn timestamps_are_those_of_the_calendar() {
    let shown = |milliseconds| {
        line::Timestamp::from(std::time::UNIX_EPOCH + Duration::from_millis(milliseconds)).to_string()
    };
    assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
    for milliseconds in [
        0,
        1,
        951_782_399_999,
        951_782_400_000,
        1_707_129_045_123,
        4_107_542_400_000,
    ] {
        let time = std::time::UNIX_EPOCH + Duration::from_millis(milliseconds);
        assert_eq!(line::Timestamp::parse(&shown(milliseconds)), Some(time));
    }
    assert_eq!(shown(951_782_399_999), "2000-02-28T23:59:59.999Z");
    assert_eq!(shown(951_782_400_000), "2000-02-29T00:00:00.000Z");
    assert_eq!(shown(1_707_129_045_123), "2024-02-05T10:30:45.123Z");
    assert_eq!(shown(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
}
