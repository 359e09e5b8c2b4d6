//! `passage route`: what a client gets that uses a host name, step by step.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use passage_proto::hostname::normalise;
use passage_proto::question::{ChooseQuery, ClientInfo, Purpose, RewriteHost, RoutePlan, RouteQuery, Target};
use passage_proto::version::Version;
use passage_shards::route::{Choice, Chooser, Discovery, Pattern, ProxyVersion, Route, StatusSource};

use crate::app::{Failure, Plan};
use crate::config::{self, Authentication, Status};
use crate::tls::Trust;

/// The steps of a ping and of a login.
///
/// # Errors
///
/// What is wrong with the configuration.
pub(super) fn report(named: Option<&Path>, host: &str, protocol: Option<i32>) -> Result<String, Failure> {
    let loaded = config::load(named).map_err(Failure::Config)?;
    let plan = Plan::new(&loaded.config, Trust::new(&loaded.config.tls.authorities))?;
    let table = plan.table()?;
    let query = RouteQuery {
        hostname: normalise(host),
        protocol: protocol.unwrap_or(Version::of(i32::MAX).since),
        purpose: Purpose::Login,
    };

    let mut steps = Steps::default();
    steps.add("configuration", &loaded.source.to_string());
    steps.add("host name", &format!("{:?}", query.hostname));
    let like = Version::of(query.protocol).name;
    steps.add(
        "client",
        &format!("protocol {}, speaks as {like} does", query.protocol),
    );
    let found = table.find(&query.hostname);
    let route = found.and_then(|at| Some((at, table.route(at)?, loaded.config.routes.get(at)?)));
    match route {
        Some((at, route, settings)) => {
            let count = table.all().len();
            steps.add(
                "route",
                &format!("{} ({}, {} of {count})", route.name, kind(route), at + 1),
            );
            steps.add("ping", &ping(settings, route, query.protocol));
            steps.add_login(settings, route, &query);
        }
        None => {
            steps.add("route", "none of the host names matches");
            let status = plan.unknown_host.is_some();
            steps.add(
                "ping",
                if status {
                    "the status of [unknown_host]"
                } else {
                    "closed"
                },
            );
            steps.add("login", "refused with disconnect_no_route");
        }
    }
    Ok(steps.text)
}

/// What happens, one thing a line.
#[derive(Default)]
struct Steps {
    text: String,
}

impl Steps {
    fn add(&mut self, name: &str, what: &str) {
        let _ = writeln!(self.text, "{name:<15} {what}");
    }

    fn add_login(&mut self, settings: &config::Route, route: &Route, query: &RouteQuery) {
        // No key is shown to anybody here.
        let login = route.plan(query, &Arc::from([]));
        match &login {
            RoutePlan::Refuse(refusal) => {
                return self.add("login", &format!("refused with {}", refusal.message.key));
            }
            RoutePlan::Transfer(login) => {
                self.add(
                    "login",
                    if login.encrypt {
                        "encrypted"
                    } else {
                        "not encrypted"
                    },
                );
                self.add("authentication", &authentication(&settings.authentication));
                let replaces = login.cookies.is_some();
                self.add(
                    "cookie",
                    if replaces {
                        "a valid one replaces the authentication"
                    } else {
                        "not used"
                    },
                );
            }
            RoutePlan::Relay(_) => {
                self.add(
                    "login",
                    "relayed; nothing is decrypted, the target authenticates the player",
                );
            }
            RoutePlan::Status => {}
        }
        let candidates = match &route.discovery {
            Discovery::Fixed(candidates) => Arc::clone(candidates),
            _ => Arc::default(),
        };
        let targets = candidates.iter().map(|candidate| &candidate.target);
        self.add("discovery", &format!("fixed, {} targets", targets.len()));
        for target in targets {
            let Target {
                identifier, priority, ..
            } = &**target;
            self.add(
                "",
                &format!("{identifier} at {}, priority {priority}", address(target)),
            );
        }
        let nobody = ChooseQuery {
            client: ClientInfo {
                address: (Ipv4Addr::UNSPECIFIED, 0).into(),
                hostname: query.hostname.clone(),
                port: 0,
                protocol: query.protocol,
            },
            player: None,
        };
        let choice = Choice {
            query: &nobody,
            candidates: &candidates,
            is_ejected: &|_| false,
            tried: &[],
            route: 0,
        };
        match route.strategy.choose(&choice, &mut Chooser::new(0)) {
            Ok(chosen) => {
                self.add("strategy", &format!("fixed, chooses {}", chosen.identifier));
                self.add("end", &end(route, &login, &chosen));
            }
            Err(refusal) => self.add("strategy", &format!("refused with {}", refusal.message.key)),
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

fn ping(settings: &config::Route, route: &Route, protocol: i32) -> String {
    match (&settings.status, &route.status) {
        (Status::Fixed(status), StatusSource::Fixed(reply)) => {
            let shown = reply.shown_protocol(protocol);
            format!("answered with {:?}, as protocol {shown}", status.version_name)
        }
        _ => "relayed to the target".into(),
    }
}

fn authentication(authentication: &Authentication) -> String {
    match authentication {
        Authentication::Mojang(mojang) => format!("mojang, asks {}", mojang.url),
        Authentication::Disabled => "disabled: everybody is who they claim to be".into(),
        Authentication::Grpc { service, .. } => format!("grpc, asks {}", service.address),
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

fn address(target: &Target) -> String {
    if target.host.contains(':') {
        format!("[{}]:{}", target.host, target.port)
    } else {
        format!("{}:{}", target.host, target.port)
    }
}
