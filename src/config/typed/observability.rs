//! `[otel]`, `[sentry]`, `[admin]`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::secret::{Secret, token};
use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, boolean, integer, number, parsed, seconds, text, url};
use crate::telemetry::sentry::is_dsn;

/// What is traced by default at most: enough to look at, and some percent of a core under a flood.
const TRACES_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// `[otel]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Otel {
    /// `deployment.environment.name`; empty for none.
    pub environment: String,
    /// Where spans go.
    pub traces: Option<Endpoint>,
    /// Where metrics go.
    pub metrics: Option<Endpoint>,
    /// Where log records go.
    pub logs: Option<Endpoint>,
    /// The share of connections that are traced, 0 to 1.
    pub traces_sample_rate: f64,
    /// Traces that each shard begins in a second at most.
    pub traces_per_second: NonZeroU32,
    /// Time between two exports of the metrics.
    pub metrics_interval: Duration,
    /// Label sets a metric may have before the rest goes to the overflow series.
    pub label_limit: usize,
    /// Whether histograms are exported with exponential buckets.
    pub exponential_histograms: bool,
    /// Whether metrics carry the label `client_ip`.
    pub client_ip_label: bool,
}

/// An OTLP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to post to, whole.
    pub url: String,
    /// Credentials for HTTP basic authentication, already in Base64.
    pub token: Option<Secret>,
}

/// `[sentry]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentry {
    /// Whether anything is reported.
    pub enabled: bool,
    /// Whether every event is logged.
    pub debug: bool,
    /// The DSN. It contains a key.
    pub address: Option<Secret>,
    /// The environment of events; empty for none.
    pub environment: String,
    /// Whether events say who and where: player name and UUID, IP address, target.
    pub send_pii: bool,
}

/// `[admin]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where `/metrics`, `/livez` and `/readyz` are served; `None` for nowhere.
    pub address: Option<SocketAddr>,
}

pub(super) fn otel(table: &Section<'_>) -> Otel {
    Otel {
        environment: table.value("environment", text).unwrap_or_default(),
        traces: endpoint(table, "traces_endpoint", "traces_token"),
        metrics: endpoint(table, "metrics_endpoint", "metrics_token"),
        logs: endpoint(table, "logs_endpoint", "logs_token"),
        traces_sample_rate: table
            .value("traces_sample_rate", number(0.0..=1.0))
            .unwrap_or(1.0),
        traces_per_second: table
            .value("traces_per_second", integer(1..=100_000))
            .and_then(NonZeroU32::new)
            .unwrap_or(TRACES_PER_SECOND),
        metrics_interval: table
            .value("metrics_interval", seconds(1..=3_600))
            .unwrap_or(Duration::from_secs(15)),
        label_limit: table.value("label_limit", integer(1..=100_000)).unwrap_or(2_000),
        exponential_histograms: table.value("exponential_histograms", boolean).unwrap_or(false),
        client_ip_label: table.value("client_ip_label", boolean).unwrap_or(true),
    }
}

pub(super) fn sentry(table: &Section<'_>) -> Sentry {
    let sentry = Sentry {
        enabled: table
            .value("enabled", boolean)
            .unwrap_or_else(|| table.is_written()),
        debug: table.value("debug", boolean).unwrap_or(false),
        address: table.value("address", dsn),
        environment: table.value("environment", text).unwrap_or_default(),
        send_pii: table.value("send_pii", boolean).unwrap_or(true),
    };
    if sentry.enabled && sentry.address.is_none() && !table.has("address") {
        table.blame(
            "address",
            "nothing",
            "the DSN of your Sentry project, or enabled = false",
        );
    }
    sentry
}

pub(super) fn admin(table: &Section<'_>) -> Admin {
    let address = table.value(
        "address",
        parsed("an IP address and a port; 127.0.0.1:9464 is a good choice"),
    );
    Admin { address }
}

/// A DSN of Sentry. It is not shown where it is wrong: its key may be right.
fn dsn(node: &Node) -> Parsed<Secret> {
    let address = token(node)?;
    if is_dsn(address.expose()) {
        return Ok(address);
    }
    Mismatch::new(
        node,
        "a DSN such as \"https://publickey@o0.ingest.sentry.io/1234\"",
    )
    .found("something else (not shown)")
    .hint("Sentry shows it in the settings of the project, under Client Keys")
    .fail()
}

fn endpoint(table: &Section<'_>, endpoint: &'static str, token_key: &'static str) -> Option<Endpoint> {
    let token = table.value(token_key, token);
    let url = table.value(endpoint, url);
    if token.is_some() && !table.has(endpoint) {
        table.blame(
            token_key,
            "a token without an endpoint",
            format!("{endpoint} beside it"),
        );
    }
    url.map(|url| Endpoint { url, token })
}
