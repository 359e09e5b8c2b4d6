//! What it means that the API server gives no allocation, and whether it is certain that there is none.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use hyper_util::client::legacy::Error as HttpError;
use kube::client::AuthError;
use passage_proto::question::AskError;
use serde::Deserialize;

use super::allocation::shown;
use crate::adapters::call::Failure;
use crate::redaction;

/// Longest time that the API server may ask us to wait for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// `Status` of the Kubernetes API, which says why something was refused.
#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    message: String,
}

/// Why there is no answer. Only if there was no connection it is certain that nothing was allocated.
pub(super) fn failure(error: &kube::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(error) = one.downcast_ref::<HttpError>() {
            return match error.is_connect() {
                true => Failure::passing(AskError::Unreachable, chain(error)),
                false => Failure::lasting(AskError::Failed, chain(error)),
            };
        }
        if let Some(error) = one.downcast_ref::<AuthError>() {
            return Failure::lasting(AskError::Failed, format!("no credentials: {}", chain(error)));
        }
        cause = one.source();
    }
    Failure::lasting(AskError::Failed, chain(error))
}

/// What an answer means that is no allocation. Only 429 says that nothing was even tried.
pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], namespace: &str) -> Failure {
    let message = serde_json::from_slice(body).map_or_else(
        |_| String::from_utf8_lossy(body).into_owned(),
        |reason: Reason| reason.message,
    );
    let advice = match status.as_u16() {
        400 | 422 => "it does not accept the allocation; check selectors, priorities and metadata".to_owned(),
        401 => "it does not know these credentials (an expired token, another cluster's user?)".to_owned(),
        403 => format!(
            "this user may not create gameserverallocations.allocation.agones.dev in {namespace}; a Role has \
             to allow it"
        ),
        404 => format!("it knows no gameserverallocations in {namespace}; is Agones installed?"),
        409 => "the allocation is in conflict with another change".to_owned(),
        429 => "it has too much to do".to_owned(),
        503 | 504 => "it does not reach Agones".to_owned(),
        _ => "it failed".to_owned(),
    };
    let problem = format!(
        "the API server says {status}: {advice}: {}",
        shown(&redaction::strike_credentials(&message))
    );
    if status != StatusCode::TOO_MANY_REQUESTS {
        return Failure::lasting(AskError::Failed, problem);
    }
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Failure {
        retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
        ..Failure::passing(AskError::RateLimited, problem)
    }
}

/// An error with what caused it, one after the other.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        let reason = one.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = one.source();
    }
    shown(&text)
}

#[cfg(test)]
mod tests;
