//! Answers, each of them whole: head and body in one piece, and the connection closed after it.

use std::fmt::Write as _;

use super::health::{Health, Stage};
use super::request::Fault;
use crate::telemetry::exposition::Format;

/// An answer before it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    status: (u16, &'static str),
    kind: &'static str,
    extra: &'static str,
    body: Vec<u8>,
    head_only: bool,
}

impl Response {
    /// The exposition.
    pub(super) fn metrics(text: Vec<u8>, format: Format, head_only: bool) -> Self {
        Self {
            kind: format.content_type(),
            extra: "Vary: Accept\r\n",
            ..Self::text((200, "OK"), text, head_only)
        }
    }

    /// There is no exposition now, but there may be soon.
    pub(super) fn unavailable(why: &str, head_only: bool) -> Self {
        Self {
            extra: "Retry-After: 1\r\n",
            ..Self::text((503, "Service Unavailable"), format!("{why}\n"), head_only)
        }
    }

    /// Whether every thread that players need makes progress, and which of all threads does not.
    pub(super) fn live(health: &Health, head_only: bool) -> Self {
        let troubles = health.troubles();
        let (status, mut text) = if troubles.iter().any(|trouble| trouble.part.is_vital()) {
            ((503, "Service Unavailable"), String::new())
        } else {
            ((200, "OK"), "alive\n".to_owned())
        };
        for trouble in troubles {
            let _ = writeln!(text, "{trouble}");
        }
        Self::text(status, text, head_only)
    }

    /// Whether players are let in.
    pub(super) fn ready(health: &Health, head_only: bool) -> Self {
        let (status, text) = match health.stage() {
            Stage::Ready => ((200, "OK"), "ready\n"),
            Stage::Starting => ((503, "Service Unavailable"), "starting\n"),
            Stage::Draining => ((503, "Service Unavailable"), "draining\n"),
        };
        Self::text(status, text, head_only)
    }

    /// What is wrong with a request.
    pub(super) fn refusal(fault: Fault) -> Self {
        match fault {
            Fault::Malformed => Self::text((400, "Bad Request"), "this is no HTTP/1 request\n", false),
            Fault::TooLarge => Self::text(
                (431, "Request Header Fields Too Large"),
                "the request is too large\n",
                false,
            ),
            Fault::NoSuchPage { head_only } => Self::text(
                (404, "Not Found"),
                "there are /metrics, /livez and /readyz\n",
                head_only,
            ),
            Fault::Method => Self {
                extra: "Allow: GET, HEAD\r\n",
                ..Self::text((405, "Method Not Allowed"), "pages can only be read\n", false)
            },
            Fault::TooSlow => Self::text((408, "Request Timeout"), "the request took too long\n", false),
        }
    }

    fn text(status: (u16, &'static str), body: impl Into<Vec<u8>>, head_only: bool) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            extra: "",
            body: body.into(),
            head_only,
        }
    }

    /// The answer as it goes out.
    pub(super) fn encode(self) -> Vec<u8> {
        let (code, reason) = self.status;
        let mut bytes = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: \
             no-store\r\nX-Content-Type-Options: nosniff\r\n{}Connection: close\r\n\r\n",
            self.kind,
            self.body.len(),
            self.extra
        )
        .into_bytes();
        if !self.head_only {
            bytes.extend(self.body);
        }
        bytes
    }
}
