//! How evenly connections are spread over shards: by Linux as it is, and by what could be asked of it.
//!
//! `cargo bench --bench steering` prints Markdown tables for `docs/performance.md`: the load of the busiest
//! shard divided by the mean, on average and at the 99th percentile of many seeds. A server is full when its
//! busiest shard is, so that 1.25 means that a fifth of the machine stays idle then. It is a simulation, the
//! same everywhere. `cargo bench --bench steering -- --kernel` opens real listening sockets on loopback
//! beside, and compares what this machine's kernel does with the model of it.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::io;

use crowd::{Crowd, Steering};

#[path = "steering/crowd.rs"]
mod crowd;
#[path = "steering/hashes.rs"]
mod hashes;
#[path = "steering/kernel.rs"]
mod kernel;

/// Seeds of each cell.
const SEEDS: u64 = 100;
const SHARDS: [usize; 5] = [4, 8, 16, 32, 64];
const STEERINGS: [(Steering, &str); 5] = [
    (Steering::Hash, "hash (as it is)"),
    (Steering::IncomingCpu, "incoming CPU"),
    (Steering::Turns, "in turn"),
    (Steering::BetterOfTwo, "better of two"),
    (Steering::Fewest, "fewest, news each 100"),
];

const CROWDS: [(&str, Crowd); 5] = [
    (
        "30 000 short connections from as many addresses",
        Crowd {
            sources: 0,
            arrivals: 30_000,
            open: 0,
            heavy: false,
        },
    ),
    (
        "4 000 players who come and go, by number",
        Crowd {
            sources: 0,
            arrivals: 24_000,
            open: 4_000,
            heavy: false,
        },
    ),
    (
        "4 000 players who come and go, by heavy-tailed traffic",
        Crowd {
            sources: 0,
            arrivals: 24_000,
            open: 4_000,
            heavy: true,
        },
    ),
    (
        "28 000 connections from one address (a proxy in front), ports in sequence",
        Crowd {
            sources: 1,
            arrivals: 28_000,
            open: 0,
            heavy: false,
        },
    ),
    (
        "30 000 connections from 16 addresses (an attack), ports in sequence",
        Crowd {
            sources: 16,
            arrivals: 30_000,
            open: 0,
            heavy: false,
        },
    ),
];

fn main() -> io::Result<()> {
    hashes::check();
    if std::env::args().any(|argument| argument == "--kernel") {
        return compare_with_the_kernel();
    }
    for (title, crowd) in CROWDS {
        let heads: Vec<&str> = STEERINGS.iter().map(|(_, name)| *name).collect();
        println!("{title}:\n\n| shards | {} |", heads.join(" | "));
        println!("| ---: |{}", " ---: |".repeat(heads.len()));
        for shards in SHARDS {
            let cells: Vec<String> = STEERINGS
                .iter()
                .map(|(steering, _)| spread(|seed| Ok(crowd.imbalance(*steering, shards, seed))))
                .collect::<io::Result<_>>()?;
            println!("| {shards} | {} |", cells.join(" | "));
        }
        println!();
    }
    Ok(())
}

/// Mean and 99th percentile over all seeds.
fn spread(mut imbalance: impl FnMut(u64) -> io::Result<f64>) -> io::Result<String> {
    spread_of((0..SEEDS).map(&mut imbalance).collect::<io::Result<_>>()?)
}

fn spread_of(mut all: Vec<f64>) -> io::Result<String> {
    all.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred seeds")]
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let high = all.get((all.len() * 99).div_ceil(100) - 1);
    let high = high.ok_or_else(|| io::Error::other("no seeds"))?;
    Ok(format!("{mean:.2} / {high:.2}"))
}

/// Real sockets against the model: the same number of connections, spread by the kernel.
fn compare_with_the_kernel() -> io::Result<()> {
    const CONNECTIONS: usize = 2_000;
    const TRIES: u64 = 20;
    println!("{CONNECTIONS} connections from one address, busiest to mean over {TRIES} tries:\n");
    println!("| sockets | this kernel | model |\n| ---: | ---: | ---: |");
    let crowd = Crowd {
        sources: 1,
        arrivals: CONNECTIONS,
        open: 0,
        heavy: false,
    };
    for sockets in SHARDS {
        let real = (0..TRIES)
            .map(|_| kernel::imbalance(sockets, CONNECTIONS))
            .collect::<io::Result<_>>()?;
        let model = (0..TRIES).map(|seed| crowd.imbalance(Steering::Hash, sockets, seed));
        println!(
            "| {sockets} | {} | {} |",
            spread_of(real)?,
            spread_of(model.collect())?
        );
    }
    Ok(())
}
