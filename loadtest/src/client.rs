//! Blocking clients for tests: one connection, one answer.
//!
//! They speak through the same conversations as the load, so what they accept is what the load accepts.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use sha1::{Digest, Sha1};
use uuid::Uuid;

use crate::address::require_loopback;
use crate::double::session_server::SessionServer;
use crate::drive::{Conversation, Progress};
use crate::failure::{Failure, Kind};
use crate::flow::Hello;
use crate::flow::login::{self, ExpectedName, Login, LoginConversation, Until};
use crate::flow::status;
use crate::random::Random;
use crate::wire::{Frames, Intent, malformed, put_handshake, put_login_start};

/// Asks for a status and gives its JSON.
///
/// # Errors
/// A [`Failure`], also if nothing comes for as long as `timeout`.
pub fn ping(server: SocketAddr, hello: &Hello, timeout: Duration) -> Result<serde_json::Value, Failure> {
    let mut stream = connect(server, timeout)?;
    write(&mut stream, &status::opening(hello))?;
    let mut frames = Frames::default();
    loop {
        frames.push(&read(&mut stream, "the status response")?);
        if let Some((id, mut body)) = frames.take()? {
            if id != 0x00 {
                return Err(malformed(&format!(
                    "packet {id:#04x} instead of a status response"
                )));
            }
            return status::parse_response(body.string()?);
        }
    }
}

/// A player, with what earlier visits left behind.
#[derive(Clone, Debug)]
pub struct Player {
    /// The name that the login start claims.
    pub name: String,
    /// The UUID that the login start claims.
    pub id: Uuid,
    /// Cookies by their keys; with any of them the player comes with intent 3.
    pub cookies: BTreeMap<String, Vec<u8>>,
    /// Where the player joins if the server asks for it.
    pub session_server: Option<SessionServer>,
}

impl Player {
    /// A player who has never been anywhere.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: Uuid::from_u128(1),
            cookies: BTreeMap::new(),
            session_server: None,
        }
    }

    /// The same player after a visit: what it stored is kept.
    #[must_use]
    pub fn after(mut self, visit: &Visit) -> Self {
        self.cookies.extend(visit.cookies.clone());
        self
    }
}

/// What a login came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The name that the server logged the player in with.
    pub name: String,
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// Cookies that the server stored.
    pub cookies: BTreeMap<String, Vec<u8>>,
    /// Host name of the Transfer packet.
    pub host: String,
    /// Port of the Transfer packet.
    pub port: u16,
}

/// Logs in and goes on to the Transfer packet.
///
/// # Errors
/// A [`Failure`]; a disconnect message is one of [`Kind::Disconnected`] with its text.
pub fn log_in(
    server: SocketAddr,
    hello: &Hello,
    player: &Player,
    timeout: Duration,
) -> Result<Visit, Failure> {
    let mut stream = connect(server, timeout)?;
    let returns = !player.cookies.is_empty();
    let intent = if returns { Intent::Transfer } else { Intent::Login };
    let mut output = Vec::new();
    put_handshake(&mut output, hello.protocol, &hello.host, hello.port, intent);
    put_login_start(&mut output, &player.name, player.id);

    let login = Login {
        hello: hello.clone(),
        secret: None,
        returns,
        until: Until::Transfer,
        name: ExpectedName::Any,
    };
    let own = login::Player {
        name: player.name.clone(),
        jar: player.cookies.clone(),
        joins: player.session_server.clone(),
    };
    // A different secret for every connection: its local port is as good a seed as any.
    let seed = stream.local_addr().map_or(1, |address| u64::from(address.port()));
    let mut conversation = LoginConversation::new(Rc::new(login), own, Rc::default(), Random::new(seed));
    loop {
        write(&mut stream, &output)?;
        output.clear();
        let bytes = read(&mut stream, conversation.awaits())?;
        if conversation.receive(&bytes, &mut output)? == Progress::Finished {
            break;
        }
    }
    let arrival = conversation.arrive();
    let (host, port) = arrival.transferred.ok_or_else(|| malformed("no transfer"))?;
    Ok(Visit {
        name: arrival.name,
        encrypted: arrival.encrypted,
        cookies: arrival.stored,
        host,
        port,
    })
}

/// The hash that client and server show the session server: SHA-1 of server id, secret and key, written as a
/// signed hexadecimal number without leading zeros.
#[must_use]
pub fn server_hash(server_id: &str, secret: &[u8], key: &[u8]) -> String {
    let digest = Sha1::new()
        .chain_update(server_id)
        .chain_update(secret)
        .chain_update(key)
        .finalize();
    let mut number: [u8; 20] = digest.into();
    let negative = number[0] >= 0x80;
    if negative {
        // Two's complement: invert and add one.
        let mut carry = true;
        for byte in number.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let digits: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
    let sign = if negative { "-" } else { "" };
    format!("{sign}{}", digits.trim_start_matches('0'))
}

fn connect(server: SocketAddr, timeout: Duration) -> Result<TcpStream, Failure> {
    require_loopback(server).map_err(|error| Failure::new(Kind::Socket, error.to_string()))?;
    let stream = TcpStream::connect_timeout(&server, timeout);
    let stream = stream.map_err(|error| Failure::socket(&error, "connecting"))?;
    let set = stream
        .set_read_timeout(Some(timeout))
        .and_then(|()| stream.set_write_timeout(Some(timeout)));
    set.map_err(|error| Failure::socket(&error, "connecting"))?;
    Ok(stream)
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Failure> {
    stream
        .write_all(bytes)
        .map_err(|error| Failure::socket(&error, "sending"))
}

fn read(stream: &mut TcpStream, step: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; 16 * 1024];
    match stream.read(&mut bytes) {
        Ok(0) => Err(Failure::new(Kind::Closed, format!("while waiting for {step}"))),
        Ok(count) => {
            bytes.truncate(count);
            Ok(bytes)
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(Failure::new(Kind::TimedOut, format!("while waiting for {step}")))
        }
        Err(error) => Err(Failure::socket(&error, step)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Player, log_in, ping, server_hash};
    use crate::cookie;
    use crate::double::login::{Flaw, Login};
    use crate::double::{Double, status};
    use crate::failure::Kind;
    use crate::flow::Hello;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn hello() -> Hello {
        Hello {
            protocol: 772,
            host: "localhost".to_owned(),
            port: 25565,
        }
    }

    #[test]
    fn hashes_as_the_protocol_documents() {
        // The examples of minecraft.wiki, "Java Edition protocol/Encryption".
        assert_eq!(
            server_hash("Notch", b"", b""),
            "4ed1f46bbe04bc756bcb17c0c7ce3e4632f06a48"
        );
        assert_eq!(
            server_hash("jeb_", b"", b""),
            "-7c9d5b0044c130109a5d7b5fb5c317c02b4e28c1"
        );
        assert_eq!(
            server_hash("simon", b"", b""),
            "88e16a1019277b15d58faf0541e11910eb756f6"
        );
    }

    #[test]
    fn pings() {
        let double = Double::start(status::Status::default(), None).expect("a double");
        let status = ping(double.address(), &hello(), TIMEOUT).expect("a status");
        assert_eq!(status["players"]["max"], 1);
    }

    #[test]
    fn follows_cookies_to_a_second_login() {
        let secret = b"a secret of 24 bytes ...".to_vec();
        let double = Login {
            secret: Some(secret.clone()),
            encrypted: true,
            flaw: Flaw::None,
        };
        let double = Double::start(double, None).expect("a double");
        let alice = Player::new("Alice");
        let first = log_in(double.address(), &hello(), &alice, TIMEOUT).expect("a login");
        assert_eq!(
            (first.name.as_str(), first.port, first.encrypted),
            ("Alice", 25565, true)
        );

        // Another name with Alice's cookies is Alice.
        let mallory = Player::new("Mallory").after(&first);
        let second = log_in(double.address(), &hello(), &mallory, TIMEOUT).expect("a login");
        assert_eq!(second.name, "Alice");
        let session = |visit: &super::Visit| cookie::read_session(&visit.cookies[cookie::SESSION]);
        assert_eq!(session(&first), session(&second));
        let signed = &second.cookies[cookie::AUTHENTICATION];
        assert_eq!(
            cookie::read_authentication(&secret, signed),
            Ok("Alice".to_owned())
        );
    }

    #[test]
    fn tells_what_a_disconnect_says() {
        let double = Login {
            secret: None,
            encrypted: false,
            flaw: Flaw::Disconnects,
        };
        let double = Double::start(double, None).expect("a double");
        let failure = log_in(double.address(), &hello(), &Player::new("Alice"), TIMEOUT).expect_err("no");
        assert_eq!(failure.kind, Kind::Disconnected);
        assert!(failure.what.contains("no"));
    }
}
