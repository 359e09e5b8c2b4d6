//! The configuration with every value checked: what the rest of the program reads.
//!
//! Each section has its file; a function there reads its table and so lists its keys.

mod authentication;
mod discovery;
mod localization;
mod network;
mod observability;
mod route;
mod secret;
mod service;
mod status;
mod strategy;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use passage_proto::limits::{FRAME_BYTES_DEFAULT, FRAME_BYTES_MAX, FRAME_BYTES_MIN};
use passage_proto::status::StatusDocument;
use passage_shards::limits::TIMEOUT_SECONDS;
use passage_shards::pool::{ProxyProtocol, RateLimit};

pub use authentication::{Authentication, Mojang};
pub(crate) use discovery::split_address;
pub use discovery::{
    Action, ActionKind, Agones, Check, Discovery, DiscoverySource, Dns, DnsRecords, Health, Http, agones,
};
pub use localization::Localization;
pub use network::{Bounds, Shards};
pub use observability::{Admin, Endpoint, Otel, Sentry};
pub use route::{CATCH_ALL, Route};
pub(super) use secret::{
    CURRENT as AUTH_SECRET, PREVIOUS as AUTH_SECRET_PREVIOUS, SecretFile, SecretFiles,
    from_file as secret_from_file,
};
pub use secret::{SECRET_BYTES_MIN, Secret};
pub use service::{Remote, Service};
pub use status::{SharedStatus, Status, StatusSource};
pub use strategy::Strategy;
pub use tls::Tls;

use super::section::Section;
use super::value::{integer, list, parsed, seconds};

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen (`address`).
    pub addresses: Vec<SocketAddr>,
    /// Bound over a whole conversation before its hand-over (`timeout`).
    pub timeout: Duration,
    /// Longest accepted client frame in bytes (`max_packet_length`).
    pub max_packet_length: usize,
    /// Signs the authentication cookies; `None` switches them off (`auth_secret`).
    pub auth_secret: Option<Secret>,
    /// Its cookies are believed as well; never without `auth_secret` (`auth_secret_previous`).
    pub auth_secret_previous: Option<Secret>,
    /// How long an authentication cookie is valid (`auth_cookie_expiry`).
    pub auth_cookie_expiry: Duration,
    /// `[shards]`.
    pub shards: Shards,
    /// `[limits]`.
    pub bounds: Bounds,
    /// `[rate_limiter]`, if it is enabled.
    pub rate_limit: Option<RateLimit>,
    /// `[proxy_protocol]`, if it is enabled.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `[tls]`.
    pub tls: Tls,
    /// `[otel]`.
    pub otel: Otel,
    /// `[sentry]`.
    pub sentry: Sentry,
    /// `[admin]`.
    pub admin: Admin,
    /// Shown to pings for no route (`[unknown_host]`).
    pub unknown_host: Option<StatusDocument>,
    /// Words for logins to no route (`[localization]`).
    pub localization: Localization,
    /// `[[routes]]`, or the catch-all made of the top-level tables.
    pub routes: Vec<Route>,
}

/// The port of Minecraft: Java Edition.
pub const MINECRAFT_PORT: u16 = 25565;

const ADDRESSES_MAX: usize = 64;

/// Reads the document's root. What is wrong is reported to the section's reading, and a default stands in for
/// it.
pub(super) fn read(root: &Section<'_>, secret_files: SecretFiles) -> Config {
    let addresses = addresses(root);
    let secrets = secret::read(root, secret_files);
    let (localization, routes) = route::read_all(root);
    let config = Config {
        addresses,
        timeout: network::time(root, "timeout", TIMEOUT_SECONDS),
        max_packet_length: root
            .value("max_packet_length", integer(FRAME_BYTES_MIN..=FRAME_BYTES_MAX))
            .unwrap_or(FRAME_BYTES_DEFAULT),
        auth_secret: secrets.current,
        auth_secret_previous: secrets.previous,
        auth_cookie_expiry: root
            .value("auth_cookie_expiry", seconds(1..=31_536_000))
            .unwrap_or(Duration::from_secs(21_600)),
        shards: root.table("shards", network::shards),
        bounds: root.table("limits", network::bounds),
        rate_limit: root.table("rate_limiter", network::rate_limit),
        proxy_protocol: root.table("proxy_protocol", network::proxy_protocol),
        tls: tls(root),
        otel: root.table("otel", observability::otel),
        sentry: sentry(root),
        admin: root.table("admin", observability::admin),
        unknown_host: root.table("unknown_host", |table| {
            table.is_written().then(|| status::read_fixed_only(table))
        }),
        localization,
        routes,
    };
    check_combinations(root, &config);
    config
}

/// Reads `[sentry]` alone.
pub(super) fn sentry(root: &Section<'_>) -> Sentry {
    root.table("sentry", observability::sentry)
}

/// Reads `[tls]` alone.
pub(super) fn tls(root: &Section<'_>) -> Tls {
    root.table("tls", tls::read)
}

fn addresses(root: &Section<'_>) -> Vec<SocketAddr> {
    let address =
        parsed::<SocketAddr>("an IP address and a port, such as \"0.0.0.0:25565\" or \"[::]:25565\"");
    let Some(addresses) = root.value("address", list(address)) else {
        return vec![SocketAddr::from(([0, 0, 0, 0], MINECRAFT_PORT))];
    };
    if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
        root.blame(
            "address",
            format!("{} addresses", addresses.len()),
            format!("1 to {ADDRESSES_MAX} addresses"),
        );
    }
    let twice = addresses
        .iter()
        .enumerate()
        .find(|(index, one)| one.port() != 0 && addresses[..*index].contains(one));
    if let Some((_, twice)) = twice {
        root.blame("address", format!("{twice} twice"), "each address once");
    }
    addresses
}

/// What only goes wrong together.
fn check_combinations(root: &Section<'_>, config: &Config) {
    if config.bounds.shard.handshake > config.timeout {
        root.blame(
            "timeout",
            format!("{} s, less than limits.handshake", config.timeout.as_secs_f64()),
            format!(
                "at least limits.handshake ({} s)",
                config.bounds.shard.handshake.as_secs_f64()
            ),
        );
    }
    if let Some(admin) = config.admin.address
        && config.addresses.iter().any(|address| {
            // Port 0 is another one each time.
            admin.port() != 0 && address.port() == admin.port() && overlaps(*address, admin)
        })
    {
        root.blame(
            "admin.address",
            format!("{admin}, which players connect to"),
            "an address of its own",
        );
    }
}

fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified()
}

/// The networks that a list of CIDRs or bare addresses names.
fn network(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()))
}
