//! The configuration phase: a target is chosen, and the client is sent there.
//!
//! The target is asked for at once, without waiting for anything that the client says here. Its locale is
//! known by the time a slow choice fails; should a choice fail faster than that, the message waits a moment
//! for it.

use std::sync::Arc;

use crate::cookie::{AUTHENTICATION_KEY, AuthCookie, SESSION_KEY};
use crate::fault::Fault;
use crate::identity::VerifiedProfile;
use crate::limits::{CONFIGURATION_PACKETS_MAX, KEEP_ALIVE_INTERVAL, LOCALE_GRACE};
use crate::packet::configuration::{Clientbound, Serverbound, StoreCookie, Transfer};
use crate::question::{ChooseQuery, Player, Question, Refusal, Target};

use super::End;
use super::context::Context;
use super::login::Login;
use super::phase::{Ending, Next, Phase, Step};

/// Waiting for a target, with keep-alives so that the client waits as well.
#[derive(Debug)]
pub(super) struct Configuration {
    login: Login,
    profile: VerifiedProfile,
    ear: Ear,
    keep_alives: u32,
    /// The id of the keep-alive that the client has not answered yet.
    unanswered: Option<i64>,
}

impl Configuration {
    pub(super) fn begin(login: Login, profile: VerifiedProfile, context: &mut Context) -> Next {
        let player = Player {
            name: profile.profile().name.clone(),
            id: profile.profile().id,
        };
        let client = login.client.clone();
        context.ask(Question::Choose(Box::new(ChooseQuery {
            client,
            player: Some(player),
        })));
        context.alarm = context.after(KEEP_ALIVE_INTERVAL);
        let configuration = Self {
            login,
            profile,
            ear: Ear::default(),
            keep_alives: 0,
            unanswered: None,
        };
        Next::Read(Phase::Configuration(Box::new(configuration)))
    }

    pub(super) fn receive(mut self: Box<Self>, context: &mut Context) -> Step {
        match self.ear.hear(context)? {
            None => return Ok(Next::Wait(Phase::Configuration(self))),
            Some(Heard::KeepAlive(id)) if self.unanswered == Some(id) => self.unanswered = None,
            Some(Heard::KeepAlive(_)) => return Err(Fault::KeepAliveUnexpected.into()),
            Some(Heard::Other) => {}
        }
        Ok(Next::Read(Phase::Configuration(self)))
    }

    /// The next keep-alive is due. A client that has not answered the last one by now has gone.
    pub(super) fn ring(mut self: Box<Self>, context: &mut Context) -> Step {
        if self.unanswered.is_some() {
            return Err(Ending::timed_out(context.stage));
        }
        let id = context.keep_alive_id(self.keep_alives);
        context.send(|out| Clientbound::KeepAlive(id).encode(self.login.version, out));
        context.alarm = context.after(KEEP_ALIVE_INTERVAL);
        self.keep_alives = self.keep_alives.saturating_add(1);
        self.unanswered = Some(id);
        Ok(Next::Wait(Phase::Configuration(self)))
    }

    pub(super) fn target(self, target: Result<Arc<Target>, Refusal>, context: &mut Context) -> Step {
        match target {
            Ok(target) => Err(self.transfer(target, context)),
            Err(refusal) if context.locale.is_some() => Err(refusal.into()),
            Err(refusal) => Ok(Parting::begin(refusal, self.ear, context)),
        }
    }

    fn transfer(self, target: Arc<Target>, context: &mut Context) -> Ending {
        let Self {
            login:
                Login {
                    client,
                    plan,
                    version,
                    mut visit,
                    extra,
                    ..
                },
            profile,
            ..
        } = self;
        let now = context.now.unix_seconds;
        if let Some(traceparent) = context.traceparent.take() {
            visit.set_traceparent(&traceparent);
        }
        let mut send = |packet: Clientbound<'_>| context.send(|out| packet.encode(version, out));
        if let Some(keys) = plan.cookies {
            let cookie = AuthCookie::new(&profile, client.address, &target.identifier, extra, now);
            // One that is too long for the client to keep is left out: the player is authenticated anew then.
            if let Some(payload) = cookie.sign(&keys) {
                send(Clientbound::StoreCookie(StoreCookie {
                    key: AUTHENTICATION_KEY,
                    payload: &payload,
                }));
            }
        }
        if let Some(payload) = visit.encode() {
            send(Clientbound::StoreCookie(StoreCookie {
                key: SESSION_KEY,
                payload: &payload,
            }));
        }
        send(Clientbound::Transfer(Transfer {
            host: &target.host,
            port: target.port,
        }));
        context.facts.target = Some(target);
        Ending::Close(End::Transferred)
    }
}

/// Waiting a moment for the client's locale before it reads why it goes no further.
#[derive(Debug)]
pub(super) struct Parting {
    refusal: Refusal,
    ear: Ear,
}

impl Parting {
    fn begin(refusal: Refusal, ear: Ear, context: &mut Context) -> Next {
        context.alarm = context.after(LOCALE_GRACE);
        Next::Read(Phase::Parting(Box::new(Self { refusal, ear })))
    }

    pub(super) fn receive(mut self: Box<Self>, context: &mut Context) -> Step {
        // A fault changes nothing any more: the player is told what was about to be said.
        match self.ear.hear(context) {
            Ok(None) => Ok(Next::Wait(Phase::Parting(self))),
            Ok(Some(_)) if context.locale.is_none() => Ok(Next::Read(Phase::Parting(self))),
            Ok(Some(_)) | Err(_) => Err(self.refusal.into()),
        }
    }

    pub(super) fn ring(self) -> Ending {
        self.refusal.into()
    }

    pub(super) fn end(&self) -> End {
        End::Refused(self.refusal.cause)
    }
}

/// Listens to what a client says in the configuration phase, which is not much that we need.
#[derive(Debug, Default)]
struct Ear {
    packets: u32,
}

/// What a client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    KeepAlive(i64),
    Other,
}

impl Ear {
    fn hear(&mut self, context: &mut Context) -> Result<Option<Heard>, Fault> {
        let mut locale = None;
        let heard = context.packet(|packet| match Serverbound::decode(packet)? {
            Serverbound::KeepAlive(id) => Ok(Heard::KeepAlive(id)),
            Serverbound::ClientInformation(information) => {
                locale = Some(information.locale.into());
                Ok(Heard::Other)
            }
            _ => Ok(Heard::Other),
        })?;
        if locale.is_some() {
            context.locale = locale;
        }
        self.packets = self.packets.saturating_add(u32::from(heard.is_some()));
        if self.packets > CONFIGURATION_PACKETS_MAX {
            Err(Fault::InputOverflow)
        } else {
            Ok(heard)
        }
    }
}
