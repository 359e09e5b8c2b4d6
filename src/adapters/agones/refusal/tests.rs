//! What operators read.

use http::HeaderValue;

use super::*;

fn told(status: u16, body: &str) -> Failure {
    refused(
        StatusCode::from_u16(status).unwrap(),
        &HeaderMap::new(),
        body.as_bytes(),
        "games",
    )
}

#[test]
fn says_what_to_do_and_what_the_api_server_says() {
    let body = r#"{"kind":"Status","message":"gameserverallocations is forbidden"}"#;
    for (status, part) in [
        (400, "check selectors"),
        (401, "does not know these credentials"),
        (
            403,
            "may not create gameserverallocations.allocation.agones.dev in games",
        ),
        (404, "is Agones installed?"),
        (409, "in conflict"),
        (422, "check selectors"),
        (500, "it failed"),
        (503, "does not reach Agones"),
    ] {
        let failure = told(status, body);
        assert_eq!(
            (failure.cause, failure.is_passing),
            (AskError::Failed, false),
            "{status}"
        );
        assert!(failure.problem.contains(part), "{}", failure.problem);
        assert!(
            failure.problem.ends_with(": gameserverallocations is forbidden"),
            "{}",
            failure.problem
        );
    }
}

#[test]
fn a_body_that_is_no_status_is_shown_in_part() {
    let failure = told(502, &format!("<html>\n{}", "x".repeat(100_000)));
    assert!(failure.problem.contains("<html> xxx"), "{}", failure.problem);
    assert!(failure.problem.len() < 400);
}

#[test]
fn waits_as_long_as_it_is_asked_to_within_bounds() {
    let after = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        let failure = refused(StatusCode::TOO_MANY_REQUESTS, &headers, b"", "games");
        assert_eq!((failure.cause, failure.is_passing), (AskError::RateLimited, true));
        failure.retry_after.map(|pause| pause.as_secs())
    };
    assert_eq!(after("1"), Some(1));
    assert_eq!(after("99999999999"), Some(60));
    assert_eq!(after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
}
