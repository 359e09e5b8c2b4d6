//! A ping from before Minecraft 1.7: one message each way.

use std::sync::Arc;

use crate::hostname;
use crate::packet::legacy::{LegacyForm, LegacyPing};
use crate::question::{AskError, Purpose, Question, RoutePlan, StatusQuery};
use crate::status::StatusReply;

use super::context::Context;
use super::phase::{Ending, Next, Phase, Step};
use super::{End, HandshakeFacts, Stage};

/// Stands for the protocol version of a legacy client: their numbers mean other versions since 1.7.
const LEGACY_PROTOCOL: i32 = -1;

/// The ping is read; which status it gets is its route's to say.
#[derive(Debug)]
pub(super) struct LegacyRouting {
    form: LegacyForm,
}

impl LegacyRouting {
    pub(super) fn begin(ping: LegacyPing, context: &mut Context) -> Next {
        let (host, port) = ping.address.unwrap_or_default();
        context.stage = Stage::Status;
        context.ask_for_route(HandshakeFacts {
            hostname: hostname::normalise(&host).into(),
            port,
            protocol: LEGACY_PROTOCOL,
            purpose: Purpose::Status,
        });
        Next::Wait(Phase::LegacyRouting(Self { form: ping.form }))
    }

    pub(super) fn route(self, plan: Option<RoutePlan>, context: &mut Context) -> Step {
        let routed = plan.is_some();
        match plan {
            None | Some(RoutePlan::Status) => {
                context.ask(Question::Status(StatusQuery {
                    protocol: LEGACY_PROTOCOL,
                }));
                Ok(Next::Wait(Phase::LegacyStatus(LegacyStatus {
                    form: self.form,
                    routed,
                })))
            }
            Some(RoutePlan::Refuse(refusal)) => Err(refusal.into()),
            Some(RoutePlan::Transfer(_) | RoutePlan::Relay(_)) => Err(Ending::Close(End::Bug)),
        }
    }
}

/// Waiting to be told what to show.
#[derive(Debug)]
pub(super) struct LegacyStatus {
    form: LegacyForm,
    routed: bool,
}

impl LegacyStatus {
    pub(super) fn reply(self, reply: Option<Arc<StatusReply>>, context: &mut Context) -> Step {
        let end = match (reply, self.routed) {
            (Some(reply), _) => {
                context.send(|out| reply.encode_legacy(self.form, out));
                End::StatusServed
            }
            (None, true) => End::Refused(AskError::Failed),
            (None, false) => End::NoRoute,
        };
        Err(Ending::Close(end))
    }
}
