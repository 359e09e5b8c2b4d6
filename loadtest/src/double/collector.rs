//! An OpenTelemetry collector that takes whatever is posted to it, and looks at nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Service;
use super::http::Requests;

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

/// The double. Its clones share what they have taken.
#[derive(Clone, Debug, Default)]
pub struct Collector(Arc<Taken>);

/// Posts that were taken, whole.
#[derive(Debug, Default)]
pub struct Taken {
    /// To `/v1/metrics`.
    pub metrics: AtomicU64,
    /// To `/v1/traces`.
    pub traces: AtomicU64,
    /// To any other path.
    pub others: AtomicU64,
}

impl Collector {
    /// What has been taken so far.
    #[must_use]
    pub fn taken(&self) -> &Taken {
        &self.0
    }

    fn take(&self, line: &str) {
        let count = match line.split(' ').nth(1) {
            Some("/v1/metrics") => &self.0.metrics,
            Some("/v1/traces") => &self.0.traces,
            _ => &self.0.others,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Service for Collector {
    type Connection = Requests;

    fn accept(&mut self, _peer: SocketAddr) -> Requests {
        Requests::default()
    }

    fn receive(&mut self, requests: &mut Requests, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        requests.receive(bytes, output, |line| {
            self.take(line);
            TAKEN.to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_posts_by_what_they_are_of() {
        let mut collector = Collector::default();
        let mut output = Vec::new();
        let post = |path| format!("POST {path} HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
        let posts = ["/v1/metrics", "/v1/traces", "/v1/metrics", "/v1/logs"].map(post);
        assert!(collector.receive(&mut Requests::default(), posts.concat().as_bytes(), &mut output));
        let taken = collector.taken();
        let counts = [&taken.metrics, &taken.traces, &taken.others];
        assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [2, 1, 1]);
        assert_eq!(output, TAKEN.repeat(4).into_bytes());
    }
}
