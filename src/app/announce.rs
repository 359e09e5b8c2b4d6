//! What Passage says about itself once it runs: the operator sees what players will meet without reading the
//! configuration.

use std::fmt::Write as _;
use std::sync::Arc;

use passage_proto::question::Target;
use passage_shards::pool::Shards;
use passage_shards::route::{Mode, Strategy as BuiltIn};

use crate::config::{
    Authentication, Config, DiscoverySource, Loaded, Route, SEARCHED, Source, Status, StatusSource, Strategy,
};
use crate::telemetry::admin::Admin;
use crate::tls::Trust;

/// Routes that are described one by one.
const ROUTES_SHOWN_MAX: usize = 16;

/// Says what works but perhaps not as meant.
pub(super) fn warnings(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

/// Says what of the system's certificates could not be read.
pub(super) fn untrusted(trust: &Trust) {
    let problems = trust.problems();
    if let Some(first) = problems.first() {
        tracing::warn!(
            problems = problems.len(),
            "certificates of the system cannot be read, and whom they certify is not trusted: {first}"
        );
    }
}

/// Says where the configuration comes from, where players connect and what happens to them.
pub(super) fn started(loaded: &Loaded, shards: &Shards, admin: Option<&Admin>) {
    let config = &loaded.config;
    let version = env!("CARGO_PKG_VERSION");
    match &loaded.source {
        Source::File(path) => tracing::info!("Passage {version} runs on {}", path.display()),
        Source::BuiltIn => tracing::info!(
            "Passage {version} runs on its built-in defaults; there is no file ({}) and none is named by \
             --config or CONFIG_FILE",
            SEARCHED.join(", ")
        ),
    }
    if loaded.source == Source::BuiltIn {
        tracing::info!(
            "To change what follows, write a {}; `passage check` says whether it is right",
            SEARCHED[0]
        );
    }
    for route in config.routes.iter().take(ROUTES_SHOWN_MAX) {
        tracing::info!("{}", describe(route));
    }
    if let Some(more) = config
        .routes
        .len()
        .checked_sub(ROUTES_SHOWN_MAX)
        .filter(|more| *more > 0)
    {
        tracing::info!("and {more} more routes; `passage route HOST` shows what a host name gets");
    }
    tracing::info!("{}", protection(config));
    for address in shards.addresses() {
        tracing::info!("Listening on {address} with {} shards", shards.count());
    }
    if let Some(admin) = admin {
        tracing::info!("/metrics, /livez and /readyz are at http://{}", admin.address());
    }
}

/// One route in one line.
pub(crate) fn describe(route: &Route) -> String {
    let mut text = format!(
        "Route {}: pings are answered {}",
        route.hostname,
        status(&route.status)
    );
    let players = match (&route.authentication, route.mode) {
        (_, Mode::Relay) => "players (the target authenticates them)",
        (Authentication::Mojang(_), _) => "players whom the session server knows",
        (Authentication::Grpc { .. }, _) => "players whom the authentication service lets in",
        (Authentication::Fixed(_), _) => "everybody, as one fixed player,",
        (Authentication::Disabled, _) => "everybody, without authentication,",
    };
    let Some(targets) = targets(route) else {
        return text + "; joins are refused, because there is no target: add one under [discovery]";
    };
    let way = match route.mode {
        Mode::Transfer => "transferred",
        Mode::Relay => "relayed",
        Mode::Auto => "transferred (clients older than 1.20.5: relayed)",
    };
    let _ = write!(text, "; {players} are {way} to {targets}");
    match route.discovery.actions.len() {
        0 => {}
        1 => text += ", after 1 action",
        count => {
            let _ = write!(text, ", after {count} actions");
        }
    }
    if let Some(health) = &route.discovery.health {
        let seconds = health.interval.as_secs_f64();
        let _ = write!(text, "; their health is checked every {seconds} s");
    }
    text
}

fn status(status: &Status) -> String {
    let shared = match status {
        Status::Fixed(_) => return "from the configuration".into(),
        Status::Shared(shared) => shared,
    };
    let who = match &shared.source {
        StatusSource::Http(service) => format!("with what {} says", service.address),
        StatusSource::Grpc(service) => format!("with what the service at {} says", service.address),
        StatusSource::Target(_) => "with what the target says".into(),
    };
    let seconds = shared.cache_duration.as_secs_f64();
    let offline = if shared.offline.is_some() {
        "the offline status"
    } else {
        "nothing"
    };
    format!("{who}, asked every {seconds} s at most; {offline} while that cannot be found out")
}

/// Where players go; `None` for nowhere.
fn targets(route: &Route) -> Option<String> {
    let all = match &route.discovery.source {
        DiscoverySource::Fixed(targets) => return fixed_targets(targets, &route.strategy),
        DiscoverySource::Http(http) => format!("the targets that {} lists", http.service.address),
        DiscoverySource::Dns(dns) => format!("the targets that DNS has for {}", dns.domain),
        DiscoverySource::Agones(_) => "the game server that Agones allocates".into(),
        DiscoverySource::Grpc(service) => {
            format!("the targets that the service at {} names", service.address)
        }
    };
    Some(match strategy(&route.strategy) {
        None => all,
        Some(strategy) => format!("one of {all}, {strategy}"),
    })
}

fn fixed_targets(targets: &[Arc<Target>], chosen: &Strategy) -> Option<String> {
    let first = targets.iter().min_by_key(|target| target.priority)?;
    let count = targets.len();
    Some(match strategy(chosen).filter(|_| count > 1) {
        Some(strategy) => format!("one of {count} targets, {strategy}"),
        None => {
            let alone = format!("{} at {}:{}", first.identifier, first.host, first.port);
            match count {
                1 => alone,
                count => format!("{alone}, the first of {count} targets"),
            }
        }
    })
}

/// How one of several targets is chosen; `None` for the first.
fn strategy(strategy: &Strategy) -> Option<String> {
    match strategy {
        Strategy::BuiltIn(BuiltIn::Fixed) => None,
        Strategy::BuiltIn(strategy) => Some(format!("chosen by {}", strategy.kind().label())),
        Strategy::Grpc(service) => Some(format!("chosen by the service at {}", service.address)),
    }
}

/// The bounds that matter most, in one line.
pub(crate) fn protection(config: &Config) -> String {
    let rate = config.rate_limit.map_or_else(
        || "no rate limit".to_owned(),
        |limit| {
            format!(
                "{} connections in {} s from one address",
                limit.limit,
                limit.duration.as_secs()
            )
        },
    );
    let proxies = config.proxy_protocol.as_ref().map_or_else(
        || "no PROXY headers".to_owned(),
        |protocol| format!("PROXY headers from {} networks", protocol.trusted.len()),
    );
    let cookies = match (&config.auth_secret, &config.auth_secret_previous) {
        (None, _) => "without authentication cookies",
        (Some(_), None) => "with authentication cookies",
        (Some(_), Some(_)) => "with authentication cookies, those of the previous secret as well",
    };
    format!("Limits: {rate}; {proxies}; {cookies}")
}
