//! A login up to the Transfer packet, or up to login success: encryption, configuration, cookies.

pub(crate) mod encryption;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use uuid::Uuid;

use self::encryption::{Cipher, Keys};
use super::Hello;
use super::relay::player_name;
use crate::client::server_hash;
use crate::cookie;
use crate::double::session_server::SessionServer;
use crate::drive::{Conversation, Flow, Progress};
use crate::failure::{Failure, Kind};
use crate::random::Random;
use crate::wire::{
    Frames, Intent, Reader, malformed, put_bytes, put_handshake, put_login_start, put_packet, put_varint,
};

/// What a login is to prove.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Login {
    /// What the handshake says.
    pub hello: Hello,
    /// Signs the cookies; with it the authentication cookie has to come, and to hold.
    #[serde(skip)]
    pub secret: Option<Vec<u8>>,
    /// Present a session and a signed authentication cookie for another name than the login start claims,
    /// with intent 3: the server has to believe the cookie.
    pub returns: bool,
    /// Where the login ends well.
    pub until: Until,
    /// Whose name login success has to carry.
    pub name: ExpectedName,
}

/// Where a login ends well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// With login success.
    Success,
    /// With the Transfer packet and its cookies.
    Transfer,
}

/// Whose name login success has to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedName {
    /// The one that was claimed, or that of the cookie.
    Own,
    /// Whoever the server says.
    Any,
}

/// Makes logins.
#[derive(Debug)]
pub(crate) struct LoginFlow {
    login: Rc<Login>,
    random: Random,
    keys: Rc<RefCell<Keys>>,
    server: IpAddr,
}

impl LoginFlow {
    pub(crate) fn new(login: Login, server: IpAddr, random: Random) -> Self {
        Self {
            login: Rc::new(login),
            random,
            keys: Rc::default(),
            server,
        }
    }
}

impl Flow for LoginFlow {
    type Conversation = LoginConversation;

    fn begin(&mut self, source: Option<Ipv4Addr>, output: &mut Vec<u8>) -> LoginConversation {
        let number = self.random.next_u64();
        let id = Uuid::from_u64_pair(0x4000, number);
        let claimed = player_name(number);
        let hello = &self.login.hello;
        let intent = if self.login.returns {
            Intent::Transfer
        } else {
            Intent::Login
        };
        put_handshake(output, hello.protocol, &hello.host, hello.port, intent);
        put_login_start(output, &claimed, id);

        // Without a source of its own, a connection to a loopback address comes from that address.
        let client = source.map_or(self.server, IpAddr::V4);
        let returns = self.login.returns;
        let name = if returns {
            format!("Back{:011x}", number >> 20)
        } else {
            claimed
        };
        let mut jar = Jar::new();
        if let Some(secret) = self.login.secret.as_deref().filter(|_| returns) {
            let session = cookie::session(id, &hello.host, hello.port);
            jar.insert(cookie::SESSION.to_owned(), session);
            let signed = cookie::authentication(secret, &name, id, client);
            jar.insert(cookie::AUTHENTICATION.to_owned(), signed);
        }
        let random = Random::new(self.random.next_u64());
        let player = Player {
            name,
            jar,
            joins: None,
        };
        LoginConversation::new(Rc::clone(&self.login), player, Rc::clone(&self.keys), random)
    }
}

/// Cookies by their keys.
pub(crate) type Jar = BTreeMap<String, Vec<u8>>;

/// Who logs in.
#[derive(Debug)]
pub(crate) struct Player {
    /// The name that the server has to end up with.
    pub(crate) name: String,
    /// Cookies from earlier visits.
    pub(crate) jar: Jar,
    /// Where the player joins before the answer to an encryption request that asks for it.
    pub(crate) joins: Option<SessionServer>,
}

/// What a login came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrival {
    /// The name in login success.
    pub(crate) name: String,
    /// Whether the connection was encrypted.
    pub(crate) encrypted: bool,
    /// The cookies that were stored.
    pub(crate) stored: Jar,
    /// Host and port of the Transfer packet.
    pub(crate) transferred: Option<(String, u16)>,
}

/// One login.
#[derive(Debug)]
pub(crate) struct LoginConversation {
    frames: Frames,
    login: Rc<Login>,
    keys: Rc<RefCell<Keys>>,
    random: Random,
    cipher: Option<Cipher>,
    player: Player,
    arrival: Arrival,
    configuring: bool,
}

impl Conversation for LoginConversation {
    fn receive(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<Progress, Failure> {
        match &mut self.cipher {
            None => self.frames.push(bytes),
            Some(cipher) => {
                let mut plain = bytes.to_vec();
                cipher.decrypt(&mut plain);
                self.frames.push(&plain);
            }
        }
        loop {
            // The frame leaves the buffer, because what it says may change how the rest of it is read.
            let frame = self.frames.take()?.map(|(id, body)| (id, body.rest().to_vec()));
            let Some((id, body)) = frame else {
                return Ok(Progress::More);
            };
            let body = Reader::new(&body);
            let progress = if self.configuring {
                self.configure(id, body, output)
            } else {
                self.log_in(id, body, output)
            };
            if progress? == Progress::Finished {
                return Ok(Progress::Finished);
            }
        }
    }

    fn awaits(&self) -> &'static str {
        match (self.configuring, &self.cipher) {
            (true, _) => "the transfer packet",
            (false, Some(_)) => "login success",
            (false, None) => "the answer to login start",
        }
    }
}

impl LoginConversation {
    /// A login whose handshake and login start are on their way.
    pub(crate) fn new(login: Rc<Login>, player: Player, keys: Rc<RefCell<Keys>>, random: Random) -> Self {
        Self {
            frames: Frames::default(),
            login,
            keys,
            random,
            cipher: None,
            player,
            arrival: Arrival::default(),
            configuring: false,
        }
    }

    /// What it came to, once it has finished.
    pub(crate) fn arrive(self) -> Arrival {
        Arrival {
            encrypted: self.cipher.is_some(),
            ..self.arrival
        }
    }

    /// A packet of the login state.
    fn log_in(&mut self, id: i32, mut body: Reader<'_>, output: &mut Vec<u8>) -> Result<Progress, Failure> {
        match id {
            0x00 => return Err(Failure::new(Kind::Disconnected, body.string()?)),
            0x01 => self.encrypt(body, output)?,
            0x02 => return self.succeed(body, output),
            0x04 => {
                // A plugin request: not understood, as a vanilla client says.
                let message = body.varint()?;
                self.send(output, 0x02, |answer| {
                    put_varint(answer, message);
                    answer.push(0);
                });
            }
            0x05 => self.show_cookie(0x04, body, output)?,
            _ => {
                return Err(malformed(&format!(
                    "packet {id:#04x} while it owed {}",
                    self.awaits()
                )));
            }
        }
        Ok(Progress::More)
    }

    /// A packet of the configuration state.
    fn configure(
        &mut self,
        id: i32,
        mut body: Reader<'_>,
        output: &mut Vec<u8>,
    ) -> Result<Progress, Failure> {
        let dialect = Dialect::of(self.login.hello.protocol);
        match id {
            0x00 => self.show_cookie(0x01, body, output)?,
            0x02 => {
                let text = String::from_utf8_lossy(body.rest()).into_owned();
                return Err(Failure::new(Kind::Disconnected, text));
            }
            0x03 => return Err(malformed("the end of the configuration instead of a transfer")),
            // Keep-alive and ping are answered with what they carry.
            0x04 | 0x05 => self.send(output, id, |answer| answer.extend_from_slice(body.rest())),
            _ if id == dialect.store_cookie => {
                let key = body.string()?;
                let payload = body.length_and_bytes()?.to_vec();
                self.arrival.stored.insert(key.to_owned(), payload);
            }
            _ if id == dialect.transfer => return self.leave(body),
            _ => {}
        }
        Ok(Progress::More)
    }

    fn encrypt(&mut self, mut body: Reader<'_>, output: &mut Vec<u8>) -> Result<(), Failure> {
        if self.cipher.is_some() {
            return Err(malformed("a second encryption request"));
        }
        let server_id = body.string()?;
        let (der, token) = (body.length_and_bytes()?, body.length_and_bytes()?);
        let mut secret = [0; 16];
        self.random.fill(&mut secret);
        if let Some(session_server) = self.player.joins.as_ref().filter(|_| body.rest() == [1]) {
            session_server.join(&self.player.name, &server_hash(server_id, &secret, der));
        }
        let key = self.keys.borrow_mut().read(der)?;
        let mut sealed = |bytes: &[u8]| {
            key.encrypt(bytes, &mut self.random)
                .map_err(|error| malformed(&format!("a verify token {error}")))
        };
        let (sealed_secret, sealed_token) = (sealed(&secret)?, sealed(token)?);
        self.send(output, 0x01, |answer| {
            put_bytes(answer, &sealed_secret);
            put_bytes(answer, &sealed_token);
        });
        self.cipher = Some(Cipher::new(secret));
        // Whatever has been received already was sent before the server could encrypt.
        let early = self.frames.take_rest();
        if early.is_empty() {
            Ok(())
        } else {
            Err(malformed("more after its encryption request"))
        }
    }

    fn succeed(&mut self, mut body: Reader<'_>, output: &mut Vec<u8>) -> Result<Progress, Failure> {
        let dialect = Dialect::of(self.login.hello.protocol);
        let _id = body.bytes(16)?;
        let name = body.string()?;
        if self.login.name == ExpectedName::Own && name != self.player.name {
            let what = format!("{} was logged in as {name}", self.player.name);
            return Err(Failure::new(Kind::Mismatch, what));
        }
        name.clone_into(&mut self.arrival.name);
        for _ in 0..body.varint()?.clamp(0, 16) {
            body.string()?;
            body.string()?;
            if body.byte()? == 1 {
                body.string()?;
            }
        }
        body.bytes(dialect.success_tail)?;
        if !body.rest().is_empty() {
            return Err(malformed("more than its version has in login success"));
        }
        if self.login.until == Until::Success {
            return Ok(Progress::Finished);
        }
        self.configuring = true;
        self.send(output, 0x03, |_| {});
        self.send(output, 0x02, |brand| {
            put_bytes(brand, b"minecraft:brand");
            put_bytes(brand, b"vanilla");
        });
        self.send(output, 0x00, |settings| put_client_information(settings, dialect));
        Ok(Progress::More)
    }

    fn show_cookie(&mut self, id: i32, mut body: Reader<'_>, output: &mut Vec<u8>) -> Result<(), Failure> {
        let key = body.string()?.to_owned();
        let payload = self.player.jar.get(&key).cloned();
        self.send(output, id, |answer| {
            put_bytes(answer, key.as_bytes());
            answer.push(u8::from(payload.is_some()));
            if let Some(payload) = payload {
                put_bytes(answer, &payload);
            }
        });
        Ok(())
    }

    /// The Transfer packet: all that was promised has to be there.
    fn leave(&mut self, mut body: Reader<'_>) -> Result<Progress, Failure> {
        let (host, port) = (body.string()?, body.varint()?);
        if host.is_empty() || !(1..=65_535).contains(&port) {
            return Err(malformed(&format!("a transfer to {host:?} port {port}")));
        }
        self.arrival.transferred = Some((host.to_owned(), u16::try_from(port).unwrap_or(0)));
        let session = self.stored(cookie::SESSION)?;
        let visit = cookie::read_session(session)?;
        if let Some(before) = self.player.jar.get(cookie::SESSION)
            && cookie::read_session(before)? != visit
        {
            return Err(Failure::new(
                Kind::Mismatch,
                "the session got another id on the way",
            ));
        }
        let Some(secret) = &self.login.secret else {
            return Ok(Progress::Finished);
        };
        let name = cookie::read_authentication(secret, self.stored(cookie::AUTHENTICATION)?)?;
        if name != self.arrival.name {
            let what = format!("{} got a cookie for {name}", self.arrival.name);
            return Err(Failure::new(Kind::Mismatch, what));
        }
        Ok(Progress::Finished)
    }

    /// A cookie that has to be there by now.
    fn stored(&self, key: &str) -> Result<&[u8], Failure> {
        let missing = || Failure::new(Kind::Mismatch, format!("transferred without {key}"));
        self.arrival
            .stored
            .get(key)
            .map(Vec::as_slice)
            .ok_or_else(missing)
    }

    /// Appends a packet, encrypted once encryption is on.
    fn send(&mut self, output: &mut Vec<u8>, id: i32, body: impl FnOnce(&mut Vec<u8>)) {
        let start = output.len();
        put_packet(output, id, body);
        if let Some(cipher) = &mut self.cipher {
            cipher.encrypt(&mut output[start..]);
        }
    }
}

/// What differs between the protocol versions that know transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Bytes after the properties in login success.
    pub(crate) success_tail: usize,
    /// Id of the clientbound packet in the configuration state.
    pub(crate) store_cookie: i32,
    /// Likewise.
    pub(crate) transfer: i32,
    /// Whether client information ends in the particle setting.
    particles: bool,
}

impl Dialect {
    /// 766 is Minecraft 1.20.5, 768 is 1.21.2.
    pub(crate) fn of(protocol: i32) -> Self {
        let success_tail = match protocol {
            ..=767 => 1,
            768..=775 => 0,
            776.. => 16,
        };
        let shift = i32::from(protocol >= 777);
        Self {
            success_tail,
            store_cookie: 0x0A + shift,
            transfer: 0x0B + shift,
            particles: protocol >= 768,
        }
    }
}

/// What a vanilla client with default settings says.
fn put_client_information(body: &mut Vec<u8>, dialect: Dialect) {
    put_bytes(body, b"en_us");
    // View distance, chat enabled, colours, all skin parts, right hand, no filtering, listed.
    body.extend_from_slice(&[12, 0, 1, 0x7F, 1, 0, 1]);
    if dialect.particles {
        body.push(0);
    }
}
