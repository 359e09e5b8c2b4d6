//! A server that logs everybody in and transfers them: what Passage does in transfer mode, written apart from
//! it, to test the flows against. Faults can be asked for, because a flow that notices none proves nothing.

mod key;

use std::net::SocketAddr;

use uuid::Uuid;

pub use self::key::{KEY_DER, decrypt};
use super::Service;
use crate::cookie;
use crate::flow::login::Dialect;
use crate::flow::login::encryption::Cipher;
use crate::wire::{Frames, Reader, put_bytes, put_packet, put_varint};

/// What the double does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// Believes the login start instead of the cookie.
    BelievesClaim,
    /// Signs cookies with another secret.
    OtherSecret,
    /// Stores no session cookie.
    NoSession,
    /// Gives a returning player a new session id.
    NewSession,
    /// Says no.
    Disconnects,
    /// Never answers.
    Stalls,
}

/// The double.
#[derive(Clone, Debug)]
pub struct Login {
    /// Signs the authentication cookie; `None` stores none.
    pub secret: Option<Vec<u8>>,
    /// Whether connections are encrypted.
    pub encrypted: bool,
    /// What it does wrong.
    pub flaw: Flaw,
}

/// One connection to the double.
pub struct Visit {
    peer: SocketAddr,
    frames: Frames,
    cipher: Option<Cipher>,
    step: Step,
    dialect: Dialect,
    name: String,
    session: Option<Vec<u8>>,
    authentication: Option<Vec<u8>>,
    returns: bool,
}

/// What the double waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Handshake,
    LoginStart,
    SessionCookie,
    AuthenticationCookie,
    Encryption,
    Acknowledged,
    Information,
}

const VERIFY_TOKEN: [u8; 4] = [1, 2, 3, 4];

impl Service for Login {
    type Connection = Visit;

    fn accept(&mut self, peer: SocketAddr) -> Visit {
        Visit {
            peer,
            frames: Frames::default(),
            cipher: None,
            step: Step::Handshake,
            dialect: Dialect::of(0),
            name: String::new(),
            session: None,
            authentication: None,
            returns: false,
        }
    }

    fn receive(&mut self, visit: &mut Visit, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        if self.flaw == Flaw::Stalls {
            return true;
        }
        let mut plain = bytes.to_vec();
        if let Some(cipher) = &mut visit.cipher {
            cipher.decrypt(&mut plain);
        }
        visit.frames.push(&plain);
        while let Ok(Some((id, body))) = visit.frames.take() {
            let body = body.rest().to_vec();
            match self.step(visit, id, Reader::new(&body), output) {
                Some(true) => {}
                // Done, or what came breaks the protocol.
                Some(false) | None => return false,
            }
        }
        true
    }
}

impl Login {
    /// Takes one packet. `Some(false)` when the player is transferred, `None` if the packet is not what is
    /// due.
    fn step(&self, visit: &mut Visit, id: i32, mut body: Reader<'_>, output: &mut Vec<u8>) -> Option<bool> {
        match (visit.step, id) {
            (Step::Handshake, 0x00) => {
                visit.dialect = Dialect::of(body.varint().ok()?);
                body.string().ok()?;
                visit.returns = *body.rest().last()? == 3;
                visit.step = Step::LoginStart;
            }
            (Step::LoginStart, 0x00) => {
                visit.name = body.string().ok()?.to_owned();
                if self.flaw == Flaw::Disconnects {
                    put_packet(output, 0x00, |text| put_bytes(text, br#"{"text":"no"}"#));
                    return Some(false);
                }
                visit.send(output, 0x05, |key| put_bytes(key, cookie::SESSION.as_bytes()));
                visit.step = Step::SessionCookie;
            }
            (Step::SessionCookie, 0x04) => {
                visit.session = read_cookie(body)?;
                if visit.returns {
                    visit.send(output, 0x05, |key| {
                        put_bytes(key, cookie::AUTHENTICATION.as_bytes())
                    });
                    visit.step = Step::AuthenticationCookie;
                } else {
                    self.go_on(visit, output);
                }
            }
            (Step::AuthenticationCookie, 0x04) => {
                visit.authentication = read_cookie(body)?;
                self.go_on(visit, output);
            }
            (Step::Encryption, 0x01) => {
                let (secret, token) = (body.length_and_bytes().ok()?, body.length_and_bytes().ok()?);
                if decrypt(token)? != VERIFY_TOKEN {
                    return None;
                }
                visit.cipher = Some(Cipher::new(decrypt(secret)?.try_into().ok()?));
                self.succeed(visit, output);
            }
            (Step::Acknowledged, 0x03) => visit.step = Step::Information,
            (Step::Information, 0x00) => {
                self.transfer(visit, output);
                return Some(false);
            }
            (Step::Information, _) => {}
            _ => return None,
        }
        Some(true)
    }

    fn go_on(&self, visit: &mut Visit, output: &mut Vec<u8>) {
        if !self.encrypted {
            return self.succeed(visit, output);
        }
        visit.step = Step::Encryption;
        visit.send(output, 0x01, |request| {
            put_bytes(request, b"");
            put_bytes(request, &KEY_DER);
            put_bytes(request, &VERIFY_TOKEN);
            request.push(0);
        });
    }

    fn succeed(&self, visit: &mut Visit, output: &mut Vec<u8>) {
        let proven = visit.authentication.as_deref().zip(self.secret.as_deref());
        if let Some((signed, secret)) = proven.filter(|_| self.flaw != Flaw::BelievesClaim)
            && let Ok(name) = cookie::read_authentication(secret, signed)
        {
            visit.name = name;
        }
        let (name, tail) = (visit.name.clone(), visit.dialect.success_tail);
        visit.step = Step::Acknowledged;
        visit.send(output, 0x02, |success| {
            success.extend_from_slice(&[0; 16]);
            put_bytes(success, name.as_bytes());
            // One signed and one unsigned property.
            put_varint(success, 2);
            for signature in [None, Some("signature")] {
                put_bytes(success, b"textures");
                put_bytes(success, b"value");
                success.push(u8::from(signature.is_some()));
                if let Some(signature) = signature {
                    put_bytes(success, signature.as_bytes());
                }
            }
            success.resize(success.len() + tail, 0);
        });
    }

    fn transfer(&self, visit: &mut Visit, output: &mut Vec<u8>) {
        visit.send(output, 0x04, |keep_alive| keep_alive.extend_from_slice(&[9; 8]));
        let kept = visit.session.take().filter(|_| self.flaw != Flaw::NewSession);
        let session = kept.unwrap_or_else(|| cookie::session(Uuid::from_u128(1), "localhost", 25565));
        if self.flaw != Flaw::NoSession {
            visit.store(output, cookie::SESSION, &session);
        }
        if let Some(secret) = &self.secret {
            let secret = if self.flaw == Flaw::OtherSecret {
                b"not the secret !"
            } else {
                secret.as_slice()
            };
            let name = visit.name.clone();
            let signed = cookie::authentication(secret, &name, Uuid::nil(), visit.peer.ip());
            visit.store(output, cookie::AUTHENTICATION, &signed);
        }
        visit.send(output, visit.dialect.transfer, |target| {
            put_bytes(target, b"target.example.net");
            put_varint(target, 25565);
        });
    }
}

impl Visit {
    fn store(&mut self, output: &mut Vec<u8>, key: &str, payload: &[u8]) {
        self.send(output, self.dialect.store_cookie, |cookie| {
            put_bytes(cookie, key.as_bytes());
            put_bytes(cookie, payload);
        });
    }

    fn send(&mut self, output: &mut Vec<u8>, id: i32, body: impl FnOnce(&mut Vec<u8>)) {
        let start = output.len();
        put_packet(output, id, body);
        if let Some(cipher) = &mut self.cipher {
            cipher.encrypt(&mut output[start..]);
        }
    }
}

/// The payload of a cookie response. `None` if it is not one, `Some(None)` if the client has no such cookie.
fn read_cookie(mut body: Reader<'_>) -> Option<Option<Vec<u8>>> {
    body.string().ok()?;
    match body.byte().ok()? {
        0 => Some(None),
        _ => body.length_and_bytes().ok().map(|payload| Some(payload.to_vec())),
    }
}
