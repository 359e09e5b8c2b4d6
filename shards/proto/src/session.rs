//! One connection's conversation, from its first byte to its end.
//!
//! The caller owns the socket, the clock and the answers. Its loop is:
//!
//! 1. hand in one event: [`Session::receive`], [`Session::answer`], [`Session::tick`] or
//!    [`Session::hang_up`];
//! 2. call [`Session::poll`] until it gives `None`. Each call may append bytes to the output; they are sent
//!    before the effect that came with them is acted on;
//! 3. sleep until there is input (while [`Session::wants_input`]), an answer, or the time that
//!    [`Session::deadline`] names.
//!
//! One question is open at a time. A new [`Effect::Ask`] *replaces* the open one: a login that times out
//! while its target is being chosen asks for the words of its disconnect message. The caller drops what it
//! was waiting for; should its answer come all the same, it is ignored.
//!
//! After [`Effect::Relay`] or [`Effect::Close`] the session is over and only ever polls `None`. A socket that
//! is closed with input unread is reset, and a reset may destroy the message that the client was about to
//! read: close by shutting down the write side and discarding input for a moment.
#![warn(clippy::arithmetic_side_effects)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::fault::Fault;
use crate::proxy_header::Allowed;
use crate::question::{Answer, AskError, ClientInfo, Question, RewriteHost, Target};
use crate::text::Text;
use crate::{Entropy, Now};

use context::{Context, Listening};
use farewell::Farewell;
use handshake::Handshake;
use phase::{Ending, Next, Phase, Step};
use proxy_header::ProxyHeader;

mod authentication;
mod configuration;
mod context;
mod encryption;
mod farewell;
mod handshake;
mod inbox;
mod legacy;
mod login;
mod phase;
mod proxy_header;
mod relay;
mod status;

/// What a session is told at its birth.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The socket's peer address.
    pub peer: SocketAddr,
    /// Whether a PROXY header comes first.
    pub proxy: ProxyExpectation,
    /// The bounds that the operator chose.
    pub bounds: Bounds,
}

/// Whether a connection starts with a PROXY header. Decided from the peer's address before the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyExpectation {
    /// The first byte is the client's.
    Direct,
    /// A header in one of the allowed versions must come first.
    Required {
        /// Accept the text header.
        v1: bool,
        /// Accept the binary header.
        v2: bool,
    },
}

/// The operator's bounds for one session.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest frame accepted from the client, in bytes, at most [`crate::limits::FRAME_BYTES_MAX`].
    pub frame_bytes: usize,
    /// From the first moment to the end of the handshake, PROXY header included.
    pub handshake: Duration,
    /// For every step of status and login after the handshake.
    pub step: Duration,
    /// For the whole conversation, whatever happens in it. Ends with the hand-over to a relay.
    pub total: Duration,
    /// How long a signed cookie is valid, in seconds.
    pub cookie_expiry_seconds: u64,
}

/// What the caller has to do next.
#[derive(Debug)]
pub enum Effect {
    /// Get this answered. Replaces the question that is still open, if there is one.
    Ask(Question),
    /// Dial the target, write the replay to it, then relay both ways. The session is over.
    Relay(Box<Handoff>),
    /// Send what is left of the output, then close. The session is over.
    Close(End),
}

/// A connection that leaves the session for the relay.
#[derive(Debug)]
pub struct Handoff {
    /// Where to.
    pub target: Arc<Target>,
    /// Every byte the target must see first: the (rewritten) handshake and all that the client sent after it.
    pub replay: Vec<u8>,
    /// Which host name targets read.
    host: RewriteHost,
}

/// How a conversation ended, as the session sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// A status was served, modern or legacy, and no ping was answered after it.
    StatusServed,
    /// A ping was answered: a client has nothing left to say then, and the game's server closes at once.
    Pinged,
    /// The transfer packet was written.
    Transferred,
    /// An adapter said no or failed. In a login the player has read a disconnect message; a ping was just
    /// closed.
    Refused(AskError),
    /// No route matched the host name.
    NoRoute,
    /// The client is too old for the route's mode.
    Unsupported,
    /// The client broke the protocol.
    Fault(Fault),
    /// The client took too long.
    TimedOut(Stage),
    /// The client went away before its business was done.
    HungUp(Stage),
    /// The caller answered a question that was not asked.
    Bug,
}

/// How far a conversation had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waiting for the PROXY header.
    ProxyHeader,
    /// Waiting for the handshake.
    Handshake,
    /// In a server-list ping.
    Status,
    /// In a login, before login acknowledged.
    Login,
    /// In the configuration phase.
    Configuration,
}

/// What is known about a connection, for logs, labels and spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The client's address, from the PROXY header where one was accepted.
    pub client: SocketAddr,
    /// What the handshake said, once it is read.
    pub handshake: Option<HandshakeFacts>,
    /// The player's name: verified if there is a verified one, else claimed.
    pub username: Option<String>,
    /// The player's UUID, likewise; `None` for a relayed login of a version that does not send one.
    pub user_id: Option<Uuid>,
    /// The trace that the client's session cookie continues (W3C `traceparent`).
    pub traceparent: Option<Box<str>>,
    /// The target, once one is chosen.
    pub target: Option<Arc<Target>>,
}

/// What a handshake said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeFacts {
    /// The normalised host name; client-controlled.
    pub hostname: Arc<str>,
    /// The port that the client connected to, by its own word.
    pub port: u16,
    /// The protocol version, by the client's own word.
    pub protocol: i32,
    /// What the connection is for.
    pub purpose: crate::question::Purpose,
}

/// A conversation with one client.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    context: Context,
    /// Whether input was left unread because an effect came first. What a conversation comes to must not
    /// depend on how much of it one read brings.
    paused: bool,
}

impl Session {
    /// A session that has not received anything yet.
    #[must_use]
    pub fn new(setup: Setup, entropy: Entropy, now: Now) -> Self {
        let facts = Facts::of(setup.peer);
        let mut context = Context::new(setup.bounds, facts, &entropy, now);
        let phase = match setup.proxy {
            ProxyExpectation::Direct => Phase::Handshake(Handshake {
                deadline: context.alarm,
            }),
            ProxyExpectation::Required { v1, v2 } => {
                context.stage = Stage::ProxyHeader;
                Phase::ProxyHeader(ProxyHeader {
                    allowed: Allowed { v1, v2 },
                })
            }
        };
        Self {
            phase,
            context,
            paused: false,
        }
    }

    /// Takes bytes from the client. Call only while [`Self::wants_input`]; all bytes are taken.
    pub fn receive(&mut self, bytes: &[u8], now: Now) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.context.now = now;
        self.context.receive(bytes);
        let phase = self.leave_phase();
        self.go(Ok(Next::Read(phase)));
    }

    /// Takes the answer to the open question.
    pub fn answer(&mut self, answer: Answer, now: Now) {
        self.context.now = now;
        let phase = self.leave_phase();
        let step = phase.answer(answer, &mut self.context);
        self.go(step);
    }

    /// Lets the session notice that time has passed. Cheap if no deadline has come.
    pub fn tick(&mut self, now: Now) {
        let due = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now.instant);
        let (expired, rings) = (due(self.context.total), due(self.context.alarm));
        if !expired && !rings {
            return;
        }
        self.context.now = now;
        self.context.alarm = None;
        let phase = self.leave_phase();
        let step = if expired {
            phase.expire(&mut self.context)
        } else {
            phase.ring(&mut self.context)
        };
        self.go(step);
    }

    /// Says that the client closed its side or that the socket failed.
    pub fn hang_up(&mut self, now: Now) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.context.now = now;
        let end = self.leave_phase().hang_up(&self.context);
        self.go(Err(Ending::Close(end)));
    }

    /// Ends the conversation at once, for a reason of the caller's: with this text (a JSON text component or
    /// plain text) where [`Self::reads_words`]. It comes with the next [`Self::poll`]; nobody is asked
    /// anything.
    pub fn dismiss(&mut self, text: &str, end: End) {
        if matches!(self.leave_phase(), Phase::Over) {
            return;
        }
        self.paused = false;
        farewell::disconnect(&Text::parse(text), &mut self.context);
        self.finish(Effect::Close(end));
    }

    /// Whether the client is at a point where it would read a disconnect message: in a login, but not between
    /// its encryption response and our cipher.
    #[must_use]
    pub fn reads_words(&self) -> bool {
        !matches!(self.phase, Phase::Over) && self.context.listening != Listening::Deaf
    }

    /// The client's locale, once it has told it.
    #[must_use]
    pub fn locale(&self) -> Option<&str> {
        self.context.locale.as_deref()
    }

    /// Lends memory for what the next event has to say: it comes back in the output of the next
    /// [`Self::poll`] that is called with an output without any. What it holds is sent first.
    ///
    /// A caller that does not lend pays for memory with every message. One that does should lend when the
    /// event has come, so that a session which waits holds none.
    pub fn lend(&mut self, buffer: Vec<u8>) {
        self.context.lend(buffer);
    }

    /// Appends what is to be sent to `output` and gives the next effect; `None` when there is nothing more to
    /// do.
    pub fn poll(&mut self, output: &mut Vec<u8>) -> Option<Effect> {
        loop {
            self.context.flush(output);
            let effect = self.context.effect.take();
            if effect.is_some() || !self.paused {
                return effect;
            }
            let phase = self.leave_phase();
            self.go(Ok(Next::Read(phase)));
        }
    }

    /// Whether input can be taken. False while a question is open and the bounded buffer is full, and once
    /// the session is over.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match &self.phase {
            Phase::Over => false,
            phase if phase.lets_input_wait() => !self.context.inbox.is_full(self.context.bounds.frame_bytes),
            _ => true,
        }
    }

    /// How many bytes have to come at least before [`Self::receive`] can lead to anything: what is missing of
    /// a frame whose length has come; 0 if that is not known. Bounded by the bounds of frames.
    ///
    /// A caller that waits for that many spares itself the work for each byte of who sends them one by one.
    #[must_use]
    pub fn missing_bytes(&self) -> usize {
        self.phase.missing_bytes(&self.context)
    }

    /// Sets the trace (W3C `traceparent`) that the session cookie carries on to the next server. Without this
    /// call the cookie keeps the one that it came with. To be called before the target is answered.
    pub fn set_traceparent(&mut self, traceparent: impl Into<Box<str>>) {
        self.context.traceparent = Some(traceparent.into());
    }

    /// Turns a hand-over to another target, because the one before could not be reached.
    ///
    /// # Errors
    ///
    /// The fault of a client whose address has no room for the other target's host name; the hand-over is as
    /// it was then.
    pub fn redirect(&mut self, handoff: &mut Handoff, target: Arc<Target>) -> Result<(), Fault> {
        handoff.turn_to(&target)?;
        self.context.facts.target = Some(target);
        Ok(())
    }

    /// When [`Self::tick`] has something to do; `None` once the session is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.context.alarm.into_iter().chain(self.context.total).min()
    }

    /// What is known so far.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.context.facts
    }

    /// How far the conversation has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.context.stage
    }

    fn leave_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Over)
    }

    /// Follows a step until there is nothing more to read, or an effect to be polled first.
    fn go(&mut self, mut step: Step) {
        loop {
            self.paused = self.context.effect.is_some();
            match step {
                Ok(Next::Read(phase)) if !self.paused => step = phase.receive(&mut self.context),
                Ok(Next::Read(phase) | Next::Wait(phase)) => {
                    self.phase = phase;
                    return self.context.inbox.compact();
                }
                Err(Ending::Refuse(message, end)) if self.context.listening != Listening::Deaf => {
                    self.phase = Farewell::begin(message, end, &mut self.context);
                    return;
                }
                Err(Ending::Refuse(_, end) | Ending::Close(end)) => return self.finish(Effect::Close(end)),
                Err(Ending::Relay(handoff)) => return self.finish(Effect::Relay(handoff)),
            }
        }
    }

    fn finish(&mut self, effect: Effect) {
        self.phase = Phase::Over;
        self.context.effect = Some(effect);
        self.context.alarm = None;
        self.context.total = None;
        self.context.inbox.discard();
    }
}

impl Facts {
    fn of(peer: SocketAddr) -> Self {
        Self {
            client: peer,
            handshake: None,
            username: None,
            user_id: None,
            traceparent: None,
            target: None,
        }
    }

    /// The client as adapters see it; `None` before it has told where it wants to go.
    #[must_use]
    pub fn client_info(&self) -> Option<ClientInfo> {
        let handshake = self.handshake.as_ref()?;
        Some(ClientInfo {
            address: self.client,
            hostname: handshake.hostname.as_ref().to_owned(),
            port: handshake.port,
            protocol: handshake.protocol,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Session>() <= 512, "{} bytes", size_of::<Session>());
        assert!(size_of::<Phase>() <= 32, "{} bytes", size_of::<Phase>());
    }
}
