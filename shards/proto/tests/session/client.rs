//! A client that writes down what it would send, without ever listening: with fixed entropy, all that a
//! server says is known beforehand.

use std::time::Duration;

use passage_proto::Entropy;
use passage_proto::cipher::Encryptor;
use passage_proto::cookie::{AUTHENTICATION_KEY, SESSION_KEY};
use passage_proto::identity::SharedSecret;
use passage_proto::packet::handshake::{Handshake, Intent};
use passage_proto::packet::login::{EncryptionResponse, LoginStart, TokenProof};
use passage_proto::packet::{CookieResponse, configuration, login, status};
use passage_proto::version::Version;
use uuid::Uuid;

/// The entropy of every session under test.
pub(crate) const ENTROPY: Entropy = Entropy([0x5A; 32]);

/// The verify token that follows from it.
pub(crate) const VERIFY_TOKEN: [u8; 4] = [0x5A; 4];

/// The id of the first keep-alive that follows from it.
pub(crate) const KEEP_ALIVE_ID: i64 = 0x5A5A_5A5A_5A5A_5A5A;

/// The secret that every client chooses. The tests' "RSA" is the identity.
pub(crate) const SECRET: [u8; 16] = *b"a shared secret!";

/// Something that happens to a session from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The client sends.
    Bytes(Vec<u8>),
    /// Time passes.
    Wait(Duration),
    /// The client goes away.
    HangUp,
}

/// A script in the making.
pub(crate) struct Client {
    protocol: i32,
    cipher: Option<Encryptor>,
    events: Vec<Event>,
}

impl Client {
    pub(crate) fn new(protocol: i32) -> Self {
        Self {
            protocol,
            cipher: None,
            events: Vec::new(),
        }
    }

    /// What was written since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn script(self) -> Vec<Event> {
        self.events
    }

    pub(crate) fn raw(self, bytes: &[u8]) -> Self {
        self.write(|out| out.extend_from_slice(bytes))
    }

    pub(crate) fn wait(mut self, time: Duration) -> Self {
        self.events.push(Event::Wait(time));
        self
    }

    pub(crate) fn hang_up(mut self) -> Self {
        self.events.push(Event::HangUp);
        self
    }

    pub(crate) fn handshake(self, address: &str, intent: Intent) -> Self {
        let handshake = Handshake {
            protocol: self.protocol,
            address,
            port: 25565,
            intent,
        };
        self.write(|out| handshake.encode(out))
    }

    pub(crate) fn status_request(self) -> Self {
        self.write(|out| status::Serverbound::Request.encode(out))
    }

    pub(crate) fn ping(self, payload: i64) -> Self {
        self.write(|out| status::Serverbound::Ping(payload).encode(out))
    }

    pub(crate) fn login_start(self, name: &str, id: Uuid) -> Self {
        self.login(login::Serverbound::Start(LoginStart {
            name,
            chat_key: None,
            id: Some(id),
        }))
    }

    pub(crate) fn session_cookie(self, payload: Option<&[u8]>) -> Self {
        self.login_cookie(SESSION_KEY, payload)
    }

    pub(crate) fn authentication_cookie(self, payload: Option<&[u8]>) -> Self {
        self.login_cookie(AUTHENTICATION_KEY, payload)
    }

    pub(crate) fn login_cookie(self, key: &str, payload: Option<&[u8]>) -> Self {
        self.login(login::Serverbound::CookieResponse(CookieResponse {
            key,
            payload,
        }))
    }

    /// Sends the secret; everything after it is enciphered.
    pub(crate) fn encryption_response(self) -> Self {
        self.encryption_response_with(&VERIFY_TOKEN)
    }

    pub(crate) fn encryption_response_with(self, token: &[u8]) -> Self {
        let proof = TokenProof::Encrypted(token);
        let response = EncryptionResponse {
            shared_secret: &SECRET,
            proof,
        };
        let mut client = self.login(login::Serverbound::EncryptionResponse(response));
        client.cipher = Some(Encryptor::new(&SharedSecret::new(SECRET)));
        client
    }

    pub(crate) fn acknowledged(self) -> Self {
        self.login(login::Serverbound::Acknowledged)
    }

    pub(crate) fn client_information(self, locale: &str) -> Self {
        let version = Version::of(self.protocol);
        let information = configuration::ClientInformation::vanilla(locale, version);
        self.configuration(configuration::Serverbound::ClientInformation(information))
    }

    pub(crate) fn brand(self) -> Self {
        self.configuration(configuration::Serverbound::PluginMessage {
            channel: "minecraft:brand",
            data: b"\x07vanilla",
        })
    }

    pub(crate) fn keep_alive(self, id: i64) -> Self {
        self.configuration(configuration::Serverbound::KeepAlive(id))
    }

    pub(crate) fn login(self, packet: login::Serverbound<'_>) -> Self {
        let version = Version::of(self.protocol);
        self.write(|out| packet.encode(version, out))
    }

    pub(crate) fn configuration(self, packet: configuration::Serverbound<'_>) -> Self {
        self.write(|out| packet.encode(out))
    }

    fn write(mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        if let Some(cipher) = &mut self.cipher {
            cipher.encrypt(&mut bytes);
        }
        self.events.push(Event::Bytes(bytes));
        self
    }
}
