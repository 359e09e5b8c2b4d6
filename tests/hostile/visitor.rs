//! A player who goes as far as it is let, and remembers everything that it is told.

use std::net::SocketAddr;

use passage_shards::rsa;

use crate::client::{
    Client, Fields, LOGIN, MODERN, STATUS, handshake, login_start, packet, prefixed, status_request,
};

const SECRET: [u8; 16] = *b"sixteen byte key";

/// What a player was told.
#[derive(Default)]
pub(crate) struct Visit {
    /// Every packet, deciphered.
    pub(crate) told: Vec<u8>,
    /// The authentication cookie that it was given.
    pub(crate) cookie: Option<Vec<u8>>,
    /// Whether it was to announce itself at the session server; `None` without encryption.
    pub(crate) announced: Option<bool>,
    /// Whether it was welcomed.
    pub(crate) welcomed: bool,
}

/// Asks for the status of this host.
pub(crate) fn ping(address: SocketAddr, host: &str) -> Visit {
    let mut client = Client::connect(address);
    client.send(&[handshake(MODERN, host, STATUS), status_request()].concat());
    let mut visit = Visit::default();
    // Closed without an answer, where there is none.
    while let Ok((0, body)) = client.next_packet() {
        visit.told.extend(body);
        client.end_writing();
    }
    visit
}

/// Logs in at this host.
pub(crate) fn log_in(address: SocketAddr, host: &str) -> Visit {
    log_in_with(address, host, LOGIN, None)
}

/// Logs in with an authentication cookie.
pub(crate) fn log_in_with(address: SocketAddr, host: &str, intent: i32, cookie: Option<&[u8]>) -> Visit {
    let mut client = Client::connect(address);
    client.send(&[handshake(MODERN, host, intent), login_start("Alice")].concat());
    let mut visit = Visit::default();
    while let Ok((id, body)) = client.next_packet() {
        visit.told.extend(&body);
        match (id, visit.welcomed) {
            (1, false) => visit.encrypt(&mut client, &body),
            (2, false) => {
                visit.welcomed = true;
                let settings = [prefixed(b"de_de"), vec![10, 0, 1, 0x7f, 1, 0, 1, 0]].concat();
                client.send(&[packet(3, &[]), packet(0, &settings)].concat());
            }
            (5, false) => client.send(&packet(4, &answer_to(&body, cookie))),
            (0x0a, true) => visit.keep(&body),
            // A keep-alive while somebody is asked.
            (4, true) => client.send(&packet(4, &body)),
            // Sent on, or away.
            (0, false) | (2 | 0x0b, true) => break,
            other => panic!("{host}: packet {other:?}"),
        }
    }
    visit
}

fn answer_to(request: &[u8], cookie: Option<&[u8]>) -> Vec<u8> {
    let key = Fields(request).text();
    let payload = cookie.filter(|_| key == "passage:authentication");
    let payload = payload.map_or(vec![0], |cookie| [vec![1], prefixed(cookie)].concat());
    [prefixed(key.as_bytes()), payload].concat()
}

impl Visit {
    fn encrypt(&mut self, client: &mut Client, request: &[u8]) {
        let mut fields = Fields(request);
        let (_server, key, token) = (fields.text(), fields.bytes(), fields.bytes());
        self.announced = Some(fields.take(1) == [1]);
        let sealed = [&SECRET[..], token].map(|plain| prefixed(&rsa::encrypt(key, plain).unwrap()));
        client.send(&packet(1, &sealed.concat()));
        client.encrypt(SECRET);
    }

    fn keep(&mut self, cookie: &[u8]) {
        let mut fields = Fields(cookie);
        if fields.text() == "passage:authentication" {
            self.cookie = Some(fields.bytes().to_vec());
        }
    }
}
