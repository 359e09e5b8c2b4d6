//! One connection to the admin listener: a request, an answer, an orderly end, each of them in bounded time.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::request::{self, Fault, HEAD_BYTES_MAX, Request};
use super::response::Response;
use crate::telemetry::aggregate::ExportNumber;

/// Longest time from the connection to the end of the request's head.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest time that the telemetry thread may take for a scrape.
const SCRAPE_TIME_MAX: Duration = Duration::from_secs(2);

/// Longest time that a client may take to read its answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest time that a client may take to close, once it has its answer.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// Most bytes that are read after the answer, so that the kernel does not take it back with a reset.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// What a connection needs from outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing; it waits for its client.
    Idle,
    /// An answer to this.
    Asked(Result<Request, Fault>),
    /// It should be remembered that its client, which keeps a history, has the scrape with this number.
    Delivered(ExportNumber),
}

#[derive(Debug)]
enum Phase {
    Reading(Vec<u8>),
    Scraping(Request),
    Answering {
        bytes: Vec<u8>,
        written: usize,
        scrape: Option<Exposition>,
    },
    Lingering {
        bytes_left: usize,
    },
    Closed,
}

/// The exposition that an answer holds.
#[derive(Clone, Copy, Debug)]
struct Exposition {
    number: ExportNumber,
    keeps_history: bool,
}

/// A connection that never blocks.
#[derive(Debug)]
pub(super) struct Connection {
    /// Which one, uniquely.
    pub(super) id: u64,
    /// Whose it is.
    pub(super) peer: IpAddr,
    stream: TcpStream,
    phase: Phase,
    deadline: Instant,
}

impl Connection {
    /// Takes over an accepted connection.
    pub(super) fn new(id: u64, peer: IpAddr, stream: TcpStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            id,
            peer,
            stream,
            phase: Phase::Reading(Vec::new()),
            deadline: now + REQUEST_TIME_MAX,
        })
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = match self.phase {
            Phase::Reading(_) | Phase::Lingering { .. } => PollFlags::POLLIN,
            Phase::Answering { .. } => PollFlags::POLLOUT,
            Phase::Scraping(_) | Phase::Closed => PollFlags::empty(),
        };
        (self.stream.as_fd(), flags)
    }

    /// When [`Self::expire`] is due.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether it may be closed where somebody else needs its place: nothing was begun for it.
    pub(super) fn is_dispensable(&self) -> bool {
        matches!(self.phase, Phase::Reading(_) | Phase::Lingering { .. })
    }

    /// Whether it holds an exposition, or will.
    pub(super) fn is_scrape(&self) -> bool {
        match self.phase {
            Phase::Scraping(_) => true,
            Phase::Answering { scrape, .. } => scrape.is_some(),
            Phase::Reading(_) | Phase::Lingering { .. } | Phase::Closed => false,
        }
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn advance(&mut self, now: Instant) -> Event {
        let outcome = match self.phase {
            Phase::Reading(_) => self.read(),
            Phase::Answering { .. } => self.write(now),
            Phase::Lingering { .. } => self.linger(),
            // Polled for nothing, so this is a client that has gone.
            Phase::Scraping(_) => Err(io::ErrorKind::ConnectionReset.into()),
            Phase::Closed => Ok(Event::Idle),
        };
        match outcome {
            Ok(event) => event,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Event::Idle,
            Err(_) => {
                self.phase = Phase::Closed;
                Event::Idle
            }
        }
    }

    /// Ends the phase that has taken too long.
    pub(super) fn expire(&mut self, now: Instant) {
        match self.phase {
            Phase::Reading(_) => self.answer(Response::refusal(Fault::TooSlow), now),
            Phase::Scraping(request) => {
                let why = "the telemetry thread did not answer in time";
                self.answer(Response::unavailable(why, request.head_only), now);
            }
            Phase::Answering { .. } | Phase::Lingering { .. } | Phase::Closed => self.phase = Phase::Closed,
        }
    }

    /// Waits for the exposition.
    pub(super) fn scrape(&mut self, request: Request, now: Instant) {
        self.phase = Phase::Scraping(request);
        self.deadline = now + SCRAPE_TIME_MAX;
    }

    /// Takes the exposition, unless it comes too late.
    pub(super) fn scraped(&mut self, text: Vec<u8>, number: ExportNumber, now: Instant) {
        if let Phase::Scraping(request) = self.phase {
            let exposition = Exposition {
                number,
                keeps_history: request.keeps_history,
            };
            let response = Response::metrics(text, request.format, request.head_only);
            self.begin_answer(response, Some(exposition), now);
        }
    }

    /// Takes its answer, which goes out with the next [`Self::advance`].
    pub(super) fn answer(&mut self, response: Response, now: Instant) {
        self.begin_answer(response, None, now);
    }

    fn begin_answer(&mut self, response: Response, scrape: Option<Exposition>, now: Instant) {
        self.phase = Phase::Answering {
            bytes: response.encode(),
            written: 0,
            scrape,
        };
        self.deadline = now + ANSWER_TIME_MAX;
    }

    fn read(&mut self) -> io::Result<Event> {
        let Phase::Reading(head) = &mut self.phase else {
            return Ok(Event::Idle);
        };
        loop {
            let mut chunk = [0; 1_024];
            let length = self.stream.read(&mut chunk)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.extend(chunk.iter().take(length));
            if let Some(asked) = request::parse(head) {
                return Ok(Event::Asked(asked));
            }
            debug_assert!(head.len() < HEAD_BYTES_MAX, "as long a head is answered");
        }
    }

    fn write(&mut self, now: Instant) -> io::Result<Event> {
        let Phase::Answering {
            bytes,
            written,
            scrape,
        } = &mut self.phase
        else {
            return Ok(Event::Idle);
        };
        while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                length => *written += length,
            }
        }
        let delivered = match scrape {
            Some(exposition) if exposition.keeps_history => Event::Delivered(exposition.number),
            _ => Event::Idle,
        };
        self.stream.shutdown(Shutdown::Write)?;
        self.phase = Phase::Lingering {
            bytes_left: LINGER_BYTES_MAX,
        };
        self.deadline = now + LINGER_TIME_MAX;
        Ok(delivered)
    }

    fn linger(&mut self) -> io::Result<Event> {
        let Phase::Lingering { bytes_left } = &mut self.phase else {
            return Ok(Event::Idle);
        };
        loop {
            let length = self.stream.read(&mut [0; 4_096])?;
            *bytes_left = bytes_left.saturating_sub(length);
            if length == 0 || *bytes_left == 0 {
                self.phase = Phase::Closed;
                return Ok(Event::Idle);
            }
        }
    }
}
