//! From a route's tables to what shards work with.

use std::collections::HashMap;
use std::sync::Arc;

use passage_proto::cookie::CookieKeys;
use passage_shards::metrics::AdapterName;
use passage_shards::route::{self, Localization, StatusSource};

use super::encode;
use super::services::Builder;
use super::targets::Discovered;
use crate::app::Failure;
use crate::config;
use crate::localization::Words;

/// Builds routes; what several of them share is built once.
pub(super) struct Routes<'a> {
    pub(super) services: Builder,
    cookies: Option<&'a Arc<CookieKeys>>,
    words: HashMap<config::Localization, Arc<Words>>,
}

impl<'a> Routes<'a> {
    pub(super) fn new(services: Builder, cookies: Option<&'a Arc<CookieKeys>>) -> Self {
        Self {
            services,
            cookies,
            words: HashMap::new(),
        }
    }

    pub(super) fn build(&mut self, route: &config::Route) -> Result<route::Route, Failure> {
        let name: Arc<str> = route.hostname.as_str().into();
        let targets = self.services.discovery(route, &name)?;
        Ok(route::Route {
            mode: route.mode,
            relay: route.relay.clone(),
            status: self.status(route, &targets, &name)?,
            authentication: self.authentication(route, &name)?,
            discovery: targets.discovery,
            actions: self.actions(route, &name)?,
            strategy: match &route.strategy {
                config::Strategy::BuiltIn(strategy) => strategy.clone(),
                config::Strategy::Grpc(service) => {
                    route::Strategy::Remote(self.services.grpc(AdapterName::Strategy, service, &name)?)
                }
            },
            ejection: route.discovery.ejection,
            localization: self.localization(&route.localization, &name)?,
            cookies: self.cookies.cloned(),
            name,
        })
    }

    /// Words, and who is asked for better ones.
    pub(super) fn localization(
        &mut self,
        settings: &config::Localization,
        name: &Arc<str>,
    ) -> Result<Localization, Failure> {
        let service = settings.service.as_ref();
        let remote = service.map(|service| self.services.grpc(AdapterName::Localization, service, name));
        let words = self.words.entry(settings.clone()).or_insert_with_key(|settings| {
            Arc::new(Words::new(&settings.default_locale, &settings.messages))
        });
        Ok(Localization {
            words: Arc::clone(words) as _,
            remote: remote.transpose()?,
        })
    }

    fn status(
        &mut self,
        route: &config::Route,
        targets: &Discovered,
        name: &Arc<str>,
    ) -> Result<StatusSource, Failure> {
        let status = match &route.status {
            config::Status::Fixed(status) => return Ok(StatusSource::Fixed(encode(name, status)?)),
            config::Status::Shared(status) => status,
        };
        let known = self.services.status(route, status, targets, name)?;
        let offline = status.offline.as_ref().map(|offline| encode(name, offline));
        Ok(StatusSource::Shared {
            feed: known.feed,
            adapter: known.remote,
            by_version: !matches!(status.source, config::StatusSource::Http(_)),
            offline: offline.transpose()?,
        })
    }

    fn authentication(
        &mut self,
        route: &config::Route,
        name: &Arc<str>,
    ) -> Result<route::Authentication, Failure> {
        let (adapter, client_must_authenticate) = match &route.authentication {
            // The target authenticates its players.
            _ if route.mode == route::Mode::Relay => return Ok(route::Authentication::Disabled),
            config::Authentication::Disabled => return Ok(route::Authentication::Disabled),
            config::Authentication::Fixed(profile) => {
                return Ok(route::Authentication::Fixed(profile.clone()));
            }
            config::Authentication::Mojang(settings) => (self.services.session_server(settings, name)?, true),
            config::Authentication::Grpc {
                service,
                client_must_authenticate,
            } => {
                let adapter = self.services.grpc(AdapterName::Authentication, service, name)?;
                (adapter, *client_must_authenticate)
            }
        };
        Ok(route::Authentication::Remote {
            adapter,
            client_must_authenticate,
        })
    }

    fn actions(&mut self, route: &config::Route, name: &Arc<str>) -> Result<Vec<route::Action>, Failure> {
        let build = |action: &config::Action| {
            Ok(match &action.kind {
                config::ActionKind::Meta(filter) => route::Action::Meta(filter.clone()),
                config::ActionKind::Allow(filter) => route::Action::Allow(filter.clone()),
                config::ActionKind::Block(filter) => route::Action::Block(filter.clone()),
                config::ActionKind::Grpc(service) => {
                    route::Action::Remote(self.services.grpc(AdapterName::Action, service, name)?)
                }
            })
        };
        route.discovery.actions.iter().map(build).collect()
    }
}
