//! The bounded queue of log lines and the thread that writes them.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Format;
use super::line;

/// Most lines that wait to be written.
pub(super) const LINES_MAX: usize = 8_192;

/// Most bytes that wait to be written.
pub(super) const QUEUE_BYTES_MAX: usize = 4 << 20;

/// Bytes after which the writer stops collecting lines for one write.
const BATCH_BYTES: usize = 64 * 1024;

/// How long the writer waits for an output that was made non-blocking by someone else.
const RETRY: Duration = Duration::from_millis(5);

/// Where lines are left to be written.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    entries: Sender<Entry>,
    gauge: Arc<Gauge>,
}

#[derive(Debug)]
enum Entry {
    Line(Box<str>),
    /// Answered once everything before it is written.
    Flush(Sender<()>),
}

#[derive(Debug, Default)]
struct Gauge {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Queue {
    /// Starts the thread that writes to `output`. It ends with the last clone of the queue.
    pub(super) fn start(output: impl Write + Send + 'static, format: Format) -> io::Result<Self> {
        let (entries, waiting) = bounded(LINES_MAX);
        let gauge = Arc::new(Gauge::default());
        let writer = Writer {
            output,
            format,
            waiting,
            gauge: Arc::clone(&gauge),
            reported: 0,
            batch: Vec::new(),
        };
        thread::Builder::new()
            .name("logs".into())
            .spawn(move || writer.run())?;
        Ok(Self { entries, gauge })
    }

    /// Leaves a line, or drops and counts it where the queue is full. Never waits.
    pub(super) fn push(&self, line: &str) {
        let waiting = self.gauge.bytes.fetch_add(line.len(), Ordering::Relaxed);
        let fits = waiting + line.len() <= QUEUE_BYTES_MAX;
        if !fits || self.entries.try_send(Entry::Line(line.into())).is_err() {
            self.gauge.bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.gauge.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything that was left before is written, or for the deadline. Says which.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let (done, written) = bounded(1);
        self.entries.send_deadline(Entry::Flush(done), deadline).is_ok()
            && written.recv_deadline(deadline).is_ok()
    }

    /// Lines dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.gauge.dropped.load(Ordering::Relaxed)
    }
}

struct Writer<W> {
    output: W,
    format: Format,
    waiting: Receiver<Entry>,
    gauge: Arc<Gauge>,
    /// How many of the dropped lines a line has told of.
    reported: u64,
    batch: Vec<u8>,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        while let Ok(first) = self.waiting.recv() {
            let mut lines = 0;
            let mut flushed = None;
            self.batch.clear();
            let mut next = Some(first);
            while let Some(entry) = next {
                match entry {
                    Entry::Line(line) => {
                        lines += 1;
                        self.batch.extend_from_slice(line.as_bytes());
                    }
                    Entry::Flush(done) => flushed = Some(done),
                }
                let more = flushed.is_none() && self.batch.len() < BATCH_BYTES;
                next = more.then(|| self.waiting.try_recv().ok()).flatten();
            }
            let bytes = self.batch.len();
            if self.waiting.is_empty() {
                self.report_drops();
            }
            if write_fully(&mut self.output, &self.batch).is_err() {
                self.gauge.dropped.fetch_add(lines, Ordering::Relaxed);
            }
            self.gauge.bytes.fetch_sub(bytes, Ordering::Relaxed);
            if let Some(done) = flushed {
                let _ = done.send(());
            }
        }
    }

    /// Adds a line about the lines that were dropped since the last such line.
    fn report_drops(&mut self) {
        let dropped = self.gauge.dropped.load(Ordering::Relaxed);
        if dropped > self.reported {
            self.batch
                .extend_from_slice(line::drops(self.format, dropped - self.reported).as_bytes());
            self.reported = dropped;
        }
    }
}

fn write_fully(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(RETRY),
            Err(error) => return Err(error),
        }
    }
    output.flush()
}
