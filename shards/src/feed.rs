//! Answers that the control thread keeps up to date, so that shards have them at hand.
//!
//! A feed is one such answer: the targets that DNS knows, or a status for one group of client versions. The
//! control thread publishes every change to all shards ([`Publisher`]); each shard keeps the last one on its
//! own [`Board`]. Nothing is shared but the published values, which never change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use passage_proto::question::Target;
use passage_proto::status::StatusReply;
use passage_proto::version::is_release;

pub(crate) use self::tray::Tray;

mod tray;

/// Names one feed. Never used again for another one in the same process, also not after a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedId(u32);

impl FeedId {
    /// The name of a new feed.
    #[must_use]
    pub fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A target and what is known about it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The target as discovered.
    pub target: Arc<Target>,
    /// Whether the active checks let players go there; true where nothing is checked.
    pub is_healthy: bool,
    /// Round trip of the last checks; `None` where nothing is checked or no check has succeeded.
    pub latency: Option<Duration>,
}

impl From<Arc<Target>> for Candidate {
    fn from(target: Arc<Target>) -> Self {
        Self {
            target,
            is_healthy: true,
            latency: None,
        }
    }
}

/// Which clients a status is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusKey {
    /// All of them.
    Any,
    /// Clients of this protocol version, which is one that Passage knows.
    Version(i32),
    /// Clients of versions that Passage does not know.
    OtherVersion,
}

impl StatusKey {
    /// Where a client of this version finds its status. There are never more keys than known versions and
    /// one, whatever clients say.
    #[must_use]
    pub fn of(protocol: i32, by_version: bool) -> Self {
        match by_version {
            false => Self::Any,
            true if is_release(protocol) => Self::Version(protocol),
            true => Self::OtherVersion,
        }
    }
}

/// A status and how long it may be shown without asking again.
#[derive(Clone, Debug)]
pub struct SharedStatus {
    /// The encoded status.
    pub reply: Arc<StatusReply>,
    /// From then on whoever shows it asks for a new one, and goes on showing it meanwhile.
    pub fresh_until: Instant,
}

/// News for every shard.
#[derive(Clone, Debug)]
pub enum Update {
    /// The targets of a feed.
    Targets(FeedId, Arc<[Candidate]>),
    /// A feed's status for some clients.
    Status(FeedId, StatusKey, SharedStatus),
    /// Nobody uses the feed any more.
    Retire(FeedId),
}

/// The way of news to all shards.
#[derive(Clone)]
pub struct Publisher(Arc<dyn Fn(&Update) + Send + Sync>);

impl Publisher {
    /// `publish` passes an update on to every shard and returns at once.
    pub fn new(publish: impl Fn(&Update) + Send + Sync + 'static) -> Self {
        Self(Arc::new(publish))
    }

    /// Passes an update on to every shard. Never blocks.
    pub fn publish(&self, update: &Update) {
        (self.0)(update);
    }
}

/// The last news of every feed, as one shard has them.
#[derive(Debug, Default)]
pub struct Board {
    targets: HashMap<FeedId, Arc<[Candidate]>>,
    statuses: HashMap<(FeedId, StatusKey), SharedStatus>,
}

impl Board {
    /// Takes news in.
    pub fn update(&mut self, update: Update) {
        match update {
            Update::Targets(feed, targets) => {
                self.targets.insert(feed, targets);
            }
            Update::Status(feed, key, status) => {
                self.statuses.insert((feed, key), status);
            }
            Update::Retire(feed) => {
                self.targets.remove(&feed);
                self.statuses.retain(|(of, _), _| *of != feed);
            }
        }
    }

    /// The targets of a feed, or `None` before the first news.
    #[must_use]
    pub fn targets(&self, feed: FeedId) -> Option<&Arc<[Candidate]>> {
        self.targets.get(&feed)
    }

    /// The status of a feed, or `None` before the first news.
    #[must_use]
    pub fn status(&self, feed: FeedId, key: StatusKey) -> Option<&SharedStatus> {
        self.statuses.get(&(feed, key))
    }
}

impl FromIterator<Update> for Board {
    fn from_iter<I: IntoIterator<Item = Update>>(news: I) -> Self {
        let mut board = Self::default();
        news.into_iter().for_each(|update| board.update(update));
        board
    }
}
