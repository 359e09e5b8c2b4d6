//! What a ping costs a shard: `pings [ROUNDS [PINGS]]`. Rounds of a fixed status and of a shared one with a
//! fresh copy take turns on one shard, so that whatever else the machine does meets both.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it is run to be read, in the world of the tests"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_shards::feed::{FeedId, SharedStatus, StatusKey, Update};
use passage_shards::metrics::AdapterType;
use passage_shards::route::{Remote, Route, StatusSource};
use world::{Plan, route, status};

#[path = "../tests/front_door/world.rs"]
#[expect(dead_code, reason = "the least of it is needed here")]
mod world;

const FIXED: &str = "fixed.example.net";
const SHARED: &str = "share.example.net";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments
        .next()
        .map_or(Ok(20), |rounds| rounds.parse::<usize>())?;
    let pings = arguments.next().map_or(Ok(5_000), |pings| pings.parse::<u32>())?;
    let feed = FeedId::next();
    let world = Plan::new(vec![route(FIXED, &[]), shared(feed)])
        .with(|plan| {
            plan.shards = NonZeroUsize::new(1);
            plan.news = vec![copy(feed)];
        })
        .start();
    let mut ratios = Vec::with_capacity(rounds);
    for round in 0..rounds {
        // Who begins takes turns, too.
        let hosts = if round % 2 == 0 {
            [FIXED, SHARED]
        } else {
            [SHARED, FIXED]
        };
        let costs: BTreeMap<_, _> = hosts
            .into_iter()
            .map(|host| Ok((host, cost(world.address, host, pings)?)))
            .collect::<Result<_, Box<dyn Error>>>()?;
        println!(
            "fixed {:?}, shared {:?} of CPU a ping",
            costs[FIXED], costs[SHARED]
        );
        ratios.push(costs[SHARED].as_secs_f64() / costs[FIXED].as_secs_f64());
    }
    world.end();
    ratios.sort_by(f64::total_cmp);
    println!(
        "shared / fixed: median {:.3} of {rounds} rounds",
        ratios[rounds / 2]
    );
    Ok(())
}

fn shared(feed: FeedId) -> Route {
    let adapter = Remote {
        adapter: 0,
        kind: AdapterType::Http,
        timeout: Duration::from_secs(5),
    };
    Route {
        status: StatusSource::Shared {
            feed,
            adapter,
            by_version: true,
            offline: None,
        },
        ..route(SHARED, &[])
    }
}

fn copy(feed: FeedId) -> Update {
    let fresh_until = Instant::now() + Duration::from_secs(3_600);
    let reply = Arc::clone(&status(FIXED));
    Update::Status(
        feed,
        StatusKey::of(769, true),
        SharedStatus { reply, fresh_until },
    )
}

/// The CPU time that the shard takes for one of so many pings.
fn cost(address: SocketAddr, host: &str, pings: u32) -> Result<Duration, Box<dyn Error>> {
    let mut hello = vec![0x18, 0x00, 0x81, 0x06, 0x11];
    hello.extend_from_slice(host.as_bytes());
    hello.extend_from_slice(&[0x63, 0xdd, 0x01, 0x01, 0x00]);
    let mut answer = [0; 4_096];
    let before = shard_time()?;
    for _ in 0..pings {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(&hello)?;
        let read = stream.read(&mut answer)?;
        if !String::from_utf8_lossy(&answer[..read]).contains(FIXED) {
            return Err(format!("{read} bytes of another answer").into());
        }
        stream.write_all(&[0x09, 0x01, 0, 0, 0, 0, 0, 0, 0, 7])?;
        while stream.read(&mut answer)? > 0 {}
    }
    Ok((shard_time()? - before) / pings)
}

/// The CPU time of the shard's thread so far.
fn shard_time() -> Result<Duration, Box<dyn Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with("passage-shard-0") {
            let schedstat = std::fs::read_to_string(task.join("schedstat"))?;
            let nanoseconds = schedstat.split(' ').next().unwrap_or_default();
            return Ok(Duration::from_nanos(nanoseconds.parse()?));
        }
    }
    Err("no shard".into())
}
