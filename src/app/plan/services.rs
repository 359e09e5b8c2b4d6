//! The services that the routes of a configuration ask: each is built once, however many routes name it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use passage_proto::question::{AskError, Target};
use passage_shards::feed::FeedId;
use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::route::{ProxyVersion, Remote};

use crate::adapters::agones::Agones;
use crate::adapters::dns::Dns;
use crate::adapters::mojang::Mojang;
use crate::adapters::{
    Answer, Call, HealthService, Refreshed, Services, StatusFeed, StatusService, TargetFeed, TargetSource, grpc,
};
use crate::app::Failure;
use crate::config;
use crate::tls::Trust;

/// How often targets are asked for that stand in the configuration.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A service that routes ask, for commands that tell about it.
pub struct Site {
    /// Its role.
    pub name: AdapterName,
    /// Its type.
    pub kind: AdapterType,
    /// Where it is, as the operator wrote it.
    pub address: String,
    /// For one question.
    pub timeout: Duration,
    /// The routes that ask it, in order.
    pub routes: Vec<Arc<str>>,
    /// How it can be reached.
    pub way: Way,
}

/// How a service can be reached without an effect on anybody; positions are those in [`Services`].
#[derive(Clone)]
pub enum Way {
    /// A session server at this address, whose every question is about a player.
    SessionServer(String),
    /// A status that is asked for on nobody's behalf.
    Status(usize),
    /// Targets that are asked for in the background.
    Targets(usize),
    /// Targets that are asked for on a client's behalf, not a player's.
    Discovery(usize),
    /// Game servers, of which none is to be allocated.
    Agones(Arc<Agones>),
    /// Words for a message.
    Localization(usize),
    /// A gRPC service whose every question is about a player.
    Players(Arc<grpc::Connection>),
}

/// Builds services, and remembers for which settings.
pub(super) struct Builder {
    trust: Trust,
    connections: grpc::Connections,
    services: Services,
    sites: Vec<Site>,
    known: HashMap<Key, Known>,
}

/// The settings that make a service another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    SessionServer(config::Mojang),
    /// A gRPC service in this role.
    Grpc(AdapterName, config::Service),
    Status(config::StatusSource, Duration),
    /// Targets as they are written, and how they are checked.
    Targets(String, Option<Checks>),
    Agones(String),
}

/// How targets are checked, and the header that they want to read first.
type Checks = (config::Health, Option<ProxyVersion>);

/// What there is for some settings.
#[derive(Clone, Copy)]
struct Known {
    /// Its position among the sites; `None` if it is none.
    site: Option<usize>,
    remote: Remote,
    feed: FeedId,
}

impl Builder {
    pub(super) fn new(trust: Trust) -> Self {
        Self {
            trust,
            connections: grpc::Connections::default(),
            services: Services::default(),
            sites: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Everything that was built.
    pub(super) fn finish(self) -> (Services, Vec<Site>, Trust) {
        (self.services, self.sites, self.trust)
    }

    pub(super) fn session_server(
        &mut self,
        settings: &config::Mojang,
        route: &Arc<str>,
    ) -> Result<Remote, Failure> {
        let known = self.once(Key::SessionServer(settings.clone()), route, |builder| {
            let service = Arc::new(Mojang::new(settings.clone(), &builder.trust));
            let site = Site {
                name: AdapterName::Authentication,
                kind: AdapterType::Mojang,
                address: settings.url.clone(),
                timeout: settings.remote.timeout,
                routes: Vec::new(),
                way: Way::SessionServer(settings.url.clone()),
            };
            Ok((push(&mut builder.services.authentication, service), Some(site)))
        });
        known.map(|known| known.remote)
    }

    /// A gRPC service in one of its roles.
    pub(super) fn grpc(
        &mut self,
        name: AdapterName,
        settings: &config::Service,
        route: &Arc<str>,
    ) -> Result<Remote, Failure> {
        let known = self.once(Key::Grpc(name, settings.clone()), route, |builder| {
            let (service, connection) = builder.grpc_service(name, settings)?;
            let services = &mut builder.services;
            let (index, way) = match name {
                AdapterName::Authentication => {
                    (push(&mut services.authentication, service), Way::Players(connection))
                }
                AdapterName::Discovery => {
                    let index = push(&mut services.discovery, service);
                    (index, Way::Discovery(index))
                }
                AdapterName::Action => (push(&mut services.actions, service), Way::Players(connection)),
                AdapterName::Strategy => (push(&mut services.strategies, service), Way::Players(connection)),
                AdapterName::Localization => {
                    let service = Arc::new(grpc::Localization::new(service));
                    let index = push(&mut services.localization, service);
                    (index, Way::Localization(index))
                }
                AdapterName::Status => return Err(Failure::Plan("a status is built as a feed".into())),
            };
            Ok((index, Some(site(name, AdapterType::Grpc, settings, way))))
        });
        known.map(|known| known.remote)
    }
}
