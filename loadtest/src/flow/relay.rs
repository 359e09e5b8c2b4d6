//! Messages through a relay to an echo target and back, on connections that stay; and players who only come in.

use std::net::Ipv4Addr;

use uuid::Uuid;

use super::Hello;
use crate::drive::hold::Talk;
use crate::drive::{Conversation, Flow, Progress};
use crate::failure::{Failure, Kind};
use crate::random::Random;
use crate::wire::{Intent, put_handshake, put_login_start};

/// A login that is relayed to an echo target, then messages of one length.
#[derive(Clone, Debug)]
pub(crate) struct RelayTalk {
    pub(crate) hello: Hello,
    /// `None` keeps the relays idle.
    pub(crate) message_bytes: Option<usize>,
}

impl Talk for RelayTalk {
    /// Handshake and login start. The target echoes them, which shows that the relay replayed them unchanged.
    fn greeting(&self, id: u64) -> Vec<u8> {
        greeting(&self.hello, id)
    }

    fn is_echoed(&self) -> bool {
        true
    }

    fn message_bytes(&self) -> Option<usize> {
        self.message_bytes
    }
}

fn greeting(hello: &Hello, id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_handshake(&mut bytes, hello.protocol, &hello.host, hello.port, Intent::Login);
    put_login_start(&mut bytes, &player_name(id), Uuid::from_u64_pair(0x4000, id));
    bytes
}

/// Makes players who come in through a relay to an echo target, and leave.
#[derive(Debug)]
pub(crate) struct JoinFlow {
    pub(crate) hello: Hello,
    pub(crate) random: Random,
}

impl Flow for JoinFlow {
    type Conversation = Join;

    fn begin(&mut self, _source: Option<Ipv4Addr>, output: &mut Vec<u8>) -> Join {
        let greeting = greeting(&self.hello, self.random.next_u64());
        output.extend_from_slice(&greeting);
        Join {
            owed: greeting,
            heard: 0,
        }
    }
}

/// One of them: has come in once its greeting is back.
#[derive(Debug)]
pub(crate) struct Join {
    owed: Vec<u8>,
    heard: usize,
}

impl Conversation for Join {
    fn receive(&mut self, bytes: &[u8], _output: &mut Vec<u8>) -> Result<Progress, Failure> {
        let owed = self.owed.get(self.heard..).unwrap_or_default();
        if !owed.starts_with(bytes) {
            let what = format!("{bytes:?} in place of the echo of its login");
            return Err(Failure::new(Kind::Mismatch, what));
        }
        self.heard += bytes.len();
        let is_back = self.heard == self.owed.len();
        Ok(if is_back {
            Progress::Finished
        } else {
            Progress::More
        })
    }

    fn awaits(&self) -> &'static str {
        "the echo of its login"
    }
}

/// A valid name, different for every `id`.
pub(super) fn player_name(id: u64) -> String {
    format!("Load_{:011x}", id & 0xFFF_FFFF_FFFF)
}

#[cfg(test)]
mod tests {
    use super::{Hello, JoinFlow};
    use crate::drive::{Conversation, Flow, Progress};
    use crate::random::Random;

    #[test]
    fn a_player_has_come_in_when_all_is_back_and_nothing_else() {
        let hello = Hello {
            protocol: 772,
            host: "localhost".to_owned(),
            port: 25565,
        };
        let random = Random::new(1);
        let mut flow = JoinFlow { hello, random };
        let mut said = Vec::new();
        let mut join = flow.begin(None, &mut said);
        let (first, last) = said.split_at(said.len() - 1);
        assert_eq!(join.receive(first, &mut Vec::new()), Ok(Progress::More));
        assert_eq!(join.receive(last, &mut Vec::new()), Ok(Progress::Finished));
        let mut other = flow.begin(None, &mut Vec::new());
        assert!(
            other.receive(&said, &mut Vec::new()).is_err(),
            "another player's login"
        );
    }
}
