//! A collector for tests: a plain HTTP server that decodes what it is sent with the official types and
//! answers in the way that it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric, NumberDataPoint};
use prost::Message;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::telemetry::Signal;

/// How the collector answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// 200 at once.
    Up,
    /// 200 after this time.
    Slow(Duration),
    /// Takes the request and never answers.
    Hang,
    /// This status, with `Retry-After` in seconds if there is one.
    Status(u16, Option<u64>),
    /// 200, with this many points rejected.
    Partial(i64),
    /// 200 and an answer that never ends.
    Endless,
}

/// The collector and all that it has taken.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mode: Mode,
    taken: Vec<Vec<u8>>,
    seen: usize,
    heads: Vec<String>,
}

impl Receiver {
    /// Starts at a free port of the loopback.
    pub(crate) fn start(mode: Mode) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), mode)
    }

    /// Starts on a listener.
    pub(crate) fn start_on(listener: TcpListener, mode: Mode) -> Self {
        Self::serve(listener, mode, serve)
    }

    /// Starts at a free port of the loopback, behind TLS.
    pub(crate) fn start_tls(mode: Mode, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve(listener, mode, move |stream, state| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(connection, stream), state);
        })
    }

    fn serve(
        listener: TcpListener,
        mode: Mode,
        serve: impl Fn(TcpStream, &Mutex<State>) + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            mode,
            taken: Vec::new(),
            seen: 0,
            heads: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (serve, shared) = (Arc::clone(&serve), Arc::clone(&shared));
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/metrics", self.address)
    }

    pub(crate) fn url_of(&self, signal: Signal) -> String {
        format!("http://{}/v1/{signal}", self.address)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// How many requests came, taken or not.
    pub(crate) fn seen(&self) -> usize {
        self.state.lock().unwrap().seen
    }

    /// The heads of the requests, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap().heads.clone()
    }

    /// All requests that were answered with 200.
    pub(crate) fn taken(&self) -> Vec<ExportMetricsServiceRequest> {
        self.taken_as()
    }

    /// The same for another signal.
    pub(crate) fn taken_as<M: Message + Default>(&self) -> Vec<M> {
        let taken = &self.state.lock().unwrap().taken;
        taken
            .iter()
            .map(|message| M::decode(&message[..]).unwrap())
            .collect()
    }

    /// The bodies of all requests that were answered with 200, uncompressed.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().taken.clone()
    }

    /// The last request that was answered with 200.
    pub(crate) fn last(&self) -> ExportMetricsServiceRequest {
        self.taken().pop().expect("a request was taken")
    }

    /// Waits until so many requests were taken.
    pub(crate) fn wait_taken(&self, count: usize) {
        for _ in 0..1_000 {
            if self.state.lock().unwrap().taken.len() >= count {
                return;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        panic!(
            "the collector took {} of {count} requests",
            self.state.lock().unwrap().taken.len()
        );
    }
}

fn serve(stream: impl Read + Write, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = read_request(&mut reader) {
        let mode = {
            let mut state = state.lock().unwrap();
            state.seen += 1;
            state.heads.push(head.clone());
            state.mode
        };
        let stream = reader.get_mut();
        match mode {
            Mode::Up => {}
            Mode::Slow(time) => thread::park_timeout(time),
            Mode::Hang => {
                let _ = stream.read(&mut [0]);
                return;
            }
            Mode::Status(status, retry_after) => {
                let retry = retry_after
                    .map(|seconds| format!("retry-after: {seconds}\r\n"))
                    .unwrap_or_default();
                let text = "not now\u{1b}[31m";
                let head = format!("content-type: text/plain\r\ncontent-length: {}", text.len());
                let _ = write!(stream, "HTTP/1.1 {status} No\r\n{retry}{head}\r\n\r\n{text}");
                continue;
            }
            Mode::Partial(_) | Mode::Endless => {}
        }
        let mut message = Vec::new();
        if head.contains("content-encoding: gzip") {
            GzDecoder::new(&body[..]).read_to_end(&mut message).unwrap();
        } else {
            message = body;
        }
        state.lock().unwrap().taken.push(message);
        if mode == Mode::Endless {
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\r\n"
            );
            while stream.write_all(&[0x0a; 4096]).is_ok() {}
            return;
        }
        let answer = answer(mode).encode_to_vec();
        let length = answer.len();
        let head = format!("content-type: application/x-protobuf\r\ncontent-length: {length}");
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n").and_then(|()| stream.write_all(&answer));
    }
}

fn answer(mode: Mode) -> ExportMetricsServiceResponse {
    let Mode::Partial(rejected_data_points) = mode else {
        return ExportMetricsServiceResponse::default();
    };
    let partial = ExportMetricsPartialSuccess {
        rejected_data_points,
        error_message: "too many series".into(),
    };
    ExportMetricsServiceResponse {
        partial_success: Some(partial),
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line.to_lowercase());
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?
        .trim()
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// All metrics of a request.
pub(crate) fn metrics(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
}

/// The points of a sum or a gauge; none if there is no such metric.
pub(crate) fn numbers<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a [NumberDataPoint] {
    match metrics(request)
        .find(|metric| metric.name == name)
        .and_then(|metric| metric.data.as_ref())
    {
        Some(Data::Sum(sum)) => &sum.data_points,
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        Some(other) => panic!("{name} is {other:?}"),
        None => &[],
    }
}

/// The points of a histogram.
pub(crate) fn histograms<'a>(
    request: &'a ExportMetricsServiceRequest,
    name: &str,
) -> &'a [HistogramDataPoint] {
    match metrics(request)
        .find(|metric| metric.name == name)
        .and_then(|metric| metric.data.as_ref())
    {
        Some(Data::Histogram(histogram)) => &histogram.data_points,
        other => panic!("{name} is {other:?}"),
    }
}

/// The whole number of a point.
pub(crate) fn whole(point: &NumberDataPoint) -> i64 {
    match point.value {
        Some(Number::AsInt(count)) => count,
        other => panic!("no whole number: {other:?}"),
    }
}

/// The sum over all points of a metric.
pub(crate) fn total(request: &ExportMetricsServiceRequest, name: &str) -> i64 {
    numbers(request, name).iter().map(whole).sum()
}

/// The attributes as `key=value`, in order of the keys.
pub(crate) fn attributes(attributes: &[KeyValue]) -> Vec<String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Any::StringValue(text)) => format!("{}={text}", attribute.key),
        Some(Any::BoolValue(flag)) => format!("{}={flag}", attribute.key),
        other => panic!("{}: {other:?}", attribute.key),
    };
    let mut all: Vec<_> = attributes.iter().map(text).collect();
    all.sort();
    all
}
