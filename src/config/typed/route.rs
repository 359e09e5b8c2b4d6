//! `[[routes]]`, and the top-level tables that are their defaults and make the catch-all.

use passage_proto::question::RewriteHost;
use passage_shards::route::{Mode, Pattern, ProxyVersion, RelayOptions, Strategy};

use super::authentication::{self, Authentication};
use super::discovery::{self, Discovery};
use super::localization::{self, Localization};
use super::status::{self, Status};
use crate::config::raw::{Node, Value};
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, one_of, word};

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// A host name, a glob, or a regex in slashes; `*` for the catch-all.
    pub hostname: String,
    /// What happens to logins.
    pub mode: Mode,
    /// How relayed connections are made.
    pub relay: RelayOptions,
    /// `[routes.status]`.
    pub status: Status,
    /// `[routes.authentication]`.
    pub authentication: Authentication,
    /// `[routes.discovery]`.
    pub discovery: Discovery,
    /// `[routes.strategy]`.
    pub strategy: Strategy,
    /// `[routes.localization]`.
    pub localization: Localization,
}

/// The hostname of the route that there is without `[[routes]]`.
pub const CATCH_ALL: &str = "*";

const HOSTNAME: &str = "a name (\"play.example.net\"), a glob (\"*.example.net\") or an anchored regex \
                        (\"/^eu[0-9]+\\.example\\.net$/\")";

const ROUTES_MAX: usize = 100_000;

/// Reads the defaults and the routes. Gives the words for logins to no route, and all routes.
pub(super) fn read_all(root: &Section<'_>) -> (Localization, Vec<Route>) {
    let base = Route {
        hostname: CATCH_ALL.into(),
        mode: Mode::Transfer,
        relay: RelayOptions {
            send_proxy_protocol: None,
            rewrite_host: RewriteHost::Keep,
        },
        status: root.table("status", status::read),
        authentication: root.table("authentication", authentication::read),
        discovery: root.table("discovery", discovery::read),
        strategy: root.table("strategy", discovery::read_strategy),
        localization: root.table("localization", localization::read),
    };
    let base = with_mode(root, base);
    let routes = root.tables("routes", |table| route(table, &base));
    if routes.is_empty() {
        check(root, &base);
        return (base.localization.clone(), vec![base]);
    }
    if routes.len() > ROUTES_MAX {
        root.blame(
            "routes",
            format!("{} routes", routes.len()),
            format!("at most {ROUTES_MAX}"),
        );
    }
    report_twins(root, &routes);
    (base.localization, routes)
}

fn route(table: &Section<'_>, base: &Route) -> Route {
    let hostname = table.required("hostname", HOSTNAME, hostname).unwrap_or_default();
    let route = Route {
        hostname,
        status: table.own_or("status", &base.status, status::read),
        authentication: table.own_or("authentication", &base.authentication, authentication::read),
        discovery: table.own_or("discovery", &base.discovery, discovery::read),
        strategy: table.own_or("strategy", &base.strategy, discovery::read_strategy),
        localization: table.own_or("localization", &base.localization, localization::read),
        ..base.clone()
    };
    let route = with_mode(table, route);
    check(table, &route);
    route
}

fn with_mode(table: &Section<'_>, mut route: Route) -> Route {
    const MODES: &[(&str, Mode)] = &[
        ("transfer", Mode::Transfer),
        ("relay", Mode::Relay),
        ("auto", Mode::Auto),
    ];
    const VERSIONS: &[(&str, ProxyVersion)] = &[("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
    table.value(
        "forwarding",
        choice(&[("none", ())], &["velocity", "bungeeguard", "bungeecord"]),
    );
    if let Some(mode) = table.value("mode", one_of(MODES)) {
        route.mode = mode;
    }
    if let Some(version) = table.value("send_proxy_protocol", one_of(VERSIONS)) {
        route.relay.send_proxy_protocol = Some(version);
    }
    if let Some(rewrite) = table.value("rewrite_host", rewrite_host) {
        route.relay.rewrite_host = rewrite;
    }
    route
}

/// Reports what does not go together in one route.
fn check(table: &Section<'_>, route: &Route) {
    if route.mode == Mode::Transfer {
        for key in ["send_proxy_protocol", "rewrite_host", "forwarding"]
            .into_iter()
            .filter(|key| table.has(key))
        {
            table.blame(
                key,
                "a relay option in mode = \"transfer\"",
                "mode = \"relay\" or \"auto\" beside it",
            );
        }
        if route.status == Status::Target {
            table.blame(
                "status",
                "type = \"target\" in mode = \"transfer\"",
                "mode = \"relay\" or \"auto\" beside it",
            );
        }
    }
    let checks_players = !matches!(route.authentication, Authentication::Disabled);
    if route.mode == Mode::Relay && table.has("authentication") && checks_players {
        table.blame(
            "authentication",
            "authentication in mode = \"relay\" with forwarding = \"none\"",
            "no authentication here (the target authenticates), or mode = \"transfer\"",
        );
    }
    let Discovery::Fixed(targets) = &route.discovery;
    if targets.is_empty() {
        let name = &route.hostname;
        table.reading.warn(format!(
            "route {name:?} has no targets: its players are told that there is no server"
        ));
    }
}

fn report_twins(root: &Section<'_>, routes: &[Route]) {
    let mut seen = std::collections::HashSet::new();
    for (index, route) in routes.iter().enumerate() {
        if !route.hostname.is_empty() && !seen.insert(comparable(&route.hostname)) {
            root.blame(
                &format!("routes[{index}].hostname"),
                format!("{:?} a second time", route.hostname),
                "each host name once; the second route would never match",
            );
        }
    }
}

/// The same for two host names that match the same.
fn comparable(hostname: &str) -> String {
    if hostname.starts_with('/') {
        return hostname.to_owned();
    }
    let name = hostname.to_lowercase();
    name.strip_suffix('.').map(str::to_owned).unwrap_or(name)
}

fn hostname(node: &Node) -> Parsed<String> {
    let name = word(node)?;
    match Pattern::parse(&name) {
        Ok(_) => Ok(name),
        Err(reason) => Mismatch::new(node, HOSTNAME).hint(reason.to_string()).fail(),
    }
}

fn rewrite_host(node: &Node) -> Parsed<RewriteHost> {
    let allowed = "\"keep\", \"target\", or a host name";
    let name = word(node)?;
    match name.as_str() {
        "keep" => Ok(RewriteHost::Keep),
        "target" => Ok(RewriteHost::Target),
        _ if name.len() > 253 || name.contains(|c: char| c.is_control() || c.is_whitespace()) => {
            Mismatch::new(node, allowed).fail()
        }
        _ => Ok(RewriteHost::Literal(name)),
    }
}

/// The `type` of an adapter's table. `None` if it is wrong; the table's other keys are then not looked at.
pub(super) fn kind<T: Clone>(
    table: &Section<'_>,
    default: T,
    choices: &'static [(&'static str, T)],
    later: &[&'static str],
) -> Option<T> {
    if !table.has("type") {
        table.value("type", word);
        return Some(default);
    }
    let kind = table.value("type", choice(choices, later));
    if kind.is_none() {
        table.skip_rest();
    }
    kind
}

/// One of some words; others are known, but not in this version.
fn choice<T: Clone>(
    choices: &'static [(&'static str, T)],
    later: &[&'static str],
) -> impl Fn(&Node) -> Parsed<T> {
    move |node| {
        one_of(choices)(node).map_err(|mut mismatches| {
            let written = match &node.value {
                Value::Text(text) => text.as_str(),
                _ => "",
            };
            if let (Some(mismatch), true) = (mismatches.first_mut(), later.contains(&written)) {
                mismatch.hint = Some(format!(
                    "{written} is not in this version yet; it comes with a later one"
                ));
            }
            mismatches
        })
    }
}
