//! A relayed connection that ends at once: login, its echo, close.

use std::net::Ipv4Addr;

use super::Hello;
use super::relay::RelayTalk;
use crate::drive::hold::Talk;
use crate::drive::{Conversation, Flow, Progress};
use crate::failure::{Failure, Kind};
use crate::random::Random;

/// Makes visits.
#[derive(Debug)]
pub(crate) struct VisitFlow {
    talk: RelayTalk,
    random: Random,
}

impl VisitFlow {
    /// Visits to this host name; `random` gives the players' numbers.
    pub(crate) fn new(hello: Hello, random: Random) -> Self {
        Self {
            talk: RelayTalk::silent(hello),
            random,
        }
    }
}

impl Flow for VisitFlow {
    type Conversation = Visit;

    fn begin(&mut self, _source: Option<Ipv4Addr>, output: &mut Vec<u8>) -> Visit {
        let greeting = self.talk.greeting(self.random.next_u64());
        output.extend_from_slice(&greeting);
        Visit { greeting, heard: 0 }
    }
}

/// One visit.
#[derive(Debug)]
pub(crate) struct Visit {
    greeting: Vec<u8>,
    /// Bytes of it that came back.
    heard: usize,
}

impl Conversation for Visit {
    fn receive(&mut self, bytes: &[u8], _output: &mut Vec<u8>) -> Result<Progress, Failure> {
        let left = self.greeting.get(self.heard..).unwrap_or_default();
        if !left.starts_with(bytes) {
            return Err(Failure::new(Kind::Mismatch, "the greeting came back different"));
        }
        self.heard += bytes.len();
        if self.heard == self.greeting.len() {
            return Ok(Progress::Finished);
        }
        Ok(Progress::More)
    }

    fn awaits(&self) -> &'static str {
        "the echo of its login"
    }
}

#[cfg(test)]
mod tests {
    use super::{Hello, VisitFlow};
    use crate::drive::{Conversation, Flow, Progress};
    use crate::failure::Kind;
    use crate::random::Random;

    fn flow() -> VisitFlow {
        let hello = Hello {
            protocol: 772,
            host: "localhost".to_owned(),
            port: 25565,
        };
        VisitFlow::new(hello, Random::new(1))
    }

    #[test]
    fn finishes_with_its_own_greeting_however_it_is_cut() {
        let mut flow = flow();
        let mut greeting = Vec::new();
        let _ = flow.begin(None, &mut greeting);
        for cut in 1..greeting.len() {
            let mut greeting = Vec::new();
            let mut visit = flow.begin(None, &mut greeting);
            let (one, other) = greeting.split_at(cut);
            assert_eq!(visit.receive(one, &mut Vec::new()), Ok(Progress::More));
            assert_eq!(visit.receive(other, &mut Vec::new()), Ok(Progress::Finished));
        }
    }

    #[test]
    fn another_or_a_longer_echo_is_a_mismatch() {
        for spoil in [
            |echo: &mut Vec<u8>| echo[20] ^= 1,
            |echo: &mut Vec<u8>| echo.push(0),
        ] {
            let mut echo = Vec::new();
            let mut visit = flow().begin(None, &mut echo);
            spoil(&mut echo);
            let kind = visit
                .receive(&echo, &mut Vec::new())
                .map_err(|failure| failure.kind);
            assert_eq!(kind, Err(Kind::Mismatch));
        }
    }
}
