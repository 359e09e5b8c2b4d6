//! What became of a call, in the words of gRPC and in ours.

use std::error::Error as _;
use std::time::Duration;

use passage_proto::question::AskError;
use tonic::{Code, Status, TimeoutExpired};

use super::connection::chain;
use crate::adapters::call::Failure;
use crate::redaction;

/// Longest message of a service that the log shows, in characters.
const PROBLEM_CHARS_MAX: usize = 300;
/// When the service wants to be asked again (gRPC retry design, "Pushback"); never if it is negative.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why there is no answer.
///
/// A service that refuses a *player* answers with a `key`. `PERMISSION_DENIED` and `UNAUTHENTICATED` say that
/// it refuses *Passage*, for example because of its token, and are failures like any other. What the service
/// says is shown without this secret.
pub(super) fn failure(status: &Status, secret: &str) -> Failure {
    let problem = format!("{:?}: {}", status.code(), told(status));
    let problem = redaction::strike(secret, &problem)
        .chars()
        .take(PROBLEM_CHARS_MAX)
        .collect::<String>();
    if status.source().is_some() {
        return lost(status, problem);
    }
    let failure = match status.code() {
        Code::DeadlineExceeded => Failure::lasting(AskError::TimedOut, problem),
        Code::Unavailable => Failure::passing(AskError::Unreachable, problem),
        Code::ResourceExhausted => Failure::passing(AskError::RateLimited, problem),
        Code::Aborted | Code::Cancelled => Failure::passing(AskError::Failed, problem),
        _ => Failure::lasting(AskError::Failed, problem),
    };
    match pushback(status) {
        Some(Some(pause)) => Failure {
            retry_after: Some(pause),
            ..failure
        },
        Some(None) => Failure {
            is_passing: false,
            ..failure
        },
        None => failure,
    }
}

/// There is no connection, or it was lost, or the deadline has passed on our side.
fn lost(status: &Status, problem: String) -> Failure {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return Failure::lasting(AskError::TimedOut, problem);
        }
        cause = error.source();
    }
    Failure::passing(AskError::Unreachable, problem)
}

fn told(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), chain)
}

/// `None` if the service says nothing about it, `Some(None)` if it does not want to be asked again.
fn pushback(status: &Status) -> Option<Option<Duration>> {
    let value = status.metadata().get(PUSHBACK)?;
    let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok());
    Some(milliseconds.map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_meaning() {
        let mut table = String::new();
        for code in (0..17).map(Code::from_i32) {
            let failure = failure(&Status::new(code, "x"), "");
            let again = if failure.is_passing { ", again" } else { "" };
            table += &format!("{code:?}: {:?}{again}\n", failure.cause);
        }
        assert_eq!(
            table,
            "Ok: Failed\n\
             Cancelled: Failed, again\n\
             Unknown: Failed\n\
             InvalidArgument: Failed\n\
             DeadlineExceeded: TimedOut\n\
             NotFound: Failed\n\
             AlreadyExists: Failed\n\
             PermissionDenied: Failed\n\
             ResourceExhausted: RateLimited, again\n\
             FailedPrecondition: Failed\n\
             Aborted: Failed, again\n\
             OutOfRange: Failed\n\
             Unimplemented: Failed\n\
             Internal: Failed\n\
             Unavailable: Unreachable, again\n\
             DataLoss: Failed\n\
             Unauthenticated: Failed\n"
        );
    }

    #[test]
    fn a_lost_connection_is_no_answer_whatever_its_code() {
        let lost = || Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        let expected = Failure::passing(AskError::Unreachable, "Unknown: broken pipe");
        assert_eq!(failure(&lost(), ""), expected);
        let late = failure(&Status::from_error(Box::new(TimeoutExpired(()))), "");
        assert_eq!((late.cause, late.is_passing), (AskError::TimedOut, false));
    }

    #[test]
    fn a_service_says_when_it_may_be_asked_again() {
        let busy = |pushback: &str| {
            let mut status = Status::unavailable("busy");
            status.metadata_mut().insert(PUSHBACK, pushback.parse().unwrap());
            failure(&status, "")
        };
        assert_eq!(busy("250").retry_after, Some(Duration::from_millis(250)));
        assert!(busy("250").is_passing);
        for never in ["-1", "soon", ""] {
            assert_eq!((busy(never).is_passing, busy(never).retry_after), (false, None));
        }
    }

    #[test]
    fn a_token_that_a_service_quotes_is_not_shown_not_even_its_beginning() {
        let quoted = format!("{}hunter2-hunter2", "x".repeat(PROBLEM_CHARS_MAX - 15));
        let failure = failure(&Status::unauthenticated(quoted), "hunter2-hunter2");
        assert!(!failure.problem.contains("hunter"), "{}", failure.problem);
    }

    #[test]
    fn the_message_of_a_service_is_cut() {
        let failure = failure(&Status::internal("ä".repeat(100_000)), "");
        assert_eq!(failure.problem.chars().count(), PROBLEM_CHARS_MAX);
    }
}
