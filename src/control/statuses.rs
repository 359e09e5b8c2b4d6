//! Statuses that many are shown: one call at a time for each, the last good one where the service fails, and
//! a failure that is not asked for again at once.
//!
//! A pure state machine: [`super::questions`] does the asking and the publishing. There is one entry a feed
//! and key, and of both there is a bounded number.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::question::AskError;
use passage_proto::status::StatusReply;
use passage_shards::feed::{SharedStatus, StatusKey};

use crate::adapters::FreshStatus;
use crate::adapters::call::backoff;

/// Who waits for one status.
const WAITING_MAX: usize = 4_096;
/// The pause after a first failure.
const FAILURE: Duration = Duration::from_secs(1);
/// The longest pause after failures, where a status is not refreshed less often anyway.
const FAILURE_MAX: Duration = Duration::from_secs(30);
/// The longest time for which a service can say that its status is good.
const VALID_FOR_MAX: Duration = Duration::from_secs(3_600);

/// Names one status: the index of its feed, and whom it is for.
pub(super) type StatusId = (usize, StatusKey);

/// All statuses that anybody has asked for. `W` is whoever waits.
#[derive(Debug)]
pub(super) struct Statuses<W> {
    known: HashMap<StatusId, Status<W>>,
}

#[derive(Debug)]
struct Status<W> {
    good: Option<Arc<StatusReply>>,
    /// Until when `good`, or else `error`, is answered without asking.
    settled_until: Instant,
    error: AskError,
    failures: u32,
    flight: Option<Flight<W>>,
}

#[derive(Debug)]
struct Flight<W> {
    waiting: Vec<W>,
    is_awaited: bool,
}

/// What becomes of someone who asks.
#[derive(Debug)]
pub(super) enum Verdict<W> {
    /// Here is the answer.
    Answer(W, Result<Arc<StatusReply>, AskError>),
    /// They wait, and someone has to ask the service now.
    Ask,
    /// They wait for a call that is under way.
    Wait,
}

/// What becomes of a call that has ended.
#[derive(Debug)]
pub(super) struct Settled<W> {
    /// Everybody who waited.
    pub(super) waiting: Vec<W>,
    /// What they are told.
    pub(super) answer: Result<Arc<StatusReply>, AskError>,
    /// What all shards are told; `None` if there never was a status.
    pub(super) news: Option<SharedStatus>,
    /// Whether a connection waited for the call, and so has counted it.
    pub(super) is_awaited: bool,
}

impl<W> Statuses<W> {
    pub(super) fn new() -> Self {
        Self {
            known: HashMap::new(),
        }
    }

    /// Somebody wants a status; `is_awaited` if a connection waits for it.
    pub(super) fn ask(&mut self, id: StatusId, who: W, is_awaited: bool, now: Instant) -> Verdict<W> {
        let status = self.known.entry(id).or_insert_with(|| Status {
            good: None,
            settled_until: now,
            error: AskError::Failed,
            failures: 0,
            flight: None,
        });
        match &mut status.flight {
            None if now < status.settled_until => {
                Verdict::Answer(who, status.good.clone().ok_or(status.error))
            }
            None => {
                status.flight = Some(Flight {
                    waiting: vec![who],
                    is_awaited,
                });
                Verdict::Ask
            }
            Some(flight) if flight.waiting.len() >= WAITING_MAX => {
                Verdict::Answer(who, status.good.clone().ok_or(AskError::Overloaded))
            }
            Some(flight) => {
                flight.waiting.push(who);
                flight.is_awaited |= is_awaited;
                Verdict::Wait
            }
        }
    }

    /// A call has ended. A good answer is shown for `interval`, or longer if its service says so.
    pub(super) fn settle(
        &mut self,
        id: StatusId,
        found: Result<FreshStatus, AskError>,
        interval: Duration,
        now: Instant,
        random: f64,
    ) -> Settled<W> {
        let Some(status) = self.known.get_mut(&id) else {
            return Settled {
                waiting: Vec::new(),
                answer: found.map(|fresh| fresh.reply),
                news: None,
                is_awaited: false,
            };
        };
        match found {
            Ok(fresh) => {
                let valid_for = fresh.valid_for.unwrap_or_default().min(VALID_FOR_MAX);
                status.settled_until = now + interval.max(valid_for);
                status.failures = 0;
                status.good = Some(fresh.reply);
            }
            Err(error) => {
                status.failures = status.failures.saturating_add(1);
                let longest = interval.max(FAILURE_MAX);
                status.settled_until = now + backoff::pause(status.failures, FAILURE, longest, random);
                status.error = error;
            }
        }
        let flight = status.flight.take();
        let (waiting, is_awaited) = flight.map_or_else(
            || (Vec::new(), false),
            |flight| (flight.waiting, flight.is_awaited),
        );
        Settled {
            waiting,
            answer: status.good.clone().ok_or(status.error),
            news: status.good.clone().map(|reply| SharedStatus {
                reply,
                fresh_until: status.settled_until,
            }),
            is_awaited,
        }
    }
}

#[cfg(test)]
mod tests {
    use passage_proto::status::StatusDocument;

    use super::*;

    const ID: StatusId = (0, StatusKey::Any);
    const INTERVAL: Duration = Duration::from_secs(5);

    fn fresh() -> FreshStatus {
        Arc::new(StatusReply::new(&StatusDocument::default()).unwrap()).into()
    }

    fn settle(
        statuses: &mut Statuses<u32>,
        found: Result<FreshStatus, AskError>,
        now: Instant,
    ) -> Settled<u32> {
        statuses.settle(ID, found, INTERVAL, now, 1.0)
    }

    #[test]
    fn asks_once_for_all_who_wait_and_tells_every_shard() {
        let now = Instant::now();
        let mut statuses = Statuses::new();
        assert!(matches!(statuses.ask(ID, 1, false, now), Verdict::Ask));
        assert!(matches!(statuses.ask(ID, 2, true, now), Verdict::Wait));
        let other = (0, StatusKey::Version(767));
        assert!(matches!(statuses.ask(other, 3, true, now), Verdict::Ask));
        let settled = settle(&mut statuses, Ok(fresh()), now);
        assert_eq!((settled.waiting, settled.is_awaited), (vec![1, 2], true));
        assert!(settled.answer.is_ok());
        assert_eq!(settled.news.unwrap().fresh_until, now + INTERVAL);
        let soon = now + INTERVAL / 2;
        assert!(matches!(
            statuses.ask(ID, 4, true, soon),
            Verdict::Answer(4, Ok(_))
        ));
        assert!(matches!(statuses.ask(ID, 5, true, now + INTERVAL), Verdict::Ask));
    }

    #[test]
    fn shows_the_last_good_one_while_the_service_is_down_and_asks_less_and_less() {
        let mut now = Instant::now();
        let mut statuses = Statuses::new();
        statuses.ask(ID, 1, false, now);
        settle(&mut statuses, Ok(fresh()), now).answer.unwrap();
        let mut pauses = Vec::new();
        now += INTERVAL;
        for _ in 0..8 {
            assert!(matches!(statuses.ask(ID, 2, false, now), Verdict::Ask));
            let settled = settle(&mut statuses, Err(AskError::Unreachable), now);
            assert!(settled.answer.is_ok(), "there is an old one");
            assert!(!settled.is_awaited);
            let until = settled.news.unwrap().fresh_until;
            pauses.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn without_any_copy_a_failure_is_answered_for_a_moment_without_asking() {
        let now = Instant::now();
        let mut statuses = Statuses::new();
        statuses.ask(ID, 1, true, now);
        let settled = settle(&mut statuses, Err(AskError::TimedOut), now);
        assert_eq!(settled.answer.unwrap_err(), AskError::TimedOut);
        assert!(settled.news.is_none());
        assert!(matches!(
            statuses.ask(ID, 2, true, now),
            Verdict::Answer(2, Err(AskError::TimedOut))
        ));
        assert!(matches!(statuses.ask(ID, 3, true, now + FAILURE), Verdict::Ask));
    }

    #[test]
    fn what_the_service_says_is_good_for_longer_is_not_asked_for_again_but_not_for_ever() {
        let now = Instant::now();
        let mut statuses = Statuses::new();
        for (said, kept) in [(60, 60), (1, 5), (100_000, 3_600)] {
            statuses.ask(ID, 1, true, now + VALID_FOR_MAX);
            let found = FreshStatus {
                valid_for: Some(Duration::from_secs(said)),
                ..fresh()
            };
            let settled = settle(&mut statuses, Ok(found), now);
            assert_eq!(settled.news.unwrap().fresh_until - now, Duration::from_secs(kept));
        }
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let now = Instant::now();
        let mut statuses = Statuses::new();
        assert!(matches!(statuses.ask(ID, 0, true, now), Verdict::Ask));
        for _ in 1..WAITING_MAX {
            assert!(matches!(statuses.ask(ID, 0, true, now), Verdict::Wait));
        }
        assert!(matches!(
            statuses.ask(ID, 0, true, now),
            Verdict::Answer(0, Err(AskError::Overloaded))
        ));
    }
}
