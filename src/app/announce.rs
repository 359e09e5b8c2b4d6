//! What Passage says about itself once it runs: the operator sees what players will meet without reading the
//! configuration.

use std::fmt::Write as _;

use passage_shards::pool::Shards;
use passage_shards::route::Mode;

use crate::config::{Authentication, Config, DiscoverySource, Loaded, Route, SEARCHED, Source, Status};
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
    let mut text = format!("Route {}: pings are answered ", route.hostname);
    text += match route.status {
        Status::Fixed(_) => "from the configuration",
        Status::Shared(_) => "by whom the configuration says",
    };
    let players = match (&route.authentication, route.mode) {
        (_, Mode::Relay) => "players (the target authenticates them)",
        (Authentication::Mojang(_), _) => "players whom the session server knows",
        (Authentication::Grpc { .. }, _) => "players whom the authentication service knows",
        (Authentication::Fixed(_), _) => "everybody, as one fixed player,",
        (Authentication::Disabled, _) => "everybody, without authentication,",
    };
    let DiscoverySource::Fixed(targets) = &route.discovery.source else {
        return text;
    };
    let Some(first) = targets.iter().min_by_key(|target| target.priority) else {
        return text + "; joins are refused, because there is no target: add one under [discovery]";
    };
    let way = match route.mode {
        Mode::Transfer => "transferred",
        Mode::Relay => "relayed",
        Mode::Auto => "transferred (clients older than 1.20.5: relayed)",
    };
    let _ = write!(
        text,
        "; {players} are {way} to {} at {}:{}",
        first.identifier, first.host, first.port
    );
    if targets.len() > 1 {
        let _ = write!(text, ", the first of {} targets", targets.len());
    }
    text
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
    let cookies = if config.auth_secret.is_some() {
        "with"
    } else {
        "without"
    };
    format!("Limits: {rate}; {proxies}; {cookies} authentication cookies")
}
