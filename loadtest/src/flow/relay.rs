//! Messages through a relay to an echo target and back, on connections that stay.

use uuid::Uuid;

use super::Hello;
use crate::drive::hold::Talk;
use crate::wire::{Intent, put_handshake, put_login_start};

/// A login that is relayed to an echo target, then messages of one length.
#[derive(Clone, Debug)]
pub(crate) struct RelayTalk {
    pub(crate) hello: Hello,
    /// `None` keeps the relays idle.
    pub(crate) message_bytes: Option<usize>,
}

impl RelayTalk {
    /// Says nothing after its login.
    pub(crate) fn silent(hello: Hello) -> Self {
        Self {
            hello,
            message_bytes: None,
        }
    }
}

impl Talk for RelayTalk {
    /// Handshake and login start. The target echoes them, which shows that the relay replayed them unchanged.
    fn greeting(&self, id: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_handshake(
            &mut bytes,
            self.hello.protocol,
            &self.hello.host,
            self.hello.port,
            Intent::Login,
        );
        put_login_start(&mut bytes, &player_name(id), Uuid::from_u64_pair(0x4000, id));
        bytes
    }

    fn is_echoed(&self) -> bool {
        true
    }

    fn message_bytes(&self) -> Option<usize> {
        self.message_bytes
    }
}

/// A valid name, different for every `id`.
pub(super) fn player_name(id: u64) -> String {
    format!("Load_{:011x}", id & 0xFFF_FFFF_FFFF)
}
