//! A Kubernetes API server with Agones, which takes its time and always has a game server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::Service;
use super::http::{Requests, respond};

/// Game servers that take turns.
const FLEET: u64 = 100;

/// The double. Its clones share what they have allocated.
#[derive(Clone, Debug)]
pub struct ApiServer {
    /// Where all game servers are.
    game_servers: SocketAddr,
    delay: Duration,
    allocated: Arc<AtomicU64>,
}

impl ApiServer {
    /// Answers every `GameServerAllocation` after `delay` with a game server at this address.
    #[must_use]
    pub fn new(game_servers: SocketAddr, delay: Duration) -> Self {
        Self {
            game_servers,
            delay,
            allocated: Arc::default(),
        }
    }

    /// Game servers that were allocated so far.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    fn answer(&self, line: &str) -> String {
        let path = line.strip_prefix("POST /apis/allocation.agones.dev/v1/namespaces/");
        let is_allocation = path
            .and_then(|path| path.split(' ').next())
            .is_some_and(|path| path.ends_with("/gameserverallocations"));
        if !is_allocation {
            return respond("404 Not Found", r#"{"kind":"Status","code":404}"#);
        }
        let number = self.allocated.fetch_add(1, Ordering::Relaxed) % FLEET;
        let created = json!({
            "apiVersion": "allocation.agones.dev/v1",
            "kind": "GameServerAllocation",
            "status": {
                "state": "Allocated",
                "gameServerName": format!("load-{number}"),
                "address": self.game_servers.ip().to_string(),
                "ports": [{"name": "default", "port": self.game_servers.port()}],
                "nodeName": "loopback",
            },
        });
        respond("201 Created", &created.to_string())
    }
}

impl Service for ApiServer {
    type Connection = Requests;

    fn accept(&mut self, _peer: SocketAddr) -> Requests {
        Requests::default()
    }

    fn receive(&mut self, requests: &mut Requests, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        requests.receive(bytes, output, |line| self.answer(line))
    }

    fn delay(&self) -> Duration {
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocates_and_knows_nothing_else() {
        let game_servers = SocketAddr::from(([127, 0, 0, 1], 7000));
        let server = ApiServer::new(game_servers, Duration::ZERO);
        let allocation = "/apis/allocation.agones.dev/v1/namespaces/n/gameserverallocations";
        let answer = server.answer(&format!("POST {allocation} HTTP/1.1"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
        let created: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(created["status"]["state"], "Allocated");
        assert_eq!(created["status"]["ports"][0]["port"], 7000);
        assert_eq!(server.allocated(), 1);
        for line in [
            format!("GET {allocation} HTTP/1.1"),
            "POST /apis HTTP/1.1".to_owned(),
        ] {
            assert!(server.answer(&line).starts_with("HTTP/1.1 404 "), "{line}");
        }
        assert_eq!(server.allocated(), 1);
    }
}
