//! The services that the routes of a configuration ask: each is built once, however many routes name it.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use passage_shards::feed::FeedId;
use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::route::{MetaFilter, Remote};

use super::site::{Site, Way};
use super::targets::{Checks, Discovered, Newest};
use crate::adapters::grpc;
use crate::adapters::http::HttpStatus;
use crate::adapters::mojang::Mojang;
use crate::adapters::ping::Dialer;
use crate::adapters::target_status::{self, TargetStatus};
use crate::adapters::{Services, StatusFeed, StatusService};
use crate::app::Failure;
use crate::config;
use crate::control;
use crate::tls::Trust;

/// Builds services, and remembers for which settings.
pub(super) struct Builder {
    pub(super) trust: Trust,
    pub(super) dialer: Dialer,
    pub(super) services: Services,
    connections: grpc::Connections,
    sites: Vec<Site>,
    known: HashMap<Key, Known>,
}

/// The settings that make a service another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    SessionServer(config::Mojang),
    /// A gRPC service in this role.
    Grpc(AdapterName, config::Service),
    /// A status, for how long it is shown, and the route that it is for, if that is told to the service.
    Status(config::StatusSource, Duration, Option<Arc<str>>),
    /// All that makes the status of a route's targets another one.
    TargetStatus(String),
    /// Targets of the configuration that are checked.
    Fixed(String, Checks),
    Http(config::Http, Option<Checks>),
    Dns(config::Dns, Option<Checks>),
    Agones(String),
}

/// What there is for some settings.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) remote: Remote,
    pub(super) feed: FeedId,
    /// The newest targets, where it is targets that are known.
    pub(super) newest: Option<Newest>,
    /// Its position among the sites.
    site: usize,
}

/// What has been built for settings that were not known yet.
pub(super) struct New {
    /// Its position among the services of its kind.
    pub(super) index: usize,
    pub(super) feed: FeedId,
    pub(super) newest: Option<Newest>,
    pub(super) site: Site,
}

impl New {
    /// A service without a feed.
    pub(super) fn asked(index: usize, site: Site) -> Self {
        Self {
            index,
            feed: FeedId::next(),
            newest: None,
            site,
        }
    }
}

impl Builder {
    pub(super) fn new(trust: Trust) -> Self {
        Self {
            trust,
            dialer: Dialer::new(Arc::new(control::resolve_by_system)),
            services: Services::default(),
            connections: grpc::Connections::default(),
            sites: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Everything that was built.
    pub(super) fn finish(self) -> (Services, Vec<Site>, Trust) {
        (self.services, self.sites, self.trust)
    }

    /// What there is for these settings, or else what `build` makes of them; `route` asks it, too.
    pub(super) fn once(
        &mut self,
        key: Key,
        route: &Arc<str>,
        build: impl FnOnce(&mut Self) -> Result<New, Failure>,
    ) -> Result<Known, Failure> {
        let known = match self.known.get(&key) {
            Some(known) => known.clone(),
            None => {
                let new = build(self)?;
                let remote = Remote {
                    adapter: new.index,
                    kind: new.site.kind,
                    timeout: new.site.timeout,
                };
                let known = Known {
                    remote,
                    feed: new.feed,
                    newest: new.newest,
                    site: push(&mut self.sites, new.site),
                };
                self.known.insert(key, known.clone());
                known
            }
        };
        if let Some(site) = self.sites.get_mut(known.site) {
            site.routes.push(Arc::clone(route));
        }
        Ok(known)
    }

    pub(super) fn session_server(
        &mut self,
        settings: &config::Mojang,
        route: &Arc<str>,
    ) -> Result<Remote, Failure> {
        let known = self.once(Key::SessionServer(settings.clone()), route, |builder| {
            let service = Arc::new(Mojang::new(settings.clone(), &builder.trust));
            let index = push(&mut builder.services.authentication, Arc::clone(&service) as _);
            let url = &settings.url;
            let way = Way::Presence(service, "answers");
            let site = site(
                AdapterName::Authentication,
                AdapterType::Mojang,
                url,
                settings.remote,
                way,
            );
            Ok(New::asked(index, site))
        })?;
        Ok(known.remote)
    }

    /// A gRPC service in the role of an adapter that is asked for each player.
    pub(super) fn grpc(
        &mut self,
        name: AdapterName,
        settings: &config::Service,
        route: &Arc<str>,
    ) -> Result<Remote, Failure> {
        let known = self.once(Key::Grpc(name, settings.clone()), route, |builder| {
            let connection = builder.connection(settings)?;
            let new = || grpc::Service::new(name, Arc::clone(&connection), settings.remote);
            let service = Arc::new(new());
            let presence = Way::Presence(Arc::clone(&service) as _, "accepts connections");
            let services = &mut builder.services;
            let (index, way) = match name {
                AdapterName::Authentication => (push(&mut services.authentication, service as _), presence),
                AdapterName::Action => (push(&mut services.actions, service), presence),
                AdapterName::Strategy => (push(&mut services.strategies, service), presence),
                AdapterName::Discovery => {
                    let index = push(&mut services.discovery, service);
                    (index, Way::Discovery(index))
                }
                AdapterName::Localization => {
                    let words = Arc::new(grpc::Localization::new(new()));
                    let index = push(&mut services.localization, words);
                    (index, Way::Localization(index))
                }
                AdapterName::Status => return Err(Failure::Plan("statuses are shared by a feed".into())),
            };
            let site = site(name, AdapterType::Grpc, &settings.address, settings.remote, way);
            Ok(New::asked(index, site))
        })?;
        Ok(known.remote)
    }

    /// A status that is asked for and shared.
    pub(super) fn status(
        &mut self,
        route: &config::Route,
        status: &config::SharedStatus,
        targets: &Discovered,
        name: &Arc<str>,
    ) -> Result<Known, Failure> {
        let cached_for = status.cache_duration;
        let (key, address, remote) = match &status.source {
            config::StatusSource::Http(service) | config::StatusSource::Grpc(service) => {
                let told = matches!(status.source, config::StatusSource::Grpc(_));
                let key = Key::Status(status.source.clone(), cached_for, told.then(|| Arc::clone(name)));
                (key, service.address.clone(), service.remote)
            }
            config::StatusSource::Target(remote) => {
                let key = target_status_key(route, *remote, cached_for, &targets.origin);
                (key, "the targets".to_owned(), *remote)
            }
        };
        self.once(key, name, |builder| {
            let (service, kind, by_version) = builder.status_service(route, &status.source, targets)?;
            let feed = FeedId::next();
            let feeds = &mut builder.services.statuses;
            let index = push(
                feeds,
                StatusFeed {
                    feed,
                    service,
                    kind,
                    by_version,
                    timeout: remote.timeout,
                    refresh_interval: cached_for,
                },
            );
            let site = site(AdapterName::Status, kind, &address, remote, Way::Status(index));
            Ok(New {
                feed,
                ..New::asked(index, site)
            })
        })
    }

    /// Who gives a status, its type, and whether it differs between protocol versions.
    fn status_service(
        &mut self,
        route: &config::Route,
        source: &config::StatusSource,
        targets: &Discovered,
    ) -> Result<(Arc<dyn StatusService>, AdapterType, bool), Failure> {
        Ok(match source {
            config::StatusSource::Http(service) => {
                let service = HttpStatus::new(service, &self.trust).map_err(unusable)?;
                (Arc::new(service), AdapterType::Http, false)
            }
            config::StatusSource::Grpc(service) => {
                let connection = self.connection(service)?;
                let service = grpc::Service::new(AdapterName::Status, connection, service.remote);
                (Arc::new(service), AdapterType::Grpc, true)
            }
            config::StatusSource::Target(remote) => {
                let targets = targets.newest.clone().ok_or_else(|| {
                    Failure::Plan(format!(
                        "route {:?}: its targets are not known before there is a player, so that none can be \
                         asked for its status",
                        route.hostname
                    ))
                })?;
                let settings = target_status::Settings {
                    route: route.hostname.as_str().into(),
                    targets,
                    filters: filters_for_all(route),
                    send_proxy_protocol: route.relay.send_proxy_protocol,
                    policy: *remote,
                };
                let service = TargetStatus::new(settings, self.dialer.clone());
                (Arc::new(service), AdapterType::Target, true)
            }
        })
    }

    fn connection(&mut self, service: &config::Service) -> Result<Arc<grpc::Connection>, Failure> {
        let connection = self.connections.to(service, &self.trust);
        connection.map_err(unusable)
    }
}

/// A service that no route asks yet.
pub(super) fn site(
    name: AdapterName,
    kind: AdapterType,
    address: &str,
    remote: config::Remote,
    way: Way,
) -> Site {
    Site {
        name,
        kind,
        address: address.to_owned(),
        timeout: remote.timeout,
        routes: Vec::new(),
        way,
    }
}

/// A service whose settings cannot be used, although each of them looks right.
pub(super) fn unusable(error: impl Display) -> Failure {
    Failure::Plan(error.to_string())
}

/// Puts something at the end of a list, and says where that is.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) -> usize {
    list.push(item);
    list.len() - 1
}

/// Actions that are the same for every player.
fn filters_for_all(route: &config::Route) -> Vec<MetaFilter> {
    let filters = route
        .discovery
        .actions
        .iter()
        .filter_map(|action| match &action.kind {
            config::ActionKind::Meta(filter) => Some(filter.clone()),
            _ => None,
        });
    filters.collect()
}

fn target_status_key(
    route: &config::Route,
    remote: config::Remote,
    cached_for: Duration,
    origin: &str,
) -> Key {
    let header = route.relay.send_proxy_protocol;
    let parts = (remote, cached_for, origin, filters_for_all(route), header);
    Key::TargetStatus(format!("{parts:?}"))
}
