//! What a session did, in words: packets as a client reads them, questions, and the end.

use std::fmt::Write as _;

use passage_proto::cipher::Decryptor;
use passage_proto::cookie::{AUTHENTICATION_KEY, CookieCheck};
use passage_proto::identity::SharedSecret;
use passage_proto::packet::{configuration, login, status};
use passage_proto::question::{Purpose, Question};
use passage_proto::session::{Effect, Facts, Handoff};
use passage_proto::version::Version;
use passage_proto::wire::split_frame;

use crate::client::SECRET;
use crate::world::{BIRTH, End, keys, setup};

/// Everything that is seen of a session from outside.
#[derive(Default)]
pub(crate) struct Transcript {
    /// One line an event, in order.
    pub(crate) lines: Vec<String>,
    /// All bytes sent, as they were sent.
    pub(crate) output: Vec<u8>,
    /// How it closed.
    pub(crate) end: Option<End>,
    /// Where it was relayed, with everything that the target gets to read.
    pub(crate) handoff: Option<Box<Handoff>>,
    protocol: i32,
    reading: Reading,
    cipher: Option<Decryptor>,
}

/// Which packets the client expects.
#[derive(Clone, Copy, Default, PartialEq)]
enum Reading {
    #[default]
    Raw,
    Status,
    Login,
    Configuration,
}

impl Transcript {
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some() || self.handoff.is_some()
    }

    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// Bytes that the client sent after the session was over: a relay's target reads them too.
    pub(crate) fn relayed(&mut self, bytes: &[u8]) {
        if let Some(handoff) = &mut self.handoff {
            handoff.replay.extend_from_slice(bytes);
        }
    }

    pub(crate) fn learn(&mut self, facts: &Facts) {
        self.lines.push(format!(
            "knows {}, {:?} {:?}, trace {:?}, target {:?}",
            facts.client,
            facts.username,
            facts.user_id.map(|id| id.to_string()),
            facts.traceparent,
            facts.target.as_ref().map(|target| &target.identifier),
        ));
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        assert!(!self.is_over(), "an effect after the end: {effect:?}");
        match effect {
            Effect::Ask(question) => self.question(&question),
            Effect::Close(end) => {
                self.lines.push(format!("closes: {end:?}"));
                self.end = Some(end);
            }
            Effect::Relay(handoff) => {
                self.lines
                    .push(format!("relays to {}", handoff.target.identifier));
                self.handoff = Some(handoff);
            }
        }
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        let mut bytes = bytes.to_vec();
        if let Some(cipher) = &mut self.cipher {
            cipher.decrypt(&mut bytes);
        }
        if self.reading == Reading::Raw && !bytes.is_empty() {
            return self
                .lines
                .push(format!("sends {:?}", String::from_utf8_lossy(&bytes)));
        }
        let mut read = 0;
        while read < bytes.len() {
            let frame = split_frame(&bytes[read..], 1 << 20).unwrap().unwrap();
            let packet = bytes[read..][frame.clone()].to_vec();
            read += frame.end;
            self.packet(&packet);
        }
    }

    fn question(&mut self, question: &Question) {
        if let Question::Route(query) = question {
            self.protocol = query.protocol;
            self.reading = match query.purpose {
                Purpose::Status if query.protocol < 0 => Reading::Raw,
                Purpose::Status => Reading::Status,
                Purpose::Login => Reading::Login,
            };
        }
        if let Question::Decrypt(_) = question {
            self.cipher = Some(Decryptor::new(&SharedSecret::new(SECRET)));
        }
        let mut line = "asks ".to_owned();
        match question {
            Question::Route(query) => write!(line, "{query:?}"),
            Question::Status(query) => write!(line, "{query:?}"),
            Question::Decrypt(_) => write!(line, "for the secret"),
            Question::Authenticate(query) => write!(line, "who is {:?} of {:?}", query.claim, query.client),
            Question::Choose(query) => write!(line, "where to send {:?} of {:?}", query.player, query.client),
            Question::Localize(query) => {
                write!(line, "what {:?} is in {:?}", query.message, query.locale)
            }
        }
        .unwrap();
        self.lines.push(line);
    }

    fn packet(&mut self, packet: &[u8]) {
        let version = Version::of(self.protocol);
        let line = match self.reading {
            Reading::Raw => String::new(),
            Reading::Status => format!("{:?}", status::Clientbound::decode(packet).unwrap()),
            Reading::Login => self.login(login::Seen::decode(packet, version).unwrap()),
            Reading::Configuration => configured(&configuration::Seen::decode(packet, version).unwrap()),
        };
        self.lines.push(format!("sends {line}"));
    }

    fn login(&mut self, packet: login::Seen<'_>) -> String {
        if matches!(packet, login::Seen::Success(_)) {
            self.reading = Reading::Configuration;
        }
        format!("{packet:?}")
    }
}

fn configured(packet: &configuration::Seen<'_>) -> String {
    match packet {
        configuration::Seen::StoreCookie(cookie) if cookie.key == AUTHENTICATION_KEY => {
            let check = CookieCheck {
                client: setup().peer.ip(),
                unix_seconds: BIRTH,
                expiry_seconds: 21_600,
            };
            let verified = keys()
                .verify(cookie.payload, &check)
                .map(|verified| verified.cookie);
            format!("{}: {verified:?}", cookie.key)
        }
        configuration::Seen::StoreCookie(cookie) => {
            format!("{}: {}", cookie.key, String::from_utf8_lossy(cookie.payload))
        }
        configuration::Seen::Disconnect(text) => format!("Disconnect({:?})", String::from_utf8_lossy(text)),
        packet => format!("{packet:?}"),
    }
}
