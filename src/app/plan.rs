//! From a checked configuration to what the shards and the control thread work with. Opens no socket and
//! starts no thread, so that `passage check` and `passage route` can build it too.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use passage_proto::cookie::CookieKeys;
use passage_proto::question::Target;
use passage_proto::status::{StatusDocument, StatusReply};
use passage_shards::ask::ControlLine;
use passage_shards::feed::{Candidate, FeedId, Update};
use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::pool::Blueprint;
use passage_shards::route::{self, Localization, Remote, Routes, StatusSource};
use passage_shards::trace;

use super::Failure;
use crate::adapters::Services;
use crate::adapters::mojang::Mojang;
use crate::config::{self, Config};
use crate::localization::Words;
use crate::telemetry::spans::Recorder;
use crate::telemetry::{self, Outlets};
use crate::tls::Trust;

/// Everything that is built out of a configuration.
pub struct Plan {
    /// The routes, in order.
    pub routes: Arc<[route::Route]>,
    /// Shown to pings for no route.
    pub unknown_host: Option<Arc<StatusReply>>,
    /// Words for logins to no route.
    pub localization: Localization,
    /// What the routes' remote adapters name by index.
    pub services: Services,
    trust: Trust,
}

impl Plan {
    /// Builds routes, statuses, words, keys and adapters, which trust whom `trust` says.
    ///
    /// # Errors
    ///
    /// What cannot be built; the configuration's own checks leave little of it.
    pub fn new(config: &Config, trust: Trust) -> Result<Self, Failure> {
        let mut builder = Builder::new(trust);
        let cookies = cookie_keys(config)?;
        let routes: Vec<_> = config
            .routes
            .iter()
            .map(|route| builder.route(route, cookies.as_ref()))
            .collect::<Result<_, _>>()?;
        let localization = builder.words(&config.localization);
        let unknown_host = config
            .unknown_host
            .as_ref()
            .map(|status| encode("unknown_host", status))
            .transpose()?;
        let plan = Self {
            routes: routes.into(),
            unknown_host,
            localization,
            services: builder.services,
            trust: builder.trust,
        };
        plan.table()?;
        Ok(plan)
    }

    /// The routes as shards look them up.
    ///
    /// # Errors
    ///
    /// Routes that cannot be used.
    pub fn table(&self) -> Result<Routes, Failure> {
        let localization = self.localization.clone();
        Routes::new(Arc::clone(&self.routes), self.unknown_host.clone(), localization).map_err(|errors| {
            let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Failure::Plan(lines.join("\n"))
        })
    }

    /// The distinct targets that are known without asking.
    #[must_use]
    pub fn fixed_targets(&self) -> Vec<Arc<Target>> {
        let all = self.routes.iter().filter_map(|route| match &route.discovery {
            route::Discovery::Fixed(candidates) => Some(candidates.iter()),
            _ => None,
        });
        let mut seen = BTreeSet::new();
        all.flatten()
            .filter(|candidate| seen.insert(candidate.target.identifier.as_str()))
            .map(|candidate| Arc::clone(&candidate.target))
            .collect()
    }

    pub(super) fn telemetry(&self, config: &Config, recorder: Recorder) -> telemetry::Settings {
        let otel = &config.otel;
        telemetry::Settings {
            metrics: otel
                .metrics
                .as_ref()
                .map(|metrics| endpoint(metrics, &self.trust)),
            traces: otel.traces.as_ref().map(|traces| telemetry::traces::Settings {
                endpoint: endpoint(traces, &self.trust),
                options: trace::Options {
                    sample_rate: otel.traces_sample_rate,
                    per_second: otel.traces_per_second,
                },
                recorder,
            }),
            metrics_interval: otel.metrics_interval,
            histograms: if otel.exponential_histograms {
                telemetry::Shape::Exponential
            } else {
                telemetry::Shape::Explicit
            },
            label_limit: otel.label_limit,
            client_ip_label: otel.client_ip_label,
            environment: otel.environment.clone(),
            adapters: self.adapters(),
        }
    }

    /// `news` is what the control thread knows already.
    pub(super) fn blueprint(
        self,
        config: &Config,
        control: ControlLine,
        news: Vec<Update>,
        telemetry: Outlets,
    ) -> Blueprint {
        Blueprint {
            addresses: config.addresses.clone(),
            shards: config.shards.count,
            pin: config.shards.pin,
            routes: self.routes,
            unknown_host: self.unknown_host,
            localization: self.localization,
            proxy_protocol: config.proxy_protocol.clone(),
            rate_limit: config.rate_limit,
            limits: config.bounds.shard,
            max_packet_length: config.max_packet_length,
            timeout: config.timeout,
            auth_cookie_expiry: config.auth_cookie_expiry,
            control,
            news,
            telemetry: telemetry.metrics,
            traces: telemetry.traces,
        }
    }

    /// Which adapters are in use, each once.
    fn adapters(&self) -> Vec<(AdapterName, AdapterType)> {
        let mut adapters = Vec::new();
        for route in &*self.routes {
            let status = match route.status {
                StatusSource::Fixed(_) => AdapterType::Fixed,
                StatusSource::Shared { adapter, .. } => adapter.kind,
            };
            let authentication = match &route.authentication {
                route::Authentication::Disabled => AdapterType::Disabled,
                route::Authentication::Fixed(_) => AdapterType::Fixed,
                route::Authentication::Remote { adapter, .. } => adapter.kind,
            };
            let used = [
                (AdapterName::Status, status),
                (AdapterName::Authentication, authentication),
                (AdapterName::Discovery, route.discovery.kind()),
                (AdapterName::Strategy, route.strategy.kind()),
                (AdapterName::Localization, AdapterType::Fixed),
            ];
            adapters.extend(
                used.into_iter()
                    .filter(|adapter| !adapters.contains(adapter))
                    .collect::<Vec<_>>(),
            );
        }
        adapters
    }
}

/// Where a signal goes.
pub(super) fn endpoint(endpoint: &config::Endpoint, trust: &Trust) -> telemetry::Endpoint {
    let token = endpoint.token.as_ref();
    telemetry::Endpoint {
        url: endpoint.url.clone(),
        token: token.map(|token| telemetry::Token::new(token.expose())),
        trust: trust.clone(),
    }
}

/// What several routes share is built once.
struct Builder {
    trust: Trust,
    services: Services,
    session_servers: HashMap<config::Mojang, usize>,
    words: Vec<(config::Localization, Localization)>,
}

impl Builder {
    fn new(trust: Trust) -> Self {
        Self {
            trust,
            services: Services::default(),
            session_servers: HashMap::new(),
            words: Vec::new(),
        }
    }

    fn route(
        &mut self,
        route: &config::Route,
        cookies: Option<&Arc<CookieKeys>>,
    ) -> Result<route::Route, Failure> {
        let config::DiscoverySource::Fixed(targets) = &route.discovery.source else {
            return Err(not_yet(route, "discovery"));
        };
        if !route.discovery.actions.is_empty() {
            return Err(not_yet(route, "action"));
        }
        let config::Strategy::BuiltIn(strategy) = &route.strategy else {
            return Err(not_yet(route, "strategy"));
        };
        Ok(route::Route {
            name: route.hostname.as_str().into(),
            mode: route.mode,
            relay: route.relay.clone(),
            status: match &route.status {
                config::Status::Fixed(status) => StatusSource::Fixed(encode(&route.hostname, status)?),
                config::Status::Shared(status) => shared_status(route, status)?,
            },
            authentication: self.authentication(route)?,
            discovery: route::Discovery::Fixed(targets.iter().cloned().map(Candidate::from).collect()),
            actions: Vec::new(),
            strategy: strategy.clone(),
            ejection: route.discovery.ejection,
            localization: self.words(&route.localization),
            cookies: cookies.cloned(),
        })
    }

    fn authentication(&mut self, route: &config::Route) -> Result<route::Authentication, Failure> {
        Ok(match &route.authentication {
            config::Authentication::Disabled => route::Authentication::Disabled,
            config::Authentication::Fixed(profile) => route::Authentication::Fixed(profile.clone()),
            config::Authentication::Grpc(_) => return Err(not_yet(route, "authentication")),
            config::Authentication::Mojang(settings) => {
                let (authenticators, trust) = (&mut self.services.authentication, &self.trust);
                let adapter = *self.session_servers.entry(settings.clone()).or_insert_with(|| {
                    authenticators.push(Arc::new(Mojang::new(settings.clone(), trust)));
                    authenticators.len() - 1
                });
                let adapter = Remote {
                    adapter,
                    kind: AdapterType::Mojang,
                    timeout: settings.remote.timeout,
                };
                route::Authentication::Remote {
                    adapter,
                    client_must_authenticate: true,
                }
            }
        })
    }

    fn words(&mut self, settings: &config::Localization) -> Localization {
        if let Some((_, words)) = self.words.iter().find(|(known, _)| known == settings) {
            return words.clone();
        }
        let words = Localization {
            words: Arc::new(Words::new(&settings.default_locale, &settings.messages)),
            remote: None,
        };
        self.words.push((settings.clone(), words.clone()));
        words
    }
}

fn shared_status(route: &config::Route, status: &config::SharedStatus) -> Result<StatusSource, Failure> {
    let config::StatusSource::Target(remote) = status.source else {
        return Err(not_yet(route, "status"));
    };
    let offline = status.offline.as_ref();
    Ok(StatusSource::Shared {
        feed: FeedId::next(),
        adapter: Remote {
            adapter: 0,
            kind: AdapterType::Target,
            timeout: remote.timeout,
        },
        by_version: true,
        offline: offline
            .map(|offline| encode(&route.hostname, offline))
            .transpose()?,
    })
}

/// The adapters of this kind are not joined to the shards yet.
fn not_yet(route: &config::Route, adapter: &str) -> Failure {
    Failure::Plan(format!(
        "route {:?}: the {adapter} adapter of this type cannot be built yet",
        route.hostname
    ))
}

fn cookie_keys(config: &Config) -> Result<Option<Arc<CookieKeys>>, Failure> {
    let Some(secret) = &config.auth_secret else {
        return Ok(None);
    };
    let keys = CookieKeys::new(secret.expose().as_bytes(), None).map_err(|_| {
        let min = config::SECRET_BYTES_MIN;
        Failure::Plan(format!(
            "auth_secret: the secret is too short; at least {min} bytes are allowed"
        ))
    })?;
    Ok(Some(Arc::new(keys)))
}

fn encode(of: &str, status: &StatusDocument) -> Result<Arc<StatusReply>, Failure> {
    let reply =
        StatusReply::new(status).map_err(|error| Failure::Plan(format!("the status of {of}: {error}")))?;
    Ok(Arc::new(reply))
}
