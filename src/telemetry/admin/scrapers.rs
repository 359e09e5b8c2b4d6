//! What each Prometheus has seen, so that it sees the birth of every series.
//!
//! `rate()` and `increase()` miss what a series had counted when it was seen for the first time. As exports
//! do, a scrape by somebody who keeps a history therefore reads 0 for a series that is new to him, and its
//! count the next time. Who comes for the first time long after the start reads everything as it is: zeros
//! would look like a restart to him.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::telemetry::aggregate::{ExportNumber, Reading};

/// Scrapers that are remembered; others read every series as it is.
const SCRAPERS_MAX: usize = 16;

/// How long a scraper is remembered that does not come any more.
const ABSENCE_MAX: Duration = Duration::from_secs(15 * 60);

/// For so long after the start a first scrape reads zeros: this is how long Prometheus takes a series for the
/// same that it knows from before a restart.
const YOUTH: Duration = Duration::from_secs(5 * 60);

/// Who scrapes, and what he has seen.
#[derive(Debug)]
pub(super) struct Scrapers {
    started: Instant,
    known: Vec<Scraper>,
}

#[derive(Debug)]
struct Scraper {
    address: IpAddr,
    seen: ExportNumber,
    last: Instant,
}

impl Scrapers {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            known: Vec::with_capacity(SCRAPERS_MAX),
        }
    }

    /// How a scrape from this address reads.
    pub(super) fn reading(&mut self, address: IpAddr, now: Instant) -> Reading {
        self.known
            .retain(|known| now.saturating_duration_since(known.last) < ABSENCE_MAX);
        if let Some(known) = self.known.iter().find(|known| known.address == address) {
            return Reading::Since(known.seen);
        }
        let is_young = now.saturating_duration_since(self.started) < YOUTH;
        if is_young && self.known.len() < SCRAPERS_MAX {
            Reading::Since(ExportNumber::NONE)
        } else {
            Reading::Final
        }
    }

    /// The scrape with this number has gone out to this address, whole.
    pub(super) fn seen(&mut self, address: IpAddr, number: ExportNumber, now: Instant) {
        if let Some(known) = self.known.iter_mut().find(|known| known.address == address) {
            (known.seen, known.last) = (known.seen.max(number), now);
        } else if self.known.len() < SCRAPERS_MAX {
            self.known.push(Scraper {
                address,
                seen: number,
                last: now,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::aggregate::Aggregate;

    use super::*;

    fn numbers() -> impl Iterator<Item = ExportNumber> {
        let mut aggregate = Aggregate::new(10, &[]);
        std::iter::repeat_with(move || aggregate.begin_export())
    }

    fn ip(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    #[test]
    fn each_scraper_has_its_own_past() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(start);
        let mut numbers = numbers();
        assert_eq!(scrapers.reading(ip(1), start), Reading::Since(ExportNumber::NONE));
        let (first, second) = (numbers.next().unwrap(), numbers.next().unwrap());
        scrapers.seen(ip(1), second, start);
        // An answer that was longer on its way takes nothing back.
        scrapers.seen(ip(1), first, start);
        assert_eq!(scrapers.reading(ip(1), start + YOUTH), Reading::Since(second));
        assert_eq!(scrapers.reading(ip(2), start), Reading::Since(ExportNumber::NONE));
        assert_eq!(scrapers.reading(ip(2), start + YOUTH), Reading::Final);
    }

    #[test]
    fn who_stays_away_is_forgotten_and_who_is_one_too_many_reads_what_is() {
        let start = Instant::now();
        let mut scrapers = Scrapers::new(start);
        let number = numbers().next().unwrap();
        (0..=250).for_each(|last| scrapers.seen(ip(last), number, start));
        assert_eq!(scrapers.known.len(), SCRAPERS_MAX);
        assert_eq!(scrapers.reading(ip(0), start), Reading::Since(number));
        assert_eq!(scrapers.reading(ip(200), start), Reading::Final);
        assert_eq!(scrapers.reading(ip(0), start + ABSENCE_MAX), Reading::Final);
        assert!(scrapers.known.is_empty());
    }
}
