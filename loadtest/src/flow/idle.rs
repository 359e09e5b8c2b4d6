//! Connections that say nothing, or nothing more.

use serde::Serialize;

use super::Hello;
use crate::drive::hold::Talk;
use crate::wire::{Intent, put_handshake};

/// How far a connection goes before it falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Connected, not one byte sent.
    Connected,
    /// The handshake of a login sent, no login start.
    Handshake,
    /// Relayed to an echo target.
    Relay,
}

/// A connection that falls silent before its login.
#[derive(Clone, Debug)]
pub(crate) struct IdleTalk {
    pub(crate) hello: Hello,
    pub(crate) stage: Stage,
}

impl Talk for IdleTalk {
    fn greeting(&self, _id: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.stage == Stage::Handshake {
            put_handshake(
                &mut bytes,
                self.hello.protocol,
                &self.hello.host,
                self.hello.port,
                Intent::Login,
            );
        }
        bytes
    }

    fn is_echoed(&self) -> bool {
        false
    }

    fn message_bytes(&self) -> Option<usize> {
        None
    }
}
