//! An OpenTelemetry collector that takes whatever is posted to it, and looks at nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Service;

/// A request head longer than this is not one that an exporter sends.
const HEAD_BYTES_MAX: usize = 8 * 1024;

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

const REFUSED: &[u8] = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

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

/// Where in a request a connection is.
#[derive(Debug, Default)]
pub struct Progress {
    head: Vec<u8>,
    /// The first line of the request whose body comes, and how many bytes of it are left.
    body: Option<(String, usize)>,
}

impl Service for Collector {
    type Connection = Progress;

    fn accept(&mut self, _peer: SocketAddr) -> Progress {
        Progress::default()
    }

    fn receive(&mut self, progress: &mut Progress, mut bytes: &[u8], output: &mut Vec<u8>) -> bool {
        loop {
            if let Some((line, left)) = &mut progress.body {
                let step = bytes.len().min(*left);
                bytes = bytes.get(step..).unwrap_or_default();
                *left -= step;
                if *left > 0 {
                    return true;
                }
                self.take(line);
                output.extend_from_slice(TAKEN);
                progress.body = None;
            }
            let before = progress.head.len();
            progress.head.extend_from_slice(bytes);
            let Some(end) = progress.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                return progress.head.len() <= HEAD_BYTES_MAX;
            };
            bytes = bytes.get(end + 4 - before..).unwrap_or_default();
            let head = String::from_utf8_lossy(progress.head.get(..end).unwrap_or_default()).into_owned();
            progress.head.clear();
            let Some(length) = content_length(&head) else {
                output.extend_from_slice(REFUSED);
                return false;
            };
            progress.body = Some((head.lines().next().unwrap_or_default().to_owned(), length));
        }
    }
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTS: &str = "POST /v1/metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde\
                         POST /v1/traces HTTP/1.1\r\ncontent-length:0\r\n\r\n\
                         POST /v1/metrics HTTP/1.1\r\nX: y\r\nContent-length: 3\r\n\r\n\r\n\r";

    #[test]
    fn takes_every_post_however_it_is_cut() {
        for size in 1..=POSTS.len() {
            let mut collector = Collector::default();
            let (mut progress, mut output) = (Progress::default(), Vec::new());
            for piece in POSTS.as_bytes().chunks(size) {
                assert!(collector.receive(&mut progress, piece, &mut output));
            }
            let taken = collector.taken();
            let counts = [&taken.metrics, &taken.traces, &taken.others];
            assert_eq!(
                counts.map(|count| count.load(Ordering::Relaxed)),
                [2, 1, 0],
                "{size}"
            );
            assert_eq!(output, TAKEN.repeat(3));
        }
    }

    #[test]
    fn refuses_what_has_no_length_or_no_end() {
        let mut collector = Collector::default();
        let mut refused = |request: &[u8]| {
            let mut output = Vec::new();
            !collector.receive(&mut Progress::default(), request, &mut output)
        };
        assert!(refused(
            b"POST /v1/metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        assert!(refused(&[b'x'; HEAD_BYTES_MAX + 1]));
    }
}
