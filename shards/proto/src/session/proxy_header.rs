//! Waiting for the PROXY header of a trusted peer.

use crate::proxy_header::{self, Allowed};

use super::Stage;
use super::context::Context;
use super::handshake::Handshake;
use super::phase::{Next, Phase, Step};

/// A header in one of these versions comes first, under the handshake's deadline.
#[derive(Debug)]
pub(super) struct ProxyHeader {
    pub(super) allowed: Allowed,
}

impl ProxyHeader {
    pub(super) fn receive(self, context: &mut Context) -> Step {
        let Some(header) = proxy_header::parse(context.inbox.unread(), self.allowed)? else {
            return Ok(Next::Wait(Phase::ProxyHeader(self)));
        };
        context.inbox.consume(header.length);
        // A health check of the balancer itself (LOCAL) and a proxy that does not know (UNKNOWN) name nobody:
        // the client is whoever the socket says.
        if let Some(addresses) = header.addresses {
            context.facts.client = addresses.source;
        }
        context.stage = Stage::Handshake;
        Ok(Next::Read(Phase::Handshake(Handshake {
            deadline: context.alarm,
        })))
    }
}
