//! A session server: says who has joined, as Mojang's does for `GET /session/minecraft/hasJoined`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::Service;
use super::http::{Requests, respond};

/// The double. Its clones share who has joined.
#[derive(Clone, Debug, Default)]
pub struct SessionServer {
    joined: Arc<Mutex<HashSet<(String, String)>>>,
    everybody: bool,
}

impl SessionServer {
    /// Knows only those who [`join`](Self::join).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says of everybody that they have joined: for load.
    #[must_use]
    pub fn of_everybody() -> Self {
        Self {
            everybody: true,
            ..Self::default()
        }
    }

    /// What a client does before it answers the encryption request: `hash` is the one of
    /// [`server_hash`](crate::client::server_hash).
    pub fn join(&self, name: &str, hash: &str) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.insert((name.to_owned(), hash.to_owned()));
    }

    fn knows(&self, name: &str, hash: &str) -> bool {
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        self.everybody || joined.contains(&(name.to_owned(), hash.to_owned()))
    }

    /// The response to a request whose first line this is.
    fn respond(&self, line: &str) -> String {
        let query = line
            .strip_prefix("GET /session/minecraft/hasJoined?")
            .and_then(|rest| rest.split(' ').next());
        let Some(query) = query else {
            return respond("404 Not Found", "");
        };
        let field = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        match (field("username"), field("serverId")) {
            (Some(name), Some(hash)) if self.knows(name, hash) => {
                let id = player_id(name).simple();
                let texture = r#"[{"name":"textures","value":"e30=","signature":"c2lnbmVk"}]"#;
                respond(
                    "200 OK",
                    &format!(r#"{{"id":"{id}","name":"{name}","properties":{texture}}}"#),
                )
            }
            (Some(_), Some(_)) => respond("204 No Content", ""),
            _ => respond("400 Bad Request", ""),
        }
    }
}

/// The id that the double gives to a player.
#[must_use]
pub fn player_id(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

impl Service for SessionServer {
    type Connection = Requests;

    fn accept(&mut self, _peer: SocketAddr) -> Requests {
        Requests::default()
    }

    fn receive(&mut self, requests: &mut Requests, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        requests.receive(bytes, output, |line| self.respond(line))
    }
}

#[cfg(test)]
mod tests {
    use super::{Requests, SessionServer};
    use crate::double::Service;

    fn answer(server: &mut SessionServer, request: &str) -> String {
        let mut output = Vec::new();
        let mut requests = Requests::default();
        // Byte by byte: a head may come in any pieces.
        for byte in request.as_bytes() {
            assert!(server.receive(&mut requests, &[*byte], &mut output));
        }
        String::from_utf8(output).expect("text")
    }

    const REQUEST: &str =
        "GET /session/minecraft/hasJoined?username=Alice&serverId=-7f HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn knows_who_has_joined_with_the_same_hash() {
        let mut server = SessionServer::new();
        assert!(answer(&mut server, REQUEST).starts_with("HTTP/1.1 204"));
        server.join("Alice", "-7e");
        assert!(answer(&mut server, REQUEST).starts_with("HTTP/1.1 204"));
        server.join("Alice", "-7f");
        let response = answer(&mut server, REQUEST);
        assert!(
            response.starts_with("HTTP/1.1 200") && response.contains(r#""name":"Alice""#),
            "{response}"
        );
    }

    #[test]
    fn refuses_what_is_not_asked_of_a_session_server() {
        let mut server = SessionServer::of_everybody();
        assert!(answer(&mut server, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        let nobody = "GET /session/minecraft/hasJoined?username=Alice HTTP/1.1\r\n\r\n";
        assert!(answer(&mut server, nobody).starts_with("HTTP/1.1 400"));
    }
}
