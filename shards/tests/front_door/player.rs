//! A player, from the handshake to the transfer or the words that turn it away.

use super::client::{Client, Fields, LOGIN, MODERN, handshake, login_start, packet, prefixed};
use super::world::{HOST, World};
use passage_shards::rsa;

pub(crate) const SECRET: [u8; 16] = *b"sixteen byte key";

/// A player with the cookies that servers have given them.
#[derive(Default)]
pub(crate) struct Player {
    pub(crate) name: &'static str,
    pub(crate) session: Option<Vec<u8>>,
    pub(crate) authentication: Option<Vec<u8>>,
    /// Whether the session server was to be told of the login.
    pub(crate) announced: bool,
    /// The id and name in login success.
    pub(crate) welcomed: Option<(Vec<u8>, String)>,
}

/// How a login ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Transfer(String, i32),
    Disconnect(String),
}

impl Player {
    /// Logs in, to the end.
    pub(crate) fn log_in(&mut self, world: &World, intent: i32) -> End {
        let mut client = Client::connect(world.address);
        client.send(&[handshake(MODERN, HOST, intent), login_start(self.name)].concat());
        if let Some(end) = self.get_welcomed(&mut client) {
            return end;
        }
        // Login acknowledged, then the client's settings.
        client.send(&packet(3, &[]));
        let settings = [prefixed(b"de_de"), vec![10, 0, 1, 0x7f, 1, 0, 1, 0]].concat();
        client.send(&packet(0, &settings));
        loop {
            let (id, body) = client.packet();
            let mut fields = Fields(&body);
            match id {
                0x0a => self.keep(fields.text().to_owned(), fields.bytes().to_vec()),
                0x0b => {
                    let end = End::Transfer(fields.text().to_owned(), fields.var_int());
                    assert!(client.rest().unwrap().is_empty());
                    return end;
                }
                2 => return End::Disconnect(String::from_utf8_lossy(&body).into_owned()),
                other => panic!("packet {other:#04x} in the configuration"),
            }
        }
    }

    /// Logs in until login success, and then says nothing.
    pub(crate) fn half_way(mut self, world: &World) -> Client {
        let mut client = Client::connect(world.address);
        client.send(&[handshake(MODERN, HOST, LOGIN), login_start(self.name)].concat());
        assert_eq!(self.get_welcomed(&mut client), None);
        client
    }

    /// Goes through a login until its success; how it ended, if it ended before.
    fn get_welcomed(&mut self, client: &mut Client) -> Option<End> {
        loop {
            let (id, body) = client.packet();
            let mut fields = Fields(&body);
            match id {
                0 => return Some(End::Disconnect(fields.text().to_owned())),
                1 => self.answer_encryption(client, &mut fields),
                2 => {
                    let id = fields.take(16).to_vec();
                    self.welcomed = Some((id, fields.text().to_owned()));
                    return None;
                }
                5 => client.send(&packet(4, &self.cookie(fields.text()))),
                other => panic!("packet {other:#04x} in a login"),
            }
        }
    }

    /// Logs in until it is asked to encrypt, and gives its answer, which is still to be sent.
    pub(crate) fn asked_to_encrypt(mut self, world: &World) -> (Client, Vec<u8>) {
        let mut client = Client::connect(world.address);
        client.send(&[handshake(MODERN, HOST, LOGIN), login_start(self.name)].concat());
        loop {
            let (id, body) = client.packet();
            let mut fields = Fields(&body);
            match id {
                1 => return (client, self.encryption_response(&mut fields)),
                5 => client.send(&packet(4, &self.cookie(fields.text()))),
                other => panic!("packet {other:#04x} in a login"),
            }
        }
    }

    fn answer_encryption(&mut self, client: &mut Client, fields: &mut Fields<'_>) {
        client.send(&self.encryption_response(fields));
        client.encrypt(SECRET);
    }

    fn encryption_response(&mut self, fields: &mut Fields<'_>) -> Vec<u8> {
        assert_eq!(fields.text(), "", "the server id");
        let (key, token) = (fields.bytes(), fields.bytes());
        self.announced = fields.take(1) == [1];
        let secret = rsa::encrypt(key, &SECRET).unwrap();
        let token = rsa::encrypt(key, token).unwrap();
        packet(1, &[prefixed(&secret), prefixed(&token)].concat())
    }

    fn cookie(&self, key: &str) -> Vec<u8> {
        let cookie = match key {
            "passage:session" => &self.session,
            "passage:authentication" => &self.authentication,
            other => panic!("a cookie {other}"),
        };
        let payload = cookie
            .as_ref()
            .map_or(vec![0], |cookie| [vec![1], prefixed(cookie)].concat());
        [prefixed(key.as_bytes()), payload].concat()
    }

    fn keep(&mut self, key: String, cookie: Vec<u8>) {
        match &*key {
            "passage:session" => self.session = Some(cookie),
            "passage:authentication" => self.authentication = Some(cookie),
            other => panic!("a cookie {other}"),
        }
    }
}

/// A player without cookies.
pub(crate) fn player(name: &'static str) -> Player {
    Player {
        name,
        ..Player::default()
    }
}
