//! A circuit breaker: a service that has failed several times in a row is left alone for a while, and then
//! asked once before it is trusted again.
//!
//! A pure state machine. While it is *closed*, every question passes; after so many failures in a row it
//! *opens*, and none does. When its pause is over it is *half-open*: one question passes as a trial. If that
//! is answered the breaker closes, if not it opens again and for longer.

use std::time::{Duration, Instant};

use super::backoff;

/// Longest pause, as a multiple of the first.
const PAUSE_GROWTH_MAX: u32 = 8;

/// Whether a service may be asked.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row at which it opens; 0 keeps it closed for ever.
    failures_max: u32,
    pause: Duration,
    state: State,
    /// Counts changes of `state`: what was asked before the last one says nothing about the service of now.
    era: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, times: u32 },
    HalfOpen { times: u32 },
}

/// Leave to ask once; to be given back with what came of it.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Leave {
    era: u64,
}

/// What a question says about its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answered.
    Works,
    /// It failed.
    Fails,
    /// Nothing: the question was given up.
    Unknown,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self {
            failures_max,
            pause,
            state: State::Closed { failures: 0 },
            era: 0,
        }
    }

    /// Whether [`Self::admit`] would refuse now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { until, .. } => now < until,
            State::HalfOpen { .. } => true,
        }
    }

    /// Leave to ask, unless the service is to be left alone.
    pub(super) fn admit(&mut self, now: Instant) -> Option<Leave> {
        if self.is_open(now) {
            return None;
        }
        if let State::Open { times, .. } = self.state {
            self.turn(State::HalfOpen { times });
        }
        Some(Leave { era: self.era })
    }

    /// Takes note of what came of a question. `random` is from 0 to 1 and spreads the ends of pauses, so that
    /// not all who left a service alone come back at the same moment.
    pub(super) fn settle(&mut self, leave: Leave, verdict: Verdict, now: Instant, random: f64) {
        if leave.era != self.era {
            return;
        }
        match (self.state, verdict) {
            (State::Closed { .. }, Verdict::Works) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Verdict::Fails) => {
                let failures = failures.saturating_add(1);
                if self.failures_max > 0 && failures >= self.failures_max {
                    self.open(1, now, random);
                } else {
                    self.state = State::Closed { failures };
                }
            }
            (State::HalfOpen { .. }, Verdict::Works) => self.turn(State::Closed { failures: 0 }),
            (State::HalfOpen { times }, Verdict::Fails) => self.open(times.saturating_add(1), now, random),
            // The trial came to nothing: the next question is another one.
            (State::HalfOpen { times }, Verdict::Unknown) => self.turn(State::Open { until: now, times }),
            (State::Closed { .. } | State::Open { .. }, _) => {}
        }
    }

    fn open(&mut self, times: u32, now: Instant, random: f64) {
        let longest = self.pause * PAUSE_GROWTH_MAX;
        let until = now + backoff::pause(times, self.pause, longest, random);
        self.turn(State::Open { until, times });
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn fail(breaker: &mut Breaker, now: Instant) {
        let leave = breaker.admit(now).expect("leave");
        breaker.settle(leave, Verdict::Fails, now, 0.0);
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, PAUSE);
        for _ in 0..2 {
            fail(&mut breaker, now);
            fail(&mut breaker, now);
            let leave = breaker.admit(now).expect("leave");
            breaker.settle(leave, Verdict::Works, now, 0.0);
        }
        fail(&mut breaker, now);
        fail(&mut breaker, now);
        assert!(!breaker.is_open(now));
        fail(&mut breaker, now);
        assert!(breaker.is_open(now));
        assert_eq!(breaker.admit(now), None);
    }

    #[test]
    fn lets_one_trial_through_after_the_pause_and_closes_if_it_is_answered() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1, PAUSE);
        fail(&mut breaker, now);
        let later = now + PAUSE * 2;
        let trial = breaker.admit(later).expect("a trial");
        assert_eq!(breaker.admit(later), None, "one is enough");
        breaker.settle(trial, Verdict::Works, later, 0.0);
        assert!(breaker.admit(later).is_some());
        assert!(!breaker.is_open(later));
    }

    #[test]
    fn pauses_for_longer_after_each_failed_trial_up_to_a_bound() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(1, PAUSE);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            fail(&mut breaker, now);
            let begun = now;
            while breaker.is_open(now) {
                now += Duration::from_millis(100);
            }
            pauses.push(now - begun);
        }
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert!(pauses[0] <= PAUSE && pauses[1] > pauses[0], "{pauses:?}");
        assert!(pauses[7] <= PAUSE * PAUSE_GROWTH_MAX, "{pauses:?}");
    }

    #[test]
    fn a_trial_that_was_given_up_leaves_room_for_the_next() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1, PAUSE);
        fail(&mut breaker, now);
        let later = now + PAUSE * 2;
        let trial = breaker.admit(later).expect("a trial");
        breaker.settle(trial, Verdict::Unknown, later, 0.0);
        assert!(breaker.admit(later).is_some());
    }

    #[test]
    fn an_answer_from_before_it_opened_says_nothing() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1, PAUSE);
        let early = breaker.admit(now).expect("leave");
        fail(&mut breaker, now);
        breaker.settle(early, Verdict::Works, now, 0.0);
        assert!(breaker.is_open(now));
    }

    #[test]
    fn without_a_bound_it_never_opens() {
        let now = Instant::now();
        let mut breaker = Breaker::new(0, PAUSE);
        for _ in 0..1_000 {
            fail(&mut breaker, now);
        }
        assert!(!breaker.is_open(now));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask,
        Settle(usize, Verdict, f64),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let verdict = prop_oneof![Just(Verdict::Works), Just(Verdict::Fails), Just(Verdict::Unknown)];
        let step = prop_oneof![
            Just(Step::Ask),
            (any::<usize>(), verdict, 0.0..1.0)
                .prop_map(|(at, verdict, random)| Step::Settle(at, verdict, random)),
            (0_u64..100_000).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        /// Whatever comes: only failures open it, a half-open breaker has one trial out, and the longest
        /// pause ends in a trial.
        #[test]
        fn never_more_than_one_trial_and_never_closed_for_good(steps in steps(), failures_max in 1_u32..5) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(failures_max, PAUSE);
            let mut out: Vec<Leave> = Vec::new();
            let mut failures = 0;
            for step in steps {
                match step {
                    Step::Ask => out.extend(breaker.admit(now)),
                    Step::Settle(at, verdict, random) if !out.is_empty() => {
                        let leave = out.swap_remove(at % out.len());
                        failures += u32::from(verdict == Verdict::Fails);
                        breaker.settle(leave, verdict, now, random);
                    }
                    Step::Settle(..) => {}
                    Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                }
                let trials = out.iter().filter(|leave| leave.era == breaker.era).count();
                match breaker.state {
                    State::HalfOpen { .. } => prop_assert_eq!(trials, 1),
                    State::Open { .. } => prop_assert_eq!(trials, 0),
                    State::Closed { failures } => prop_assert!(failures < failures_max),
                }
                prop_assert!(failures >= failures_max || !breaker.is_open(now));
            }
            if !matches!(breaker.state, State::HalfOpen { .. }) {
                prop_assert!(breaker.admit(now + PAUSE * PAUSE_GROWTH_MAX).is_some());
            }
        }
    }
}
