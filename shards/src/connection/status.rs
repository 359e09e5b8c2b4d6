//! What the server list shows.

use std::sync::Arc;
use std::time::Instant;

use passage_proto::question::{Answer, StatusQuery};
use passage_proto::status::StatusReply;

use super::Connection;
use super::errand::{Detail, Errand};
use crate::feed::{FeedId, StatusKey};
use crate::metrics::{AdapterName, AdapterType};
use crate::report;
use crate::route::{Remote, StatusSource};
use crate::shard::{RouteRef, Waiting};

/// A ping that waits for the first copy of a status.
pub(super) struct Vigil {
    waiting: Waiting,
    kind: AdapterType,
    offline: Option<Arc<StatusReply>>,
}

impl Vigil {
    /// When there is nothing to wait for any more.
    pub(super) fn deadline(&self) -> Instant {
        self.waiting.deadline()
    }
}

impl Connection {
    /// The status of the route; `None` if it has to be waited for.
    pub(super) fn status(&mut self, query: StatusQuery) -> Option<Answer> {
        let reference = self.route.clone();
        let Some(route) = reference.as_ref().and_then(RouteRef::route) else {
            return Some(Answer::Status(self.shard.routes().unknown_host.clone()));
        };
        match &route.status {
            StatusSource::Fixed(reply) => {
                let (began, reply) = (Instant::now(), Arc::clone(reply));
                self.used(
                    AdapterName::Status,
                    AdapterType::Fixed,
                    began,
                    Detail::Nothing,
                    None,
                );
                Some(Answer::Status(Some(reply)))
            }
            StatusSource::Shared {
                feed,
                adapter,
                by_version,
                offline,
            } => {
                let key = StatusKey::of(query.protocol, *by_version);
                self.shared_status((*feed, key), *adapter, offline.as_ref())
            }
        }
    }

    /// The copy at hand, whatever its age: a stale one is shown while it is asked for again.
    fn shared_status(
        &mut self,
        key: (FeedId, StatusKey),
        adapter: Remote,
        offline: Option<&Arc<StatusReply>>,
    ) -> Option<Answer> {
        let now = self.shard.engine.now();
        let copy = self.shard.board.borrow().status(key.0, key.1).cloned();
        if let Some(copy) = copy {
            if copy.fresh_until <= now {
                self.ask_for_status(key, adapter, false);
            }
            return Some(Answer::Status(Some(copy.reply)));
        }
        if !self.ask_for_status(key, adapter, true) {
            return Some(Answer::Status(offline.cloned()));
        }
        let waiting = self
            .shard
            .await_status(key, self.socket.notifier(), now + adapter.timeout);
        self.errand = Some(Errand::Status(Vigil {
            waiting,
            kind: adapter.kind,
            offline: offline.cloned(),
        }));
        None
    }

    /// Shows what has come, or that nothing will.
    pub(super) fn keep_vigil(&mut self, vigil: Vigil, now: Instant) -> Option<Answer> {
        let (feed, key) = vigil.waiting.key();
        let copy = self.shard.board.borrow().status(feed, key).cloned();
        if let Some(copy) = copy {
            return Some(Answer::Status(Some(copy.reply)));
        }
        if self.shard.is_asking((feed, key), now) && vigil.deadline() > now {
            self.errand = Some(Errand::Status(vigil));
            return None;
        }
        if let Some(cause) = self.shard.status_error((feed, key)) {
            let (facts, name) = (self.session.facts(), AdapterName::Status);
            report::adapter_error(facts, &self.record, name, vigil.kind, cause);
        }
        Some(Answer::Status(vigil.offline))
    }

    /// Sees to it that a new status is asked for, unless that was tried a moment ago. Says whether one is on
    /// its way.
    fn ask_for_status(&self, key: (FeedId, StatusKey), adapter: Remote, is_awaited: bool) -> bool {
        let client = || self.session.facts().client_info().map(Box::new);
        // What nobody waits for is no part of this ping.
        let trace = self.record.innermost().filter(|_| is_awaited);
        self.shard.ask_for_status(key, adapter, is_awaited, trace, client)
    }
}
