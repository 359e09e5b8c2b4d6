//! Web servers that give statuses and targets as JSON.
//!
//! Both are a [`Resource`]: a page that is asked for again and again. Where the server says how long a page
//! is good (`Cache-Control`, `Expires`) it is not asked for sooner; where it gives a validator (`ETag`,
//! `Last-Modified`) it only has to confirm that the page is still the same (RFC 9111). A page that cannot be
//! understood takes nobody's place: what was good before stays.

pub(super) mod status;
pub(super) mod targets;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use passage_proto::question::AskError;
use passage_shards::metrics::{AdapterName, AdapterType};
use ureq::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};

pub use self::status::HttpStatus;
pub use self::targets::HttpTargets;

use super::Call;
use super::call::{Attempt, Caller, Failure, Repeat};
use super::web::{Page, Web};
use crate::config::Service;
use crate::tls::Trust;

/// Only what the server says about how long a page is good counts: nothing is guessed from its age. The page
/// is for this process alone.
const CACHE: CacheOptions = CacheOptions {
    shared: false,
    cache_heuristic: 0.0,
    immutable_min_time_to_live: Duration::from_secs(3_600),
    ignore_cargo_cult: false,
};

/// Why an adapter of a web server cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceError {
    /// The address is no URL; holds what is wrong with it.
    Address(String),
    /// The token has characters that no header can carry.
    Token,
}

/// A page that is read as a `T`.
struct Resource<T> {
    uri: Uri,
    authorization: Option<HeaderValue>,
    bytes_max: u64,
    web: Web,
    caller: Caller,
    kept: Mutex<Option<Kept<T>>>,
}

/// The last page that was understood.
struct Kept<T> {
    policy: CachePolicy,
    value: T,
}

/// What a page says, and how long its server says that it is good.
#[derive(Debug)]
struct Fresh<T> {
    value: T,
    valid_for: Option<Duration>,
}

impl<T: Clone + Send> Resource<T> {
    fn new(
        name: AdapterName,
        service: &Service,
        bytes_max: u64,
        trust: &Trust,
    ) -> Result<Self, ResourceError> {
        let uri = service.address.parse();
        let uri: Uri = uri.map_err(|error| ResourceError::Address(format!("{error}")))?;
        let authorization = service.token.as_ref().map(|token| {
            let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
            let mut value = HeaderValue::from_str(&bearer).map_err(|_| ResourceError::Token)?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            uri,
            authorization: authorization.transpose()?,
            bytes_max,
            web: Web::new(&service.remote, trust),
            caller: Caller::new(name, AdapterType::Http, &*service.address, service.remote),
            kept: Mutex::default(),
        })
    }

    /// How many threads it may block at the same time.
    fn threads(&self) -> usize {
        self.caller.policy().concurrency
    }

    /// Asks for the page, and has `read` say what is on it. `read` is not asked where the server says that
    /// the page is still the same.
    async fn fetch(
        &self,
        call: Call,
        read: impl Fn(&[u8]) -> Result<T, String> + Copy + Send,
    ) -> Result<Fresh<T>, AskError> {
        let fetch = |attempt: Attempt| self.fetch_once(attempt, read);
        self.caller.call(call, Repeat::Safe, fetch).await
    }

    async fn fetch_once(
        &self,
        attempt: Attempt,
        read: impl Fn(&[u8]) -> Result<T, String> + Send,
    ) -> Result<Fresh<T>, Failure> {
        let request = self.request();
        let page = self
            .web
            .send(&attempt, self.conditional(&request), self.bytes_max)
            .await?;
        let now = SystemTime::now();
        match page.status {
            StatusCode::OK => {
                let problem = |problem| Failure::lasting(AskError::Failed, problem);
                let value = read(&page.body).map_err(problem)?;
                let policy = CachePolicy::new_options(&request, &head(&page), now, CACHE);
                Ok(self.keep(policy, value, now))
            }
            StatusCode::NOT_MODIFIED => self.confirm(&request, &page, now),
            _ => Err(page.unexpected()),
        }
    }

    /// The request as it would be without anything kept.
    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// The same, with the validators of what is kept. It is for the control thread to say when the page is
    /// asked for, so that no page is taken for fresh here.
    fn conditional(&self, request: &Request<()>) -> Request<()> {
        let mut conditional = request.clone();
        let kept = self.kept();
        let Some(kept) = kept.as_ref() else {
            return conditional;
        };
        let mut anew = request.clone();
        let no_cache = HeaderValue::from_static("no-cache");
        anew.headers_mut().insert(header::CACHE_CONTROL, no_cache);
        if let BeforeRequest::Stale { request, .. } = kept.policy.before_request(&anew, SystemTime::now()) {
            for validator in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE] {
                if let Some(value) = request.headers.get(&validator) {
                    conditional.headers_mut().insert(validator, value.clone());
                }
            }
        }
        conditional
    }

    /// The server says that the page is the one that is kept.
    fn confirm(&self, request: &Request<()>, page: &Page, now: SystemTime) -> Result<Fresh<T>, Failure> {
        let mut kept = self.kept();
        let confirmed =
            kept.take().and_then(
                |kept| match kept.policy.after_response(request, &head(page), now) {
                    AfterResponse::NotModified(policy, _) => Some((policy, kept.value)),
                    AfterResponse::Modified(..) => None,
                },
            );
        drop(kept);
        let (policy, value) = confirmed.ok_or_else(|| {
            // The next attempt asks for the whole page.
            Failure::passing(
                AskError::Failed,
                "304 Not Modified, but of a page that is not the one kept",
            )
        })?;
        Ok(self.keep(policy, value, now))
    }

    fn keep(&self, policy: CachePolicy, value: T, now: SystemTime) -> Fresh<T> {
        let valid_for = policy.time_to_live(now);
        *self.kept() = Some(Kept {
            policy,
            value: value.clone(),
        });
        Fresh {
            value,
            valid_for: (!valid_for.is_zero()).then_some(valid_for),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept<T>>> {
        // Replaced whole: there is nothing that a panic could leave half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Status and headers of a page.
fn head(page: &Page) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = page.status;
    *head.headers_mut() = HeaderMap::clone(&page.headers);
    head
}

impl std::fmt::Display for ResourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(problem) => write!(f, "the address is no URL: {problem}"),
            Self::Token => f.write_str("the token has characters that no HTTP header can carry"),
        }
    }
}

impl std::error::Error for ResourceError {}
