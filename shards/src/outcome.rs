//! How connections end: one closed set, recorded exactly once each, also when a connection panics.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use passage_proto::fault::Fault;
use passage_proto::question::{AskError, Purpose, RouteQuery, Target};
use passage_proto::session::{End, Facts, Stage};

use crate::admission::Shed;
use crate::engine::RelayEnd;
use crate::metrics::{
    AdapterType, ConnectionLabels, Cut, Exemplar, FailureStage, Meter, Reason, RequestType,
};
use crate::route::StatusSource;
use crate::shard::{RouteRef, Shard};
use crate::trace::{SpanName, Trace, TraceParent, Value, attribute};

/// How a connection ended. Every accepted connection has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A status was served.
    StatusServed,
    /// The player was sent to a target with a transfer packet.
    Transferred,
    /// The connection was relayed, until this.
    Relayed(RelayEnd),
    /// The player read why an adapter said no or failed.
    Refused(AskError),
    /// No route matched the host name.
    NoRoute,
    /// The client is too old for the route.
    Unsupported,
    /// The chosen target could not be dialled.
    Unreachable,
    /// The client broke the protocol.
    Fault(Fault),
    /// The client took too long.
    TimedOut(Stage),
    /// The client went away before its business was done.
    HungUp(Stage),
    /// A bound was reached, and this connection had not begun, or had kept the shard waiting the longest.
    Shed(Shed),
    /// The peer is none from which a PROXY header counts, and others are not served.
    Untrusted,
    /// Idle before its handshake when the shard began to drain.
    Drained,
    /// Still open at the deadline of a drain.
    Cut,
    /// A bug of ours.
    Bug,
    /// A bug of ours that panicked.
    Panicked,
}

impl Outcome {
    /// The stable name of this outcome in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StatusServed => "status_served",
            Self::Transferred => "transferred",
            Self::Relayed(_) => "relayed",
            Self::Refused(_) => "refused",
            Self::NoRoute => "no_route",
            Self::Unsupported => "unsupported",
            Self::Unreachable => "unreachable",
            Self::Fault(_) => "fault",
            Self::TimedOut(_) => "timed_out",
            Self::HungUp(_) => "hung_up",
            Self::Shed(_) => "shed",
            Self::Untrusted => "untrusted",
            Self::Drained => "drained",
            Self::Cut => "cut",
            Self::Bug => "bug",
            Self::Panicked => "panicked",
        }
    }

    /// Whether it counts as `passage_connections_failed`.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self.reason().is_some()
    }

    /// Why it counts as failed; `None` if it does not. What the limiter turned away has a metric of its own.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        Some(match self {
            Self::StatusServed | Self::Transferred | Self::Drained => return None,
            Self::Relayed(RelayEnd::Overloaded) => Reason::RelayMemory,
            Self::Relayed(_) => return None,
            Self::Shed(shed) => return shed.reason(),
            Self::Refused(AskError::Denied) => Reason::Denied,
            Self::Refused(AskError::Overloaded) => Reason::Overloaded,
            Self::Refused(_) => Reason::AdapterFailed,
            Self::NoRoute => Reason::NoRoute,
            Self::Unsupported => Reason::Unsupported,
            Self::Unreachable => Reason::Unreachable,
            Self::Fault(fault) => Reason::Fault(fault),
            Self::TimedOut(_) => Reason::TimedOut,
            Self::HungUp(_) => Reason::HungUp,
            Self::Untrusted => Reason::Untrusted,
            Self::Cut => Reason::Cut,
            Self::Bug => Reason::Bug,
            Self::Panicked => Reason::Panicked,
        })
    }
}

impl Outcome {
    /// The bound of time or size that ended the connection after `took`, if one did.
    fn cut(self, took: Duration, timeout: Duration) -> Option<Cut> {
        match self {
            Self::TimedOut(_) if took >= timeout => Some(Cut::Timeout),
            Self::TimedOut(Stage::ProxyHeader | Stage::Handshake) => Some(Cut::Handshake),
            Self::TimedOut(_) => Some(Cut::Step),
            Self::Relayed(RelayEnd::Idle) => Some(Cut::RelayIdle),
            Self::Relayed(RelayEnd::Gone) => Some(Cut::RelayGone),
            Self::Relayed(RelayEnd::Overloaded) => Some(Cut::RelayMemory),
            Self::Cut => Some(Cut::Drain),
            Self::Fault(fault) => match fault {
                Fault::FrameTooLong => Some(Cut::PacketLength),
                Fault::VarIntTooLong
                | Fault::FrameLengthTooLong
                | Fault::StringTooLong
                | Fault::ArrayTooLong
                | Fault::ProxyHeaderTooLong
                | Fault::InputOverflow => Some(Cut::Protocol),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end {
            End::StatusServed | End::Pinged => Self::StatusServed,
            End::Transferred => Self::Transferred,
            End::Refused(cause) => Self::Refused(cause),
            End::NoRoute => Self::NoRoute,
            End::Unsupported => Self::Unsupported,
            End::Fault(fault) => Self::Fault(fault),
            End::TimedOut(stage) => Self::TimedOut(stage),
            End::HungUp(stage) => Self::HungUp(stage),
            End::Bug => Self::Bug,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Relayed(end) => write!(f, " ({end:?})"),
            Self::Refused(cause) => write!(f, " ({cause:?})"),
            Self::Fault(fault) => write!(f, " ({fault})"),
            Self::TimedOut(stage) | Self::HungUp(stage) => write!(f, " ({stage:?})"),
            Self::Shed(shed) => write!(f, " ({shed})"),
            _ => Ok(()),
        }
    }
}

/// Records a connection that never became one: it is turned away where it was accepted.
pub(crate) fn turn_away(shard: &Shard, client: IpAddr, outcome: Outcome) {
    tracing::debug!(target: "passage::connection", client_ip = %client, %outcome, "Connection turned away");
    shard.count(|meter| {
        let labels = ConnectionLabels {
            client_ip: client,
            route: None,
            protocol: None,
        };
        meter.connection_attempt(&labels);
        count_end(meter, &labels, outcome, FailureStage::Accept);
    });
}

/// What is recorded about one connection. Whatever becomes of the connection, its drop records the end.
pub(crate) struct Record {
    shard: Rc<Shard>,
    client: SocketAddr,
    stage: Stage,
    request: Option<Request>,
    outcome: Option<Outcome>,
    began: Instant,
    trace: Option<Box<Trace>>,
    /// Whether the client's session cookie has had its say about the trace.
    has_followed: bool,
}

/// A connection whose handshake is read.
struct Request {
    purpose: Purpose,
    protocol: i32,
    route: Option<RouteRef>,
    began: Instant,
    is_counted: bool,
}

impl Record {
    /// A connection was admitted.
    pub(crate) fn new(shard: Rc<Shard>, client: SocketAddr) -> Self {
        shard.count(|meter| meter.connection_opened());
        let began = shard.engine.now();
        let tracer = shard.tracer.as_ref().filter(|tracer| tracer.samples(began));
        Self {
            client,
            stage: Stage::Handshake,
            request: None,
            outcome: None,
            began,
            trace: tracer.map(|tracer| Trace::begin(tracer, began)),
            has_followed: false,
            shard,
        }
    }

    /// The client, as far as it is known.
    pub(crate) fn client(&self) -> SocketAddr {
        self.client
    }

    /// The PROXY header says whose connection it is.
    pub(crate) fn identified(&mut self, client: SocketAddr) {
        self.client = client;
    }

    /// The conversation has come this far.
    pub(crate) fn reached(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// The handshake is read and its route known.
    pub(crate) fn requested(&mut self, query: &RouteQuery, route: Option<RouteRef>) {
        let began = self.shard.engine.now();
        let request = Request {
            purpose: query.purpose,
            protocol: query.protocol,
            route,
            began,
            is_counted: false,
        };
        if let Some(trace) = &mut self.trace
            && query.purpose == Purpose::Status
        {
            let adapter = Value::text(request.adapter().label());
            trace.open(SpanName::StatusRequest, vec![(attribute::ADAPTER_TYPE, adapter)]);
        }
        self.request = Some(request);
        self.shard.count(|meter| meter.connection_attempt(&self.labels()));
    }

    /// The trace, if the connection is traced.
    pub(crate) fn trace(&mut self) -> Option<&mut Trace> {
        self.trace.as_deref_mut()
    }

    /// The trace and its first span, if the connection is traced: what log lines belong to.
    pub(crate) fn context(&self) -> Option<TraceParent> {
        Some(self.trace.as_ref()?.parent_of_next())
    }

    /// The trace and its innermost open span, if the connection is traced: what is asked elsewhere belongs to
    /// them.
    pub(crate) fn innermost(&self) -> Option<TraceParent> {
        Some(self.trace.as_ref()?.innermost())
    }

    /// What a duration of this connection is shown with, if it is traced.
    pub(crate) fn exemplar(&self, took: Duration) -> Option<Exemplar> {
        Some(self.trace.as_ref()?.exemplar(took))
    }

    /// Follows what the session has learnt: who it is, and whether the client comes with a trace.
    pub(crate) fn observe(&mut self, facts: &Facts) {
        if let Some(traceparent) = &facts.traceparent
            && !self.has_followed
        {
            self.has_followed = true;
            self.follow(TraceParent::parse(traceparent));
        }
        if let Some(trace) = &mut self.trace {
            trace.describe(facts);
        }
    }

    /// Goes on with the trace of the player's last server: recorded if that one is, and not if it is not.
    fn follow(&mut self, parent: Option<TraceParent>) {
        match (parent, &mut self.trace) {
            (None, _) => {}
            (Some(parent), _) if !parent.is_sampled => self.trace = None,
            (Some(parent), Some(trace)) => trace.join(parent),
            (Some(parent), None) => {
                let now = self.shard.engine.now();
                let tracer = self.shard.tracer.as_ref();
                self.trace = tracer.and_then(|tracer| Trace::begin_with(tracer, self.began, now, parent));
            }
        }
    }

    /// The player is with this target: the request is served, whatever comes of the relay.
    pub(crate) fn handed_over(&mut self, target: &Target, facts: &Facts) {
        self.shard.count(|meter| meter.target_connected(target));
        self.count_request(true);
        self.observe(facts);
        if let Some(trace) = &mut self.trace {
            trace.hand_over();
        }
        if self.is_login() {
            self.log_player("Player relayed", None, facts);
        }
    }

    /// The chosen target could not be dialled.
    pub(crate) fn unreachable(&mut self, target: &Target) {
        self.shard.count(|meter| meter.target_connection_failed(target));
    }

    /// The relay ended.
    pub(crate) fn relay_closed(mut self, end: RelayEnd, took: Duration) {
        self.shard.count(|meter| {
            meter.relay_closed(took);
            if let Some(exemplar) = self.exemplar(took) {
                meter.relay_exemplar(exemplar);
            }
        });
        self.settle(Outcome::Relayed(end));
    }

    /// The connection ended; the counting is done by the drop. Logins are logged at `info` as far as they
    /// were somebody's, all else at `debug`: a flood writes no lines at the default level.
    pub(crate) fn ended(mut self, outcome: Outcome, facts: &Facts) {
        self.observe(facts);
        match outcome {
            Outcome::Transferred => self.log_player("Player transferred", None, facts),
            Outcome::Refused(_) | Outcome::Unreachable if self.is_login() => {
                self.log_player("Player turned away", Some(outcome), facts);
            }
            _ => {}
        }
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        tracing::debug!(
            target: "passage::connection",
            client_ip = %self.client.ip(),
            %outcome,
            stage = ?self.stage,
            "Connection ended"
        );
    }

    fn log_player(&self, message: &str, outcome: Option<Outcome>, facts: &Facts) {
        let context = self.context();
        tracing::info!(
            target: "passage::connection",
            client_ip = %self.client.ip(),
            username = facts.username.as_deref(),
            user_id = facts.user_id.map(tracing::field::display),
            target_identifier = facts.target.as_ref().map(|target| target.identifier.as_str()),
            server_address = self.route_name(),
            outcome = outcome.map(tracing::field::display),
            trace_id = context.as_ref().map(TraceParent::trace_id),
            span_id = context.as_ref().map(TraceParent::span_id),
            "{message}"
        );
    }

    fn is_login(&self) -> bool {
        self.request
            .as_ref()
            .is_some_and(|request| request.purpose == Purpose::Login)
    }

    fn labels(&self) -> ConnectionLabels<'_> {
        let protocol = self.request.as_ref().map(|request| request.protocol);
        ConnectionLabels {
            client_ip: self.client.ip(),
            route: self.route_name(),
            protocol,
        }
    }

    /// The name of the route, once there is one.
    pub(crate) fn route_name(&self) -> Option<&str> {
        Some(&*self.request.as_ref()?.route.as_ref()?.route()?.name)
    }

    fn count_request(&mut self, success: bool) {
        let Some(request) = self.request.as_mut().filter(|request| !request.is_counted) else {
            return;
        };
        request.is_counted = true;
        let kind = match request.purpose {
            Purpose::Status => RequestType::Status,
            Purpose::Login => RequestType::Login,
        };
        let adapter = request.adapter();
        // By the clock: many requests end in the engine's turn in which they came, and its time stands still
        // for that.
        let took = request.began.elapsed();
        self.shard.count(|meter| {
            meter.request(kind, adapter, success, took);
            if let Some(exemplar) = self.exemplar(took) {
                meter.request_exemplar(kind, adapter, success, exemplar);
            }
        });
    }
}

impl Request {
    fn adapter(&self) -> AdapterType {
        let Some(route) = self.route.as_ref().and_then(RouteRef::route) else {
            return AdapterType::None;
        };
        match (self.purpose, &route.status) {
            (Purpose::Status, StatusSource::Fixed(_)) => AdapterType::Fixed,
            (Purpose::Status, StatusSource::Shared { adapter, .. }) => adapter.kind,
            (Purpose::Login, _) => route.discovery.kind(),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let outcome = match self.outcome {
            Some(outcome) => outcome,
            None if std::thread::panicking() => {
                self.shard.note_panic(self.client, |panicked| {
                    panicked.locate(self.stage, self.route_name(), self.context());
                });
                Outcome::Panicked
            }
            None => Outcome::Cut,
        };
        self.count_request(!outcome.is_failure());
        let took = self.shard.engine.now().saturating_duration_since(self.began);
        let cut = outcome.cut(took, self.shard.terms.bounds.total);
        let dropped = self.trace.take().map_or(0, |trace| {
            let error = outcome.is_failure().then(|| outcome.to_string());
            trace.finish(self.client.ip(), error)
        });
        self.shard.count(|meter| {
            meter.spans_dropped(dropped);
            let labels = self.labels();
            if self.request.is_none() {
                meter.connection_attempt(&labels);
            }
            let stage = match outcome {
                Outcome::Relayed(_) => FailureStage::Relay,
                _ => self.stage.into(),
            };
            count_end(meter, &labels, outcome, stage);
            if let Some(cut) = cut {
                meter.cut(cut);
            }
            meter.connection_closed();
        });
    }
}

/// Counts the end of a connection that had come this far.
pub(crate) fn count_end(
    meter: &mut Meter,
    labels: &ConnectionLabels<'_>,
    outcome: Outcome,
    stage: FailureStage,
) {
    if let Some(reason) = outcome.reason() {
        meter.connection_failed(labels, reason, stage);
    }
    match outcome {
        Outcome::Shed(shed) => {
            if shed.is_rate_limit() {
                meter.connection_rate_limited(labels);
            }
            shed.bound().into_iter().for_each(|bound| meter.shed(bound));
        }
        Outcome::Panicked => meter.panicked(),
        _ => {}
    }
}
