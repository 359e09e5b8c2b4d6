//! The configuration that Passage is measured with.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

/// Host name of the route that is pinged.
pub(crate) const STATUS_HOST: &str = "status.loadtest";
/// Host name of the route that transfers.
pub(crate) const LOGIN_HOST: &str = "transfer.loadtest";
/// Host name of the route that transfers those whom the session server knows.
pub(crate) const MOJANG_HOST: &str = "mojang.loadtest";
/// Host name of the route that relays.
pub(crate) const RELAY_HOST: &str = "relay.loadtest";
/// Host name of the route whose status comes from a web server; see [`Extra::HttpStatus`].
pub(crate) const HTTP_STATUS_HOST: &str = "http-status.loadtest";
/// Host name of the route whose status comes from its target; see [`Extra::TargetStatus`].
pub(crate) const TARGET_STATUS_HOST: &str = "target-status.loadtest";
/// Host name of the route that transfers to allocated game servers; see [`Extra::Agones`].
pub(crate) const AGONES_HOST: &str = "agones.loadtest";
/// How long a status is shown before it is asked for again. Whole seconds.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);
/// Signs the cookies of the measured server; no other ever has it.
pub(crate) const SECRET: &str = "the secret of a load test on loopback";

/// A directory with a configuration, removed when dropped.
#[derive(Debug)]
pub(crate) struct PassageFiles {
    pub(super) directory: TempDir,
    /// Where Passage will listen.
    pub(crate) address: SocketAddr,
    /// Where its metrics will be, if anywhere.
    pub(crate) admin: Option<SocketAddr>,
}

impl PassageFiles {
    /// Writes the configuration of a Passage with so many shards that relays and transfers to `target`, asks
    /// `session_server`, and does whatever is to be measured besides.
    pub(crate) fn write(
        shards: usize,
        target: SocketAddr,
        session_server: SocketAddr,
        extra: Option<Extra>,
    ) -> io::Result<Self> {
        let directory = TempDir::with_prefix("passage-loadtest-")?;
        let [address, admin] = free_addresses()?;
        let admin = matches!(extra, Some(Extra::Agones(_))).then_some(admin);
        let mut text = passage(shards, address, target, session_server);
        text.extend(admin.map(|admin| format!("\n[admin]\naddress = \"{admin}\"\n")));
        match extra {
            None => {}
            Some(Extra::Telemetry { collector, interval }) => text += &otel(collector, interval),
            Some(Extra::HttpStatus(page)) => text += &http_status(page),
            Some(Extra::TargetStatus(target)) => text += &target_status(target),
            Some(Extra::Agones(api_server)) => {
                let path = directory.path().join("kubeconfig");
                std::fs::write(&path, kubeconfig(api_server))?;
                text += &agones(&path);
            }
        }
        std::fs::write(directory.path().join("passage.toml"), text)?;
        Ok(Self {
            directory,
            address,
            admin,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("passage.toml")
    }
}

/// What a Passage does besides, with somebody else's help.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extra {
    /// Exports metrics and traces.
    Telemetry {
        /// Where to.
        collector: SocketAddr,
        /// Whole seconds between two exports of the metrics.
        interval: u64,
    },
    /// Shows the status of this web server at [`HTTP_STATUS_HOST`].
    HttpStatus(SocketAddr),
    /// Shows the status of this target at [`TARGET_STATUS_HOST`].
    TargetStatus(SocketAddr),
    /// Has this Kubernetes API server allocate a game server for every login at [`AGONES_HOST`], and serves
    /// metrics.
    Agones(SocketAddr),
}

/// One connection in a hundred is traced, and no bound in absolute numbers makes it fewer.
fn otel(collector: SocketAddr, interval: u64) -> String {
    format!(
        r#"
[otel]
metrics_endpoint = "http://{collector}/v1/metrics"
metrics_interval = {interval}
traces_endpoint = "http://{collector}/v1/traces"
traces_sample_rate = 0.01
traces_per_second = 100000
"#
    )
}

fn http_status(page: SocketAddr) -> String {
    let refresh = REFRESH.as_secs();
    format!(
        r#"
[[routes]]
hostname = "{HTTP_STATUS_HOST}"
[routes.status]
type = "http"
address = "http://{page}/status"
cache_duration = {refresh}
"#
    )
}

fn target_status(target: SocketAddr) -> String {
    let refresh = REFRESH.as_secs();
    format!(
        r#"
[[routes]]
hostname = "{TARGET_STATUS_HOST}"
[routes.status]
type = "target"
cache_duration = {refresh}
[routes.discovery]
type = "fixed"
targets = [{{ identifier = "status", address = "{target}" }}]
"#
    )
}

/// As many allocations at once as may be: the bound is that of the logins in flight. Under such load a login
/// may wait for longer than for a game server.
fn agones(kubeconfig: &Path) -> String {
    format!(
        r#"
[[routes]]
hostname = "{AGONES_HOST}"
mode = "transfer"
[routes.authentication]
type = "disabled"
[routes.discovery]
type = "agones"
kubeconfig = {:?}
namespace = "loadtest"
concurrency = 4096
timeout = 30
"#,
        kubeconfig.display().to_string()
    )
}

/// JSON, which is YAML too.
fn kubeconfig(api_server: SocketAddr) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "loadtest",
        "clusters": [{"name": "loadtest", "cluster": {"server": format!("http://{api_server}")}}],
        "contexts": [{"name": "loadtest", "context": {"cluster": "loadtest", "user": "loadtest"}}],
        "users": [{"name": "loadtest", "user": {}}],
    })
    .to_string()
}

/// A loopback address whose port nobody has, below the ports that the kernel gives to connections: those that
/// ended a moment ago still hold theirs. No port comes twice in a row: whoever had it may still be leaving.
/// Somebody may take it before it is used; then the server says so.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    let [address] = free_addresses()?;
    Ok(address)
}

/// So many of them, each another one.
pub(crate) fn free_addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let given = GIVEN.fetch_add(u16::try_from(N).unwrap_or(1), Ordering::Relaxed);
    let begin = u16::try_from(std::process::id() % 8_000).unwrap_or(0);
    let begin = 20_000 + begin.wrapping_add(given) % 8_000;
    let ports = (begin..32_000).chain(18_000..begin);
    let bound = ports.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    // All are kept until the last one is found.
    let listeners: Vec<TcpListener> = bound.take(N).collect();
    let addresses: io::Result<Vec<SocketAddr>> = listeners.iter().map(TcpListener::local_addr).collect();
    let few = |_| io::Error::other("too few ports from 18000 to 32000 are free");
    addresses?.try_into().map_err(few)
}

/// No limits in the way: what is measured is the work, not its refusal.
fn passage(shards: usize, address: SocketAddr, target: SocketAddr, session_server: SocketAddr) -> String {
    format!(
        r#"address = "{address}"
auth_secret = "{SECRET}"

[shards]
count = {shards}

[rate_limiter]
enabled = false

[limits]
connections_per_shard = 100000
connections_per_prefix = 0
logins_per_shard = 4096
rsa_queue_per_shard = 4096
handshake = 60
drain = 1

[status]
type = "fixed"
name = "Passage"
description = '{{"text":"A Minecraft network","color":"gold"}}'

[discovery]
type = "fixed"
targets = [{{ identifier = "echo", address = "{target}" }}]

[[routes]]
hostname = "{STATUS_HOST}"

[[routes]]
hostname = "{LOGIN_HOST}"
mode = "transfer"
[routes.authentication]
type = "disabled"

[[routes]]
hostname = "{MOJANG_HOST}"
mode = "transfer"
[routes.authentication]
type = "mojang"
url = "http://{session_server}"
concurrency = 64

[[routes]]
hostname = "{RELAY_HOST}"
mode = "relay"
"#
    )
}
