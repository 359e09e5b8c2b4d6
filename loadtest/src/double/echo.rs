//! A target that sends back whatever it receives.

use std::net::SocketAddr;

use super::Service;

/// Echoes. A relayed login is echoed too: its client can compare what the target got with what it sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    type Connection = ();

    fn accept(&mut self, _peer: SocketAddr) {}

    fn receive(&mut self, (): &mut (), bytes: &[u8], output: &mut Vec<u8>) -> bool {
        output.extend_from_slice(bytes);
        true
    }
}
