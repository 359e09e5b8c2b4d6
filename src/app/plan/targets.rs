//! Where the targets of a route come from: out of the configuration, from a feed that is kept up to date in
//! the background, or from a service that is asked for each player.

use std::sync::Arc;
use std::time::Duration;

use passage_proto::question::{AskError, Target};
use passage_shards::feed::{Candidate, FeedId};
use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::route::{self, ProxyVersion};
use tokio::sync::watch;

use super::services::{Builder, Key, New, push, site, unusable};
use super::site::Way;
use crate::adapters::agones::Agones;
use crate::adapters::dns::Dns;
use crate::adapters::health::Health;
use crate::adapters::http::HttpTargets;
use crate::adapters::{Answer, Call, HealthService, Refreshed, TargetFeed, TargetSource};
use crate::app::Failure;
use crate::config::{self, DiscoverySource};

/// The newest targets of a discovery.
pub(super) type Newest = watch::Receiver<Arc<[Candidate]>>;

/// How targets are checked, and what they want to read first.
pub(super) type Checks = (config::Health, Option<ProxyVersion>);

/// How often targets are asked for that stand in the configuration.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What a route's discovery is built to.
pub(super) struct Discovered {
    pub(super) discovery: route::Discovery,
    /// The newest targets, where they are known without asking.
    pub(super) newest: Option<Newest>,
    /// The same for routes that have the same targets.
    pub(super) origin: String,
}

/// A feed of targets that is to be built.
struct Feed<'a> {
    kind: AdapterType,
    address: &'a str,
    remote: config::Remote,
    refresh_interval: Duration,
    checks: Option<Checks>,
}

impl Builder {
    /// The discovery of a route, which is called `name`.
    pub(super) fn discovery(
        &mut self,
        route: &config::Route,
        name: &Arc<str>,
    ) -> Result<Discovered, Failure> {
        let discovery = &route.discovery;
        let proxy = route.relay.send_proxy_protocol;
        let checks = discovery.health.clone().map(|health| (health, proxy));
        match (&discovery.source, checks) {
            (DiscoverySource::Fixed(targets), None) => Ok(written(targets)),
            (DiscoverySource::Fixed(targets), Some(checks)) => {
                let feed = Feed {
                    kind: AdapterType::Fixed,
                    address: "the configuration",
                    remote: config::Remote::default(),
                    refresh_interval: NEVER,
                    checks: Some(checks.clone()),
                };
                let key = Key::Fixed(format!("{targets:?}"), checks);
                self.feed(key, name, &feed, |_| Ok(Arc::new(Written(targets.clone()))))
            }
            (DiscoverySource::Http(settings), checks) => {
                let feed = Feed {
                    kind: AdapterType::Http,
                    address: &settings.service.address,
                    remote: settings.service.remote,
                    refresh_interval: settings.refresh_interval,
                    checks: checks.clone(),
                };
                let key = Key::Http(settings.clone(), checks);
                self.feed(key, name, &feed, |builder| {
                    let source = HttpTargets::new(settings, &builder.trust).map_err(unusable)?;
                    Ok(Arc::new(source))
                })
            }
            (DiscoverySource::Dns(settings), checks) => {
                let feed = Feed {
                    kind: AdapterType::Dns,
                    address: &settings.domain,
                    remote: settings.remote,
                    refresh_interval: settings.refresh_interval,
                    checks: checks.clone(),
                };
                let key = Key::Dns(settings.clone(), checks);
                self.feed(key, name, &feed, |_| Ok(Arc::new(Dns::new(settings.clone()))))
            }
            (DiscoverySource::Agones(settings), _) => self.agones(settings, name),
            (DiscoverySource::Grpc(service), _) => {
                let remote = self.grpc(AdapterName::Discovery, service, name)?;
                Ok(Discovered::for_each_player(remote))
            }
        }
    }

    fn feed(
        &mut self,
        key: Key,
        route: &Arc<str>,
        feed: &Feed<'_>,
        source: impl FnOnce(&Self) -> Result<Arc<dyn TargetSource>, Failure>,
    ) -> Result<Discovered, Failure> {
        let known = self.once(key, route, |builder| {
            let id = FeedId::next();
            let latest = watch::Sender::new(Arc::default());
            let targets = TargetFeed {
                feed: id,
                source: source(builder)?,
                kind: feed.kind,
                timeout: feed.remote.timeout,
                refresh_interval: feed.refresh_interval,
                health: feed.checks.clone().map(|checks| builder.health(checks)),
                latest: latest.clone(),
            };
            let index = push(&mut builder.services.targets, targets);
            let way = Way::Targets(index);
            Ok(New {
                feed: id,
                newest: Some(latest.subscribe()),
                ..New::asked(
                    index,
                    site(AdapterName::Discovery, feed.kind, feed.address, feed.remote, way),
                )
            })
        })?;
        Ok(Discovered {
            discovery: route::Discovery::Feed {
                feed: known.feed,
                kind: feed.kind,
            },
            newest: known.newest,
            origin: format!("{:?}", known.feed),
        })
    }

    fn agones(&mut self, settings: &config::Agones, route: &Arc<str>) -> Result<Discovered, Failure> {
        // There are no secrets in it: the credentials stand in files of their own.
        let key = Key::Agones(format!("{settings:?}"));
        let known = self.once(key, route, |builder| {
            let agones = Arc::new(Agones::new(settings.clone()));
            let index = push(&mut builder.services.discovery, Arc::clone(&agones) as _);
            let address = match &settings.namespace {
                Some(namespace) => format!("Kubernetes, namespace {namespace}"),
                None => "Kubernetes".to_owned(),
            };
            let way = Way::Presence(agones, "would allow an allocation");
            let site = site(
                AdapterName::Discovery,
                AdapterType::Agones,
                &address,
                settings.remote,
                way,
            );
            Ok(New::asked(index, site))
        })?;
        Ok(Discovered::for_each_player(known.remote))
    }

    fn health(&self, (settings, proxy_header): Checks) -> Arc<dyn HealthService> {
        Arc::new(Health::new(settings, proxy_header, self.dialer.clone()))
    }
}

impl Discovered {
    fn for_each_player(remote: route::Remote) -> Self {
        Self {
            discovery: route::Discovery::Remote(remote),
            newest: None,
            origin: String::new(),
        }
    }
}

/// Targets that stand in the configuration and are not checked.
fn written(targets: &[Arc<Target>]) -> Discovered {
    let candidates: Arc<[_]> = targets.iter().cloned().map(Candidate::from).collect();
    let (_, newest) = watch::channel(Arc::clone(&candidates));
    Discovered {
        discovery: route::Discovery::Fixed(candidates),
        newest: Some(newest),
        origin: format!("{targets:?}"),
    }
}

/// Targets that stand in the configuration, as a source of a feed that checks them.
struct Written(Vec<Arc<Target>>);

impl TargetSource for Written {
    fn refresh(&self, _: Call) -> Answer<'_, Result<Refreshed, AskError>> {
        let targets = self.0.clone();
        Box::pin(async {
            Ok(Refreshed {
                targets,
                valid_for: Some(NEVER),
            })
        })
    }
}
