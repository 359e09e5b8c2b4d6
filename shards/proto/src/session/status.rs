//! A modern server-list ping: one request, one ping, each answered once.

use std::sync::Arc;

use crate::fault::Fault;
use crate::packet::status::{Clientbound, Serverbound};
use crate::question::{AskError, Question, StatusQuery};
use crate::status::StatusReply;

use super::End;
use super::context::Context;
use super::phase::{Ending, Next, Phase, Step};

/// Waiting for a request or a ping. The ping ends the conversation, as it does at a vanilla server, whether
/// or not a request came before it.
#[derive(Debug)]
pub(super) struct Status {
    protocol: i32,
    served: Served,
}

/// What a ping has been told.
#[derive(Debug)]
enum Served {
    Nothing,
    /// Nothing yet, but the answer is at hand because no route needed to be asked for it.
    Prepared(Arc<StatusReply>),
    Status,
}

impl Status {
    /// A ping for a route.
    pub(super) fn new(protocol: i32) -> Self {
        Self {
            protocol,
            served: Served::Nothing,
        }
    }

    /// Whether the client has got the status that it came for.
    pub(super) fn is_served(&self) -> bool {
        matches!(self.served, Served::Status)
    }

    pub(super) fn receive(mut self, context: &mut Context) -> Step {
        let Some(packet) = context.packet(Serverbound::decode)? else {
            return Ok(Next::Wait(Phase::Status(self)));
        };
        match packet {
            Serverbound::Ping(payload) => {
                context.send(|out| Clientbound::Pong(payload).encode(out));
                Err(Ending::Close(End::Pinged))
            }
            Serverbound::Request => match std::mem::replace(&mut self.served, Served::Status) {
                Served::Nothing => Ok(StatusAnswer::begin(self.protocol, context)),
                Served::Prepared(reply) => Ok(self.serve(&reply, context)),
                Served::Status => Err(Fault::PacketUnexpected.into()),
            },
        }
    }

    /// The client says nothing more. Not all pingers ping: who has the status is done.
    pub(super) fn time_out(self, context: &Context) -> Ending {
        if self.is_served() {
            Ending::Close(End::StatusServed)
        } else {
            Ending::timed_out(context.stage)
        }
    }

    fn serve(mut self, reply: &StatusReply, context: &mut Context) -> Next {
        context.send(|out| reply.encode(self.protocol, out));
        context.expect_step();
        self.served = Served::Status;
        Next::Read(Phase::Status(self))
    }
}

/// Waiting to be told what to show.
#[derive(Debug)]
pub(super) struct StatusAnswer {
    protocol: i32,
    routed: bool,
}

impl StatusAnswer {
    fn begin(protocol: i32, context: &mut Context) -> Next {
        context.ask(Question::Status(StatusQuery { protocol }));
        Next::Wait(Phase::StatusAnswer(Self {
            protocol,
            routed: true,
        }))
    }

    /// Asks before the client does, so that a ping for no route is closed at once where nothing is to be
    /// shown.
    pub(super) fn for_unknown_host(protocol: i32, context: &mut Context) -> Next {
        context.ask(Question::Status(StatusQuery { protocol }));
        Next::Wait(Phase::StatusAnswer(Self {
            protocol,
            routed: false,
        }))
    }

    pub(super) fn reply(self, reply: Option<Arc<StatusReply>>, context: &mut Context) -> Step {
        let status = Status::new(self.protocol);
        match (reply, self.routed) {
            (Some(reply), true) => Ok(status.serve(&reply, context)),
            (Some(reply), false) => {
                context.expect_step();
                Ok(Next::Read(Phase::Status(Status {
                    served: Served::Prepared(reply),
                    ..status
                })))
            }
            (None, true) => Err(Ending::Close(End::Refused(AskError::Failed))),
            (None, false) => Err(Ending::Close(End::NoRoute)),
        }
    }
}
