//! From the session to the relay: dial the target, send it what it has to read first, let the engine do the
//! rest.

use passage_proto::packet::login::Clientbound;
use passage_proto::proxy_header::{self, Addresses};
use passage_proto::question::{LocalizeQuery, Message, Purpose, Target};
use passage_proto::session::Handoff;
use passage_proto::text::{Text, keys};
use passage_proto::version::Version;

use super::{Connection, LINGER};
use crate::dial::{DialError, dial};
use crate::engine::RelayReport;
use crate::outcome::Outcome;
use crate::report;
use crate::shard::RouteRef;
use crate::trace::{SpanName, TraceParent};

impl Connection {
    /// Dials the target and starts the relay. The session's memory is free when this returns.
    pub(super) async fn hand_over(self, handoff: Box<Handoff>) {
        let deadline = self.shard.engine.now() + self.shard.terms.limits.dial;
        let target = match dial(&self.shard, &handoff.target, deadline, self.record.innermost()).await {
            Ok(target) => target,
            Err(error) => return self.apologise(&handoff, &error).await,
        };
        let first = self.first_bytes(handoff.replay);
        let Self {
            mut record,
            session,
            shard,
            socket,
            seat,
            ..
        } = self;
        record.handed_over(&handoff.target, session.facts());
        let on_end = move |report: RelayReport| {
            record.relay_closed(report.end, report.took);
            drop(seat);
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

    /// Tells the player that the target is not there. A login disconnect can be read by every version; a ping
    /// can be told nothing.
    async fn apologise(mut self, handoff: &Handoff, error: &DialError) {
        let target = &handoff.target;
        self.record.unreachable(target);
        report::target_failure(self.session.facts(), &self.record, target, error);
        self.warn(target, error);
        if let Some(trace) = self.record.trace() {
            trace.close(SpanName::TargetConnection, Some(error.to_string()));
        }
        let login = self
            .session
            .facts()
            .handshake
            .as_ref()
            .filter(|handshake| handshake.purpose == Purpose::Login);
        if let Some(protocol) = login.map(|handshake| handshake.protocol) {
            let message = Message {
                key: keys::DISCONNECT_TARGET_UNREACHABLE.into(),
                params: Vec::new(),
            };
            let text = Text::parse(&self.localize(&LocalizeQuery {
                locale: None,
                message,
            }));
            let mut output = self.socket.take_buffer();
            Clientbound::Disconnect(&text).encode(Version::of(protocol), &mut output);
            // Whether or not the client still reads it, the connection ends.
            let _gone = self.send(output).await;
        }
        let Self {
            record,
            session,
            socket,
            ..
        } = self;
        record.ended(Outcome::Unreachable, session.facts());
        socket.finish(LINGER);
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
