//! `passage route`: what a client gets that uses a host name, step by step.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use passage_proto::hostname::normalise;
use passage_proto::question::{Purpose, RoutePlan, RouteQuery, Target};
use passage_proto::version::Version;
use passage_shards::route::{Pattern, ProxyVersion, Route};

use crate::app::{Failure, Plan};
use crate::config::{self, Authentication, Status};

/// The steps of a ping and of a login.
///
/// # Errors
///
/// What is wrong with the configuration.
pub(super) fn report(named: Option<&Path>, host: &str, protocol: Option<i32>) -> Result<String, Failure> {
    let loaded = config::load(named).map_err(Failure::Config)?;
    let plan = Plan::new(&loaded.config)?;
    let table = plan.table()?;
    let protocol = protocol.unwrap_or(Version::of(i32::MAX).since);
    let hostname = normalise(host);

    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<15} {value}");
    };
    line("configuration", &loaded.source.to_string());
    line("host name", &format!("{hostname:?}"));
    line(
        "client",
        &format!(
            "protocol {protocol}, speaks as {} does",
            Version::of(protocol).name
        ),
    );
    let Some((at, route)) = table.find(&hostname).and_then(|at| Some((at, table.route(at)?))) else {
        line("route", "none of the host names matches");
        line(
            "ping",
            if plan.unknown_host.is_some() {
                "the status of [unknown_host]"
            } else {
                "closed"
            },
        );
        line("login", "refused with disconnect_no_route");
        return Ok(text);
    };
    let kind = match Pattern::parse(&route.name) {
        Ok(Pattern::Exact(_)) => "exact name",
        Ok(Pattern::Glob(_)) => "glob",
        Ok(Pattern::Regex(_)) => "regular expression",
        Err(_) => "unknown",
    };
    line(
        "route",
        &format!("{} ({kind}, {} of {})", route.name, at + 1, table.all().len()),
    );
    let Some(settings) = loaded.config.routes.get(at) else {
        return Ok(text);
    };
    let query = |purpose| RouteQuery {
        hostname: hostname.clone(),
        protocol,
        purpose,
    };
    let no_key: Arc<[u8]> = Arc::from([]);

    line("ping", &ping(settings, route, protocol));
    match route.plan(&query(Purpose::Login), &no_key) {
        RoutePlan::Refuse(refusal) => {
            line("login", &format!("refused with {}", refusal.message.key));
            return Ok(text);
        }
        RoutePlan::Relay(_) => {
            line(
                "login",
                "relayed; nothing is decrypted, the target authenticates the player",
            );
        }
        RoutePlan::Transfer(login) => {
            line(
                "login",
                if login.encrypt {
                    "encrypted"
                } else {
                    "not encrypted"
                },
            );
            line("authentication", &authentication(&settings.authentication));
            let cookies = if login.cookies.is_some() {
                "a valid one replaces the authentication"
            } else {
                "not used"
            };
            line("cookie", cookies);
        }
        RoutePlan::Status => {}
    }
    let targets = route.discovery.targets();
    line("discovery", &format!("fixed, {} targets", targets.len()));
    for target in targets {
        line(
            "",
            &format!(
                "{} at {}, priority {}",
                target.identifier,
                address(target),
                target.priority
            ),
        );
    }
    let chosen = match route.strategy.choose(targets) {
        Ok(chosen) => chosen,
        Err(refusal) => {
            line("strategy", &format!("refused with {}", refusal.message.key));
            return Ok(text);
        }
    };
    line("strategy", &format!("fixed, chooses {}", chosen.identifier));
    line(
        "end",
        &end(route, &route.plan(&query(Purpose::Login), &no_key), &chosen),
    );
    Ok(text)
}

fn ping(settings: &config::Route, route: &Route, protocol: i32) -> String {
    match (&settings.status, &route.status) {
        (Status::Fixed(status), passage_shards::route::StatusSource::Fixed(reply)) => {
            format!(
                "answered with {:?}, as protocol {}",
                status.version_name,
                reply.shown_protocol(protocol)
            )
        }
        _ => "relayed to the target".into(),
    }
}

fn authentication(authentication: &Authentication) -> String {
    match authentication {
        Authentication::Mojang(mojang) => format!("mojang, asks {}", mojang.url),
        Authentication::Disabled => "disabled: everybody is who they claim to be".into(),
        Authentication::Fixed(profile) => format!("fixed: everybody is {} ({})", profile.name, profile.id),
    }
}

fn end(route: &Route, plan: &RoutePlan, target: &Target) -> String {
    match plan {
        RoutePlan::Relay(relay) => {
            let header = match route.relay.send_proxy_protocol {
                None => "no PROXY header",
                Some(ProxyVersion::V1) => "a PROXY v1 header",
                Some(ProxyVersion::V2) => "a PROXY v2 header",
            };
            let host = match &relay.rewrite_host {
                passage_proto::question::RewriteHost::Keep => "the client's host name",
                passage_proto::question::RewriteHost::Target => "the target's host name",
                passage_proto::question::RewriteHost::Literal(name) => name,
            };
            format!("relay to {} with {header} and {host}", address(target))
        }
        _ => format!("transfer to {}", address(target)),
    }
}

fn address(target: &Target) -> String {
    if target.host.contains(':') {
        format!("[{}]:{}", target.host, target.port)
    } else {
        format!("{}:{}", target.host, target.port)
    }
}
