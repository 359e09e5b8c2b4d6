//! From a checked configuration to what the shards and the control thread work with. Opens no socket and
//! starts no thread, so that `passage check` and `passage route` can build it too.

mod routes;
mod services;
mod site;
mod targets;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use passage_proto::cookie::CookieKeys;
use passage_proto::question::Target;
use passage_proto::status::{StatusDocument, StatusReply};
use passage_shards::ask::ControlLine;
use passage_shards::feed::Update;
use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::pool::Blueprint;
use passage_shards::route::{self, Localization, Routes, StatusSource};
use passage_shards::trace;

use self::services::Builder;
pub use self::site::{Site, Way};
use super::Failure;
use crate::adapters::Services;
use crate::config::{self, Config};
use crate::telemetry::spans::Recorder;
use crate::telemetry::{self, Outlets};
use crate::tls::Trust;

/// Stands for the host names that no route has.
const NO_ROUTE: &str = "(no route)";

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
    /// The same services, each with the routes that ask it.
    pub sites: Vec<Site>,
    trust: Trust,
}

impl Plan {
    /// Builds routes, statuses, words, keys and adapters, which trust whom `trust` says.
    ///
    /// # Errors
    ///
    /// What cannot be built; the configuration's own checks leave little of it.
    pub fn new(config: &Config, trust: Trust) -> Result<Self, Failure> {
        let cookies = cookie_keys(config)?;
        let mut builder = routes::Routes::new(Builder::new(trust), cookies.as_ref());
        let routes = config.routes.iter().map(|route| builder.build(route));
        let routes: Vec<_> = routes.collect::<Result<_, _>>()?;
        let localization = builder.localization(&config.localization, &NO_ROUTE.into())?;
        let unknown_host = config.unknown_host.as_ref();
        let unknown_host = unknown_host.map(|status| encode("unknown_host", status));
        let (services, sites, trust) = builder.services.finish();
        let plan = Self {
            routes: routes.into(),
            unknown_host: unknown_host.transpose()?,
            localization,
            services,
            sites,
            trust,
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

    /// Whom outgoing connections trust.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Which adapters are in use, each once.
    fn adapters(&self) -> Vec<(AdapterName, AdapterType)> {
        let mut seen = HashSet::new();
        let of_routes = self.routes.iter().flat_map(adapters_of);
        let beside = self
            .localization
            .remote
            .map(|remote| (AdapterName::Localization, remote.kind));
        of_routes
            .chain(beside)
            .filter(|adapter| seen.insert(*adapter))
            .collect()
    }
}

/// The adapters that a route uses.
fn adapters_of(route: &route::Route) -> Vec<(AdapterName, AdapterType)> {
    let status = match &route.status {
        StatusSource::Fixed(_) => AdapterType::Fixed,
        StatusSource::Shared { adapter, .. } => adapter.kind,
    };
    let authentication = match &route.authentication {
        route::Authentication::Disabled => AdapterType::Disabled,
        route::Authentication::Fixed(_) => AdapterType::Fixed,
        route::Authentication::Remote { adapter, .. } => adapter.kind,
    };
    let mut used = vec![(AdapterName::Status, status)];
    if route.mode != route::Mode::Relay {
        used.push((AdapterName::Authentication, authentication));
    }
    used.push((AdapterName::Discovery, route.discovery.kind()));
    used.extend(
        route
            .actions
            .iter()
            .map(|action| (AdapterName::Action, action.kind())),
    );
    used.extend([
        (AdapterName::Strategy, route.strategy.kind()),
        (AdapterName::Localization, AdapterType::Fixed),
    ]);
    let asked = route
        .localization
        .remote
        .map(|remote| (AdapterName::Localization, remote.kind));
    used.extend(asked);
    used
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

fn cookie_keys(config: &Config) -> Result<Option<Arc<CookieKeys>>, Failure> {
    let Some(secret) = &config.auth_secret else {
        return Ok(None);
    };
    let previous = config.auth_secret_previous.as_ref();
    let previous = previous.map(|secret| secret.expose().as_bytes());
    let keys = CookieKeys::new(secret.expose().as_bytes(), previous).map_err(|_| {
        let min = config::SECRET_BYTES_MIN;
        Failure::Plan(format!(
            "auth_secret, auth_secret_previous: a secret is too short; at least {min} bytes are allowed"
        ))
    })?;
    Ok(Some(Arc::new(keys)))
}

fn encode(of: &str, status: &StatusDocument) -> Result<Arc<StatusReply>, Failure> {
    let reply =
        StatusReply::new(status).map_err(|error| Failure::Plan(format!("the status of {of}: {error}")))?;
    Ok(Arc::new(reply))
}
