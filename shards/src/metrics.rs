//! What a shard counts: plain slots, no atomics, handed over as boxes of deltas.

use std::net::IpAddr;
use std::time::Duration;

/// The label `adapter_name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the label values")]
pub enum AdapterName {
    Status,
    Authentication,
    Discovery,
    Strategy,
    Localization,
}

/// The label `adapter_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the label values")]
pub enum AdapterType {
    Fixed,
    Http,
    Grpc,
    Target,
    Mojang,
    Disabled,
    Dns,
    Agones,
    None,
}

/// The label `request_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the label values")]
pub enum RequestType {
    Status,
    Login,
}

/// The labels of the connection metrics. `server_address` is a route's name or `other`, never what a client sent.
#[derive(Clone, Debug)]
pub struct ConnectionLabels<'a> {
    /// Client address; left out of the labels where `client_ip_label` is off.
    pub client_ip: IpAddr,
    /// The route's name, `None` for no route.
    pub route: Option<&'a str>,
    /// The protocol version, `None` before the handshake; unknown versions become `other`.
    pub protocol: Option<i32>,
}

/// Counts for one shard. Every method costs some tens of nanoseconds at most and never blocks.
#[derive(Debug)]
pub struct Meter {}

impl Meter {
    /// A connection was accepted and admitted: one more is active.
    pub fn connection_opened(&mut self) {}

    /// An admitted connection ended: one fewer is active.
    pub fn connection_closed(&mut self) {}

    /// Counts a connection attempt once its labels are known: when the handshake is read or at its end, whichever
    /// comes first. Shed and rate-limited attempts count too.
    pub fn connection_attempt(&mut self, _labels: &ConnectionLabels<'_>) {}

    /// The attempt failed: a fault, a deadline, a refusal, an unreachable target, a panic.
    pub fn connection_failed(&mut self, _labels: &ConnectionLabels<'_>) {}

    /// The limiter said no.
    pub fn connection_rate_limited(&mut self, _labels: &ConnectionLabels<'_>) {}

    /// A status or login was finished. `adapter` is the adapter that gave the answer.
    pub fn request(&mut self, _kind: RequestType, _adapter: AdapterType, _success: bool, _took: Duration) {}

    /// An adapter was asked and answered, or failed.
    pub fn adapter(
        &mut self,
        _name: AdapterName,
        _kind: AdapterType,
        _took: Duration,
        _error: Option<passage_proto::question::AskError>,
    ) {
    }

    /// How many targets a route's discovery knows.
    pub fn targets_discovered(&mut self, _route: &str, _count: usize) {}

    /// A strategy chose this target.
    pub fn target_selected(&mut self, _target: &passage_proto::question::Target) {}

    /// A player was handed over to this target: transferred, or its relay connection stands.
    pub fn target_connected(&mut self, _target: &passage_proto::question::Target) {}

    /// The target could not be dialled.
    pub fn target_connection_failed(&mut self, _target: &passage_proto::question::Target) {}

    /// A relay ended.
    pub fn relay_closed(&mut self, _to_target: u64, _to_client: u64, _took: Duration) {}

    /// Bytes relayed since the last call.
    pub fn relay_bytes(&mut self, _to_target: u64, _to_client: u64) {}
}

/// What one shard counted since its last hand-over. Travels to the telemetry thread and comes back empty.
#[derive(Debug)]
pub struct Deltas {}

/// The way of a shard's counts to the telemetry thread. Cloned once per shard.
#[derive(Clone, Debug)]
pub struct Outlet {}
