//! How somebody else than the collector reads the totals: by asking the telemetry thread.

use std::fmt;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::aggregate::{ExportNumber, Reading};
use super::exposition::Format;

/// Scrapes that wait for the telemetry thread at a time; beyond it they are refused.
const SCRAPES_WAITING_MAX: usize = 8;

/// A wish to read the totals.
pub(crate) struct Scrape {
    /// How young series read.
    pub(crate) reading: Reading,
    /// How they are written.
    pub(crate) format: Format,
    /// Takes the result, on the telemetry thread: must not block. Dropped if there will be none.
    pub(crate) then: Box<dyn FnOnce(Scraped) + Send>,
}

/// The totals as text.
#[derive(Debug)]
pub(crate) struct Scraped {
    /// All series that are in it were born by then.
    pub(crate) number: ExportNumber,
    /// The exposition.
    pub(crate) text: Vec<u8>,
}

/// The way to the telemetry thread.
#[derive(Clone, Debug)]
pub(crate) struct Scraper(Sender<Scrape>);

impl Scraper {
    /// The way, and the end at which scrapes arrive.
    pub(crate) fn new() -> (Self, Receiver<Scrape>) {
        let (sender, receiver) = bounded(SCRAPES_WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Asks for the totals; never blocks.
    ///
    /// # Errors
    ///
    /// If too many others wait, or the thread has ended.
    pub(crate) fn ask(&self, scrape: Scrape) -> Result<(), Refused> {
        self.0.try_send(scrape).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Busy,
            TrySendError::Disconnected(_) => Refused::Ended,
        })
    }
}

/// Why the totals cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many scrapes wait.
    Busy,
    /// The telemetry thread has ended.
    Ended,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many scrapes at a time",
            Self::Ended => "the telemetry thread has ended",
        })
    }
}
