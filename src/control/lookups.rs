//! Host names and their addresses: a bounded cache, one look-up at a time for each name, and the last good
//! answer where DNS fails or is slow.
//!
//! A pure state machine: [`super::questions`] does the waiting and the looking up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::question::AskError;

/// How long an answer is used without asking again. `getaddrinfo` does not tell the records' own times.
const FRESH: Duration = Duration::from_secs(30);
/// How long a failure is answered without asking again, if there never was an answer.
const FAILURE: Duration = Duration::from_secs(1);
/// How long whoever could have an old answer waits for a new one.
const PATIENCE: Duration = Duration::from_secs(1);
/// Names that are remembered.
const NAMES_MAX: usize = 4_096;
/// Who waits for one name.
const WAITING_MAX: usize = 4_096;

/// A host's addresses in the order in which they should be tried; never empty.
pub(super) type Addresses = Arc<[IpAddr]>;

/// All names that are known or being looked up. `W` is whoever waits.
#[derive(Debug)]
pub(super) struct Lookups<W> {
    names: HashMap<String, Name<W>>,
}

#[derive(Debug)]
struct Name<W> {
    good: Option<Addresses>,
    /// Until when `good`, or else the failure, is answered without asking.
    settled_until: Instant,
    used: Instant,
    under_way: bool,
    waiting: Vec<(Instant, W)>,
}

/// What becomes of someone who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<W> {
    /// Here is the answer.
    Answer(W, Result<Addresses, AskError>),
    /// They wait, and someone has to look the name up now.
    LookUp,
    /// They wait for a look-up that is under way.
    Wait,
}

impl<W> Lookups<W> {
    pub(super) fn new() -> Self {
        Self {
            names: HashMap::new(),
        }
    }

    /// Somebody wants to know a name's addresses.
    pub(super) fn ask(&mut self, host: &str, who: W, now: Instant) -> Verdict<W> {
        if !self.names.contains_key(host) && !self.make_room() {
            return Verdict::Answer(who, Err(AskError::Overloaded));
        }
        let name = self.names.entry(host.to_owned()).or_insert_with(|| Name {
            good: None,
            settled_until: now,
            used: now,
            under_way: false,
            waiting: Vec::new(),
        });
        name.used = now;
        if now < name.settled_until {
            return Verdict::Answer(who, name.good.clone().ok_or(AskError::Failed));
        }
        if name.waiting.len() >= WAITING_MAX {
            return Verdict::Answer(who, name.good.clone().ok_or(AskError::Overloaded));
        }
        name.waiting.push((now, who));
        if std::mem::replace(&mut name.under_way, true) {
            Verdict::Wait
        } else {
            Verdict::LookUp
        }
    }

    /// A look-up has ended: gives everybody who waited and what they are to be told.
    pub(super) fn settle(
        &mut self,
        host: &str,
        found: Result<Addresses, AskError>,
        now: Instant,
    ) -> (Vec<W>, Result<Addresses, AskError>) {
        let Some(name) = self.names.get_mut(host) else {
            return (Vec::new(), found);
        };
        name.under_way = false;
        let answer = match found {
            Ok(addresses) => {
                name.settled_until = now + FRESH;
                name.good = Some(Arc::clone(&addresses));
                Ok(addresses)
            }
            Err(error) => {
                name.settled_until = now + FAILURE;
                name.good.clone().ok_or(error)
            }
        };
        (name.waiting.drain(..).map(|(_, who)| who).collect(), answer)
    }

    /// Everybody who has waited long enough for a new answer, with the old one.
    pub(super) fn impatient(&mut self, now: Instant) -> Vec<(W, Addresses)> {
        let mut answered = Vec::new();
        for name in self.names.values_mut() {
            let Some(good) = &name.good else { continue };
            let late = |(since, _): &mut (Instant, W)| now.duration_since(*since) >= PATIENCE;
            answered.extend(
                name.waiting
                    .extract_if(.., late)
                    .map(|(_, who)| (who, Arc::clone(good))),
            );
        }
        answered
    }

    /// Whether there is room for one more name, after forgetting the one that was not used for the longest
    /// time.
    fn make_room(&mut self) -> bool {
        if self.names.len() < NAMES_MAX {
            return true;
        }
        let idle = self.names.iter().filter(|(_, name)| !name.under_way);
        let oldest = idle
            .min_by_key(|(_, name)| name.used)
            .map(|(host, _)| host.clone());
        oldest.is_some_and(|host| self.names.remove(&host).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Addresses {
        Arc::from([IpAddr::from([10, 0, 0, last])])
    }

    #[test]
    fn looks_a_name_up_once_for_all_who_wait() {
        let now = Instant::now();
        let mut lookups = Lookups::new();
        assert_eq!(lookups.ask("a", 1, now), Verdict::LookUp);
        assert_eq!(lookups.ask("a", 2, now), Verdict::Wait);
        assert_eq!(
            lookups.settle("a", Ok(address(1)), now),
            (vec![1, 2], Ok(address(1)))
        );
        assert_eq!(
            lookups.ask("a", 3, now + FRESH / 2),
            Verdict::Answer(3, Ok(address(1)))
        );
        assert_eq!(
            lookups.ask("a", 4, now + FRESH),
            Verdict::LookUp,
            "the answer is old"
        );
    }

    #[test]
    fn serves_the_last_good_answer_when_dns_fails() {
        let now = Instant::now();
        let mut lookups = Lookups::new();
        lookups.ask("a", 1, now);
        lookups.settle("a", Ok(address(1)), now).1.unwrap();
        let later = now + FRESH * 100;
        assert_eq!(lookups.ask("a", 2, later), Verdict::LookUp);
        assert_eq!(
            lookups.settle("a", Err(AskError::Failed), later),
            (vec![2], Ok(address(1)))
        );
        assert_eq!(
            lookups.ask("a", 3, later),
            Verdict::Answer(3, Ok(address(1))),
            "without asking again at once"
        );
        assert_eq!(lookups.ask("a", 4, later + FAILURE), Verdict::LookUp);
    }

    #[test]
    fn serves_the_last_good_answer_when_dns_is_slow() {
        let now = Instant::now();
        let mut lookups = Lookups::new();
        lookups.ask("a", 1, now);
        lookups.settle("a", Ok(address(1)), now).1.unwrap();
        let later = now + FRESH;
        lookups.ask("a", 2, later);
        lookups.ask("b", 3, later);
        assert_eq!(lookups.impatient(later), []);
        assert_eq!(
            lookups.impatient(later + PATIENCE),
            [(2, address(1))],
            "there is no old answer for 3"
        );
        assert_eq!(
            lookups.settle("a", Ok(address(2)), later + PATIENCE).0,
            [] as [i32; 0]
        );
    }

    #[test]
    fn remembers_a_failure_only_for_a_moment() {
        let now = Instant::now();
        let mut lookups = Lookups::new();
        lookups.ask("a", 1, now);
        assert_eq!(
            lookups.settle("a", Err(AskError::Failed), now),
            (vec![1], Err(AskError::Failed))
        );
        assert_eq!(
            lookups.ask("a", 2, now),
            Verdict::Answer(2, Err(AskError::Failed))
        );
        assert_eq!(lookups.ask("a", 3, now + FAILURE), Verdict::LookUp);
    }

    #[test]
    fn stays_within_its_bounds() {
        let now = Instant::now();
        let mut lookups = Lookups::new();
        for index in 0..NAMES_MAX {
            lookups.ask(&index.to_string(), index, now);
        }
        let full = Err(AskError::Overloaded);
        assert_eq!(
            lookups.ask("one more", 0, now),
            Verdict::Answer(0, full),
            "all are under way"
        );
        lookups.settle("7", Ok(address(1)), now).1.unwrap();
        assert_eq!(lookups.ask("one more", 0, now), Verdict::LookUp);
        assert_eq!(lookups.names.len(), NAMES_MAX);
        assert!(!lookups.names.contains_key("7"));
        for _ in 1..WAITING_MAX {
            assert_eq!(lookups.ask("one more", 0, now), Verdict::Wait);
        }
        assert!(matches!(
            lookups.ask("one more", 0, now),
            Verdict::Answer(0, Err(AskError::Overloaded))
        ));
    }
}
