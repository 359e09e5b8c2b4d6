//! From the session to the relay: dial the target, or the next best one, send it what it has to read first,
//! let the engine do the rest.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures_lite::future;
use passage_proto::packet::login::Clientbound;
use passage_proto::proxy_header::{self, Addresses};
use passage_proto::question::{AskError, LocalizeQuery, Message, Target};
use passage_proto::session::{Handoff, Stage};
use passage_proto::text::{Text, keys};
use passage_proto::version::Version;

use super::Connection;
use crate::dial::{DialError, dial};
use crate::engine::{Event, RelayReport, Socket};
use crate::limits::{DIALS_MAX, LINGER};
use crate::metrics::{Bound, Cut};
use crate::outcome::Outcome;
use crate::report;
use crate::shard::{Gate, RouteRef, Shard};
use crate::trace::{SpanName, TraceParent};

/// Why a player does not get to any target.
enum Setback {
    /// The player reads the message of this key.
    Told(&'static str, Outcome),
    /// There is nobody left to tell.
    Silent(Outcome),
}

impl Connection {
    /// Dials a target and starts the relay. The session's memory is free when this returns.
    pub(super) async fn hand_over(mut self, mut handoff: Box<Handoff>) {
        match self.reach(&mut handoff).await {
            Ok(target) => self.relay(*handoff, target),
            Err(Setback::Told(key, outcome)) => self.apologise(key, outcome).await,
            Err(Setback::Silent(outcome)) => self.record.ended(outcome, self.session.facts()),
        }
    }

    /// Dials the chosen target; where it cannot be reached, the one that is chosen next. All before one
    /// deadline.
    async fn reach(&mut self, handoff: &mut Handoff) -> Result<Socket, Setback> {
        let deadline = self.shard.engine.now() + self.shard.terms.limits.dial;
        for dials_left in (1..=DIALS_MAX).rev() {
            let share = self.share(deadline, dials_left);
            match self.dial(&handoff.target, share).await? {
                Ok(socket) => {
                    self.note_success(&handoff.target);
                    return Ok(socket);
                }
                Err(DialError::Resolve(AskError::Overloaded)) => return Err(self.overloaded()),
                Err(error) => self.note_failure(&handoff.target, &error),
            }
            if dials_left == 1 || self.shard.engine.now() >= deadline {
                break;
            }
            let failed = Arc::clone(&handoff.target);
            let Some(next) = self.choose_again(&failed) else {
                break;
            };
            self.session
                .redirect(handoff, next)
                .map_err(|fault| Setback::Told(keys::DISCONNECT_FAULT, Outcome::Fault(fault)))?;
        }
        Err(Setback::Told(
            keys::DISCONNECT_TARGET_UNREACHABLE,
            Outcome::Unreachable,
        ))
    }

    /// How long one dial may take: a target that swallows packets must leave time for those after it.
    fn share(&self, deadline: Instant, dials_left: usize) -> Instant {
        let now = self.shard.engine.now();
        let untried = self.choosing.as_ref().map_or(1, |choosing| choosing.untried());
        let dials = dials_left.min(untried).max(1);
        now + deadline.saturating_duration_since(now) / u32::try_from(dials).unwrap_or(1)
    }

    async fn dial(
        &mut self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Result<Socket, DialError>, Setback> {
        let (shard, trace) = (Rc::clone(&self.shard), self.record.innermost());
        let stage = self.session.stage();
        let dialling = async { Ok(dial(&shard, target, deadline, trace).await) };
        let watching = async { Err(Setback::Silent(watch(&mut self.socket, &shard, stage).await)) };
        future::or(dialling, watching).await
    }

    fn relay(self, handoff: Handoff, target: Socket) {
        let first = self.first_bytes(handoff.replay);
        let Self {
            mut record,
            session,
            shard,
            socket,
            seat,
            counted,
            ..
        } = self;
        record.handed_over(&handoff.target, session.facts());
        for side in [&socket, &target] {
            side.expect_signs_of_life(shard.terms.limits.relay_gone);
        }
        let on_end = move |report: RelayReport| {
            record.relay_closed(report.end, report.took);
            drop((seat, counted));
        };
        shard.engine.relay(
            socket,
            target,
            first,
            shard.terms.limits.relay_idle,
            Box::new(on_end),
        );
    }

    /// The PROXY header, if the route's targets want one, and the replay.
    fn first_bytes(&self, replay: Vec<u8>) -> Vec<u8> {
        let version = self
            .route
            .as_ref()
            .and_then(RouteRef::route)
            .and_then(|route| route.relay.send_proxy_protocol);
        let Some(version) = version else { return replay };
        let source = self.session.facts().client;
        let destination = self.socket.local_addr().unwrap_or(source);
        let mut first = Vec::with_capacity(replay.len() + 128);
        proxy_header::write(version, Addresses { source, destination }, &mut first);
        first.extend_from_slice(&replay);
        first
    }

    /// Tells the player why there is no way on. A login disconnect can be read by every version.
    async fn apologise(mut self, key: &'static str, outcome: Outcome) {
        let handshake = self.session.facts().handshake.as_ref();
        let protocol = handshake.map_or(0, |handshake| handshake.protocol);
        let message = Message {
            key: key.into(),
            params: Vec::new(),
        };
        let words = self
            .find_words(&LocalizeQuery {
                locale: None,
                message,
            })
            .await;
        let mut output = self.socket.take_buffer();
        Clientbound::Disconnect(&Text::parse(&words)).encode(Version::of(protocol), &mut output);
        // Whether or not the client still reads it, the connection ends.
        let _gone = self.send(output).await;
        let Self {
            record,
            session,
            socket,
            ..
        } = self;
        record.ended(outcome, session.facts());
        socket.finish(LINGER);
    }

    /// The control thread has no time for the target's name: no fault of the target.
    fn overloaded(&mut self) -> Setback {
        self.shard.count(|meter| meter.shed(Bound::ControlQueue));
        if let Some(trace) = self.record.trace() {
            trace.close(SpanName::TargetConnection, None, Some("overloaded".to_owned()));
        }
        Setback::Told(
            keys::DISCONNECT_OVERLOADED,
            Outcome::Refused(AskError::Overloaded),
        )
    }

    fn note_failure(&mut self, target: &Target, error: &DialError) {
        self.record.unreachable(target);
        if error.is_timeout() {
            self.shard.count(|meter| meter.cut(Cut::Dial));
        }
        report::target_failure(self.session.facts(), &self.record, target, error);
        self.warn(target, error);
        if let Some(trace) = self.record.trace() {
            trace.close(SpanName::TargetConnection, None, Some(error.to_string()));
        }
        if error.is_targets_fault() {
            self.blame(target);
        }
    }

    /// A target that fails again and again gets no players for a while.
    fn blame(&self, target: &Target) {
        let Some(route) = self.route.as_ref().and_then(RouteRef::route) else {
            return;
        };
        if route.ejection.share_max == 0 {
            return;
        }
        let now = self.shard.engine.now();
        let mut ejections = self.shard.ejections.borrow_mut();
        let ejected = ejections.failed(target, &route.ejection, now);
        if let Some(ejected) = ejected {
            tracing::warn!(
                target: "passage::connection",
                target_identifier = target.identifier,
                target_address = %format_args!("{}:{}", target.host, target.port),
                failures = ejected.failures,
                pause_seconds = ejected.pause.as_secs_f64(),
                "Target gets no players of this shard for a while"
            );
        }
    }

    fn note_success(&self, target: &Target) {
        if self.shard.ejections.borrow_mut().succeeded(target) {
            tracing::info!(
                target: "passage::connection",
                target_identifier = target.identifier,
                target_address = %format_args!("{}:{}", target.host, target.port),
                "Target can be reached again"
            );
        }
    }

    fn warn(&self, target: &Target, error: &DialError) {
        let Some(withheld) = self.shard.target_warnings.pass(self.shard.engine.now()) else {
            return;
        };
        let context = self.record.context();
        tracing::warn!(
            target: "passage::connection",
            client_ip = %self.session.facts().client.ip(),
            target_identifier = target.identifier,
            target_address = %format_args!("{}:{}", target.host, target.port),
            %error,
            withheld,
            trace_id = context.as_ref().map(TraceParent::trace_id),
            span_id = context.as_ref().map(TraceParent::span_id),
            "Target cannot be reached"
        );
    }
}

/// Waits until there is nobody left to connect: the client has reset its connection, or has to go.
async fn watch(socket: &mut Socket, shard: &Shard, stage: Stage) -> Outcome {
    loop {
        if shard.gate() == Gate::Shut {
            return Outcome::Cut;
        }
        match socket.next(false, None).await {
            Event::Failed(_) => return Outcome::HungUp(stage),
            // Who has said everything may still want to listen.
            Event::Ended => return future::pending().await,
            Event::Notified | Event::Deadline | Event::Received(_) => {}
        }
    }
}
