//! A server that answers pings and nothing else: the yardstick of what epoll costs.

use std::net::SocketAddr;

use super::Service;
use crate::wire::{Frames, put_bytes, put_packet};

/// Answers every ping with the same status.
#[derive(Clone, Debug)]
pub struct Status {
    response: Vec<u8>,
}

impl Status {
    /// Answers with this JSON.
    #[must_use]
    pub fn new(json: &str) -> Self {
        let mut response = Vec::new();
        put_packet(&mut response, 0x00, |body| put_bytes(body, json.as_bytes()));
        Self { response }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::new(
            r#"{"version":{"name":"double","protocol":772},"players":{"max":1,"online":0},"description":""}"#,
        )
    }
}

impl Service for Status {
    type Connection = (bool, Frames);

    fn accept(&mut self, _peer: SocketAddr) -> (bool, Frames) {
        (false, Frames::default())
    }

    fn receive(
        &mut self,
        (greeted, frames): &mut (bool, Frames),
        bytes: &[u8],
        output: &mut Vec<u8>,
    ) -> bool {
        frames.push(bytes);
        loop {
            match frames.take() {
                Ok(None) => return true,
                // The handshake: whatever its intent, a ping is all there is.
                Ok(Some((0x00, _))) if !*greeted => *greeted = true,
                Ok(Some((0x00, _))) => output.extend_from_slice(&self.response),
                Ok(Some((0x01, body))) if *greeted => {
                    put_packet(output, 0x01, |pong| pong.extend_from_slice(body.rest()));
                    return false;
                }
                _ => return false,
            }
        }
    }
}
