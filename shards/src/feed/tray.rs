//! News on their way to one shard.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError, TryLockError};

use super::{FeedId, SharedStatus, StatusKey, Update};

/// Keeps only the newest news of everything, so that a shard that does not come round to take them costs no
/// more memory than the feeds themselves, however often they change meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Tray(Mutex<HashMap<FeedId, News>>);

/// What is new of one feed.
#[derive(Debug, Default)]
struct News {
    targets: Option<Update>,
    statuses: HashMap<StatusKey, SharedStatus>,
    is_retired: bool,
}

impl Tray {
    /// Puts news in; whoever does so wakes the shard afterwards. Waits at most as long as moving a pointer
    /// takes.
    pub(crate) fn put(&self, update: Update) {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match update {
            Update::Targets(feed, _) => feeds.entry(feed).or_default().targets = Some(update),
            Update::Status(feed, key, status) => {
                feeds.entry(feed).or_default().statuses.insert(key, status);
            }
            Update::Retire(feed) => feeds.entry(feed).or_default().is_retired = true,
        }
    }

    /// All news. Never waits: none, if somebody is just putting some in, who wakes the shard again.
    pub(crate) fn take(&self) -> impl Iterator<Item = Update> {
        let feeds = match self.0.try_lock() {
            Ok(mut feeds) => mem::take(&mut *feeds),
            Err(TryLockError::Poisoned(feeds)) => mem::take(&mut *feeds.into_inner()),
            Err(TryLockError::WouldBlock) => HashMap::new(),
        };
        feeds.into_iter().flat_map(|(feed, news)| news.of(feed))
    }
}

impl News {
    /// A feed that is retired stays so, whatever came for it afterwards.
    fn of(self, feed: FeedId) -> impl Iterator<Item = Update> {
        let statuses = self.statuses.into_iter();
        let statuses = statuses.map(move |(key, status)| Update::Status(feed, key, status));
        let retired = self.is_retired.then_some(Update::Retire(feed));
        self.targets.into_iter().chain(statuses).chain(retired)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use passage_proto::question::Target;
    use passage_proto::status::{StatusDocument, StatusReply};

    use super::super::{Board, Candidate};
    use super::*;

    fn targets(feed: FeedId, port: u16) -> Update {
        let target = Target {
            identifier: "hub".into(),
            host: "hub.example.net".into(),
            port,
            priority: 0,
            meta: std::collections::BTreeMap::new(),
        };
        Update::Targets(feed, [Candidate::from(Arc::new(target))].into())
    }

    fn status(feed: FeedId, key: StatusKey) -> Update {
        let reply = Arc::new(StatusReply::new(&StatusDocument::default()).unwrap());
        let fresh_until = Instant::now();
        Update::Status(feed, key, SharedStatus { reply, fresh_until })
    }

    #[test]
    fn a_storm_of_news_leaves_one_of_each_thing() {
        let (tray, feed) = (Tray::default(), FeedId::next());
        for port in 1..=10_000 {
            tray.put(targets(feed, port));
            tray.put(status(feed, StatusKey::Version(770)));
            tray.put(status(feed, StatusKey::OtherVersion));
        }
        let news: Vec<_> = tray.take().collect();
        assert_eq!(news.len(), 3);
        let board: Board = news.into_iter().collect();
        assert_eq!(board.targets(feed).unwrap()[0].target.port, 10_000);
        assert!(board.status(feed, StatusKey::Version(770)).is_some());
        assert!(board.status(feed, StatusKey::Version(771)).is_none());
        assert_eq!(tray.take().count(), 0);
    }

    #[test]
    fn what_comes_for_a_retired_feed_is_not_kept() {
        let (tray, feed, other) = (Tray::default(), FeedId::next(), FeedId::next());
        tray.put(targets(feed, 1));
        tray.put(Update::Retire(feed));
        tray.put(status(feed, StatusKey::Any));
        tray.put(targets(other, 1));
        let board: Board = tray.take().collect();
        assert!(board.targets(feed).is_none() && board.status(feed, StatusKey::Any).is_none());
        assert!(board.targets(other).is_some());
    }

    #[test]
    fn a_shard_does_not_wait_for_who_is_putting_news_in() {
        let (tray, feed) = (Tray::default(), FeedId::next());
        tray.put(targets(feed, 1));
        let held = tray.0.lock().unwrap();
        assert_eq!(tray.take().count(), 0);
        drop(held);
        assert_eq!(tray.take().count(), 1);
    }
}
