//! Mojang's session server, or one that speaks like it: has this player announced this very connection?
//!
//! `GET …/session/minecraft/hasJoined` as minecraft.wiki describes it under "Java Edition
//! protocol/Encryption": 200 with the profile, or 204 if the player has not joined with this secret and key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use passage_proto::identity::{Profile, server_hash};
use passage_proto::question::{AskError, AuthenticateQuery, Refusal};
use passage_proto::text::keys;
use passage_shards::ask::authentication_refusal as refusal;
use ureq::Agent;
use ureq::http::StatusCode;

use super::{Authenticator, refusal_with};
use crate::config;
use crate::tls::{self, Trust};

/// Longest answer that is read. A profile with its signed skin takes about 2 KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Longest name of a premium account.
const NAME_BYTES_MAX: usize = 16;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PATH: &str = "/session/minecraft/hasJoined";

/// A session server.
#[derive(Debug)]
pub struct Mojang {
    settings: config::Mojang,
    address: String,
    agent: Agent,
    /// Whether the last question failed, so that the log tells of changes and not of every player.
    failing: AtomicBool,
}

impl Mojang {
    /// Keeps connections to the session server of `settings`; the first is made when there is a first
    /// question.
    #[must_use]
    pub fn new(settings: config::Mojang, trust: &Trust) -> Self {
        let agent = Agent::config_builder()
            .tls_config(trust.for_ureq())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT.min(settings.remote.timeout)))
            .max_idle_connections_per_host(settings.remote.concurrency)
            .user_agent(concat!("passage/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self {
            address: settings.url.clone() + PATH,
            settings,
            agent,
            failing: AtomicBool::new(false),
        }
    }

    fn ask(&self, query: &AuthenticateQuery, deadline: Instant) -> Result<Profile, Refusal> {
        let Some(secret) = &query.shared_secret else {
            tracing::error!("a login without a secret cannot be authenticated");
            return Err(refusal(AskError::Failed));
        };
        let hash = server_hash("", secret, &query.public_key);
        let left = deadline
            .saturating_duration_since(Instant::now())
            .min(self.settings.remote.timeout);
        if left.is_zero() {
            return Err(refusal(AskError::TimedOut));
        }
        let mut request = self
            .agent
            .get(&self.address)
            .query("username", &query.claim.name)
            .query("serverId", &hash);
        if self.settings.prevent_proxy_connections {
            request = request.query("ip", query.client.address.ip().to_canonical().to_string());
        }
        let mut response = request
            .config()
            .timeout_global(Some(left))
            .build()
            .call()
            .map_err(|error| {
                let problem = format!("{error}{}", tls::hint(&error));
                self.failed(cause_of(&error), &problem)
            })?;
        match response.status() {
            StatusCode::OK => {
                let body = response
                    .body_mut()
                    .with_config()
                    .limit(ANSWER_BYTES_MAX)
                    .read_to_vec();
                let body = body.map_err(|error| self.failed(cause_of(&error), &error.to_string()))?;
                self.profile(&query.claim.name, &body)
            }
            StatusCode::NO_CONTENT => Err(refusal(AskError::Denied)),
            StatusCode::FORBIDDEN => Err(refusal_with(
                keys::DISCONNECT_AUTHENTICATION_REFUSED,
                AskError::Denied,
            )),
            StatusCode::TOO_MANY_REQUESTS => Err(self.failed(AskError::RateLimited, "429 Too Many Requests")),
            other => Err(self.failed(AskError::Failed, &other.to_string())),
        }
    }

    fn profile(&self, claimed: &str, body: &[u8]) -> Result<Profile, Refusal> {
        let profile: Profile = serde_json::from_slice(body)
            .map_err(|error| self.failed(AskError::Failed, &format!("no profile: {error}")))?;
        if !profile.name.eq_ignore_ascii_case(claimed) {
            return Err(self.failed(AskError::Failed, "the profile of another player"));
        }
        Ok(profile)
    }

    /// Tells the log once that the session server has begun to fail.
    fn failed(&self, cause: AskError, problem: &str) -> Refusal {
        if !self.failing.swap(true, Ordering::Relaxed) {
            let address = &self.address;
            tracing::warn!(
                address,
                problem,
                "the session server does not answer; logins are refused"
            );
        }
        refusal(cause)
    }
}

impl Authenticator for Mojang {
    fn concurrency(&self) -> usize {
        self.settings.remote.concurrency
    }

    fn authenticate(&self, query: &AuthenticateQuery, deadline: Instant) -> Result<Profile, Refusal> {
        if !is_account_name(&query.claim.name) {
            return Err(refusal_with(keys::DISCONNECT_INVALID_NAME, AskError::Denied));
        }
        let answer = self.ask(query, deadline);
        let answered = answer
            .as_ref()
            .err()
            .is_none_or(|refusal| refusal.cause == AskError::Denied);
        if answered && self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(address = self.address, "the session server answers again");
        }
        answer
    }
}

fn is_account_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn cause_of(error: &ureq::Error) -> AskError {
    match error {
        ureq::Error::Timeout(_) => AskError::TimedOut,
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => AskError::TimedOut,
        ureq::Error::Io(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            AskError::Unreachable
        }
        _ => AskError::Failed,
    }
}

#[cfg(test)]
mod tests;
