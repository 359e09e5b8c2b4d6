//! What a ping allocates in a shard, from accept to close, counted. Alone in its process, because the
//! allocator is everybody's.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;

use passage_proto::packet::handshake::{Handshake, Intent};
use passage_proto::packet::status::Serverbound;
use passage_proto::wire;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use world::{HOST, Plan, route};

#[path = "front_door/world.rs"]
#[expect(dead_code, reason = "this test needs the least of it")]
mod world;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PINGS: usize = 2_000;

/// Two for the connection's task, which the executor makes, and two of the session: its input and its host
/// name.
const ALLOCATIONS_MAX: usize = 4;

/// What the shard does once a second beside the pings, and what grows with the first of them.
const OTHERS_MAX: usize = 500;

#[test]
fn a_ping_allocates_its_task_its_input_and_its_host_name() {
    let world = Plan::new(vec![route("*", &[])])
        .with(|plan| plan.shards = NonZeroUsize::new(1))
        .start();
    let conversation = Conversation::new();
    (0..100).for_each(|_| conversation.hold(world.address));
    let region = Region::new(ALLOCATOR);
    (0..PINGS).for_each(|_| conversation.hold(world.address));
    let change = region.change();
    world.end();
    let each = change.allocations / PINGS;
    println!("{change:?}: {each} allocations a ping");
    assert!(
        change.allocations <= ALLOCATIONS_MAX * PINGS + OTHERS_MAX,
        "{change:?}"
    );
    assert!(change.reallocations <= OTHERS_MAX, "{change:?}");
}

/// What a client says, made beforehand so that the client allocates nothing.
struct Conversation {
    request: Vec<u8>,
    ping: Vec<u8>,
}

impl Conversation {
    fn new() -> Self {
        let (mut request, mut ping) = (Vec::new(), Vec::new());
        Handshake {
            protocol: 775,
            address: HOST,
            port: 25565,
            intent: Intent::Status,
        }
        .encode(&mut request);
        Serverbound::Request.encode(&mut request);
        Serverbound::Ping(7).encode(&mut ping);
        Self { request, ping }
    }

    fn hold(&self, address: SocketAddr) {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut answer = [0; 4_096];
        let mut length = 0;
        stream.write_all(&self.request).unwrap();
        while wire::split_frame(&answer[..length], answer.len())
            .unwrap()
            .is_none()
        {
            length += stream.read(&mut answer[length..]).unwrap();
        }
        stream.write_all(&self.ping).unwrap();
        while stream.read(&mut answer).unwrap() > 0 {}
    }
}
