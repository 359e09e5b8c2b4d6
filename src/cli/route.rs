//! `passage route`: what a client gets that uses a host name, step by step.
//!
//! The adapters are really asked, as they are for a player, except for two: nobody is authenticated, because
//! that takes a client with a session, and Agones allocates nothing, because nobody would come to play.

mod choosing;
mod steps;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::hostname::normalise;
use passage_proto::identity::offline_id;
use passage_proto::question::{
    ChooseQuery, ClientInfo, LocalizeQuery, Player, Purpose, Refusal, RewriteHost, RoutePlan, RouteQuery,
    Target,
};
use passage_proto::version::Version;
use passage_shards::metrics::AdapterType;
use passage_shards::route::{Localization, Pattern, ProxyVersion, Route, StatusSource};
use uuid::Uuid;

use self::steps::{Steps, address, told};
use super::inquiry::{self, Inquiry};
use crate::app::{Failure, Plan};
use crate::config::{self, Authentication, MINECRAFT_PORT, Status};
use crate::tls::Trust;

/// Who is looked at, and how.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The host name that the player types.
    pub(super) host: String,
    /// The client's protocol version; the newest known one if not given.
    pub(super) protocol: Option<i32>,
    /// The player's name.
    pub(super) name: String,
    /// The player's UUID; the one of an offline-mode server if not given.
    pub(super) id: Option<Uuid>,
    /// Whether no service is asked.
    pub(super) is_offline: bool,
}

/// The steps of a ping and of a login.
///
/// # Errors
///
/// What is wrong with the configuration.
pub(super) fn report(named: Option<&Path>, options: &Options) -> Result<String, Failure> {
    let begun = Instant::now();
    let loaded = config::load(named).map_err(Failure::Config)?;
    let plan = Plan::new(&loaded.config, Trust::new(&loaded.config.tls.authorities))?;
    let table = plan.table()?;
    let mut steps = Steps::default();
    steps.timed("configuration", begun.elapsed(), &loaded.source.to_string());

    let walk = Walk::new(&plan, options)?;
    let client = &walk.query.client;
    let like = Version::of(client.protocol).name;
    steps.add("host name", &format!("{:?}", client.hostname));
    steps.add(
        "client",
        &format!("protocol {}, speaks as {like} does", client.protocol),
    );
    steps.add("player", &format!("{} ({})", walk.player.name, walk.player.id));
    let begun = Instant::now();
    let found = table.find(&client.hostname);
    let took = begun.elapsed();
    match found.and_then(|at| Some((at, table.route(at)?, loaded.config.routes.get(at)?))) {
        Some((at, route, settings)) => {
            let place = format!("{} of {}", at + 1, table.all().len());
            steps.timed(
                "route",
                took,
                &format!("{} ({}, {place})", route.name, kind(route)),
            );
            walk.ping(&mut steps, settings, route);
            walk.login(&mut steps, settings, route);
        }
        None => {
            steps.timed("route", took, "none of the host names matches");
            let ping = if plan.unknown_host.is_some() {
                "the status of [unknown_host]"
            } else {
                "closed"
            };
            steps.add("ping", ping);
            steps.add("login", "refused with disconnect_no_route");
        }
    }
    walk.end();
    Ok(steps.finish())
}

/// One client on its way.
struct Walk<'a> {
    plan: &'a Plan,
    query: ChooseQuery,
    player: Player,
    /// Who asks; nobody where nothing is to be asked.
    inquiry: Option<Inquiry>,
}

/// Where a player goes no further.
struct Stop {
    step: &'static str,
    /// What comes before the refusal on its line.
    detail: String,
    took: Option<Duration>,
    refusal: Refusal,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan, options: &Options) -> Result<Self, Failure> {
        let player = Player {
            name: options.name.clone(),
            id: options.id.unwrap_or_else(|| offline_id(&options.name)),
        };
        let client = ClientInfo {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            hostname: normalise(&options.host).into_owned(),
            port: MINECRAFT_PORT,
            protocol: options.protocol.unwrap_or(Version::of(i32::MAX).since),
        };
        let inquiry = (!options.is_offline).then(Inquiry::begin);
        Ok(Self {
            plan,
            query: ChooseQuery {
                client,
                player: Some(player.clone()),
            },
            player,
            inquiry: inquiry.transpose().map_err(Failure::Threads)?,
        })
    }

    fn end(self) {
        if let Some(inquiry) = self.inquiry {
            inquiry.end();
        }
    }

    fn ping(&self, steps: &mut Steps, settings: &config::Route, route: &Route) {
        let protocol = self.query.client.protocol;
        let (adapter, offline) = match (&route.status, &settings.status) {
            (StatusSource::Shared { adapter, offline, .. }, _) => (adapter, offline),
            (StatusSource::Fixed(reply), Status::Fixed(status)) => {
                let (name, shown) = (&status.version_name, reply.shown_protocol(protocol));
                return steps.add("ping", &format!("fixed, {name:?} as protocol {shown}"));
            }
            (StatusSource::Fixed(_), Status::Shared(_)) => return,
        };
        let kind = adapter.kind.label();
        let feed = self.plan.services.statuses.get(adapter.adapter);
        let (Some(inquiry), Some(feed)) = (&self.inquiry, feed) else {
            return steps.add("ping", &format!("{kind}, not asked"));
        };
        if adapter.kind == AdapterType::Target {
            // The newest targets are asked, which nobody has found out yet.
            self.discover(route);
        }
        let heard = inquiry.ask(
            feed.service
                .status(&self.query.client, inquiry::call(adapter.timeout)),
        );
        let text = match heard.answer {
            Ok(status) => format!("{kind}, as protocol {}", status.reply.shown_protocol(protocol)),
            Err(cause) => {
                let instead = match offline {
                    Some(_) => "the offline status is shown",
                    None => "connections are closed",
                };
                let problem = told(cause, heard.problem.as_deref());
                format!("{kind}, {problem}; {instead} until there is an answer")
            }
        };
        steps.timed("ping", heard.took, &text);
    }

    fn login(&self, steps: &mut Steps, settings: &config::Route, route: &Route) {
        let query = RouteQuery {
            hostname: self.query.client.hostname.as_str().into(),
            protocol: self.query.client.protocol,
            purpose: Purpose::Login,
        };
        // No key is shown to anybody here.
        let login = route.plan(&query, &Arc::from([]));
        match &login {
            RoutePlan::Status => return,
            RoutePlan::Refuse(refusal) => {
                let stop = Stop {
                    step: "login",
                    detail: String::new(),
                    took: None,
                    refusal: refusal.clone(),
                };
                return self.stop(steps, &route.localization, &stop);
            }
            RoutePlan::Transfer(plan) => {
                let encrypted = if plan.encrypt {
                    "encrypted"
                } else {
                    "not encrypted"
                };
                steps.add("login", encrypted);
                steps.add("authentication", &authentication(&settings.authentication));
                let cookie = match plan.cookies {
                    Some(_) => "a valid one replaces the authentication",
                    None => "not used",
                };
                steps.add("cookie", cookie);
            }
            RoutePlan::Relay(_) => steps.add(
                "login",
                "relayed; nothing is decrypted, the target authenticates the player",
            ),
        }
        match self.choose(steps, settings, route) {
            Ok(Some(target)) => steps.add("end", &end(route, &login, &target)),
            Ok(None) => {}
            Err(stop) => self.stop(steps, &route.localization, &stop),
        }
    }

    /// Shows why and with which words the player is disconnected.
    fn stop(&self, steps: &mut Steps, localization: &Localization, stop: &Stop) {
        let key = &stop.refusal.message.key;
        steps.timed(
            stop.step,
            stop.took,
            &format!("{}refused with {key}", stop.detail),
        );
        let query = LocalizeQuery {
            locale: None,
            message: stop.refusal.message.clone(),
        };
        let asked = localization.remote.and_then(|remote| {
            let service = self.plan.services.localization.get(remote.adapter)?;
            let question = service.localize(&query, inquiry::call(remote.timeout));
            Some(self.inquiry.as_ref()?.ask(question))
        });
        let Some(heard) = asked else {
            return steps.add("player reads", &localization.words.localize(&query));
        };
        match heard.answer {
            Ok(text) => steps.timed("player reads", heard.took, &text),
            Err(cause) => {
                let problem = told(cause, heard.problem.as_deref());
                let what = format!("grpc, {problem}; the configured words stand in");
                steps.timed("localization", heard.took, &what);
                steps.add("player reads", &localization.words.localize(&query));
            }
        }
    }
}

fn kind(route: &Route) -> &'static str {
    match Pattern::parse(&route.name) {
        Ok(Pattern::Exact(_)) => "exact name",
        Ok(Pattern::Glob(_)) => "glob",
        Ok(Pattern::Regex(_)) => "regular expression",
        Err(_) => "unknown",
    }
}

fn authentication(authentication: &Authentication) -> String {
    match authentication {
        Authentication::Mojang(mojang) => format!("mojang, would ask {}", mojang.url),
        Authentication::Disabled => "disabled: everybody is who they claim to be".into(),
        Authentication::Grpc { service, .. } => format!("grpc, would ask {}", service.address),
        Authentication::Fixed(profile) => format!("fixed: everybody is {} ({})", profile.name, profile.id),
    }
}

fn end(route: &Route, plan: &RoutePlan, target: &Target) -> String {
    let RoutePlan::Relay(relay) = plan else {
        return format!("transfer to {}", address(target));
    };
    let header = match route.relay.send_proxy_protocol {
        None => "no PROXY header",
        Some(ProxyVersion::V1) => "a PROXY v1 header",
        Some(ProxyVersion::V2) => "a PROXY v2 header",
    };
    let host = match &relay.rewrite_host {
        RewriteHost::Keep => "the client's host name",
        RewriteHost::Target => "the target's host name",
        RewriteHost::Literal(name) => name,
    };
    format!("relay to {} with {header} and {host}", address(target))
}
