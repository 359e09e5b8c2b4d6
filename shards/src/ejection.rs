//! Passive ejection: a shard lets targets rest that it could not connect to.
//!
//! A target whose dials fail [`Terms::consecutive_failures`] times in a row is ejected for [`Terms::pause`].
//! After that it gets players again, on probation: one more failure ejects it at once, for twice as long, up
//! to [`Terms::pause_max`]. One dial that succeeds makes everything forgotten. However many targets fail, no
//! more than [`Terms::share_max`] of those that a player could go to are left out of a choice; of more the
//! ones whose pause ends first are let back.

use std::time::{Duration, Instant};

use passage_proto::question::Target;

use crate::feed::Candidate;
use crate::ledger::Ledger;

#[cfg(test)]
mod tests;

pub use crate::limits::FAILING_MAX;

/// When targets are ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Dials in a row that have to fail; at least 1.
    pub consecutive_failures: u32,
    /// The first pause.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// How many of the targets of a choice may be left out, in percent, rounded down; 0 switches ejection
    /// off.
    pub share_max: u8,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            consecutive_failures: 3,
            pause: Duration::from_secs(10),
            pause_max: Duration::from_secs(300),
            share_max: 50,
        }
    }
}

/// A target was ejected, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejected {
    /// Dials that have failed in a row.
    pub failures: u32,
    /// For how long it rests.
    pub pause: Duration,
}

/// One shard's memory of the dials that failed.
#[derive(Debug, Default)]
pub struct Ejections {
    failing: Ledger<Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    failed: Instant,
    /// The last pause and when it ends; `None` if it was never ejected.
    rest: Option<(Duration, Instant)>,
}

impl Ejections {
    /// A dial of the target failed. Says whether that ejected it.
    pub fn failed(&mut self, target: &Target, terms: &Terms, now: Instant) -> Option<Ejected> {
        let before = self.failing.find(target).copied();
        let failures = before.map_or(0, |record| record.failures).saturating_add(1);
        let last = before.and_then(|record| record.rest);
        let ejected = match last {
            // Dials that were under way when it was ejected say nothing new.
            Some((_, until)) if now < until => None,
            Some((pause, _)) => Some(pause.saturating_mul(2)),
            None => (failures >= terms.consecutive_failures).then_some(terms.pause),
        };
        let pause = ejected.map(|pause| pause.min(terms.pause_max));
        let rest = pause
            .and_then(|pause| Some((pause, now.checked_add(pause)?)))
            .or(last);
        if before.is_none() {
            self.make_room();
        }
        self.failing.insert(
            target,
            Record {
                failures,
                failed: now,
                rest,
            },
        );
        pause.map(|pause| Ejected { failures, pause })
    }

    /// A dial of the target succeeded. Says whether it had been ejected since the last one that did.
    pub fn succeeded(&mut self, target: &Target) -> bool {
        self.failing
            .remove(target)
            .is_some_and(|record| record.rest.is_some())
    }

    /// Which of these candidates rest now, for [`crate::route::Choice::is_ejected`].
    pub fn among(&self, candidates: &[Candidate], terms: &Terms, now: Instant) -> impl Fn(&Target) -> bool {
        let share = usize::from(terms.share_max.min(100));
        let allowed = candidates.len().saturating_mul(share) / 100;
        let floor = self.floor(candidates, allowed, now);
        move |target| self.rests_until(target).is_some_and(|until| until > floor)
    }

    /// Only targets that rest beyond this instant are left out.
    fn floor(&self, candidates: &[Candidate], allowed: usize, now: Instant) -> Instant {
        if self.failing.len() == 0 {
            return now;
        }
        let resting = || {
            candidates
                .iter()
                .filter_map(|candidate| self.rests_until(&candidate.target))
                .filter(|until| *until > now)
        };
        let count = resting().count();
        if count <= allowed {
            return now;
        }
        let mut ends: Vec<_> = resting().collect();
        let (_, floor, _) = ends.select_nth_unstable(count - allowed - 1);
        *floor
    }

    fn rests_until(&self, target: &Target) -> Option<Instant> {
        self.failing.find(target)?.rest.map(|(_, until)| until)
    }

    fn make_room(&mut self) {
        if self.failing.len() < FAILING_MAX {
            return;
        }
        let oldest = self.failing.entries().map(|record| record.failed).min();
        if let Some(oldest) = oldest {
            self.failing.retain(|record| record.failed > oldest);
        }
    }
}
