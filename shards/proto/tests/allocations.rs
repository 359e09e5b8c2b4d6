//! What a ping allocates in its session, counted. Alone in its process, because the allocator is everybody's.

use std::alloc::System;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::packet::handshake::{Handshake, Intent};
use passage_proto::packet::status::Serverbound;
use passage_proto::question::{Answer, Question, RoutePlan};
use passage_proto::session::{Bounds, Effect, ProxyExpectation, Session, Setup};
use passage_proto::status::{StatusDocument, StatusReply};
use passage_proto::{Entropy, Now};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The input that has come and is not read yet, and the host name, which session and caller share. What is
/// sent goes into memory that the caller lends.
const ALLOCATIONS: usize = 2;

const PINGS: usize = 1_000;

#[test]
fn a_ping_allocates_its_input_and_its_host_name() {
    let reply = StatusReply::new(&StatusDocument::default()).expect("a status that can be shown");
    let (reply, [first, second]) = (Arc::new(reply), reads());
    let mut output = Vec::with_capacity(4_096);
    converse(&reply, [&first, &second], &mut output);

    let region = Region::new(ALLOCATOR);
    for _ in 0..PINGS {
        converse(&reply, [&first, &second], &mut output);
    }
    let change = region.change();
    // The thread that runs the tests may allocate a little beside this one.
    assert_eq!(change.allocations / PINGS, ALLOCATIONS, "{change:?}");
    assert!(change.reallocations < PINGS / 10, "{change:?}");
    let left = change.bytes_allocated.abs_diff(change.bytes_deallocated);
    assert!(left < PINGS, "nothing of a ping is left: {change:?}");
}

/// One ping as a shard serves it: memory is lent for every event, and is the caller's again after it.
fn converse(reply: &Arc<StatusReply>, reads: [&[u8]; 2], output: &mut Vec<u8>) {
    let now = Now {
        instant: Instant::now(),
        unix_seconds: 1_800_000_000,
    };
    let mut session = Session::new(setup(), Entropy([7; 32]), now);
    let mut closed = false;
    for bytes in reads {
        output.clear();
        session.lend(std::mem::take(output));
        session.receive(bytes, now);
        while let Some(effect) = session.poll(output) {
            match effect {
                Effect::Ask(question) => {
                    session.lend(std::mem::take(output));
                    session.answer(answer(&question, reply), now);
                }
                Effect::Close(_) => closed = true,
                Effect::Relay(handoff) => unreachable!("a ping does not lead to {handoff:?}"),
            }
        }
        assert!(!output.is_empty() && output.capacity() >= 4_096);
    }
    assert!(closed);
}

fn answer(question: &Question, reply: &Arc<StatusReply>) -> Answer {
    match question {
        Question::Route(_) => Answer::Route(Some(RoutePlan::Status)),
        Question::Status(_) => Answer::Status(Some(Arc::clone(reply))),
        other => unreachable!("a ping does not ask {other:?}"),
    }
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

/// Handshake and request, then the ping: what clients send in two pieces.
fn reads() -> [Vec<u8>; 2] {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    Handshake {
        protocol: 775,
        address: "play.example.net",
        port: 25565,
        intent: Intent::Status,
    }
    .encode(&mut first);
    Serverbound::Request.encode(&mut first);
    Serverbound::Ping(7).encode(&mut second);
    [first, second]
}
