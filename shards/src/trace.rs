//! Distributed traces: what became of one connection in a thousand, span by span.
//!
//! Whether a connection is traced is decided when it is accepted ([`Gate`](gate::Gate)), before any span
//! exists, so that all others pay some nanoseconds. A trace belongs to its connection's record and to nobody
//! else: no span is ever "entered", nothing is kept per thread, and every span names its parent. However many
//! connections take turns on a shard, their spans cannot mix. Finished spans go to the telemetry thread
//! through a bounded channel; where that is full they are dropped and counted, and the shard goes on.

mod gate;
mod live;
mod parent;

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

pub use self::live::Trace;
pub use self::parent::TraceParent;

use self::gate::Gate;
use crate::limits::SPANS_WAITING_MAX;

/// Names a trace.
pub type TraceId = [u8; 16];

/// Names a span within its trace.
pub type SpanId = [u8; 8];

/// Which connections are traced.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The share of connections, 0 to 1. At 0 nothing is traced, whatever a client's cookie asks for.
    pub sample_rate: f64,
    /// Traces that each shard begins in a second at most; up to twice as many in its first second, and after
    /// a quiet one.
    pub per_second: NonZeroU32,
}

/// Where finished spans go. Cloned once per shard.
#[derive(Clone, Debug)]
pub struct Outlet {
    options: Options,
    seed: Seed,
    spans: Sender<Finished>,
}

/// What the random numbers of all shards begin with. Has to be another one for every process, or else their
/// traces get the same names.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub [u64; 4]);

/// Finished spans of one trace. The trace may not be over: the children of a relayed connection come when its
/// relay begins, the connection itself at the end.
#[derive(Debug)]
pub struct Finished {
    /// Which trace.
    pub trace: TraceId,
    /// At least one span.
    pub spans: Vec<Span>,
}

/// A piece of work that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its own name in the trace.
    pub id: SpanId,
    /// What it is a part of; of another service's trace, if it is a [`SpanName::Connection`].
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: SpanName,
    /// When it began, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// When it ended, in nanoseconds since the Unix epoch.
    pub ended: u64,
    /// What there is to know about it.
    pub attributes: Vec<(&'static str, Value)>,
    /// What went wrong, if anything did.
    pub error: Option<String>,
}

/// The value of a span's attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text; bounded, because all of it comes from the configuration or from packets with bounds.
    Text(Box<str>),
    /// A whole number.
    Whole(i64),
}

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the exported names")]
pub enum SpanName {
    Connection,
    StatusRequest,
    Authentication,
    Discovery,
    DiscoveryAction,
    Strategy,
    TargetConnection,
}

impl SpanName {
    /// The name as it is exported.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::StatusRequest => "status_request",
            Self::Authentication => "authentication",
            Self::Discovery => "discovery",
            Self::DiscoveryAction => "discovery_action",
            Self::Strategy => "strategy",
            Self::TargetConnection => "target_connection",
        }
    }
}

/// The keys of all attributes.
pub(crate) mod attribute {
    pub(crate) const ADAPTER_TYPE: &str = "adapter_type";
    pub(crate) const CLIENT_IP: &str = "client_ip";
    pub(crate) const PROTOCOL_VERSION: &str = "protocol_version";
    pub(crate) const SELECTED_TARGET: &str = "selected_target";
    pub(crate) const SERVER_ADDRESS: &str = "server_address";
    pub(crate) const TARGETS_FOUND: &str = "targets_found";
    pub(crate) const TARGET_ADDRESS: &str = "target_address";
    pub(crate) const TARGET_IDENTIFIER: &str = "target_identifier";
    pub(crate) const USERNAME: &str = "username";
    pub(crate) const USER_ID: &str = "user_id";
}

impl Value {
    pub(crate) fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn count(count: usize) -> Self {
        Self::Whole(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl Outlet {
    /// An outlet and the end at which spans arrive.
    #[must_use]
    pub fn new(options: Options, seed: Seed) -> (Self, Receiver<Finished>) {
        let (spans, arrivals) = bounded(SPANS_WAITING_MAX);
        (Self { options, seed, spans }, arrivals)
    }

    /// The tracer of the shard with this number; `None` if nothing is traced.
    #[must_use]
    pub fn tracer(self, shard: usize) -> Option<Tracer> {
        (self.options.sample_rate > 0.0).then(|| Tracer {
            gate: RefCell::new(Gate::new(self.options, self.seed, shard, Instant::now())),
            outlet: self,
        })
    }

    /// Hands spans over and says how many of them there was no room for. Never blocks.
    pub fn send(&self, finished: Finished) -> usize {
        match self.spans.try_send(finished) {
            Ok(()) => 0,
            Err(error) => error.into_inner().spans.len(),
        }
    }
}

/// One shard's decisions about traces, and its way to the telemetry thread.
#[derive(Debug)]
pub struct Tracer {
    gate: RefCell<Gate>,
    outlet: Outlet,
}

impl Tracer {
    /// Whether a connection that is accepted now is traced.
    #[must_use]
    pub fn samples(&self, now: Instant) -> bool {
        self.gate.try_borrow_mut().is_ok_and(|mut gate| gate.samples(now))
    }

    /// Whether there is room for a trace that another service has begun.
    fn has_room(&self, now: Instant) -> bool {
        self.gate
            .try_borrow_mut()
            .is_ok_and(|mut gate| gate.has_room(now))
    }

    fn random(&self) -> u64 {
        self.gate.borrow_mut().random()
    }

    fn span_id(&self) -> SpanId {
        // Zero would mean none.
        self.random().max(1).to_be_bytes()
    }

    fn trace_id(&self) -> TraceId {
        let [high, low] = [self.random().max(1), self.random()];
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }
}
