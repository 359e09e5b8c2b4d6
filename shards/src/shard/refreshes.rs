//! Statuses on their way: each is asked for once a shard at a time, however many pings want it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::question::{AskError, ClientInfo};
use passage_proto::status::StatusReply;
use slab::Slab;

use super::Shard;
use crate::ask::{Pending, RemoteAnswer, RemoteQuestion};
use crate::engine::Notifier;
use crate::feed::{FeedId, SharedStatus, StatusKey, Update};
use crate::limits::STATUS_INTERVAL;
use crate::metrics::{AdapterName, AdapterType, Bound};
use crate::route::Remote;
use crate::trace::TraceParent;

/// Which status.
pub(crate) type Key = (FeedId, StatusKey);

/// Questions for statuses, and who waits for a first answer. Bounded by the feeds, which the configuration
/// names, and by the connections.
#[derive(Default)]
pub(super) struct Refreshes {
    entries: RefCell<HashMap<Key, Refresh>>,
    waiting: RefCell<Slab<(Key, Notifier)>>,
}

struct Refresh {
    asking: Option<Asking>,
    /// Why the last question was not answered.
    error: Option<AskError>,
    /// Nobody asks again before.
    not_before: Instant,
}

struct Asking {
    pending: Pending,
    kind: AdapterType,
    is_awaited: bool,
    began: Instant,
    deadline: Instant,
}

/// A connection's place among those that wait for a status.
pub(crate) struct Waiting {
    shard: Rc<Shard>,
    key: Key,
    place: usize,
    deadline: Instant,
}

impl Waiting {
    /// What is waited for.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// When nobody waits for it any more.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shard.refreshes.waiting.borrow_mut().try_remove(self.place);
    }
}

impl Shard {
    /// Asks the control thread for a status, unless it is on its way already or was asked for a moment ago.
    /// Says whether it is on its way now. `client` is only called where a question is asked.
    pub(crate) fn ask_for_status(
        self: &Rc<Self>,
        key: Key,
        adapter: Remote,
        is_awaited: bool,
        trace: Option<TraceParent>,
        client: impl FnOnce() -> Option<Box<ClientInfo>>,
    ) -> bool {
        let now = self.engine.now();
        if self.is_asking(key, now) {
            return true;
        }
        let rests = |refresh: &Refresh| now < refresh.not_before;
        if self.refreshes.entries.borrow().get(&key).is_some_and(rests) {
            return false;
        }
        let Some(client) = client() else { return false };
        let question = RemoteQuestion::Status {
            adapter: adapter.adapter,
            client,
            is_awaited,
        };
        let deadline = now + adapter.timeout;
        let this = Rc::downgrade(self);
        let notify = Rc::new(move || {
            if let Some(shard) = this.upgrade() {
                shard.take_status(key);
            }
        });
        let asked = self.desk.ask(question, deadline, trace, notify);
        if let Err(cause) = &asked {
            self.count(|meter| {
                meter.adapter(AdapterName::Status, adapter.kind, Duration::ZERO, Some(*cause));
                if *cause == AskError::Overloaded {
                    meter.shed(Bound::ControlQueue);
                }
            });
        }
        let asking = asked.ok().map(|pending| Asking {
            pending,
            kind: adapter.kind,
            is_awaited,
            began: now,
            deadline,
        });
        let is_asking = asking.is_some();
        let refresh = Refresh {
            asking,
            error: None,
            not_before: now + STATUS_INTERVAL,
        };
        self.refreshes.entries.borrow_mut().insert(key, refresh);
        is_asking
    }

    /// Whether a status is on its way. One that is overdue is given up here.
    pub(crate) fn is_asking(&self, key: Key, now: Instant) -> bool {
        let deadline = match self.refreshes.entries.borrow().get(&key) {
            Some(Refresh {
                asking: Some(asking), ..
            }) => asking.deadline,
            _ => return false,
        };
        if deadline > now {
            return true;
        }
        self.conclude_status(key, Err(AskError::TimedOut));
        false
    }

    /// Why the last question for a status was not answered, if it was not.
    pub(crate) fn status_error(&self, key: Key) -> Option<AskError> {
        self.refreshes.entries.borrow().get(&key)?.error
    }

    /// Has the connection notified when the status has come, or will not.
    pub(crate) fn await_status(self: &Rc<Self>, key: Key, notifier: Notifier, deadline: Instant) -> Waiting {
        Waiting {
            shard: Rc::clone(self),
            key,
            place: self.refreshes.waiting.borrow_mut().insert((key, notifier)),
            deadline,
        }
    }

    /// Takes news from the control thread in.
    pub(super) fn learn(&self, update: Update) {
        if let Update::Retire(feed) = update {
            self.refreshes
                .entries
                .borrow_mut()
                .retain(|(of, _), _| *of != feed);
        }
        self.board.borrow_mut().update(update);
    }

    fn take_status(&self, key: Key) {
        let answer = match self.refreshes.entries.borrow().get(&key) {
            Some(Refresh {
                asking: Some(asking), ..
            }) => asking.pending.take(),
            _ => None,
        };
        match answer {
            None => {}
            Some(RemoteAnswer::Status(status)) => self.conclude_status(key, status),
            Some(_) => self.conclude_status(key, Err(AskError::Failed)),
        }
    }

    fn conclude_status(&self, key: Key, status: Result<Arc<StatusReply>, AskError>) {
        let now = self.engine.now();
        let asking = match self.refreshes.entries.borrow_mut().entry(key) {
            Entry::Occupied(mut entry) => {
                let refresh = entry.get_mut();
                refresh.not_before = now + STATUS_INTERVAL;
                refresh.error = status.as_ref().err().copied();
                refresh.asking.take()
            }
            Entry::Vacant(_) => None,
        };
        if let Some(asking) = asking.filter(|asking| asking.is_awaited) {
            let took = now.saturating_duration_since(asking.began);
            let error = status.as_ref().err().copied();
            self.count(|meter| meter.adapter(AdapterName::Status, asking.kind, took, error));
        }
        if let Ok(reply) = status {
            self.keep_status(key, reply, now);
        }
        let waiting = self.refreshes.waiting.borrow();
        let of_this = waiting.iter().filter(|(_, (of, _))| *of == key);
        of_this.for_each(|(_, (_, notifier))| notifier.notify());
    }

    /// Keeps an answer, unless it was published before it came: only what is published says for how long it
    /// is fresh.
    fn keep_status(&self, (feed, key): Key, reply: Arc<StatusReply>, now: Instant) {
        let mut board = self.board.borrow_mut();
        if board.status(feed, key).is_none_or(|copy| copy.fresh_until <= now) {
            let fresh_until = now + STATUS_INTERVAL;
            board.update(Update::Status(feed, key, SharedStatus { reply, fresh_until }));
        }
    }
}
