//! What the shards are told at their start: addresses, routes and bounds, all of it validated.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use passage_proto::status::StatusReply;

use crate::ask::ControlLine;
use crate::route::{Localization, Route};

/// All that the shards need to know to start. The control plane has validated it.
pub struct Blueprint {
    /// Addresses to listen on, each with its own socket per shard.
    pub addresses: Vec<SocketAddr>,
    /// How many shards; `None` for one per CPU that this process may run on.
    pub shards: Option<NonZeroUsize>,
    /// Whether each shard is pinned to its CPU.
    pub pin: bool,
    /// The routes, in order.
    pub routes: Arc<[Route]>,
    /// Shown to pings for no route; `None` closes them.
    pub unknown_host: Option<Arc<StatusReply>>,
    /// Words for logins to no route.
    pub localization: Localization,
    /// PROXY protocol in.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The per-prefix connection limit; `None` switches it off.
    pub rate_limit: Option<RateLimit>,
    /// Bounds of SPEC 8.
    pub limits: Limits,
    /// Longest accepted client frame, in bytes.
    pub max_packet_length: usize,
    /// Bound over a whole conversation before its hand-over.
    pub timeout: Duration,
    /// How long cookies are valid.
    pub auth_cookie_expiry: Duration,
    /// Questions for the control thread. Bounded; a full channel sheds.
    pub control: ControlLine,
    /// Where each shard's counts go.
    pub telemetry: crate::metrics::Outlet,
    /// What feeds know when the shards start; more comes through [`super::Shards::publisher`].
    pub news: Vec<crate::feed::Update>,
    /// Where finished spans go; `None` traces nothing.
    pub traces: Option<crate::trace::Outlet>,
}

/// Which peers must, may or must not send a PROXY header.
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    /// Accept version 1.
    pub allow_v1: bool,
    /// Accept version 2.
    pub allow_v2: bool,
    /// Peers whose header counts.
    pub trusted: Vec<IpNet>,
    /// What becomes of the others.
    pub untrusted: Untrusted,
}

/// What becomes of a peer outside of `trusted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// Close at once.
    Reject,
    /// Treat as a client that connects directly; a header is then a fault.
    Direct,
}

/// At most `limit` connections a prefix within any `duration`, half of them (rounded up) at once: see
/// [`crate::limiter`].
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Connections.
    pub limit: u32,
    /// Over this time.
    pub duration: Duration,
    /// Bits of an IPv4 address that make a prefix.
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address that make a prefix.
    pub ipv6_prefix: u8,
}

/// The operator's bounds (`[limits]`).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections per shard.
    pub connections_per_shard: usize,
    /// Open connections per limiter prefix, over all shards; 0 for no bound. Without a limiter a prefix is
    /// one IPv4 address, or 64 bits of an IPv6 address.
    pub connections_per_prefix: u32,
    /// Logins before their hand-over, per shard.
    pub logins_per_shard: usize,
    /// Logins that wait for an RSA operation, per shard. From a quarter of it on, other logins are told to
    /// come back later; those who were let in before find a place in the rest, and are closed over the whole.
    pub rsa_queue_per_shard: usize,
    /// Handshake deadline, PROXY header included.
    pub handshake: Duration,
    /// Deadline for each step of status and login.
    pub step: Duration,
    /// Time to connect to a relay target.
    pub dial: Duration,
    /// A relay without traffic in both directions for this long is closed.
    pub relay_idle: Duration,
    /// A relay one side of which acknowledges nothing for this long is ended. Whole seconds, 2 or more.
    pub relay_gone: Duration,
    /// Bytes that all relays of a shard together may hold because their sinks are slow.
    pub relay_memory_per_shard: usize,
    /// Pipes through which relays of a shard carry bulk at the same time.
    pub relay_pipes_per_shard: u16,
    /// Receive buffers of a shard, rounded up to a power of two, at most 32 768.
    pub receive_buffers_per_shard: u16,
    /// `listen(2)` backlog.
    pub backlog: u32,
}
