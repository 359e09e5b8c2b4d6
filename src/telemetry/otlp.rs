//! The way to the collector: OTLP over HTTP, one compressed protobuf body a post.

mod complaints;
mod exponential;
pub(crate) mod message;
#[cfg(test)]
pub(crate) mod receiver;

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use ureq::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use ureq::{Agent, Body};

pub(crate) use self::complaints::Complaints;
use super::{Endpoint, Signal, StartError};
use crate::redaction;
use crate::tls::{self, Trust};

/// Longest time to look the collector's name up.
const RESOLVE: Duration = Duration::from_secs(5);

/// Longest time to connect to the collector, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest time for a post as a whole: what OTLP exporters wait by default.
pub(crate) const POST: Duration = Duration::from_secs(10);

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Most characters of an answer's text that are logged.
const ANSWER_TEXT_MAX: usize = 200;

/// Longest time for which a collector can ask us to stay away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Posts to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    signal: Signal,
    agent: Agent,
    url: Uri,
    authorization: Option<HeaderValue>,
}

/// The collector has taken a post, though perhaps not all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many points, spans or records it rejected.
    pub(crate) rejected: u64,
    /// What it says to that.
    pub(crate) message: String,
}

/// Why a post was not taken. Never holds the token.
#[derive(Debug)]
pub(crate) enum PostError {
    /// The collector answered with this status.
    Status {
        /// What was posted.
        signal: Signal,
        /// The status.
        status: StatusCode,
        /// The beginning of the answer, where it is text.
        text: String,
        /// How long the collector wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    Transport(Box<ureq::Error>),
    /// It was never sent, for this reason.
    Unsent(String),
}

impl PostError {
    /// Whether the same post might be taken later, as the OTLP specification tells it.
    #[must_use]
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Transport(_) => true,
            Self::Unsent(_) => false,
        }
    }

    /// How long the collector wants to be left alone.
    #[must_use]
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Transport(_) | Self::Unsent(_) => None,
        }
    }
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status {
                signal, status, text, ..
            } => {
                write!(f, "the collector answered {status}")?;
                match status.as_u16() {
                    401 | 403 => write!(f, " (is otel.{signal}_token right?)")?,
                    404 => write!(
                        f,
                        " (does the endpoint have its whole path, such as /v1/{signal}?)"
                    )?,
                    300..=399 => f.write_str(" (redirects are not followed: the token would go along)")?,
                    _ => {}
                }
                if text.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {text}")
                }
            }
            Self::Transport(cause) => write!(f, "no answer: {cause}{}", tls::hint(cause)),
            Self::Unsent(cause) => write!(f, "it could not be sent: {cause}"),
        }
    }
}

impl std::error::Error for PostError {}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    ///
    /// If the URL or the token cannot be used.
    pub(crate) fn new(signal: Signal, endpoint: &Endpoint) -> Result<Self, StartError> {
        let url = parse(&endpoint.url).map_err(|problem| StartError::Endpoint(signal, problem))?;
        let authorization = match &endpoint.token {
            None => None,
            Some(token) => {
                let basic = zeroize::Zeroizing::new(format!("Basic {}", token.expose().trim()));
                let mut value = HeaderValue::from_str(&basic).map_err(|_| StartError::Token(signal))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            signal,
            agent: agent(&endpoint.trust),
            url,
            authorization,
        })
    }

    /// Posts one message and waits for the answer, at most for `patience`.
    ///
    /// # Errors
    ///
    /// If there is no answer in time, or another one than a 2xx.
    pub(crate) fn post(&self, message: &[u8], patience: Duration) -> Result<Taken, PostError> {
        let body = compress(message).map_err(|cause| PostError::Transport(Box::new(cause.into())))?;
        let headers = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-protobuf"),
            ),
            (header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
        ];
        self.send(&headers.into_iter().collect(), &body, patience)
    }

    /// Posts a body as it is, with headers that describe it. Where there is a token, no header takes its
    /// place.
    ///
    /// # Errors
    ///
    /// As [`Self::post`].
    pub(crate) fn send(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        patience: Duration,
    ) -> Result<Taken, PostError> {
        let mut request = self
            .agent
            .post(&self.url)
            .config()
            .timeout_global(Some(patience))
            .build();
        if let Some(own) = request.headers_mut() {
            own.extend(headers.clone());
            if let Some(authorization) = &self.authorization {
                own.insert(header::AUTHORIZATION, authorization.clone());
            }
        }
        let mut response = request
            .send(body)
            .map_err(|cause| PostError::Transport(Box::new(cause)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(taken(
                response.headers().clone(),
                response.body_mut(),
                self.secret(),
            ));
        }
        let retry_after = retry_after(response.headers());
        let text = answer_text(response.headers().clone(), response.body_mut(), self.secret());
        Err(PostError::Status {
            signal: self.signal,
            status,
            text,
            retry_after,
        })
    }

    /// The token, which a collector that quotes the request would have logged; empty if there is none.
    fn secret(&self) -> &str {
        let basic = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        basic
            .and_then(|basic| basic.strip_prefix("Basic "))
            .unwrap_or_default()
    }

    /// The endpoint for log lines: without user, password and query.
    #[must_use]
    pub(crate) fn endpoint(&self) -> String {
        let host = self.url.host().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!(
            "{}://{host}{port}{}",
            self.url.scheme_str().unwrap_or_default(),
            self.url.path()
        )
    }
}

/// Posts without ever waiting for a collector longer than our bounds, and without following it elsewhere.
#[must_use]
pub(crate) fn agent(trust: &Trust) -> Agent {
    let config = Agent::config_builder()
        .tls_config(trust.for_ureq())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(1)
        .user_agent(concat!("passage/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(RESOLVE))
        .timeout_connect(Some(CONNECT))
        .build();
    Agent::new_with_config(config)
}

fn parse(url: &str) -> Result<Uri, String> {
    let url = url.trim();
    match url.split_once("://") {
        Some(("http" | "https", _)) => {}
        Some((scheme, _)) => return Err(format!("has the scheme {scheme:?}, expected http or https")),
        None => return Err("has no scheme, expected http:// or https://".into()),
    }
    let uri: Uri = url.parse().map_err(|cause| format!("is no URL ({cause})"))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err("names no host".into());
    }
    Ok(uri)
}

/// The body as gzip.
///
/// # Errors
///
/// If the encoder fails, which it does not in memory.
pub(crate) fn compress(message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4 + 64), Compression::fast());
    encoder.write_all(message)?;
    encoder.finish()
}

/// What a 2xx says; the answers to all signals have one shape on the wire. An answer that cannot be read is
/// taken for one that says nothing.
fn taken(headers: HeaderMap, body: &mut Body, secret: &str) -> Taken {
    if !content_type(&headers).contains("protobuf") {
        return Taken::default();
    }
    let bytes = body
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_vec()
        .unwrap_or_default();
    let answer = ExportMetricsServiceResponse::decode(&bytes[..]).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    let message = printable(&redaction::strike(secret, &partial.error_message));
    Taken {
        rejected: u64::try_from(partial.rejected_data_points).unwrap_or(0),
        message,
    }
}

/// What `Retry-After` says, as far as it is in seconds.
#[must_use]
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// The beginning of an answer, if it is text, without this secret.
#[must_use]
pub(crate) fn answer_text(headers: HeaderMap, body: &mut Body, secret: &str) -> String {
    let kind = content_type(&headers);
    if !kind.starts_with("text/") && !kind.contains("json") {
        return String::new();
    }
    let text = body
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .lossy_utf8(true)
        .read_to_string()
        .unwrap_or_default();
    printable(&redaction::strike(secret, &text))
}

fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn printable(text: &str) -> String {
    text.trim()
        .chars()
        .take(ANSWER_TEXT_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Time that is left until `deadline`.
#[must_use]
pub(crate) fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
