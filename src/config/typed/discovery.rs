//! `[discovery]`: where targets come from, what happens to the list, and how their health is watched.

mod action;
pub mod agones;
mod dns;
mod fixed;
mod health;

use std::sync::Arc;
use std::time::Duration;

use passage_proto::question::Target;
use passage_shards::ejection::Terms;

use super::route::kind;
use super::service::{self, Protocol, Service};
use super::strategy::Strategy;
use crate::config::section::Section;
use crate::config::value::seconds;

pub use self::action::{Action, ActionKind};
pub use self::agones::Agones;
pub use self::dns::{Dns, DnsRecords};
pub(crate) use self::fixed::split_address;
pub use self::health::{Check, Health};

/// Where a route's targets come from, and what happens to them until one is chosen.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// Who knows the targets.
    pub source: DiscoverySource,
    /// What happens to the list, in order (`actions`).
    pub actions: Vec<Action>,
    /// The strategy that stands among the actions, as upstream writes it.
    pub(super) strategy: Option<Strategy>,
    /// `[discovery.health]`; `None` where nothing is checked.
    pub health: Option<Health>,
    /// `[discovery.ejection]`.
    pub ejection: Terms,
}

/// Who knows the targets.
#[derive(Clone, Debug, PartialEq)]
pub enum DiscoverySource {
    /// The configuration.
    Fixed(Vec<Arc<Target>>),
    /// A web server, asked in the background.
    Http(Http),
    /// DNS, asked in the background.
    Dns(Dns),
    /// Agones, asked for each player.
    Agones(Box<Agones>),
    /// A service of the network's own, asked for each player.
    Grpc(Service),
}

/// A web server that lists targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Http {
    /// Where and how it is asked.
    pub service: Service,
    /// Time between two questions, where the answer does not say how long it is good (`refresh_interval`).
    pub refresh_interval: Duration,
}

const REFRESH_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Clone)]
enum Kind {
    Fixed,
    Http,
    Dns,
    Agones,
    Grpc,
}

pub(super) fn read(table: &Section<'_>) -> Discovery {
    const KINDS: &[(&str, Kind)] = &[
        ("fixed", Kind::Fixed),
        ("http", Kind::Http),
        ("dns", Kind::Dns),
        ("agones", Kind::Agones),
        ("grpc", Kind::Grpc),
        ("fixed_discovery", Kind::Fixed),
        ("dns_discovery", Kind::Dns),
        ("agones_discovery", Kind::Agones),
        ("grpc_discovery", Kind::Grpc),
    ];
    let source = match kind(table, Kind::Fixed, KINDS) {
        None => {
            return Discovery {
                source: DiscoverySource::Fixed(Vec::new()),
                actions: Vec::new(),
                strategy: None,
                health: None,
                ejection: Terms::default(),
            };
        }
        Some(Kind::Fixed) => DiscoverySource::Fixed(fixed::read(table)),
        Some(Kind::Http) => DiscoverySource::Http(Http {
            service: service::read(table, Protocol::Http),
            refresh_interval: refresh_interval(table),
        }),
        Some(Kind::Dns) => DiscoverySource::Dns(dns::read(table)),
        Some(Kind::Agones) => DiscoverySource::Agones(Box::new(agones::read(table))),
        Some(Kind::Grpc) => DiscoverySource::Grpc(service::read(table, Protocol::Grpc)),
    };
    let (actions, strategy) = action::read_all(table);
    let health = table.table("health", health::read);
    if health.is_some() && source.is_asked_for_each_player() {
        table.blame(
            "health",
            "health checks of targets that are asked for anew for each player",
            "no health checks here, or a discovery of type fixed, http or dns",
        );
    }
    Discovery {
        source,
        actions,
        strategy,
        health,
        ejection: table.table("ejection", health::read_ejection),
    }
}

impl DiscoverySource {
    /// Whether nobody knows the targets before there is a player.
    #[must_use]
    pub fn is_asked_for_each_player(&self) -> bool {
        matches!(self, Self::Agones(_) | Self::Grpc(_))
    }
}

/// Time between two questions in the background.
fn refresh_interval(table: &Section<'_>) -> Duration {
    table
        .value("refresh_interval", seconds(1..=86_400))
        .unwrap_or(REFRESH_INTERVAL)
}
