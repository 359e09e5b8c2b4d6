//! What one conversation costs the protocol crate alone: no socket, no system call.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::packet::handshake::{Handshake, Intent};
use passage_proto::packet::status::Serverbound;
use passage_proto::question::{Answer, Question, RoutePlan};
use passage_proto::session::{Bounds, Effect, ProxyExpectation, Session, Setup};
use passage_proto::status::{Players, StatusDocument, StatusReply};
use passage_proto::{Entropy, Now};

use harness::Case;

#[path = "support/harness.rs"]
mod harness;

const PROTOCOL: i32 = 775;

fn main() -> ExitCode {
    let reply = Arc::new(status_reply());
    let (request, ping) = (status_request(), ping());
    let whole: Vec<u8> = [request.as_slice(), &ping].concat();
    let mut output = Vec::with_capacity(4096);
    let mut bytewise = output.clone();
    let for_whole = Arc::clone(&reply);
    harness::main(vec![
        Case::new("status, two reads", {
            let reply = Arc::clone(&reply);
            let mut output = output.clone();
            move || converse([request.as_slice(), &ping], &reply, &mut output)
        }),
        Case::new("status, one read", {
            let whole = whole.clone();
            move || converse([whole.as_slice()], &for_whole, &mut output)
        }),
        Case::new("status, byte by byte", move || {
            converse(whole.chunks(1), &reply, &mut bytewise)
        }),
    ])
}

/// Plays one ping from accept to close and returns how many bytes it was answered with.
fn converse<'a>(
    reads: impl IntoIterator<Item = &'a [u8]>,
    reply: &Arc<StatusReply>,
    output: &mut Vec<u8>,
) -> usize {
    let now = Now {
        instant: Instant::now(),
        unix_seconds: 1_800_000_000,
    };
    let mut session = Session::new(setup(), Entropy([7; 32]), now);
    output.clear();
    for bytes in reads {
        session.receive(bytes, now);
        while let Some(effect) = session.poll(output) {
            match effect {
                Effect::Ask(Question::Route(_)) => {
                    session.answer(Answer::Route(Some(RoutePlan::Status)), now);
                }
                Effect::Ask(Question::Status(_)) => {
                    session.answer(Answer::Status(Some(Arc::clone(reply))), now);
                }
                Effect::Close(_) => return output.len(),
                other => unreachable!("a ping does not lead to {other:?}"),
            }
        }
    }
    unreachable!("the ping was answered with {} bytes and not closed", output.len())
}

fn setup() -> Setup {
    Setup {
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)),
        proxy: ProxyExpectation::Direct,
        bounds: Bounds {
            frame_bytes: 10_000,
            handshake: Duration::from_secs(5),
            step: Duration::from_secs(30),
            total: Duration::from_secs(120),
            cookie_expiry_seconds: 21_600,
        },
    }
}

fn status_reply() -> StatusReply {
    let document = StatusDocument {
        version_name: "Passage".to_owned(),
        preferred: PROTOCOL,
        players: Some(Players {
            online: 1,
            max: 100,
            sample: Vec::new(),
        }),
        description: Some(r#"{"text":"Welcome","color":"gold"}"#.to_owned()),
        ..StatusDocument::default()
    };
    StatusReply::new(&document).unwrap_or_else(|error| unreachable!("the status can be shown: {error}"))
}

fn status_request() -> Vec<u8> {
    let mut bytes = Vec::new();
    Handshake {
        protocol: PROTOCOL,
        address: "play.example.net",
        port: 25565,
        intent: Intent::Status,
    }
    .encode(&mut bytes);
    Serverbound::Request.encode(&mut bytes);
    bytes
}

fn ping() -> Vec<u8> {
    let mut bytes = Vec::new();
    Serverbound::Ping(0x0123_4567_89AB_CDEF).encode(&mut bytes);
    bytes
}
