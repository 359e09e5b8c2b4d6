//! The configuration that Passage is measured with.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use tempfile::TempDir;

/// Host name of the route that is pinged.
pub(super) const STATUS_HOST: &str = "status.loadtest";
/// Host name of the route that transfers.
pub(super) const LOGIN_HOST: &str = "transfer.loadtest";
/// Host name of the route that transfers those whom the session server knows.
pub(super) const MOJANG_HOST: &str = "mojang.loadtest";
/// Host name of the route that relays.
pub(super) const RELAY_HOST: &str = "relay.loadtest";
/// Signs the cookies of the measured server; no other ever has it.
pub(super) const SECRET: &str = "the secret of a load test on loopback";

/// A directory with a configuration, removed when dropped.
#[derive(Debug)]
pub(super) struct PassageFiles {
    directory: TempDir,
    /// Where Passage will listen.
    pub(super) address: SocketAddr,
}

impl PassageFiles {
    /// Writes the configuration of a Passage that relays and transfers to `target`, asks `session_server`
    /// and, if there is one, exports to `telemetry`.
    pub(super) fn write(
        target: SocketAddr,
        session_server: SocketAddr,
        telemetry: Option<Telemetry>,
    ) -> io::Result<Self> {
        let directory = TempDir::with_prefix("passage-loadtest-")?;
        let address = free_address()?;
        let mut text = passage(address, target, session_server);
        text.extend(telemetry.map(otel));
        std::fs::write(directory.path().join("passage.toml"), text)?;
        Ok(Self { directory, address })
    }

    /// The file.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("passage.toml")
    }
}

/// Where metrics and traces go, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telemetry {
    /// The collector.
    pub(super) collector: SocketAddr,
    /// Whole seconds between two exports of the metrics.
    pub(super) interval: u64,
}

/// One connection in a hundred is traced, and no bound in absolute numbers makes it fewer.
fn otel(Telemetry { collector, interval }: Telemetry) -> String {
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

/// A loopback address whose port nobody has, below the ports that the kernel gives to connections: those that
/// ended a moment ago still hold theirs. Somebody may take it before it is used; then the server says so.
pub(super) fn free_address() -> io::Result<SocketAddr> {
    let begin = 20_000 + u16::try_from(std::process::id() % 8_000).unwrap_or(0);
    let mut ports = (begin..32_000).chain(18_000..begin);
    let free = ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    free.ok_or_else(|| io::Error::other("no port from 18000 to 32000 is free"))?
        .local_addr()
}

/// One shard, no limits in the way: what is measured is the work, not its refusal.
fn passage(address: SocketAddr, target: SocketAddr, session_server: SocketAddr) -> String {
    format!(
        r#"address = "{address}"
auth_secret = "{SECRET}"

[shards]
count = 1

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
