//! A web server with one page: the status of a network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Service;
use super::http::{Requests, respond};

/// The double. Its clones share how often they were asked.
#[derive(Clone, Debug)]
pub struct StatusPage {
    response: String,
    asked: Arc<AtomicU64>,
}

impl StatusPage {
    /// Answers every `GET` with this JSON, and says nothing about how long it is good.
    #[must_use]
    pub fn new(json: &str) -> Self {
        Self {
            response: respond("200 OK", json),
            asked: Arc::default(),
        }
    }

    /// How often the page was asked for.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Service for StatusPage {
    type Connection = Requests;

    fn accept(&mut self, _peer: SocketAddr) -> Requests {
        Requests::default()
    }

    fn receive(&mut self, requests: &mut Requests, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        requests.receive(bytes, output, |line| {
            if !line.starts_with("GET ") {
                return respond("405 Method Not Allowed", "");
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.response.clone()
        })
    }
}
