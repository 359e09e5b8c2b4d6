//! The bounded queue of log lines and the thread that writes them.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use passage_shards::pulse::Pulse;

use super::export::Export;
use super::repeats::Repeats;
use super::{Format, line};
use crate::telemetry::aggregate::Loss;

/// Most lines that wait to be written.
pub(super) const LINES_MAX: usize = 8_192;

/// Most bytes that wait to be written.
pub(super) const QUEUE_BYTES_MAX: usize = 4 << 20;

/// Bytes after which the writer stops collecting lines for one write.
const BATCH_BYTES: usize = 64 * 1024;

/// How long the writer waits for an output that was made non-blocking by someone else.
const RETRY: Duration = Duration::from_millis(5);

/// How often is told how many lines were withheld.
const TELL: Duration = Duration::from_secs(1);

/// Where lines are left to be written or exported.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    entries: Sender<Entry>,
    counts: Counts,
    repeats: Arc<Repeats>,
    pulse: Arc<Pulse>,
}

#[derive(Debug)]
pub(super) enum Entry {
    Line(Box<str>),
    /// Answered once everything before it is written.
    Flush(Sender<()>),
}

/// How much waits, and how much was lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Arc<Gauge>);

#[derive(Debug, Default)]
struct Gauge {
    bytes: AtomicUsize,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// Counts lines that nobody will see.
    pub(super) fn drop_lines(&self, lines: u64) {
        self.0.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// Counts a post that was not taken.
    pub(super) fn fail(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes room for so many bytes again.
    pub(super) fn release(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Lines dropped since the start.
    fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Takes room for so many bytes, if there is any.
    fn reserve(&self, bytes: usize) -> bool {
        let waiting = self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting + bytes <= QUEUE_BYTES_MAX;
        if !fits {
            self.release(bytes);
        }
        fits
    }
}

impl Queue {
    /// Starts a thread of this name that consumes what is left, until the last clone of the queue is gone.
    pub(super) fn new(
        name: &str,
        consume: impl FnOnce(Receiver<Entry>, Counts, &Repeats) + Send + 'static,
    ) -> io::Result<Self> {
        let (entries, waiting) = bounded(LINES_MAX);
        let (counts, repeats) = (Counts::default(), Arc::new(Repeats::new(Instant::now())));
        let (own_counts, own_repeats) = (counts.clone(), Arc::clone(&repeats));
        let pulse = Arc::new(Pulse::resting());
        let own_pulse = Arc::clone(&pulse);
        thread::Builder::new()
            .name(name.into())
            .spawn(move || own_pulse.over(|| consume(waiting, own_counts, &own_repeats)))?;
        Ok(Self {
            entries,
            counts,
            repeats,
            pulse,
        })
    }

    /// Starts the thread that writes to `output`, and to `export` what only this thread knows. It ends with
    /// the last clone of the queue.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        format: Format,
        export: Option<Export>,
    ) -> io::Result<Self> {
        Self::new("logs", move |waiting, counts, repeats| {
            let writer = Writer {
                output,
                format,
                export,
                waiting,
                counts,
                repeats,
                reported: 0,
                told: Instant::now(),
                batch: Vec::new(),
            };
            writer.run();
        })
    }

    /// The sign of life of the thread.
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// What the lines are counted by that repeat.
    pub(super) fn repeats(&self) -> &Repeats {
        &self.repeats
    }

    /// Leaves a line, or drops and counts it where the queue is full. Never waits.
    pub(super) fn push(&self, line: &str) {
        if !self.counts.reserve(line.len()) {
            self.counts.drop_lines(1);
        } else if self.entries.try_send(Entry::Line(line.into())).is_err() {
            self.counts.release(line.len());
            self.counts.drop_lines(1);
        }
    }

    /// Waits until everything that was left before is written, or for the deadline. Says which.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let (done, written) = bounded(1);
        self.entries.send_deadline(Entry::Flush(done), deadline).is_ok()
            && written.recv_deadline(deadline).is_ok()
    }

    /// Lines that did not arrive since the start.
    pub(super) fn loss(&self) -> Loss {
        Loss {
            dropped: self.counts.dropped(),
            failed: self.counts.0.failed.load(Ordering::Relaxed),
        }
    }
}

struct Writer<'a, W> {
    output: W,
    format: Format,
    export: Option<Export>,
    waiting: Receiver<Entry>,
    counts: Counts,
    repeats: &'a Repeats,
    /// How many of the dropped lines a line has told of.
    reported: u64,
    /// When the withheld lines were told of.
    told: Instant,
    batch: Vec<u8>,
}

impl<W: Write> Writer<'_, W> {
    fn run(mut self) {
        loop {
            match self.waiting.recv_timeout(TELL) {
                Ok(first) => self.write(first),
                Err(RecvTimeoutError::Timeout) => self.tell_repeats(),
                Err(RecvTimeoutError::Disconnected) => return self.tell_repeats(),
            }
            if self.told.elapsed() >= TELL {
                self.tell_repeats();
            }
        }
    }

    fn write(&mut self, first: Entry) {
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
            self.counts.drop_lines(lines);
        }
        self.counts.release(bytes);
        if let Some(done) = flushed {
            self.tell_repeats();
            let _ = done.send(());
        }
    }

    /// Adds a line about the lines that were dropped since the last such line.
    fn report_drops(&mut self) {
        let dropped = self.counts.dropped();
        if dropped > self.reported {
            self.batch
                .extend_from_slice(line::drops(self.format, dropped - self.reported).as_bytes());
            self.reported = dropped;
        }
    }

    /// Writes a line for each place whose lines were withheld since it was last told of.
    fn tell_repeats(&mut self) {
        self.told = Instant::now();
        for withheld in self.repeats.take() {
            let line = line::repeats(self.format, &withheld);
            if write_fully(&mut self.output, line.as_bytes()).is_err() {
                self.counts.drop_lines(1);
            }
            if let Some(export) = &self.export {
                export.push(&line::repeats(Format::Json, &withheld));
            }
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
