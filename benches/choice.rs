//! What choosing a target costs a shard, with 1, 16 and 1 000 candidates.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::question::{ChooseQuery, ClientInfo, Player, Target};
use passage_shards::ejection::{Ejections, Terms};
use passage_shards::feed::Candidate;
use passage_shards::route::{Choice, Chooser, Strategy};
use uuid::Uuid;

use harness::Case;

#[path = "support/harness.rs"]
mod harness;

const FIELD: &str = "players";

fn main() -> ExitCode {
    let field = || FIELD.to_owned();
    let player_fill = Strategy::PlayerFill {
        field: field(),
        max_players: 100,
    };
    let hash = Strategy::Hash { field: None };
    let weighted_hash = Strategy::Hash { field: Some(field()) };
    let weighted = Strategy::Weighted { field: field() };
    harness::main(vec![
        case("fixed, 1", Strategy::Fixed, 1),
        case("fixed, 16", Strategy::Fixed, 16),
        case("fixed, 1 000", Strategy::Fixed, 1_000),
        case("player_fill, 1", player_fill.clone(), 1),
        case("player_fill, 16", player_fill.clone(), 16),
        case("player_fill, 1 000", player_fill, 1_000),
        case("random, 1", Strategy::Random, 1),
        case("random, 16", Strategy::Random, 16),
        case("random, 1 000", Strategy::Random, 1_000),
        case("round_robin, 1", Strategy::RoundRobin, 1),
        case("round_robin, 16", Strategy::RoundRobin, 16),
        case("round_robin, 1 000", Strategy::RoundRobin, 1_000),
        case("least_connections, 1", Strategy::LeastConnections, 1),
        case("least_connections, 16", Strategy::LeastConnections, 16),
        case("least_connections, 1 000", Strategy::LeastConnections, 1_000),
        case("lowest_latency, 1", Strategy::LowestLatency, 1),
        case("lowest_latency, 16", Strategy::LowestLatency, 16),
        case("lowest_latency, 1 000", Strategy::LowestLatency, 1_000),
        case("weighted, 1", weighted.clone(), 1),
        case("weighted, 16", weighted.clone(), 16),
        case("weighted, 1 000", weighted, 1_000),
        case("hash, 1", hash.clone(), 1),
        case("hash, 16", hash.clone(), 16),
        case("hash, 1 000", hash.clone(), 1_000),
        case("hash with weights, 1", weighted_hash.clone(), 1),
        case("hash with weights, 16", weighted_hash.clone(), 16),
        case("hash with weights, 1 000", weighted_hash, 1_000),
        case_with_ejected("hash, 16, 4 ejected", hash.clone(), 16, 4),
        case_with_ejected("hash, 1 000, 250 ejected", hash, 1_000, 250),
    ])
}

fn case(name: &'static str, strategy: Strategy, count: u32) -> Case {
    case_with_ejected(name, strategy, count, 0)
}

/// Chooses for another player every time. Each target has as many players of this shard as its `meta` says.
fn case_with_ejected(name: &'static str, strategy: Strategy, count: u32, ejected: usize) -> Case {
    let candidates: Vec<_> = (0..count).map(candidate).collect();
    let mut chooser = Chooser::new(1);
    let counted: Vec<_> = candidates
        .iter()
        .zip(0_u32..)
        .flat_map(|(candidate, at)| (0..players(at)).map(move |_| candidate))
        .map(|candidate| chooser.count(&candidate.target))
        .collect();
    let mut ejections = Ejections::default();
    let terms = Terms {
        consecutive_failures: 1,
        ..Terms::default()
    };
    let now = Instant::now();
    for candidate in candidates.iter().take(ejected) {
        ejections.failed(&candidate.target, &terms, now);
    }
    let mut query = query();
    Case::new(name, move || {
        let _present = &counted;
        if let Some(player) = &mut query.player {
            player.id = Uuid::from_u128(player.id.as_u128() + 1);
        }
        let choice = Choice {
            query: &query,
            candidates: &candidates,
            is_ejected: &ejections.among(&candidates, &terms, now),
            tried: &[],
            route: 0,
        };
        strategy.choose(&choice, &mut chooser).is_ok()
    })
}

fn candidate(at: u32) -> Candidate {
    let target = Target {
        identifier: format!("lobby-{at}"),
        host: format!("10.0.{}.{}", at / 250, at % 250),
        port: 25_565,
        priority: 0,
        meta: BTreeMap::from([(FIELD.to_owned(), players(at).to_string())]),
    };
    Candidate {
        target: Arc::new(target),
        is_healthy: true,
        latency: Some(Duration::from_micros(u64::from(1_000 + at * 7 % 31))),
    }
}

fn players(at: u32) -> u32 {
    20 + at * 13 % 60
}

fn query() -> ChooseQuery {
    ChooseQuery {
        client: ClientInfo {
            address: (Ipv4Addr::LOCALHOST, 40_000).into(),
            hostname: "play.example.net".into(),
            port: 25_565,
            protocol: 775,
        },
        player: Some(Player {
            name: "Somebody".into(),
            id: Uuid::from_u128(0x069a_79f4_44e9_4726_a5be_fca9_0e38_aaf5),
        }),
    }
}
