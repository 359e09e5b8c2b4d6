//! The way of spans to the collector: the exporter of `opentelemetry-otlp`, over the client that posts all
//! other signals.

use std::env;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_lite::future;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_TRACES_HEADERS, Protocol, RetryPolicy,
    SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use ureq::http::header;

use crate::telemetry::otlp::{Client, PostError, Taken, message};
use crate::telemetry::{Signal, StartError};

/// Most bytes of a post before it is compressed. Every span has its bounds, so that no batch comes near it.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Posts spans and says what became of them.
#[derive(Debug)]
pub(super) struct Courier {
    exporter: SpanExporter,
    post: Arc<Post>,
}

impl Courier {
    /// A courier that has not posted yet. `environment` is where the spans come from.
    ///
    /// # Errors
    ///
    /// If the exporter does not take the endpoint.
    pub(super) fn new(client: Client, environment: &str) -> Result<Self, StartError> {
        let endpoint = client.endpoint();
        let post = Arc::new(Post {
            client,
            state: Mutex::default(),
        });
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_compression(Compression::Gzip)
            .with_max_request_body_size(BODY_BYTES_MAX)
            .with_retry_policy(RetryPolicy::disabled())
            .with_shared_http_client(Arc::clone(&post) as Arc<dyn HttpClient>)
            .build()
            .map_err(|error| StartError::Endpoint(Signal::Traces, format!("cannot be used ({error})")))?;
        say_what_the_environment_adds();
        let identity = message::identity(environment).map(|(key, value)| KeyValue::new(key, value));
        exporter.set_resource(&Resource::builder_empty().with_attributes(identity).build());
        Ok(Self { exporter, post })
    }

    /// Posts these spans and waits for the answer, at most for `patience`.
    ///
    /// # Errors
    ///
    /// If there is no answer in time, or another one than a 2xx; or if it is too much for one post.
    pub(super) fn post(&self, spans: Vec<SpanData>, patience: Duration) -> Result<Taken, PostError> {
        *self.post.state() = State {
            patience,
            answer: None,
        };
        let exported = future::block_on(self.exporter.export(spans));
        let answer = self.post.state().answer.take();
        answer.unwrap_or_else(|| {
            let cause = exported.err().map(|error| error.to_string());
            Err(PostError::Unsent(cause.unwrap_or_default()))
        })
    }
}

/// Variables whose headers the exporter sends along, as the specification of OTLP exporters has it. The first
/// that is set counts.
const HEADERS: [&str; 2] = [OTEL_EXPORTER_OTLP_TRACES_HEADERS, OTEL_EXPORTER_OTLP_HEADERS];

fn say_what_the_environment_adds() {
    if let Some(name) = HEADERS.into_iter().find(|name| env::var_os(name).is_some()) {
        tracing::info!("{name} adds headers to the posts of spans; a token of the configuration goes before");
    }
}

/// One post: what the exporter has encoded goes out, and the answer stays here.
///
/// The exporter itself hears of no failure and of no rejected span. All it would do is to warn, of every
/// single one, and to call lost what is tried again; and it would make text of what is counted here.
#[derive(Debug)]
struct Post {
    client: Client,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    patience: Duration,
    answer: Option<Result<Taken, PostError>>,
}

impl Post {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let patience = self.state().patience;
        // All signals come from the same program.
        request.headers_mut().remove(header::USER_AGENT);
        let answer = self.client.send(request.headers(), request.body(), patience);
        self.state().answer = Some(answer);
        Ok(Response::new(Bytes::new()))
    }
}
