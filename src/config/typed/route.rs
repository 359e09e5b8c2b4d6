//! `[[routes]]`, and the top-level tables that are their defaults and make the catch-all.

use passage_proto::question::RewriteHost;
use passage_shards::route::{self, Mode, Pattern, ProxyVersion, RelayOptions};

use super::authentication::{self, Authentication};
use super::discovery::{self, Discovery, DiscoverySource};
use super::localization::{self, Localization};
use super::status::{self, Status, StatusSource};
use super::strategy::{self, Strategy};
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
    let discovery = root.table("discovery", discovery::read);
    let own_strategy = own_strategy(root, Some(&discovery));
    let base = Route {
        hostname: CATCH_ALL.into(),
        mode: Mode::Transfer,
        relay: RelayOptions {
            send_proxy_protocol: None,
            rewrite_host: RewriteHost::Keep,
        },
        status: root.table("status", status::read),
        authentication: root.table("authentication", authentication::read),
        strategy: own_strategy
            .clone()
            .or_else(|| discovery.strategy.clone())
            .unwrap_or_default(),
        discovery,
        localization: root.table("localization", localization::read),
    };
    let base = with_mode(root, base);
    let routes = root.tables("routes", |table| route(table, &base, own_strategy.as_ref()));
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

/// Reads one route; `base_strategy` is what the top-level `[strategy]` says, if it is written.
fn route(table: &Section<'_>, base: &Route, base_strategy: Option<&Strategy>) -> Route {
    let hostname = table.required("hostname", HOSTNAME, hostname).unwrap_or_default();
    let own_discovery = table.table("discovery", |table| {
        table.is_written().then(|| discovery::read(table))
    });
    let strategy = match (own_strategy(table, own_discovery.as_ref()), &own_discovery) {
        (Some(own), _) => own,
        (None, Some(discovery)) => {
            let among_actions = discovery.strategy.clone();
            among_actions
                .or_else(|| base_strategy.cloned())
                .unwrap_or_default()
        }
        (None, None) => base.strategy.clone(),
    };
    let route = Route {
        hostname,
        status: table.own_or("status", &base.status, status::read),
        authentication: table.own_or("authentication", &base.authentication, authentication::read),
        discovery: own_discovery.unwrap_or_else(|| base.discovery.clone()),
        strategy,
        localization: table.own_or("localization", &base.localization, localization::read),
        ..base.clone()
    };
    let route = with_mode(table, route);
    check(table, &route);
    route
}

/// The strategy that `table` itself writes; one among the actions of its discovery would be a second one.
fn own_strategy(table: &Section<'_>, discovery: Option<&Discovery>) -> Option<Strategy> {
    let own = table.table("strategy", |table| {
        table.is_written().then(|| strategy::read(table))
    });
    if own.is_some() && discovery.is_some_and(|discovery| discovery.strategy.is_some()) {
        table.blame(
            "strategy",
            "a strategy here and a player_fill_strategy among discovery.actions",
            "one of both",
        );
    }
    own
}

fn with_mode(table: &Section<'_>, mut route: Route) -> Route {
    const MODES: &[(&str, Mode)] = &[
        ("transfer", Mode::Transfer),
        ("relay", Mode::Relay),
        ("auto", Mode::Auto),
    ];
    const VERSIONS: &[(&str, ProxyVersion)] = &[("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
    table.value("forwarding", forwarding);
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
    }
    let checks_players = !matches!(route.authentication, Authentication::Disabled);
    if route.mode == Mode::Relay && table.has("authentication") && checks_players {
        table.blame(
            "authentication",
            "authentication in mode = \"relay\" with forwarding = \"none\"",
            "no authentication here (the target authenticates), or mode = \"transfer\"",
        );
    }
    check_choice(table, route);
}

/// Reports what does not go together among status, discovery and strategy.
fn check_choice(table: &Section<'_>, route: &Route) {
    let discovery = &route.discovery;
    if let Status::Shared(status) = &route.status
        && matches!(status.source, StatusSource::Target(_))
        && discovery.source.is_asked_for_each_player()
    {
        table.blame(
            "status",
            "type = \"target\" with targets that are asked for anew for each player",
            "a status of another type, or a discovery of type fixed, http or dns",
        );
    }
    let Strategy::BuiltIn(strategy) = &route.strategy else {
        return warn_of_targets(table, route, None);
    };
    match strategy {
        route::Strategy::LowestLatency if discovery.health.is_none() => table.blame(
            "strategy",
            "lowest_latency without health checks, which measure it",
            "a table [discovery.health] beside it (for a discovery of type fixed, http or dns), or another \
             strategy",
        ),
        route::Strategy::PlayerFill { field, .. } | route::Strategy::Weighted { field } => {
            warn_of_targets(table, route, Some(field));
        }
        _ => warn_of_targets(table, route, None),
    }
}

/// Warns of targets in the configuration that cannot be what was meant; `field` is the key of `meta` that
/// the strategy reads.
fn warn_of_targets(table: &Section<'_>, route: &Route, field: Option<&String>) {
    let DiscoverySource::Fixed(targets) = &route.discovery.source else {
        return;
    };
    let name = &route.hostname;
    if targets.is_empty() {
        table.reading.warn(format!(
            "route {name:?} has no targets: its players are told that there is no server"
        ));
    } else if let Some(field) = field
        && !targets.iter().any(|target| is_number(target.meta.get(field)))
    {
        table.reading.warn(format!(
            "route {name:?}: no target has a number under meta.{field}, by which its strategy chooses"
        ));
    }
}

fn is_number(value: Option<&String>) -> bool {
    value.is_some_and(|value| value.trim().parse::<u32>().is_ok())
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
) -> Option<T> {
    if !table.has("type") {
        table.value("type", word);
        return Some(default);
    }
    let kind = table.value("type", one_of(choices));
    if kind.is_none() {
        table.skip_rest();
    }
    kind
}

/// The words of `forwarding`; some are known, but not in this version.
fn forwarding(node: &Node) -> Parsed<()> {
    const LATER: [&str; 3] = ["velocity", "bungeeguard", "bungeecord"];
    one_of(&[("none", ())])(node).map_err(|mut mismatches| {
        if let (Some(mismatch), Value::Text(written)) = (mismatches.first_mut(), &node.value)
            && LATER.contains(&written.as_str())
        {
            mismatch.hint = Some(format!(
                "{written} is not in this version yet; it comes with a later one"
            ));
        }
        mismatches
    })
}
