//! What all phases of a conversation share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::cipher::{Decryptor, Encryptor};
use crate::fault::Fault;
use crate::identity::SharedSecret;
use crate::question::{ClientInfo, Question, RouteQuery};
use crate::version::Version;
use crate::{Entropy, Now};

use super::inbox::Inbox;
use super::phase::Ending;
use super::{Bounds, Effect, End, Facts, HandshakeFacts, Stage};

/// Buffers, deadlines and knowledge that outlive a phase.
#[derive(Debug)]
pub(super) struct Context {
    /// The operator's bounds.
    pub(super) bounds: Bounds,
    /// When the event happened that is being worked on.
    pub(super) now: Now,
    /// What is known about the connection.
    pub(super) facts: Facts,
    /// How far the conversation has come.
    pub(super) stage: Stage,
    /// Unread input, deciphered.
    pub(super) inbox: Inbox,
    /// How the client would read a disconnect message now.
    pub(super) listening: Listening,
    /// The client's locale, once it has told us.
    pub(super) locale: Option<Box<str>>,
    /// The trace that the visit goes on with after this conversation (W3C `traceparent`).
    pub(super) traceparent: Option<Box<str>>,
    /// When the phase has something to do without input; what that is, the phase knows.
    pub(super) alarm: Option<Instant>,
    /// When the conversation ends, whatever its phase.
    pub(super) total: Option<Instant>,
    /// What the caller has not polled yet.
    pub(super) effect: Option<Effect>,
    outbox: Vec<u8>,
    cipher: Option<Box<Cipher>>,
    random: Random,
}

/// How a client would read a disconnect message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listening {
    /// It would not: before a login has begun, in a ping, or between its encryption response and our cipher.
    Deaf,
    /// As a login disconnect.
    Login,
    /// As a configuration disconnect.
    Configuration,
}

impl Context {
    /// The context of a connection that was just accepted, with the handshake deadline running.
    pub(super) fn new(bounds: Bounds, facts: Facts, entropy: &Entropy, now: Now) -> Self {
        Self {
            bounds,
            now,
            facts,
            stage: Stage::Handshake,
            inbox: Inbox::default(),
            listening: Listening::Deaf,
            locale: None,
            traceparent: None,
            alarm: now.instant.checked_add(bounds.handshake),
            total: now.instant.checked_add(bounds.total),
            effect: None,
            outbox: Vec::new(),
            cipher: None,
            random: Random::new(entropy),
        }
    }

    /// Takes bytes as they came off the socket.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let known = self.inbox.unread().len();
        self.inbox.extend(bytes);
        if let Some(cipher) = &mut self.cipher {
            cipher
                .inward
                .decrypt(self.inbox.unread_mut().get_mut(known..).unwrap_or_default());
        }
    }

    /// Reads the next packet and consumes it, if it has arrived as a whole. `read` gets id and fields.
    pub(super) fn packet<T>(
        &mut self,
        read: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let Some(frame) = self.inbox.frame(self.bounds.frame_bytes)? else {
            return Ok(None);
        };
        let end = frame.end;
        let packet = read(self.inbox.unread().get(frame).unwrap_or_default())?;
        self.inbox.consume(end);
        Ok(Some(packet))
    }

    /// Sends what `encode` appends, enciphered if the connection is.
    pub(super) fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let sent = self.outbox.len();
        encode(&mut self.outbox);
        if let Some(cipher) = &mut self.cipher {
            cipher
                .outward
                .encrypt(self.outbox.get_mut(sent..).unwrap_or_default());
        }
    }

    /// Writes what is to be sent into this memory until the next flush, behind what it holds already.
    pub(super) fn lend(&mut self, mut buffer: Vec<u8>) {
        buffer.append(&mut self.outbox);
        self.outbox = buffer;
    }

    /// Moves what is to be sent to the caller's buffer and keeps no memory for it. A caller that has lent its
    /// own gets that back.
    pub(super) fn flush(&mut self, output: &mut Vec<u8>) {
        let mut outbox = std::mem::take(&mut self.outbox);
        if output.capacity() == 0 {
            *output = outbox;
        } else {
            output.append(&mut outbox);
        }
    }

    /// Enciphers everything from here on, in both directions. Input that came early is deciphered now.
    pub(super) fn encrypt(&mut self, secret: &SharedSecret) {
        let mut cipher = Cipher {
            inward: Decryptor::new(secret),
            outward: Encryptor::new(secret),
        };
        cipher.inward.decrypt(self.inbox.unread_mut());
        self.cipher = Some(Box::new(cipher));
    }

    /// Asks, and stops the clock of the step: a client that waits for us is not slow.
    pub(super) fn ask(&mut self, question: Question) {
        self.alarm = None;
        self.effect = Some(Effect::Ask(question));
    }

    /// Asks which route the client's host name leads to, now that it is known.
    pub(super) fn ask_for_route(&mut self, handshake: HandshakeFacts) {
        self.ask(Question::Route(RouteQuery {
            hostname: Arc::clone(&handshake.hostname),
            protocol: handshake.protocol,
            purpose: handshake.purpose,
        }));
        self.facts.handshake = Some(handshake);
    }

    /// Notes who the player is, as far as that is known.
    pub(super) fn learn_player(&mut self, name: &str, id: Uuid) {
        self.facts.username = Some(name.to_owned());
        self.facts.user_id = (!id.is_nil()).then_some(id);
    }

    /// The protocol version of the handshake; 0 before there is one.
    pub(super) fn protocol(&self) -> i32 {
        let handshake = self.facts.handshake.as_ref();
        handshake.map_or(0, |handshake| handshake.protocol)
    }

    /// What the client's version speaks.
    pub(super) fn version(&self) -> &'static Version {
        Version::of(self.protocol())
    }

    /// The client as adapters see it. To be called after the handshake only.
    pub(super) fn client(&self) -> Result<ClientInfo, Ending> {
        self.facts.client_info().ok_or(Ending::Close(End::Bug))
    }

    /// Starts the clock of a step that is the client's to take.
    pub(super) fn expect_step(&mut self) {
        self.alarm = self.after(self.bounds.step);
    }

    /// The moment `delay` from now; `None` if there is no such moment.
    pub(super) fn after(&self, delay: Duration) -> Option<Instant> {
        self.now.instant.checked_add(delay)
    }

    /// The token that proves that an encryption response is for this connection.
    pub(super) fn verify_token(&self) -> [u8; 4] {
        self.random.verify_token
    }

    /// The random bytes of a new visit's UUID.
    pub(super) fn visit_id(&self) -> [u8; 16] {
        self.random.visit_id
    }

    /// The id of the `nth` keep-alive, which a client cannot know before it has read it.
    pub(super) fn keep_alive_id(&self, nth: u32) -> i64 {
        self.random.keep_alive.wrapping_add(i64::from(nth))
    }
}

/// The two directions of an encrypted connection.
#[derive(Debug)]
struct Cipher {
    inward: Decryptor,
    outward: Encryptor,
}

/// A connection's entropy, cut into its uses so that none of it is used twice.
#[derive(Clone)]
struct Random {
    verify_token: [u8; 4],
    visit_id: [u8; 16],
    keep_alive: i64,
}

impl Random {
    fn new(Entropy(bytes): &Entropy) -> Self {
        let (verify_token, rest) = bytes.split_first_chunk().unwrap_or((&[0; 4], &[]));
        let (visit_id, rest) = rest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let keep_alive = rest.first_chunk().copied().map_or(0, i64::from_be_bytes);
        Self {
            verify_token: *verify_token,
            visit_id: *visit_id,
            keep_alive,
        }
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random(redacted)")
    }
}
