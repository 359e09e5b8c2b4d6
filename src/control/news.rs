//! What all shards are to know, and the way to them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use passage_proto::question::Target;
use passage_shards::feed::{Candidate, FeedId, Publisher, SharedStatus, StatusKey, Update};
use passage_shards::metrics::AdapterType;

use crate::adapters::TargetFeed;

/// What is known now. Shards that come later get it from the start.
pub(super) struct News {
    known: Mutex<Known>,
    /// Rung when a feed of targets has its first answer.
    first: Condvar,
    expected: Vec<(FeedId, AdapterType)>,
    fixed: HashSet<String>,
    targets_discovered: Box<dyn Fn(usize) + Send + Sync>,
}

#[derive(Default)]
struct Known {
    targets: HashMap<FeedId, Arc<[Candidate]>>,
    statuses: HashMap<(FeedId, StatusKey), SharedStatus>,
    publisher: Option<Publisher>,
}

impl News {
    pub(super) fn new(
        feeds: &[TargetFeed],
        fixed: &[Arc<Target>],
        targets_discovered: Box<dyn Fn(usize) + Send + Sync>,
    ) -> Self {
        let news = Self {
            known: Mutex::default(),
            first: Condvar::new(),
            expected: feeds.iter().map(|feed| (feed.feed, feed.kind)).collect(),
            fixed: fixed.iter().map(|target| target.identifier.clone()).collect(),
            targets_discovered,
        };
        (news.targets_discovered)(news.fixed.len());
        news
    }

    /// The targets of a feed are these now. What shards know already is not published again.
    pub(super) fn targets(&self, feed: FeedId, candidates: Vec<Candidate>) {
        let mut known = self.known();
        if known.targets.get(&feed).is_some_and(|old| **old == *candidates) {
            return;
        }
        let candidates: Arc<[Candidate]> = candidates.into();
        known.targets.insert(feed, Arc::clone(&candidates));
        known.publish(&Update::Targets(feed, candidates));
        (self.targets_discovered)(self.count(&known));
        self.first.notify_all();
    }

    /// A feed's status for some clients is this now.
    pub(super) fn status(&self, feed: FeedId, key: StatusKey, status: SharedStatus) {
        let mut known = self.known();
        known.statuses.insert((feed, key), status.clone());
        known.publish(&Update::Status(feed, key, status));
    }

    /// Waits until there are targets of every feed, until `deadline` at the latest, and gives all that is
    /// known then.
    pub(super) fn first(&self, deadline: Instant) -> Vec<Update> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let missing = |known: &Known| {
            let missing = |(feed, _): &&(FeedId, AdapterType)| !known.targets.contains_key(feed);
            self.expected.iter().filter(missing).collect::<Vec<_>>()
        };
        let (known, _) = self
            .first
            .wait_timeout_while(self.known(), patience, |known| !missing(known).is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        for (_, kind) in missing(&known) {
            tracing::warn!(
                adapter_type = kind.label(),
                "a discovery has not answered yet: starting without its targets, logins that need it are \
                 refused until it answers"
            );
        }
        known.updates()
    }

    /// Publishes all that is known, and every change from now on.
    pub(super) fn attach(&self, publisher: Publisher) {
        let mut known = self.known();
        for update in known.updates() {
            publisher.publish(&update);
        }
        known.publisher = Some(publisher);
    }

    fn count(&self, known: &Known) -> usize {
        let discovered = known.targets.values().flat_map(|candidates| candidates.iter());
        let discovered: HashSet<_> = discovered
            .map(|candidate| candidate.target.identifier.as_str())
            .filter(|identifier| !self.fixed.contains(*identifier))
            .collect();
        self.fixed.len() + discovered.len()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is one insertion: there is nothing that a panic could leave half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn publish(&self, update: &Update) {
        if let Some(publisher) = &self.publisher {
            publisher.publish(update);
        }
    }

    fn updates(&self) -> Vec<Update> {
        let targets = self
            .targets
            .iter()
            .map(|(feed, candidates)| Update::Targets(*feed, Arc::clone(candidates)));
        let statuses = self
            .statuses
            .iter()
            .map(|((feed, key), status)| Update::Status(*feed, *key, status.clone()));
        targets.chain(statuses).collect()
    }
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
