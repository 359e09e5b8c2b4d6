//! A connection that is not ours to answer: read as far as routing needs it, then handed over as it came.

use std::sync::Arc;

use uuid::Uuid;

use crate::fault::Fault;
use crate::hostname;
use crate::limits::{ADDRESS_UNITS_MAX, HANDSHAKE_BYTES_MAX, PLAYER_NAME_UNITS_MAX};
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
        Ok(RelayTarget::begin(self.client, player, self.plan, context))
    }
}

/// Waiting for a target. What the client sends meanwhile joins the replay.
#[derive(Debug)]
pub(super) struct RelayTarget {
    plan: RelayPlan,
}

impl RelayTarget {
    pub(super) fn begin(client: ClientInfo, player: Player, plan: RelayPlan, context: &mut Context) -> Next {
        let player = Some(player);
        context.ask(Question::Choose(Box::new(ChooseQuery { client, player })));
        Next::Wait(Phase::RelayTarget(Box::new(Self { plan })))
    }

    pub(super) fn target(self, target: Result<Arc<Target>, Refusal>, context: &mut Context) -> Step {
        let target = target?;
        let mut handoff = Handoff {
            target: Arc::clone(&target),
            replay: context.inbox.take(),
            host: self.plan.rewrite_host,
        };
        handoff.turn_to(&target)?;
        context.facts.target = Some(target);
        Err(Ending::Relay(Box::new(handoff)))
    }
}

impl Handoff {
    /// Makes this the target, and the handshake at the front of the replay one for it.
    pub(super) fn turn_to(&mut self, target: &Arc<Target>) -> Result<(), Fault> {
        let host = match &self.host {
            RewriteHost::Keep => None,
            RewriteHost::Target => Some(target.host.as_str()),
            RewriteHost::Literal(host) => Some(host.as_str()),
        };
        if let Some(host) = host {
            self.replay = rewritten(&self.replay, host)?;
        }
        self.target = Arc::clone(target);
        Ok(())
    }
}

/// What was received, with this host name in the handshake at its front.
fn rewritten(received: &[u8], host: &str) -> Result<Vec<u8>, Fault> {
    let Some(frame) = wire::split_frame(received, HANDSHAKE_BYTES_MAX)? else {
        return Err(Fault::PacketUnexpected);
    };
    let (handshake, after) = received.split_at_checked(frame.end).unwrap_or_default();
    let handshake = Handshake::decode(handshake.get(frame).unwrap_or_default())?;
    let address = format!("{host}{}", hostname::suffix(handshake.address));
    if address.encode_utf16().count() > ADDRESS_UNITS_MAX {
        return Err(Fault::StringTooLong);
    }
    let mut replay = Vec::with_capacity(received.len().saturating_add(host.len()));
    Handshake {
        address: &address,
        ..handshake
    }
    .encode(&mut replay);
    replay.extend_from_slice(after);
    Ok(replay)
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
