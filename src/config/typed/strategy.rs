//! `[strategy]`: which target is chosen.

use passage_shards::route::Strategy as BuiltIn;

use super::route::kind;
use super::service::{self, Protocol, Service};
use crate::config::section::Section;
use crate::config::value::{integer, word};

/// How one of the targets is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// By a shard itself; never [`BuiltIn::Remote`].
    BuiltIn(BuiltIn),
    /// By a service of the network's own.
    Grpc(Service),
}

impl Default for Strategy {
    fn default() -> Self {
        Self::BuiltIn(BuiltIn::Fixed)
    }
}

const WEIGHT: &str = "weight";

#[derive(Clone)]
enum Kind {
    Fixed,
    PlayerFill,
    Random,
    RoundRobin,
    LeastConnections,
    LowestLatency,
    Weighted,
    Hash,
    Grpc,
}

pub(super) fn read(table: &Section<'_>) -> Strategy {
    const KINDS: &[(&str, Kind)] = &[
        ("fixed", Kind::Fixed),
        ("player_fill", Kind::PlayerFill),
        ("random", Kind::Random),
        ("round_robin", Kind::RoundRobin),
        ("least_connections", Kind::LeastConnections),
        ("lowest_latency", Kind::LowestLatency),
        ("weighted", Kind::Weighted),
        ("hash", Kind::Hash),
        ("grpc", Kind::Grpc),
        ("player_fill_strategy", Kind::PlayerFill),
    ];
    let built_in = match kind(table, Kind::Fixed, KINDS) {
        None | Some(Kind::Fixed) => BuiltIn::Fixed,
        Some(Kind::PlayerFill) => return player_fill(table),
        Some(Kind::Random) => BuiltIn::Random,
        Some(Kind::RoundRobin) => BuiltIn::RoundRobin,
        Some(Kind::LeastConnections) => BuiltIn::LeastConnections,
        Some(Kind::LowestLatency) => BuiltIn::LowestLatency,
        Some(Kind::Weighted) => BuiltIn::Weighted {
            field: table.value("field", word).unwrap_or_else(|| WEIGHT.into()),
        },
        Some(Kind::Hash) => BuiltIn::Hash {
            field: table.value("field", word),
        },
        Some(Kind::Grpc) => return Strategy::Grpc(service::read(table, Protocol::Grpc)),
    };
    Strategy::BuiltIn(built_in)
}

/// Reads the keys of `player_fill`, also where it stands among the actions.
pub(super) fn player_fill(table: &Section<'_>) -> Strategy {
    Strategy::BuiltIn(BuiltIn::PlayerFill {
        field: table
            .required(
                "field",
                "the key of the targets' meta that counts players, such as \"players\"",
                word,
            )
            .unwrap_or_default(),
        max_players: table
            .required(
                "max_players",
                "the number of players at which a target is full",
                integer(1..=u32::MAX),
            )
            .unwrap_or(1),
    })
}
