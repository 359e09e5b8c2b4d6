//! A server-list ping: handshake and request, response, ping, pong, close.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use super::Hello;
use crate::drive::{Conversation, Flow, Progress};
use crate::failure::{Failure, Kind};
use crate::random::Random;
use crate::wire::{Frames, Intent, Reader, malformed, put_handshake, put_packet};

/// Makes status conversations.
#[derive(Debug)]
pub(crate) struct StatusFlow {
    opening: Vec<u8>,
    random: Random,
    /// The last response that was parsed: the same bytes again need no second parsing.
    verified: Rc<RefCell<Vec<u8>>>,
}

impl StatusFlow {
    /// Pings for this host name; `random` gives the ping payloads.
    pub(crate) fn new(hello: &Hello, random: Random) -> Self {
        Self {
            opening: opening(hello),
            random,
            verified: Rc::default(),
        }
    }
}

/// What a client sends first: handshake and request, in one segment.
#[must_use]
pub fn opening(hello: &Hello) -> Vec<u8> {
    let mut opening = Vec::new();
    put_handshake(
        &mut opening,
        hello.protocol,
        &hello.host,
        hello.port,
        Intent::Status,
    );
    put_packet(&mut opening, 0x00, |_| {});
    opening
}

impl Flow for StatusFlow {
    type Conversation = StatusConversation;

    fn begin(&mut self, _source: Option<Ipv4Addr>, output: &mut Vec<u8>) -> StatusConversation {
        output.extend_from_slice(&self.opening);
        StatusConversation {
            frames: Frames::default(),
            payload: self.random.next_u64().to_be_bytes(),
            pinged: false,
            verified: Rc::clone(&self.verified),
        }
    }
}

/// One ping.
#[derive(Debug)]
pub(crate) struct StatusConversation {
    frames: Frames,
    payload: [u8; 8],
    pinged: bool,
    verified: Rc<RefCell<Vec<u8>>>,
}

impl Conversation for StatusConversation {
    fn receive(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<Progress, Failure> {
        self.frames.push(bytes);
        while let Some((id, body)) = self.frames.take()? {
            match (id, self.pinged) {
                (0x00, false) => {
                    verify_response(body, &mut self.verified.borrow_mut())?;
                    self.pinged = true;
                    put_packet(output, 0x01, |ping| ping.extend_from_slice(&self.payload));
                }
                (0x01, true) => return verify_pong(body, self.payload),
                _ => {
                    return Err(malformed(&format!(
                        "packet {id:#04x} while it owed {}",
                        self.awaits()
                    )));
                }
            }
        }
        Ok(Progress::More)
    }

    fn awaits(&self) -> &'static str {
        if self.pinged {
            "the pong"
        } else {
            "the status response"
        }
    }
}

fn verify_pong(body: Reader<'_>, payload: [u8; 8]) -> Result<Progress, Failure> {
    if body.rest() == payload {
        return Ok(Progress::Finished);
    }
    Err(Failure::new(
        Kind::Mismatch,
        format!("pinged {payload:?}, the pong says {:?}", body.rest()),
    ))
}

/// Checks that a response is a status and remembers it.
fn verify_response(mut body: Reader<'_>, verified: &mut Vec<u8>) -> Result<(), Failure> {
    if body.rest() == verified.as_slice() {
        return Ok(());
    }
    let whole = body.rest();
    parse_response(body.string()?)?;
    if !body.rest().is_empty() {
        return Err(malformed("bytes after the status response"));
    }
    verified.clear();
    verified.extend_from_slice(whole);
    Ok(())
}

/// Parses a status response and requires what a client needs to list the server.
///
/// # Errors
/// [`Kind::Malformed`] if it is not JSON or has no `version.protocol`.
pub fn parse_response(json: &str) -> Result<serde_json::Value, Failure> {
    let status: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| malformed(&format!("a status that is not JSON: {error}")))?;
    if status
        .pointer("/version/protocol")
        .and_then(serde_json::Value::as_i64)
        .is_none()
    {
        return Err(malformed("a status without version.protocol"));
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::{Hello, StatusFlow};
    use crate::drive::{Conversation, Flow, Progress};
    use crate::failure::Kind;
    use crate::random::Random;
    use crate::wire::{put_bytes, put_packet};

    fn hello() -> Hello {
        Hello {
            protocol: 772,
            host: "localhost".to_owned(),
            port: 25565,
        }
    }

    fn response(json: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_packet(&mut bytes, 0x00, |body| put_bytes(body, json.as_bytes()));
        bytes
    }

    #[test]
    fn finishes_with_its_own_payload_only() {
        let mut flow = StatusFlow::new(&hello(), Random::new(1));
        for (flip, expected) in [(0u8, Ok(Progress::Finished)), (1, Err(Kind::Mismatch))] {
            let mut output = Vec::new();
            let mut conversation = flow.begin(None, &mut output);
            output.clear();
            let more = conversation.receive(&response(r#"{"version":{"protocol":772}}"#), &mut output);
            assert_eq!(more, Ok(Progress::More));
            output[2] ^= flip;
            let pong = output.clone();
            assert_eq!(
                conversation
                    .receive(&pong, &mut output)
                    .map_err(|failure| failure.kind),
                expected
            );
        }
    }

    #[test]
    fn refuses_responses_that_are_no_status() {
        let mut flow = StatusFlow::new(&hello(), Random::new(1));
        for json in ["{", "{}", r#"{"version":{"protocol":"772"}}"#] {
            let mut conversation = flow.begin(None, &mut Vec::new());
            let kind = conversation
                .receive(&response(json), &mut Vec::new())
                .map_err(|failure| failure.kind);
            assert_eq!(kind, Err(Kind::Malformed), "{json}");
        }
    }

    #[test]
    fn refuses_a_pong_before_the_response() {
        let mut conversation = StatusFlow::new(&hello(), Random::new(1)).begin(None, &mut Vec::new());
        let mut early = Vec::new();
        put_packet(&mut early, 0x01, |body| body.extend_from_slice(&[0; 8]));
        assert!(conversation.receive(&early, &mut Vec::new()).is_err());
    }
}
