//! Requests over HTTP, on threads that they may block.
//!
//! Redirects are not followed: a token would go along, and an answer from elsewhere is not what the operator
//! configured. Answers are read up to a bound, which counts what is left of them after decompression.

use std::io;
use std::time::Duration;

use passage_proto::question::AskError;
use ureq::Agent;
use ureq::http::{HeaderMap, Request, StatusCode, header};

use super::call::{Attempt, Failure, Policy};
use crate::tls::{self, Trust};

/// Longest time to look a name up and to connect, each.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Connections to a server that are kept for the next request.
const IDLE_MAX: usize = 16;
/// Longest time for which a server can ask to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Asks web servers, on connections that are kept.
#[derive(Clone, Debug)]
pub(super) struct Web {
    agent: Agent,
}

/// What a web server answers.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Web {
    /// Trusts these authorities, and keeps so many connections as questions may be under way. The first is
    /// made when there is a first question.
    pub(super) fn new(policy: &Policy, trust: &Trust) -> Self {
        let connect = Some(CONNECT_MAX.min(policy.timeout));
        let agent = Agent::config_builder()
            .tls_config(trust.for_ureq())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(connect)
            .timeout_connect(connect)
            .max_idle_connections_per_host(policy.concurrency.min(IDLE_MAX))
            .user_agent(concat!("passage/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { agent }
    }

    /// Sends a request without a body, and reads at most `bytes_max` of the answer. The attempt's trace goes
    /// along.
    ///
    /// # Errors
    ///
    /// If there was no answer in time, or none that can be read. Every status is an answer.
    pub(super) async fn send(
        &self,
        attempt: &Attempt,
        mut request: Request<()>,
        bytes_max: u64,
    ) -> Result<Page, Failure> {
        let traceparent = attempt.traceparent.as_deref().and_then(|text| text.parse().ok());
        if let Some(traceparent) = traceparent {
            request.headers_mut().insert("traceparent", traceparent);
        }
        let agent = self.agent.clone();
        let deadline = attempt.deadline;
        let send = move || {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Err(Failure::lasting(AskError::TimedOut, "no thread in time"));
            }
            let request = agent.configure_request(request);
            let request = request.timeout_global(Some(left)).build();
            let response = agent.run(request).map_err(|error| failure(&error))?;
            let (parts, mut body) = response.into_parts();
            let body = body.with_config().limit(bytes_max).read_to_vec();
            Ok(Page {
                status: parts.status,
                headers: parts.headers,
                body: body.map_err(|error| failure(&error))?,
            })
        };
        attempt.on_thread(send).await
    }
}

impl Page {
    /// What a status that was not expected says.
    pub(super) fn unexpected(&self) -> Failure {
        let Self { status, .. } = self;
        match *status {
            StatusCode::TOO_MANY_REQUESTS => Failure {
                retry_after: self.retry_after(),
                ..Failure::passing(AskError::RateLimited, status)
            },
            status if status.is_redirection() => {
                let to = self.headers.get(header::LOCATION);
                let to: String = to
                    .and_then(|to| to.to_str().ok())
                    .map_or_else(String::new, |to| to.chars().take(200).collect());
                Failure::lasting(
                    AskError::Failed,
                    format!("{status} to {to:?}; redirects are not followed, configure the address itself"),
                )
            }
            status if status.is_server_error() => Failure {
                retry_after: self.retry_after(),
                ..Failure::passing(AskError::Failed, status)
            },
            status => Failure::lasting(AskError::Failed, status),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        let wait = Duration::from_secs(seconds.trim().parse().ok()?);
        Some(wait.min(RETRY_AFTER_MAX))
    }
}

fn failure(error: &ureq::Error) -> Failure {
    let problem = format!("{error}{}", tls::hint(error));
    match cause_of(error) {
        // A server closes a connection that it kept at the very moment when the next request is sent, or it
        // is just being restarted.
        AskError::Unreachable => Failure::passing(AskError::Unreachable, problem),
        cause => Failure::lasting(cause, problem),
    }
}

fn cause_of(error: &ureq::Error) -> AskError {
    match error {
        ureq::Error::Timeout(_) => AskError::TimedOut,
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => AskError::TimedOut,
        ureq::Error::Io(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            AskError::Unreachable
        }
        _ => AskError::Failed,
    }
}
