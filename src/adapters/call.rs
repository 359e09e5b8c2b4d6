//! How services are called: every adapter that asks the network asks through a [`Caller`].
//!
//! A caller keeps its service's bounds. So many questions are under way at a time and so many in line; one
//! ends at its deadline, whatever the service does. What may be asked twice is asked again after a pause, as
//! long as its deadline and the service's budget of repetitions allow it. A service that has failed several
//! times in a row is left alone for a while ([`breaker`]). The log tells when a service begins to fail and
//! when it answers again, not what became of every question.

pub(crate) mod backoff;
mod breaker;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use passage_proto::question::AskError;
use passage_shards::metrics::{AdapterName, AdapterType, error_type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout_at};
use tower::retry::budget::{Budget as _, TpsBudget};
use tracing::Instrument as _;

use self::breaker::{Breaker, Leave, Verdict};
use super::Call;
use crate::telemetry::spans;

/// Questions in line for one service; the shards bound them too.
const LINE_MAX: usize = 2_048;
/// The pause before the first repetition, and the longest one.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Repetitions that a service's budget remembers questions for, that it always grants in a second, and the
/// share of all questions that may be repeated besides.
const RETRY_BUDGET: (Duration, u32, f32) = (Duration::from_secs(10), 1, 0.2);

/// The bounds of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// For one question, repetitions and waiting in line included.
    pub timeout: Duration,
    /// Questions under way at the same time; at least one.
    pub concurrency: usize,
    /// How often a question that may be repeated is repeated at most.
    pub retries: u32,
    /// Failures in a row after which the service is left alone; 0 asks it whatever happens.
    pub breaker_failures: u32,
    /// For how long it is left alone at first.
    pub breaker_pause: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            concurrency: 64,
            retries: 2,
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(5),
        }
    }
}

/// Whether asking twice is as good as asking once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is: the service only tells something.
    Safe,
    /// The service may have done something although its answer was lost.
    Never,
}

/// Calls one service within its bounds.
pub struct Caller {
    name: AdapterName,
    kind: AdapterType,
    address: Box<str>,
    policy: Policy,
    seats: Arc<Semaphore>,
    in_line: AtomicUsize,
    breaker: Mutex<Breaker>,
    repetitions: TpsBudget,
    /// Whether the last question failed, so that the log tells of changes and not of every question.
    failing: AtomicBool,
}

/// One try to get an answer. Work that goes on after nobody waits any more keeps a clone, and with it its
/// seat.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it is given up.
    pub deadline: Instant,
    /// What the service reads in its header or metadata `traceparent`; `None` if there is no trace.
    pub traceparent: Option<Arc<str>>,
    _seat: Arc<OwnedSemaphorePermit>,
}

/// Why an attempt was no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is counted. [`AskError::Denied`] is an answer, too: nothing is wrong with the service.
    pub cause: AskError,
    /// What happened, for the log; bounded, and without secrets.
    pub problem: String,
    /// Whether the same question might be answered a moment later.
    pub is_passing: bool,
    /// How long the service wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that may have passed a moment later.
    pub fn passing(cause: AskError, problem: impl fmt::Display) -> Self {
        Self {
            is_passing: true,
            ..Self::lasting(cause, problem)
        }
    }

    /// A failure that the same question would meet again.
    pub fn lasting(cause: AskError, problem: impl fmt::Display) -> Self {
        Self {
            cause,
            problem: problem.to_string(),
            is_passing: false,
            retry_after: None,
        }
    }
}

impl Attempt {
    /// How much time is left.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Does work that blocks, on a thread that is there to be blocked. It should end at the deadline: nobody
    /// waits longer, but until it ends it keeps its seat.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub async fn on_thread<T, W>(&self, work: W) -> Result<T, Failure>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T, Failure> + Send + 'static,
    {
        let seat = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(seat);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                // The question's task is what is to die of it.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(Failure::lasting(AskError::Failed, error)),
            },
        }
    }
}

impl Caller {
    /// Calls the service at this address, which the log names, within the bounds of `policy`.
    pub fn new(name: AdapterName, kind: AdapterType, address: impl Into<Box<str>>, policy: Policy) -> Self {
        let (remembered, per_second, share) = RETRY_BUDGET;
        Self {
            name,
            kind,
            address: address.into(),
            policy,
            seats: Arc::new(Semaphore::new(
                policy.concurrency.clamp(1, Semaphore::MAX_PERMITS),
            )),
            in_line: AtomicUsize::new(0),
            breaker: Mutex::new(Breaker::new(policy.breaker_failures, policy.breaker_pause)),
            repetitions: TpsBudget::new(remembered, per_second, share),
            failing: AtomicBool::new(false),
        }
    }

    /// The service's bounds.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Asks, with as many attempts as it takes and is allowed. Dropping the future gives the question up.
    ///
    /// # Errors
    ///
    /// What went wrong at last: [`AskError::Overloaded`] if too many are in line, [`AskError::Unreachable`]
    /// while the service is left alone, [`AskError::TimedOut`] at the deadline, else what the last attempt
    /// says.
    pub async fn call<T, F>(
        &self,
        call: Call,
        repeat: Repeat,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<T, AskError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let span = spans::remote_call(call.trace.as_ref(), self.name, self.kind);
        let answer = self
            .call_in_span(call, repeat, attempt)
            .instrument(span.clone())
            .await;
        if let Err(cause) = &answer {
            spans::fail(&span, *cause, &self.address);
        }
        answer
    }

    async fn call_in_span<T, F>(
        &self,
        call: Call,
        repeat: Repeat,
        mut attempt: impl FnMut(Attempt) -> F,
    ) -> Result<T, AskError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let begun = Instant::now();
        let deadline = call.deadline.min(begun + self.policy.timeout);
        if deadline <= begun {
            return Err(AskError::TimedOut);
        }
        if self.breaker().is_open(begun) {
            return Err(AskError::Unreachable);
        }
        let seat = Arc::new(self.sit_down(deadline).await?);
        self.repetitions.deposit();
        let traceparent = spans::traceparent().or_else(|| Some(call.trace?.text()));
        let traceparent: Option<Arc<str>> = traceparent.map(Into::into);
        let mut tries = 0;
        loop {
            let attempt = attempt(Attempt {
                deadline,
                traceparent: traceparent.clone(),
                _seat: Arc::clone(&seat),
            });
            let failure = match self.attempt(deadline, attempt).await? {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            tries += 1;
            let may_repeat = repeat == Repeat::Safe && failure.is_passing && tries <= self.policy.retries;
            if !may_repeat {
                return Err(failure.cause);
            }
            let (first, longest) = RETRY_PAUSES;
            let pause = backoff::pause(tries, first, longest, rand::random());
            let pause = pause.max(failure.retry_after.unwrap_or_default());
            if Instant::now() + pause >= deadline || !self.repetitions.withdraw() {
                return Err(failure.cause);
            }
            sleep(pause).await;
        }
    }

    /// Waits for a seat.
    async fn sit_down(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, AskError> {
        let seats = Arc::clone(&self.seats);
        if let Ok(seat) = Arc::clone(&seats).try_acquire_owned() {
            return Ok(seat);
        }
        let _place = Place::take(&self.in_line).ok_or(AskError::Overloaded)?;
        match timeout_at(deadline.into(), seats.acquire_owned()).await {
            Ok(seat) => seat.map_err(|_| AskError::Failed),
            Err(_) => Err(AskError::TimedOut),
        }
    }

    /// One attempt, if the breaker lets it through.
    async fn attempt<T>(
        &self,
        deadline: Instant,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Result<T, Failure>, AskError> {
        let began = Instant::now();
        let leave = self.breaker().admit(began).ok_or(AskError::Unreachable)?;
        let trial = Trial::new(self, leave);
        let outcome = match timeout_at(deadline.into(), attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::lasting(AskError::TimedOut, "no answer in time")),
        };
        match &outcome {
            Ok(_) => {
                trial.settle(Verdict::Works);
                self.answers();
            }
            Err(failure) if failure.cause == AskError::Denied => {
                trial.settle(Verdict::Works);
                self.answers();
            }
            // Whoever came late to the line may have left the service no time to answer.
            Err(failure)
                if failure.cause == AskError::TimedOut && deadline - began < self.policy.timeout / 2 =>
            {
                trial.settle(Verdict::Unknown);
            }
            Err(failure) => {
                trial.settle(Verdict::Fails);
                self.fails(failure);
            }
        }
        Ok(outcome)
    }

    fn fails(&self, failure: &Failure) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                adapter_name = self.name.label(),
                adapter_type = self.kind.label(),
                address = &*self.address,
                error_type = error_type(failure.cause),
                problem = failure.problem,
                "an adapter's service has begun to fail"
            );
        }
    }

    fn answers(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(
                adapter_name = self.name.label(),
                adapter_type = self.kind.label(),
                address = &*self.address,
                "an adapter's service answers again"
            );
        }
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        // Its methods do not panic; and if they did, its state would still be a state.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("address", &self.address)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A place in line.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(line: &'a AtomicUsize) -> Option<Self> {
        let place = Self(line);
        // The place is given back by its drop where the line is full, too.
        (line.fetch_add(1, Ordering::Relaxed) < LINE_MAX).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An attempt under way. If it is given up, or panics, it says nothing about its service.
struct Trial<'a> {
    caller: &'a Caller,
    leave: Option<Leave>,
}

impl<'a> Trial<'a> {
    fn new(caller: &'a Caller, leave: Leave) -> Self {
        Self {
            caller,
            leave: Some(leave),
        }
    }

    fn settle(mut self, verdict: Verdict) {
        self.give_back(verdict);
    }

    fn give_back(&mut self, verdict: Verdict) {
        if let Some(leave) = self.leave.take() {
            let mut breaker = self.caller.breaker();
            breaker.settle(leave, verdict, Instant::now(), rand::random());
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.give_back(Verdict::Unknown);
    }
}
