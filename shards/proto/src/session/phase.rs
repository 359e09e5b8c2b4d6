//! The phases of a conversation, and which event each of them takes.
//!
//! A phase is a type that an event consumes: what comes of it is the next phase or an [`Ending`], so that no
//! phase can be gone back to and nothing of a phase outlives it by accident. The three tables below
//! ([`Phase::receive`], [`Phase::answer`], [`Phase::ring`]) are the whole of the state machine's shape.
//!
//! ```text
//! ProxyHeader ─ Handshake ─┬─ Routing ─┬─ Status ── StatusAnswer
//!                          │           ├─ LoginStart ─ Cookies ─ Encryption ─ Decryption ─ Authentication ─
//!                          │           │     Acknowledgement ─ Configuration ─ Parting
//!                          │           └─ RelayedLogin ─ RelayTarget
//!                          └─ LegacyRouting ── LegacyStatus
//! every phase whose client would read it ─ Farewell ─ Over
//! ```

use crate::fault::Fault;
use crate::question::{Answer, Message, Refusal};
use crate::text::keys;
use crate::wire;

use super::authentication::{Acknowledgement, Authentication};
use super::configuration::{Configuration, Parting};
use super::context::Context;
use super::encryption::{Decryption, Encryption};
use super::farewell::Farewell;
use super::handshake::{self, Handshake, Routing};
use super::legacy::{LegacyRouting, LegacyStatus};
use super::login::{Cookies, LoginStart};
use super::proxy_header::ProxyHeader;
use super::relay::{RelayTarget, RelayedLogin};
use super::status::{Status, StatusAnswer};
use super::{End, Handoff, Stage};

/// Where a conversation stands.
#[derive(Debug)]
pub(super) enum Phase {
    ProxyHeader(ProxyHeader),
    Handshake(Handshake),
    Routing(Routing),
    LegacyRouting(LegacyRouting),
    LegacyStatus(LegacyStatus),
    Status(Status),
    StatusAnswer(StatusAnswer),
    LoginStart(Box<LoginStart>),
    Cookies(Box<Cookies>),
    Encryption(Box<Encryption>),
    Decryption(Box<Decryption>),
    Authentication(Box<Authentication>),
    Acknowledgement(Box<Acknowledgement>),
    Configuration(Box<Configuration>),
    Parting(Box<Parting>),
    RelayedLogin(Box<RelayedLogin>),
    RelayTarget(Box<RelayTarget>),
    Farewell(Box<Farewell>),
    Over,
}

/// What an event led to.
pub(super) type Step = Result<Next, Ending>;

/// The conversation goes on.
#[derive(Debug)]
pub(super) enum Next {
    /// In this phase, which may find more to read in the inbox.
    Read(Phase),
    /// In this phase, with nothing to do before the next event.
    Wait(Phase),
}

/// The conversation ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// At once, after what is in the outbox.
    Close(End),
    /// With a message, if the client is at a point where it would read one.
    Refuse(Message, End),
    /// With the hand-over to a relay.
    Relay(Box<Handoff>),
}

impl Phase {
    /// Reads what has arrived.
    pub(super) fn receive(self, context: &mut Context) -> Step {
        match self {
            Self::ProxyHeader(phase) => phase.receive(context),
            Self::Handshake(phase) => phase.receive(context),
            Self::Status(phase) => phase.receive(context),
            Self::LoginStart(phase) => phase.receive(context),
            Self::Cookies(phase) => phase.receive(context),
            Self::Encryption(phase) => phase.receive(context),
            Self::Acknowledgement(phase) => phase.receive(context),
            Self::Configuration(phase) => phase.receive(context),
            Self::Parting(phase) => phase.receive(context),
            Self::RelayedLogin(phase) => phase.receive(context),
            Self::Farewell(phase) => Ok(phase.ignore_input(context)),
            Self::Routing(_)
            | Self::LegacyRouting(_)
            | Self::LegacyStatus(_)
            | Self::StatusAnswer(_)
            | Self::Decryption(_)
            | Self::Authentication(_)
            | Self::RelayTarget(_)
            | Self::Over => Ok(Next::Wait(self)),
        }
    }

    /// Takes an answer. One that fits no open question is the caller's bug.
    pub(super) fn answer(self, answer: Answer, context: &mut Context) -> Step {
        match (self, answer) {
            (Self::Routing(phase), Answer::Route(plan)) => phase.route(plan, context),
            (Self::LegacyRouting(phase), Answer::Route(plan)) => phase.route(plan, context),
            (Self::LegacyStatus(phase), Answer::Status(reply)) => phase.reply(reply, context),
            (Self::StatusAnswer(phase), Answer::Status(reply)) => phase.reply(reply, context),
            (Self::Decryption(phase), Answer::Secret(secret)) => phase.encrypt(secret, context),
            (Self::Authentication(phase), Answer::Profile(profile)) => phase.conclude(profile, context),
            (Self::Configuration(phase), Answer::Target(target)) => phase.target(target, context),
            (Self::RelayTarget(phase), Answer::Target(target)) => phase.target(target, context),
            (Self::Farewell(phase), Answer::Text(text)) => Err(phase.say(&text, context)),
            // The farewell replaced another question, whose answer may have been on its way.
            (phase @ (Self::Farewell(_) | Self::Over), _) => Ok(Next::Wait(phase)),
            _ => Err(Ending::Close(End::Bug)),
        }
    }

    /// Takes the alarm that the phase has set.
    pub(super) fn ring(self, context: &mut Context) -> Step {
        match self {
            Self::Handshake(phase) => phase.ring(context),
            Self::Status(phase) => Err(phase.time_out(context)),
            Self::Configuration(phase) => phase.ring(context),
            Self::Parting(phase) => Err(phase.ring()),
            Self::Farewell(phase) => Err(phase.give_up(context)),
            _ => Err(Ending::timed_out(context.stage)),
        }
    }

    /// Takes the end of all patience.
    pub(super) fn expire(self, context: &mut Context) -> Step {
        match self {
            Self::Status(phase) => Err(phase.time_out(context)),
            Self::Farewell(phase) => Err(phase.give_up(context)),
            _ => Err(Ending::timed_out(context.stage)),
        }
    }

    /// Takes the news that the client has gone.
    pub(super) fn hang_up(self, context: &Context) -> End {
        match self {
            Self::Status(phase) if phase.is_served() => End::StatusServed,
            Self::Parting(phase) => phase.end(),
            Self::Farewell(phase) => phase.end(),
            _ => End::HungUp(context.stage),
        }
    }

    /// Whether the phase leaves input where it is until its question is answered.
    pub(super) fn lets_input_wait(&self) -> bool {
        matches!(
            self,
            Self::Routing(_)
                | Self::LegacyRouting(_)
                | Self::LegacyStatus(_)
                | Self::StatusAnswer(_)
                | Self::Decryption(_)
                | Self::Authentication(_)
                | Self::RelayTarget(_)
        )
    }
}

impl Phase {
    /// How many bytes a client has to send at least before the phase can do anything with them; 0 if that is
    /// not known.
    pub(super) fn missing_bytes(&self, context: &Context) -> usize {
        let unread = context.inbox.unread();
        let is_framed = match self {
            Self::ProxyHeader(_) | Self::Farewell(_) | Self::Over => false,
            Self::Handshake(_) => handshake::is_begun(unread),
            phase => !phase.lets_input_wait(),
        };
        match is_framed {
            true => wire::missing_of_frame(unread, context.bounds.frame_bytes),
            false => 0,
        }
    }
}

impl Ending {
    /// The client took too long.
    pub(super) fn timed_out(stage: Stage) -> Self {
        Self::refuse(keys::DISCONNECT_TIMEOUT, End::TimedOut(stage))
    }

    /// A message without parameters.
    pub(super) fn refuse(key: &'static str, end: End) -> Self {
        Self::Refuse(
            Message {
                key: key.into(),
                params: Vec::new(),
            },
            end,
        )
    }
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        Self::refuse(keys::DISCONNECT_FAULT, End::Fault(fault))
    }
}

impl From<Refusal> for Ending {
    fn from(Refusal { message, cause }: Refusal) -> Self {
        Self::Refuse(message, End::Refused(cause))
    }
}
