//! A connection that is not ours to answer: read as far as routing needs it, then handed over as it came.

use std::sync::Arc;

use uuid::Uuid;

use crate::fault::Fault;
use crate::hostname;
use crate::limits::{ADDRESS_UNITS_MAX, PLAYER_NAME_UNITS_MAX};
use crate::packet::handshake::Handshake;
use crate::packet::login::Serverbound;
use crate::question::{ChooseQuery, ClientInfo, Player, Question, Refusal, RelayPlan, RewriteHost, Target};
use crate::version::Version;
use crate::wire::{self, Reader};

use super::Handoff;
use super::context::Context;
use super::phase::{Ending, Next, Phase, Step};

/// The id of login start, in every version.
const LOGIN_START: i32 = 0x00;

/// Waiting for the login start behind the handshake; both stay in the inbox.
#[derive(Debug)]
pub(super) struct RelayedLogin {
    client: ClientInfo,
    plan: RelayPlan,
    handshake_bytes: usize,
}

impl RelayedLogin {
    pub(super) fn begin(
        client: ClientInfo,
        plan: RelayPlan,
        handshake_bytes: usize,
        context: &mut Context,
    ) -> Next {
        context.expect_step();
        Next::Read(Phase::RelayedLogin(Box::new(Self {
            client,
            plan,
            handshake_bytes,
        })))
    }

    pub(super) fn receive(self: Box<Self>, context: &mut Context) -> Step {
        let after_handshake = context
            .inbox
            .unread()
            .get(self.handshake_bytes..)
            .unwrap_or_default();
        let Some(frame) = wire::split_frame(after_handshake, context.bounds.frame_bytes)? else {
            return Ok(Next::Wait(Phase::RelayedLogin(self)));
        };
        let packet = after_handshake.get(frame).unwrap_or_default();
        let player = claimed_player(packet, Version::of(self.client.protocol))?;
        context.learn_player(&player.name, player.id);
        Ok(RelayTarget::begin(
            self.client,
            Some(player),
            self.plan,
            self.handshake_bytes,
            context,
        ))
    }
}

/// Waiting for a target. What the client sends meanwhile joins the replay.
#[derive(Debug)]
pub(super) struct RelayTarget {
    plan: RelayPlan,
    /// How much of the inbox is the handshake; 0 for a legacy ping, which has none.
    handshake_bytes: usize,
}

impl RelayTarget {
    pub(super) fn begin(
        client: ClientInfo,
        player: Option<Player>,
        plan: RelayPlan,
        handshake_bytes: usize,
        context: &mut Context,
    ) -> Next {
        context.ask(Question::Choose(Box::new(ChooseQuery { client, player })));
        Next::Wait(Phase::RelayTarget(Box::new(Self {
            plan,
            handshake_bytes,
        })))
    }

    pub(super) fn target(self, target: Result<Arc<Target>, Refusal>, context: &mut Context) -> Step {
        let target = target?;
        let replay = self.replay(&target, context)?;
        context.facts.target = Some(Arc::clone(&target));
        Err(Ending::Relay(Box::new(Handoff { target, replay })))
    }

    fn replay(&self, target: &Target, context: &mut Context) -> Result<Vec<u8>, Fault> {
        let host = match &self.plan.rewrite_host {
            RewriteHost::Target => target.host.as_str(),
            RewriteHost::Literal(host) => host.as_str(),
            RewriteHost::Keep => return Ok(context.inbox.take()),
        };
        let Some((handshake, after)) = context.inbox.unread().split_at_checked(self.handshake_bytes) else {
            return Ok(context.inbox.take());
        };
        let Some(frame) = wire::split_frame(handshake, context.bounds.frame_bytes)? else {
            return Ok(context.inbox.take());
        };
        let handshake = Handshake::decode(handshake.get(frame).unwrap_or_default())?;
        let address = format!("{host}{}", hostname::suffix(handshake.address));
        if address.encode_utf16().count() > ADDRESS_UNITS_MAX {
            return Err(Fault::StringTooLong);
        }
        let mut replay = Vec::with_capacity(context.inbox.unread().len());
        Handshake {
            address: &address,
            ..handshake
        }
        .encode(&mut replay);
        replay.extend_from_slice(after);
        Ok(replay)
    }
}

/// Who the client says it is. The target judges the rest of the packet: a version whose login start we do not
/// know, or a mod's, is no reason to keep its player out.
fn claimed_player(packet: &[u8], version: &Version) -> Result<Player, Fault> {
    if let Ok(Serverbound::Start(start)) = Serverbound::decode(packet, version) {
        return Ok(Player {
            name: start.name.to_owned(),
            id: start.id.unwrap_or_default(),
        });
    }
    let mut reader = Reader::new(packet);
    if reader.var_int()? != LOGIN_START {
        return Err(Fault::PacketUnexpected);
    }
    let name = reader.string(PLAYER_NAME_UNITS_MAX)?;
    if name.is_empty() {
        return Err(Fault::NameEmpty);
    }
    Ok(Player {
        name: name.to_owned(),
        id: Uuid::nil(),
    })
}
