//! Waiting for the handshake, and for the route that its host name leads to.

use std::time::Instant;

use crate::fault::Fault;
use crate::hostname;
use crate::limits::{HANDSHAKE_BYTES_MAX, LEGACY_PING_GRACE};
use crate::packet::handshake::{self, Intent};
use crate::packet::legacy::{self, Detection};
use crate::proxy_header::{self, Allowed};
use crate::question::{Purpose, RoutePlan};
use crate::text::keys;

use super::context::{Context, Listening};
use super::legacy::LegacyRouting;
use super::login::LoginStart;
use super::phase::{Ending, Next, Phase, Step};
use super::relay::RelayedLogin;
use super::status::{Status, StatusAnswer};
use super::{End, HandshakeFacts, Stage};

/// Nothing is known but where the connection comes from.
#[derive(Debug)]
pub(super) struct Handshake {
    /// When the client must have said where it wants to go.
    pub(super) deadline: Option<Instant>,
}

impl Handshake {
    pub(super) fn receive(self, context: &mut Context) -> Step {
        match legacy::detect(context.inbox.unread())? {
            Detection::Modern => self.read_frame(context),
            Detection::Complete(ping) => Ok(LegacyRouting::begin(ping, context)),
            Detection::Incomplete(ping) => {
                // `FE` and `FE 01` are whole pings of old clients and the beginning of a newer one, or of a
                // modern frame. Only time can tell.
                let grace = ping.and_then(|_| context.after(LEGACY_PING_GRACE));
                context.alarm = grace.into_iter().chain(self.deadline).min();
                Ok(Next::Wait(Phase::Handshake(self)))
            }
        }
    }

    /// Nothing more came: either what there is is a legacy ping of an older form, or the client is too slow.
    pub(super) fn ring(self, context: &mut Context) -> Step {
        match legacy::detect(context.inbox.unread())? {
            Detection::Incomplete(Some(ping)) => Ok(LegacyRouting::begin(ping, context)),
            _ => Err(Ending::timed_out(context.stage)),
        }
    }

    fn read_frame(self, context: &mut Context) -> Step {
        context.alarm = self.deadline;
        let frame = context
            .inbox
            .frame(HANDSHAKE_BYTES_MAX.min(context.bounds.frame_bytes))?;
        refuse_stranger(context.inbox.unread())?;
        let Some(frame) = frame else {
            return Ok(Next::Wait(Phase::Handshake(self)));
        };
        let frame_bytes = frame.end;
        let packet = context.inbox.unread().get(frame).unwrap_or_default();
        let handshake = handshake::Handshake::decode(packet)?;
        let intent = handshake.intent;
        let facts = HandshakeFacts {
            hostname: hostname::normalise(handshake.address).into(),
            port: handshake.port,
            protocol: handshake.protocol,
            purpose: match intent {
                Intent::Status => Purpose::Status,
                Intent::Login | Intent::Transfer => Purpose::Login,
            },
        };
        Ok(Routing { intent, frame_bytes }.begin(facts, context))
    }
}

/// Whether only a whole frame can tell more: the beginning of a handshake has come, its packet id included.
pub(super) fn is_begun(unread: &[u8]) -> bool {
    let is_modern = legacy::detect(unread) == Ok(Detection::Modern);
    is_modern && after_length(unread).next() == Some(&0x00)
}

fn after_length(unread: &[u8]) -> impl Iterator<Item = &u8> {
    unread.iter().skip_while(|byte| **byte & 0x80 != 0).skip(1)
}

/// Faults what cannot become a handshake as soon as its packet id shows that: who speaks another protocol
/// than ours shall not hold a connection until the deadline.
fn refuse_stranger(unread: &[u8]) -> Result<(), Fault> {
    match after_length(unread).next() {
        // 0x80 may begin a VarInt of several bytes that is zero all the same.
        None | Some(0x00 | 0x80) => Ok(()),
        // The bytes that lie here in any case tell a PROXY header from all else; more would make the verdict
        // depend on how much one read brings.
        Some(_) => match proxy_header::parse(
            unread.get(..2).unwrap_or_default(),
            Allowed { v1: true, v2: true },
        ) {
            Ok(_) => Err(Fault::ProxyHeaderUnexpected),
            Err(_) => Err(Fault::PacketUnexpected),
        },
    }
}

/// The handshake is read, but still lies in the inbox: a relay's target will want to see it.
#[derive(Debug)]
pub(super) struct Routing {
    intent: Intent,
    frame_bytes: usize,
}

impl Routing {
    fn begin(self, handshake: HandshakeFacts, context: &mut Context) -> Next {
        (context.stage, context.listening) = match handshake.purpose {
            Purpose::Status => (Stage::Status, Listening::Deaf),
            Purpose::Login => (Stage::Login, Listening::Login),
        };
        context.ask_for_route(handshake);
        Next::Wait(Phase::Routing(self))
    }

    pub(super) fn route(self, plan: Option<RoutePlan>, context: &mut Context) -> Step {
        let Some(plan) = plan else {
            return self.turn_away(context);
        };
        match (plan, self.intent) {
            (RoutePlan::Status, Intent::Status) => {
                context.inbox.consume(self.frame_bytes);
                context.expect_step();
                Ok(Next::Read(Phase::Status(Status::new(context.protocol()))))
            }
            (RoutePlan::Relay(plan), Intent::Login | Intent::Transfer) => {
                let client = context.client()?;
                Ok(RelayedLogin::begin(client, plan, self.frame_bytes, context))
            }
            (RoutePlan::Transfer(plan), Intent::Login | Intent::Transfer) => {
                context.inbox.consume(self.frame_bytes);
                let client = context.client()?;
                LoginStart::begin(client, plan, self.intent == Intent::Transfer, context)
            }
            (RoutePlan::Refuse(refusal), _) => Err(refusal.into()),
            (RoutePlan::Status, _) | (RoutePlan::Transfer(_) | RoutePlan::Relay(_), Intent::Status) => {
                Err(Ending::Close(End::Bug))
            }
        }
    }

    /// No route: a ping may still be shown something, a login is told.
    fn turn_away(self, context: &mut Context) -> Step {
        if self.intent != Intent::Status {
            return Err(Ending::refuse(keys::DISCONNECT_NO_ROUTE, End::NoRoute));
        }
        context.inbox.consume(self.frame_bytes);
        Ok(StatusAnswer::for_unknown_host(context.protocol(), context))
    }
}
