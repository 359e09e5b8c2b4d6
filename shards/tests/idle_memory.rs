//! What a connection that has said nothing yet costs. Alone in its process, because it is measured from
//! outside.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use world::{World, route};

#[path = "front_door/world.rs"]
#[expect(dead_code, reason = "this test needs the least of it")]
mod world;

/// At most 4 KiB of user memory, with all that the allocator and the executor add.
#[test]
fn idle_connections_are_small() {
    const CONNECTIONS: usize = 4_000;
    let world = World::start(vec![route("*", &[])]);
    let connect = |count: usize| -> Vec<_> {
        (0..count)
            .map(|_| {
                let mut stream = TcpStream::connect(world.address).unwrap();
                stream.write_all(&[0x10]).unwrap();
                stream
            })
            .collect()
    };
    let warm = connect(200);
    settle();
    let before = resident();
    let idle = connect(CONNECTIONS);
    settle();
    let each = resident().saturating_sub(before) / CONNECTIONS;
    drop((warm, idle));
    world.end();
    println!("{each} bytes of user memory for an idle connection");
    assert!(each <= 4_096, "{each} bytes a connection");
}

/// Gives the shards time to read what was sent: nothing tells from outside when they have.
fn settle() {
    std::thread::park_timeout(Duration::from_millis(300));
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
