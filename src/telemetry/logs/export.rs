//! Log lines on their way to an OpenTelemetry collector.
//!
//! What goes out is made of the lines in their JSON form, on a thread of its own. While the collector does
//! not take them they wait in a bounded queue; what does not fit is dropped and counted.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, after, at, bounded, never, select};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use passage_shards::pulse::Pulse;
use prost::Message as _;
use serde_json::Value;

use super::line::Timestamp;
use super::repeats::Repeats;
use super::writer::{Counts, Entry, Queue};
use crate::telemetry::aggregate::Loss;
use crate::telemetry::otlp::message::{attribute, resource, unix_nanoseconds};
use crate::telemetry::otlp::{self, Client, Complaints};
use crate::telemetry::{Endpoint, Signal, StartError};

/// Most records of one post.
const RECORDS_MAX: usize = 512;

/// How long a record waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// First pause after a post that was not taken; each further one is twice as long.
const BACKOFF: Duration = Duration::from_secs(1);

/// Longest such pause.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

thread_local! {
    /// Whether this thread posts lines.
    static EXPORTS: Cell<bool> = const { Cell::new(false) };
}

/// The running export.
#[derive(Clone, Debug)]
pub(super) struct Export {
    queue: Queue,
    stop: Sender<Stop>,
}

/// Until when, and who wants to know.
type Stop = (Instant, Sender<()>);

impl Export {
    /// Starts the thread that posts to `endpoint`. It ends with the last clone of the export.
    pub(super) fn start(endpoint: &Endpoint, environment: &str) -> Result<Self, StartError> {
        let client = Client::new(Signal::Logs, endpoint)?;
        let resource = resource(environment);
        let (stop, stopped) = bounded(1);
        let consume = move |waiting, counts, _: &Repeats| {
            let exporter = Exporter {
                complaints: Complaints::new(Signal::Logs, client.endpoint()),
                client,
                resource,
                waiting,
                stop: stopped,
                counts,
                batch: Vec::new(),
                bytes: 0,
            };
            exporter.run();
        };
        let queue = Queue::new("otlp-logs", consume);
        Ok(Self {
            queue: queue.map_err(StartError::Thread)?,
            stop,
        })
    }

    /// The sign of life of the thread.
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        self.queue.pulse()
    }

    /// Whether this thread posts lines. What is said on it, by the HTTP client for one, is not exported: each
    /// post would bring about the next.
    pub(super) fn is_exporting() -> bool {
        EXPORTS.get()
    }

    /// Leaves a line in its JSON form, or drops and counts it. Never waits.
    pub(super) fn push(&self, line: &str) {
        self.queue.push(line);
    }

    /// Asks for the end: what waits is posted, until `deadline` at the latest. The answer comes with it.
    pub(super) fn stop(&self, deadline: Instant) -> Receiver<()> {
        let (done, end) = bounded(1);
        let _ = self.stop.try_send((deadline, done));
        end
    }

    /// Lines that the collector did not get since the start.
    pub(super) fn loss(&self) -> Loss {
        self.queue.loss()
    }
}

struct Exporter {
    client: Client,
    resource: Resource,
    waiting: Receiver<Entry>,
    stop: Receiver<Stop>,
    counts: Counts,
    complaints: Complaints,
    /// Lines that were taken out of the queue and not by the collector.
    batch: Vec<Box<str>>,
    bytes: usize,
}

impl Exporter {
    fn run(mut self) {
        EXPORTS.set(true);
        let mut backoff = BACKOFF;
        let mut due: Option<Instant> = None;
        loop {
            let full = self.batch.len() >= RECORDS_MAX;
            let waiting = if full { never() } else { self.waiting.clone() };
            let ripe = match due {
                Some(_) if full && backoff == BACKOFF => after(Duration::ZERO),
                Some(due) => at(due),
                None => never(),
            };
            select! {
                recv(self.stop) -> stop => {
                    if let Ok((deadline, done)) = stop {
                        self.finish(deadline);
                        let _ = done.send(());
                    }
                    return;
                }
                recv(waiting) -> entry => match entry {
                    Ok(entry) => {
                        self.take(entry);
                        due = due.or_else(|| Some(Instant::now() + GATHER));
                    }
                    Err(_) => return self.finish(Instant::now() + otlp::POST),
                },
                recv(ripe) -> _ => match self.post(otlp::POST) {
                    Posted::Settled => (backoff, due) = (BACKOFF, None),
                    Posted::Later(pause) => {
                        due = Some(Instant::now() + pause.unwrap_or(backoff));
                        backoff = (backoff * 2).min(BACKOFF_MAX);
                    }
                },
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Line(line) => {
                self.bytes += line.len();
                self.batch.push(line);
            }
            // The end is asked for in another way.
            Entry::Flush(done) => drop(done),
        }
    }

    /// Posts what is left, as far as there is time and the collector takes it.
    fn finish(&mut self, deadline: Instant) {
        loop {
            while self.batch.len() < RECORDS_MAX
                && let Ok(entry) = self.waiting.try_recv()
            {
                self.take(entry);
            }
            let left = otlp::remaining(deadline);
            if self.batch.is_empty() || left.is_zero() || matches!(self.post(left), Posted::Later(_)) {
                return;
            }
        }
    }

    fn post(&mut self, patience: Duration) -> Posted {
        let records: Vec<_> = self.batch.iter().filter_map(|line| record(line)).collect();
        let answer = self.client.post(&encode(&self.resource, records), patience);
        match &answer {
            Ok(taken) => {
                self.complaints.taken(taken);
                self.counts.drop_lines(taken.rejected);
            }
            Err(error) => {
                self.counts.fail();
                self.complaints.failed(error);
                if error.is_passing() {
                    return Posted::Later(error.retry_after());
                }
                self.counts.drop_lines(self.batch.len() as u64);
            }
        }
        self.counts.release(self.bytes);
        self.batch.clear();
        self.bytes = 0;
        Posted::Settled
    }
}

/// What became of a post.
enum Posted {
    /// The batch is the collector's, or will never be.
    Settled,
    /// The collector may take it later, perhaps it says when.
    Later(Option<Duration>),
}

fn encode(resource: &Resource, log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "passage".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let scope_logs = ScopeLogs {
        scope: Some(scope),
        log_records,
        schema_url: String::new(),
    };
    let resource_logs = ResourceLogs {
        resource: Some(resource.clone()),
        scope_logs: vec![scope_logs],
        schema_url: String::new(),
    };
    ExportLogsServiceRequest {
        resource_logs: vec![resource_logs],
    }
    .encode_to_vec()
}

/// The record that a line in its JSON form tells of. The keys that are no part of a record are its
/// attributes.
fn record(line: &str) -> Option<LogRecord> {
    let mut fields: serde_json::Map<String, Value> = serde_json::from_str(line).ok()?;
    let mut text = |key: &str| match fields.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let now = SystemTime::now();
    let time = text("timestamp")
        .and_then(|text| Timestamp::parse(&text))
        .unwrap_or(now);
    let severity_text = text("level").unwrap_or_default();
    let body = text("message").unwrap_or_default();
    let (trace_id, span_id) = (text("trace_id"), text("span_id"));
    let attributes = fields.iter().map(|(key, value)| attribute(key, any(value)));
    Some(LogRecord {
        time_unix_nano: unix_nanoseconds(time),
        observed_time_unix_nano: unix_nanoseconds(now),
        severity_number: severity(&severity_text),
        severity_text,
        body: Some(AnyValue {
            value: Some(Any::StringValue(body)),
        }),
        attributes: attributes.collect(),
        trace_id: trace_id.and_then(|id| bytes(&id)).unwrap_or_default(),
        span_id: span_id.and_then(|id| bytes(&id)).unwrap_or_default(),
        ..LogRecord::default()
    })
}

fn any(value: &Value) -> Any {
    match value {
        Value::String(text) => Any::StringValue(text.clone()),
        Value::Bool(flag) => Any::BoolValue(*flag),
        Value::Number(number) => number.as_i64().map_or_else(
            || Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
            Any::IntValue,
        ),
        other => Any::StringValue(other.to_string()),
    }
}

/// The first of the four numbers that OTLP has for each level.
fn severity(level: &str) -> i32 {
    match level {
        "TRACE" => 1,
        "DEBUG" => 5,
        "INFO" => 9,
        "WARN" => 13,
        "ERROR" => 17,
        _ => 0,
    }
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let pairs = (0..hexadecimal.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(hexadecimal.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests;
