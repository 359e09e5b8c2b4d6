//! The trace of one connection while it lasts.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use passage_proto::session::Facts;

use super::attribute::{CLIENT_IP, PROTOCOL_VERSION, SERVER_ADDRESS, USER_ID, USERNAME};
use super::{Finished, Span, SpanId, SpanName, TraceId, TraceParent, Tracer, Value};
use crate::limits::SPANS_PER_TRACE_MAX;
use crate::metrics::Exemplar;

/// What happens to one connection. Dropped without [`Self::finish`], it is forgotten.
#[derive(Debug)]
pub struct Trace {
    tracer: Rc<Tracer>,
    id: TraceId,
    parent: Option<SpanId>,
    root: SpanId,
    began: Instant,
    clock: Clock,
    who: Who,
    open: Vec<Open>,
    finished: Vec<Span>,
    dropped: usize,
}

/// What the spans' times are told by: the monotonic clock, set by the wall clock once.
#[derive(Clone, Copy, Debug)]
struct Clock {
    instant: Instant,
    unix_nanoseconds: u64,
}

/// What the connection's own span says of it.
#[derive(Debug, Default)]
struct Who {
    server_address: Option<Box<str>>,
    protocol: Option<i32>,
    username: Option<Box<str>>,
    user_id: Option<uuid::Uuid>,
}

/// A span that has not ended.
#[derive(Debug)]
struct Open {
    id: SpanId,
    name: SpanName,
    began: Instant,
    attributes: Vec<(&'static str, Value)>,
}

impl Trace {
    /// The trace of a connection that was accepted at `began`.
    #[must_use]
    pub fn begin(tracer: &Rc<Tracer>, began: Instant) -> Box<Self> {
        Box::new(Self {
            id: tracer.trace_id(),
            parent: None,
            root: tracer.span_id(),
            tracer: Rc::clone(tracer),
            began,
            clock: Clock::now(),
            who: Who::default(),
            open: Vec::new(),
            finished: Vec::new(),
            dropped: 0,
        })
    }

    /// The trace of a connection that goes on with another service's; `None` if there is no room for it.
    pub(crate) fn begin_with(
        tracer: &Rc<Tracer>,
        began: Instant,
        now: Instant,
        parent: TraceParent,
    ) -> Option<Box<Self>> {
        tracer.has_room(now).then(|| {
            let mut trace = Self::begin(tracer, began);
            trace.join(parent);
            trace
        })
    }

    /// Makes the connection a part of another service's trace. To be called before any span was handed over.
    pub(crate) fn join(&mut self, parent: TraceParent) {
        (self.id, self.parent) = (parent.trace, Some(parent.span));
    }

    /// What the player's next server goes on with.
    pub(crate) fn parent_of_next(&self) -> TraceParent {
        TraceParent {
            trace: self.id,
            span: self.root,
            is_sampled: true,
        }
    }

    /// What work elsewhere is a part of that is done for this connection now: the span opened last, the
    /// connection itself if none is open.
    pub(crate) fn innermost(&self) -> TraceParent {
        TraceParent {
            span: self.open.last().map_or(self.root, |open| open.id),
            ..self.parent_of_next()
        }
    }

    /// What a duration that belongs to this connection is shown with.
    pub(crate) fn exemplar(&self, took: Duration) -> Exemplar {
        Exemplar {
            took,
            trace: self.id,
            span: self.root,
            unix_nanoseconds: self.clock.tell(Instant::now()),
        }
    }

    /// Keeps what has become known about the connection.
    pub(crate) fn describe(&mut self, facts: &Facts) {
        if let Some(handshake) = &facts.handshake
            && self.who.protocol.is_none()
        {
            self.who.server_address = Some((*handshake.hostname).into());
            self.who.protocol = Some(handshake.protocol);
        }
        // A verified identity replaces the claimed one.
        if self.who.username.as_deref() != facts.username.as_deref() {
            self.who.username = facts.username.as_deref().map(Into::into);
        }
        self.who.user_id = facts.user_id;
    }

    /// Work begins now that ends later.
    pub fn open(&mut self, name: SpanName, attributes: Vec<(&'static str, Value)>) {
        if self.open.len() + self.finished.len() < SPANS_PER_TRACE_MAX {
            self.open.push(Open {
                id: self.tracer.span_id(),
                name,
                began: Instant::now(),
                attributes,
            });
        }
    }

    /// Work that was begun has ended. `learnt` is what has become known about it meanwhile.
    pub fn close(&mut self, name: SpanName, learnt: Option<(&'static str, Value)>, error: Option<String>) {
        if let Some(at) = self.open.iter().rposition(|open| open.name == name) {
            let mut open = self.open.remove(at);
            open.attributes.extend(learnt);
            self.end(open, error);
        }
    }

    /// Work was done from `began` until now.
    pub fn add(
        &mut self,
        name: SpanName,
        began: Instant,
        attributes: Vec<(&'static str, Value)>,
        error: Option<String>,
    ) {
        let id = self.tracer.span_id();
        self.end(
            Open {
                id,
                name,
                began,
                attributes,
            },
            error,
        );
    }

    /// Ends all work but the connection itself and hands it over: the rest may take hours.
    pub(crate) fn hand_over(&mut self) {
        self.close_all(None);
        let spans = std::mem::take(&mut self.finished);
        if !spans.is_empty() {
            self.dropped += self.tracer.outlet.send(Finished {
                trace: self.id,
                spans,
            });
        }
        self.open = Vec::new();
    }

    /// The connection has ended. Says how many spans there was no room for.
    #[must_use]
    pub fn finish(mut self, client: IpAddr, error: Option<String>) -> usize {
        self.close_all(error.as_deref());
        let root = Span {
            id: self.root,
            parent: self.parent,
            name: SpanName::Connection,
            began: self.clock.tell(self.began),
            ended: self.clock.tell(Instant::now()),
            attributes: std::mem::take(&mut self.who).attributes(client),
            error,
        };
        self.finished.push(root);
        let finished = Finished {
            trace: self.id,
            spans: self.finished,
        };
        self.dropped + self.tracer.outlet.send(finished)
    }

    fn close_all(&mut self, error: Option<&str>) {
        for open in std::mem::take(&mut self.open) {
            self.end(open, error.map(str::to_owned));
        }
    }

    fn end(&mut self, work: Open, error: Option<String>) {
        if self.finished.len() >= SPANS_PER_TRACE_MAX {
            return;
        }
        let span = Span {
            id: work.id,
            parent: Some(self.root),
            name: work.name,
            began: self.clock.tell(work.began),
            ended: self.clock.tell(Instant::now()),
            attributes: work.attributes,
            error,
        };
        self.finished.push(span);
    }
}

impl Who {
    fn attributes(self, client: IpAddr) -> Vec<(&'static str, Value)> {
        let known = [
            (CLIENT_IP, Some(Value::text(client.to_string()))),
            (SERVER_ADDRESS, self.server_address.map(Value::Text)),
            (
                PROTOCOL_VERSION,
                self.protocol.map(|protocol| Value::Whole(protocol.into())),
            ),
            (USERNAME, self.username.map(Value::Text)),
            (USER_ID, self.user_id.map(|id| Value::text(id.to_string()))),
        ];
        let known = known.into_iter();
        known
            .filter_map(|(key, value)| value.map(|value| (key, value)))
            .collect()
    }
}

impl Clock {
    fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            instant: Instant::now(),
            unix_nanoseconds: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    fn tell(&self, moment: Instant) -> u64 {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match moment.checked_duration_since(self.instant) {
            Some(after) => self.unix_nanoseconds.saturating_add(nanoseconds(after)),
            None => self
                .unix_nanoseconds
                .saturating_sub(nanoseconds(self.instant.duration_since(moment))),
        }
    }
}
