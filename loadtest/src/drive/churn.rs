//! Connections that come and go: one unit is one whole connection.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Conversation, Flow, Phase, Progress, Share, Signals, TICK, earlier};
use crate::address::Sources;
use crate::event_loop::{EventLoop, Received};
use crate::failure::{Failure, Kind};
use crate::random::Random;
use crate::schedule::{Pace, Schedule};
use crate::tally::Tally;

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(100);

/// Runs one thread's share until [`Phase::Draining`] or its count, then lets what is in flight end.
pub(crate) fn churn<F: Flow>(flow: F, share: Share, signals: &Signals) -> io::Result<Tally> {
    let sources = Sources::new(share.sources, &mut Random::split(share.seed, share.thread));
    let mut event_loop = EventLoop::new(share.target, sources, false)?;
    if share.awake {
        event_loop.stay_awake();
    }
    let begun_at = Instant::now();
    let supply = Supply::new(&share);
    let churn = Churn {
        flow,
        share,
        signals,
        event_loop,
        tally: Tally::new(),
        supply,
        begun: 0,
        begun_at,
        stop: None,
    };
    signals.ready.fetch_add(1, Ordering::AcqRel);
    churn.run()
}

/// A connection in flight.
struct Flight<C> {
    conversation: C,
    /// When it was due.
    start: Instant,
}

/// Where starts come from.
enum Supply {
    Closed(usize),
    Open(Schedule),
}

impl Supply {
    fn new(share: &Share) -> Self {
        match share.pace {
            Pace::Closed { concurrency } => Self::Closed(concurrency),
            Pace::Open { rate, arrivals } => Self::Open(Schedule::new(
                rate,
                arrivals,
                Random::split(share.seed, share.thread ^ (1 << 32)),
            )),
        }
    }

    /// The next start of an open loop that is due.
    fn take_due(&mut self, begun_at: Instant, now: Instant) -> Option<Instant> {
        let Self::Open(schedule) = self else { return None };
        let start = begun_at + schedule.next();
        if start > now {
            return None;
        }
        schedule.advance();
        Some(start)
    }
}

struct Churn<'a, F: Flow> {
    flow: F,
    share: Share,
    signals: &'a Signals,
    event_loop: EventLoop<Flight<F::Conversation>>,
    tally: Tally,
    supply: Supply,
    begun: u64,
    begun_at: Instant,
    /// When nothing new began any more.
    stop: Option<Instant>,
}

impl<F: Flow> Churn<'_, F> {
    fn run(mut self) -> io::Result<Tally> {
        let mut ready = Vec::new();
        let mut measuring = false;
        let mut swept = Instant::now();
        loop {
            let phase = self.signals.phase();
            if phase == Phase::Opening {
                // The clock of the schedule starts with the load, not with the thread.
                self.event_loop.wait(Instant::now() + TICK)?;
                self.begun_at = Instant::now();
                continue;
            }
            if phase >= Phase::Measuring && !measuring {
                measuring = true;
                self.tally = self.tally.renewed();
                // What is in flight ends while it counts.
                self.begun = self.event_loop.len() as u64;
            }
            self.launch(phase);
            if self.stop.is_some() && self.event_loop.len() == 0 {
                self.signals.drained.fetch_add(1, Ordering::AcqRel);
                return Ok(self.tally);
            }
            self.event_loop.wait(earlier(Instant::now() + TICK, self.due()))?;
            self.event_loop.take_ready(&mut ready);
            for &key in &ready {
                self.serve(key);
                self.make_way();
            }
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                self.sweep(swept);
            }
        }
    }

    /// Begins what is due, or ends the run.
    fn launch(&mut self, phase: Phase) {
        if self.stop.is_some() {
            return;
        }
        let now = Instant::now();
        if phase >= Phase::Draining || self.tally.failed() > self.share.failures_max {
            return self.finish(now);
        }
        // A turn begins a bounded number, so that a closed loop against a dead server still sees its phases.
        for _ in 0..self.share.in_flight_max {
            if self
                .share
                .count
                .is_some_and(|count| phase == Phase::Measuring && self.begun >= count)
            {
                self.stop = Some(now);
                return;
            }
            let failed = self.tally.failed() > self.share.failures_max;
            if failed || self.event_loop.len() >= self.share.in_flight_max {
                return;
            }
            let start = match &self.supply {
                Supply::Closed(concurrency) if self.event_loop.len() < *concurrency => Some(Instant::now()),
                Supply::Closed(_) => None,
                Supply::Open(_) => self.supply.take_due(self.begun_at, now),
            };
            let Some(start) = start else { return };
            self.begin(start);
            self.make_way();
        }
    }

    fn make_way(&self) {
        if self.share.makes_way {
            std::thread::yield_now();
        }
    }

    fn begin(&mut self, start: Instant) {
        self.begun += 1;
        let flow = &mut self.flow;
        let opened = self.event_loop.open(|source, output| {
            let conversation = flow.begin(source, output);
            Flight { conversation, start }
        });
        match opened {
            Ok(key) if matches!(self.supply, Supply::Closed(_)) => self.tally.admit(key),
            Ok(_) => {}
            Err(error) => self.fail(Failure::socket(&error, "connecting")),
        }
    }

    /// Nothing becomes due from here on. What was due before still begins, or is a failure: it is not
    /// forgotten.
    fn finish(&mut self, now: Instant) {
        self.stop = Some(now);
        let mut missed = 0;
        while let Some(start) = self.supply.take_due(self.begun_at, now) {
            if self.event_loop.len() < self.share.in_flight_max {
                self.begin(start);
            } else {
                missed += 1;
            }
        }
        let what = format!(
            "due, but {} connections were in flight already",
            self.share.in_flight_max
        );
        self.signals.failed.fetch_add(missed, Ordering::Relaxed);
        self.tally
            .fail_times(Failure::new(Kind::NotStarted, what), missed);
    }

    /// When the next start of an open loop is due.
    fn due(&self) -> Option<Instant> {
        match &self.supply {
            Supply::Open(schedule) if self.stop.is_none() => {
                let room = self.event_loop.len() < self.share.in_flight_max;
                room.then(|| self.begun_at + schedule.next())
            }
            _ => None,
        }
    }

    /// Takes a connection as far as its socket allows.
    fn serve(&mut self, key: usize) {
        match self.converse(key) {
            Ok(Progress::More) => {}
            Ok(Progress::Finished) => {
                let Some(flight) = self.event_loop.close(key) else {
                    return;
                };
                self.tally.complete(flight.start, Instant::now());
                self.tally.credit(key);
                self.signals.progress.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => {
                self.event_loop.close(key);
                self.fail(failure);
            }
        }
    }

    fn converse(&mut self, key: usize) -> Result<Progress, Failure> {
        let Some(flight) = self.event_loop.state(key) else {
            return Ok(Progress::More);
        };
        let step = flight.conversation.awaits();
        self.event_loop
            .flush(key)
            .map_err(|error| Failure::socket(&error, step))?;
        loop {
            match self
                .event_loop
                .receive(key)
                .map_err(|error| Failure::socket(&error, step))?
            {
                Received::Blocked => return Ok(Progress::More),
                Received::Ended => {
                    return Err(Failure::new(Kind::Closed, format!("while waiting for {step}")));
                }
                Received::Bytes(count) => {
                    let Some((bytes, flight, output)) = self.event_loop.received(key, count) else {
                        return Ok(Progress::More);
                    };
                    let progress = flight.conversation.receive(bytes, output)?;
                    self.event_loop
                        .flush(key)
                        .map_err(|error| Failure::socket(&error, step))?;
                    if progress == Progress::Finished || self.event_loop.emptied(count) {
                        return Ok(progress);
                    }
                }
            }
        }
    }

    /// Ends connections that took too long.
    fn sweep(&mut self, now: Instant) {
        let timeout = self.share.timeout;
        let late: Vec<usize> = self
            .event_loop
            .iter()
            .filter(|(_, flight)| now.saturating_duration_since(flight.start) > timeout)
            .map(|(key, _)| key)
            .collect();
        for key in late {
            let Some(flight) = self.event_loop.close(key) else {
                continue;
            };
            let what = format!("after {timeout:?}, waiting for {}", flight.conversation.awaits());
            self.fail(Failure::new(Kind::TimedOut, what));
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.signals.failed.fetch_add(1, Ordering::Relaxed);
        self.tally.fail(failure);
    }
}
