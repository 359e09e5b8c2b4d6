//! Connections to gRPC services: one for each address and its credentials, however many adapters use it.
//!
//! A connection is made when it is first needed and kept; when it is lost, the next question makes it anew.
//! As long as no attempt leads to an answer, attempts come ever more slowly, and questions in between fail at
//! once.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::HttpConnector;
use passage_proto::question::AskError;
use tonic::codegen::http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tower::{Service, ServiceExt as _};

use crate::adapters::call::{Attempt, Failure, backoff};
use crate::config;
use crate::tls::Trust;

/// For the TCP connection; the TLS handshake may take as long again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause after the first attempt to connect that led to no answer, and the longest one.
const CONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After this much silence while questions are open, the service is asked for a sign of life. Often enough to
/// notice that it has gone, and seldom enough for servers that count too many pings as an attack.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long that sign of life may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sent bytes may remain unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("passage/", env!("CARGO_PKG_VERSION"));

/// All connections of a configuration.
#[derive(Debug, Default)]
pub struct Connections(HashMap<config::Service, Arc<Connection>>);

impl Connections {
    /// The connection to this service; the same one for the same address and credentials. Opens no socket.
    ///
    /// # Errors
    ///
    /// What of its settings cannot be used.
    pub fn to(
        &mut self,
        service: &config::Service,
        trust: &Trust,
    ) -> Result<Arc<Connection>, UnusableService> {
        // How often and how long an adapter asks is its own business.
        let key = config::Service {
            remote: config::Remote::default(),
            ..service.clone()
        };
        if let Some(connection) = self.0.get(&key) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(Connection::new(&key, trust)?);
        self.0.insert(key, Arc::clone(&connection));
        Ok(connection)
    }
}

/// A connection to one service, which is made when it is needed.
pub struct Connection {
    address: String,
    endpoint: Endpoint,
    token: Option<MetadataValue<Ascii>>,
    pace: Arc<Pace>,
    /// Made within the runtime that asks first.
    channel: OnceLock<Channel>,
}

/// Why there can be no connection to a service.
#[derive(Debug)]
pub struct UnusableService {
    address: String,
    problem: String,
}

impl Connection {
    fn new(service: &config::Service, trust: &Trust) -> Result<Self, UnusableService> {
        let unusable = |problem: String| UnusableService {
            address: service.address.clone(),
            problem,
        };
        let endpoint = Endpoint::from_shared(service.address.clone())
            .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
            .and_then(|endpoint| {
                if service.address.starts_with("https://") {
                    endpoint.tls_config(tls(service, trust))
                } else {
                    Ok(endpoint)
                }
            })
            .map_err(|error| unusable(chain(&error)))?
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let token = service.token.as_ref().map(|token| {
            let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.expose())
                .parse()
                .map_err(|_| unusable("its token has characters that no header can have".into()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            address: service.address.clone(),
            endpoint,
            token: token.transpose()?,
            pace: Arc::default(),
            channel: OnceLock::new(),
        })
    }

    /// Where the service is, as configured.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The token, which a service that quotes the question would have logged; empty if there is none.
    pub(super) fn secret(&self) -> &str {
        let bearer = self.token.as_ref().and_then(|token| token.to_str().ok());
        bearer
            .and_then(|bearer| bearer.strip_prefix("Bearer "))
            .unwrap_or_default()
    }

    /// The channel that questions go through. Must be called within a runtime.
    pub(super) fn channel(&self) -> Channel {
        let connect = || {
            let connector = PacedConnector::new(Arc::clone(&self.pace));
            self.endpoint.connect_with_connector_lazy(connector)
        };
        self.channel.get_or_init(connect).clone()
    }

    /// Connects once more, and closes the connection again.
    pub(super) async fn try_out(&self) -> Result<(), Failure> {
        let endpoint = self.endpoint.clone().connect_timeout(CONNECT_TIMEOUT);
        match endpoint.connect().await {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::lasting(AskError::Unreachable, chain(&error))),
        }
    }

    /// A question with what belongs to every one: its deadline, its trace, and the service's token.
    pub(super) fn request<Q>(&self, question: Q, attempt: &Attempt) -> Request<Q> {
        let mut request = Request::new(question);
        request.set_timeout(attempt.remaining());
        let trace = attempt
            .traceparent
            .as_deref()
            .and_then(|trace| trace.parse().ok());
        let metadata = request.metadata_mut();
        if let Some(trace) = trace {
            metadata.insert("traceparent", trace);
        }
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        request
    }

    /// To be called with every outcome: an answer, also one that is an error, proves that connecting works.
    pub(super) fn note<T>(&self, outcome: &Result<T, Status>) {
        let answered = outcome
            .as_ref()
            .err()
            .is_none_or(|status| status.source().is_none());
        if answered {
            self.pace.answered();
        }
    }
}

fn tls(service: &config::Service, trust: &Trust) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new()
        .trust_anchors(trust.roots().roots.iter().cloned())
        .timeout(CONNECT_TIMEOUT);
    if let Some(name) = &service.server_name {
        tls = tls.domain_name(name);
    }
    if let Some(identity) = &service.identity {
        tls = tls.identity(Identity::from_pem(identity.certificates(), identity.expose_key()));
    }
    tls
}

/// When the next attempt to connect may begin.
#[derive(Debug, Default)]
struct Pace(Mutex<Attempts>);

#[derive(Debug, Default)]
struct Attempts {
    /// Since the last answer.
    count: u32,
    /// Set by the last attempt.
    pause_until: Option<Instant>,
}

/// It is too early for another attempt to connect.
#[derive(Debug)]
struct TooEarly(Duration);

impl Pace {
    /// Begins an attempt, which sets the time of the next one.
    fn begin(&self, now: Instant, random: f64) -> Result<(), TooEarly> {
        let mut attempts = self.attempts();
        let left = attempts
            .pause_until
            .map(|until| until.saturating_duration_since(now));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Err(TooEarly(left));
        }
        attempts.count = attempts.count.saturating_add(1);
        let (first, longest) = CONNECT_PAUSES;
        attempts.pause_until = Some(now + backoff::pause(attempts.count, first, longest, random));
        Ok(())
    }

    fn answered(&self) {
        *self.attempts() = Attempts::default();
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects over TCP, not too often.
struct PacedConnector {
    pace: Arc<Pace>,
    tcp: HttpConnector,
}

impl PacedConnector {
    fn new(pace: Arc<Pace>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE_INTERVAL));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
        Self { pace, tcp }
    }
}

impl Service<Uri> for PacedConnector {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = crate::adapters::Answer<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let begun = self.pace.begin(Instant::now(), rand::random());
        let tcp = self.tcp.clone();
        Box::pin(async move {
            begun?;
            match tokio::time::timeout(CONNECT_TIMEOUT, tcp.oneshot(address)).await {
                Ok(stream) => Ok(stream?),
                Err(_) => Err(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()).into()),
            }
        })
    }
}

/// What an error says, with its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their cause.
        if !text.ends_with(&more) {
            text.extend([": ", &more]);
        }
        cause = error.source();
    }
    text
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for UnusableService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service at {}: {}", self.address, self.problem)
    }
}

impl Error for UnusableService {}

impl fmt::Display for TooEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.0.as_millis();
        write!(
            f,
            "the last attempt to connect failed; the next one is in {left} ms"
        )
    }
}

impl Error for TooEarly {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_without_an_answer_come_ever_more_slowly() {
        let (pace, mut now) = (Pace::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.begin(now, 1.0).unwrap();
            let TooEarly(left) = pace.begin(now, 1.0).unwrap_err();
            pauses.push(left.as_millis());
            now += left;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        pace.begin(now, 1.0).unwrap();
        pace.answered();
        pace.begin(now, 1.0).unwrap();
        assert_eq!(pace.begin(now, 1.0).unwrap_err().0.as_millis(), 100);
    }

    #[test]
    fn an_error_is_told_with_its_causes_but_not_twice() {
        let cause = std::io::Error::other("refused");
        let error = tonic::ConnectError(Box::new(cause));
        assert_eq!(chain(&error), "refused");
    }
}
