//! The head of a request: bounded, and read no further than needed to answer it.

mod accept;

use crate::telemetry::exposition::Format;

/// Most bytes of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most header fields of a request.
pub(super) const HEADERS_MAX: usize = 64;

/// The header by which Prometheus, and what descends from it, tells how long it waits.
const PROMETHEUS_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// What there is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Metrics,
    Live,
    Ready,
}

/// A request that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) page: Page,
    /// Whether only the head of the answer is wanted.
    pub(super) head_only: bool,
    /// Whether the client is a Prometheus, which keeps a history.
    pub(super) keeps_history: bool,
    /// How it wants the totals.
    pub(super) format: Format,
}

/// Why a request is not answered as it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not HTTP/1.
    Malformed,
    /// More bytes or header fields than there may be.
    TooLarge,
    /// No such page.
    NoSuchPage { head_only: bool },
    /// Pages can be read and nothing else.
    Method,
    /// The head did not come in time.
    TooSlow,
}

/// Reads a request's head; `None` while it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Option<Result<Request, Fault>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length > HEAD_BYTES_MAX => Some(Err(Fault::TooLarge)),
        Ok(httparse::Status::Complete(_)) => Some(route(&request)),
        Ok(httparse::Status::Partial) if bytes.len() >= HEAD_BYTES_MAX => Some(Err(Fault::TooLarge)),
        Ok(httparse::Status::Partial) => None,
        Err(httparse::Error::TooManyHeaders) => Some(Err(Fault::TooLarge)),
        Err(_) => Some(Err(Fault::Malformed)),
    }
}

fn route(request: &httparse::Request<'_, '_>) -> Result<Request, Fault> {
    let head_only = request.method == Some("HEAD");
    let target = request.path.unwrap_or_default();
    let page = match target.split('?').next().unwrap_or_default() {
        "/metrics" => Page::Metrics,
        "/livez" => Page::Live,
        "/readyz" => Page::Ready,
        _ => return Err(Fault::NoSuchPage { head_only }),
    };
    if !head_only && request.method != Some("GET") {
        return Err(Fault::Method);
    }
    let mut headers = request.headers.iter();
    let keeps_history = headers.any(|header| header.name.eq_ignore_ascii_case(PROMETHEUS_HEADER));
    Ok(Request {
        page,
        head_only,
        keeps_history,
        format: accept::preferred(request.headers),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str =
        "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nx-prometheus-scrape-timeout-seconds: 10\r\n\r\n";

    #[test]
    fn a_request_is_read_at_every_length_and_not_before_its_end() {
        for end in 0..SCRAPE.len() {
            assert_eq!(parse(&SCRAPE.as_bytes()[..end]), None, "{end}");
        }
        let expected = Request {
            page: Page::Metrics,
            head_only: false,
            keeps_history: true,
            format: Format::Prometheus,
        };
        assert_eq!(parse(SCRAPE.as_bytes()), Some(Ok(expected)));
    }

    #[test]
    fn what_is_no_request_for_a_page_is_told_why() {
        let of = |text: &[u8]| parse(text).unwrap().unwrap_err();
        assert_eq!(
            of(b"GET / HTTP/1.1\r\n\r\n"),
            Fault::NoSuchPage { head_only: false }
        );
        assert_eq!(
            of(b"HEAD /metricsx HTTP/1.0\r\n\r\n"),
            Fault::NoSuchPage { head_only: true }
        );
        assert_eq!(
            of(b"POST /livez HTTP/1.1\r\nContent-Length: 9\r\n\r\n"),
            Fault::Method
        );
        assert_eq!(
            of(b"\x16\x03\x01\x02\x00\x01"),
            Fault::Malformed,
            "a TLS greeting"
        );
        assert_eq!(
            of(b"\x10\x00\xf9\x05\x09127.0.0.1"),
            Fault::Malformed,
            "a Minecraft handshake"
        );
        assert_eq!(
            of(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            Fault::Malformed,
            "HTTP/2"
        );
        let long = format!("GET /livez HTTP/1.1\r\nx: {}", "y".repeat(HEAD_BYTES_MAX));
        assert_eq!(of(long.as_bytes()), Fault::TooLarge);
        let many = format!(
            "GET /livez HTTP/1.1\r\n{}\r\n",
            "a: b\r\n".repeat(HEADERS_MAX + 1)
        );
        assert_eq!(of(many.as_bytes()), Fault::TooLarge);
    }
}
