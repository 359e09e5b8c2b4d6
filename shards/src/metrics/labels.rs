//! The label values that shards count by: closed enums, so that a count is an array slot.

use std::net::IpAddr;

use passage_proto::question::AskError;

/// The label `adapter_name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the label values")]
pub enum AdapterName {
    Status,
    Authentication,
    Discovery,
    Action,
    Strategy,
    Localization,
}

impl AdapterName {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 6] = [
        Self::Status,
        Self::Authentication,
        Self::Discovery,
        Self::Action,
        Self::Strategy,
        Self::Localization,
    ];

    /// The value as it is exported.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Authentication => "authentication",
            Self::Discovery => "discovery",
            Self::Action => "discovery_action",
            Self::Strategy => "strategy",
            Self::Localization => "localization",
        }
    }
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
    MetaFilter,
    PlayerAllowFilter,
    PlayerBlockFilter,
    PlayerFill,
    Random,
    RoundRobin,
    LeastConnections,
    LowestLatency,
    Weighted,
    Hash,
    /// No adapter was reached, for example because no route matched.
    None,
}

impl AdapterType {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 19] = [
        Self::Fixed,
        Self::Http,
        Self::Grpc,
        Self::Target,
        Self::Mojang,
        Self::Disabled,
        Self::Dns,
        Self::Agones,
        Self::MetaFilter,
        Self::PlayerAllowFilter,
        Self::PlayerBlockFilter,
        Self::PlayerFill,
        Self::Random,
        Self::RoundRobin,
        Self::LeastConnections,
        Self::LowestLatency,
        Self::Weighted,
        Self::Hash,
        Self::None,
    ];

    /// The value as it is exported.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Target => "target",
            Self::Mojang => "mojang",
            Self::Disabled => "disabled",
            Self::Dns => "dns",
            Self::Agones => "agones",
            Self::MetaFilter => "meta_filter",
            Self::PlayerAllowFilter => "player_allow_filter",
            Self::PlayerBlockFilter => "player_block_filter",
            Self::PlayerFill => "player_fill",
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::LowestLatency => "lowest_latency",
            Self::Weighted => "weighted",
            Self::Hash => "hash",
            Self::None => "none",
        }
    }
}

/// The label `request_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the label values")]
pub enum RequestType {
    Status,
    Login,
}

impl RequestType {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 2] = [Self::Status, Self::Login];

    /// The value as it is exported.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Login => "login",
        }
    }
}

/// Why work was shed before it cost anything: the label `bound`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Open connections of the shard.
    ConnectionsPerShard,
    /// Open connections of one client prefix.
    ConnectionsPerPrefix,
    /// Logins before their hand-over.
    Logins,
    /// Logins that wait for an RSA operation.
    RsaQueue,
    /// Questions for the control thread.
    ControlQueue,
    /// New client prefixes that the rate limiter has no room to watch.
    LimiterTable,
}

impl Bound {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 6] = [
        Self::ConnectionsPerShard,
        Self::ConnectionsPerPrefix,
        Self::Logins,
        Self::RsaQueue,
        Self::ControlQueue,
        Self::LimiterTable,
    ];

    /// The value as it is exported.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ConnectionsPerShard => "connections_per_shard",
            Self::ConnectionsPerPrefix => "connections_per_prefix",
            Self::Logins => "logins",
            Self::RsaQueue => "rsa_queue",
            Self::ControlQueue => "control_queue",
            Self::LimiterTable => "limiter_table",
        }
    }
}

/// At which bound of time or size a connection was ended: the label `bound` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// No handshake in time.
    Handshake,
    /// A step took too long.
    Step,
    /// The whole conversation took too long.
    Timeout,
    /// A target did not answer in time; another one may have.
    Dial,
    /// Nothing moved on a relay for too long.
    RelayIdle,
    /// A side of a relay acknowledged nothing for too long.
    RelayGone,
    /// The relays of the shard held too much, and this one's side had not read for the longest time.
    RelayMemory,
    /// A packet was longer than is accepted.
    PacketLength,
    /// Something in a packet or in a PROXY header was longer than the protocol allows, or more was sent than
    /// is kept for later.
    Protocol,
    /// It was still open at the deadline of a drain.
    Drain,
}

impl Cut {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 10] = [
        Self::Handshake,
        Self::Step,
        Self::Timeout,
        Self::Dial,
        Self::RelayIdle,
        Self::RelayGone,
        Self::RelayMemory,
        Self::PacketLength,
        Self::Protocol,
        Self::Drain,
    ];

    /// The value as it is exported: the key that sets the bound, where there is one.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Step => "step",
            Self::Timeout => "timeout",
            Self::Dial => "dial",
            Self::RelayIdle => "relay_idle",
            Self::RelayGone => "relay_gone",
            Self::RelayMemory => "relay_memory_per_shard",
            Self::PacketLength => "max_packet_length",
            Self::Protocol => "protocol",
            Self::Drain => "drain",
        }
    }
}

/// What a shard had too little of, so that a receive waited or took another way: the label `bound` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortage {
    /// Receive buffers: the receive waits until one is given back.
    ReceiveBuffers,
    /// Pipes: bulk takes a large buffer.
    RelayPipes,
}

impl Shortage {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 2] = [Self::ReceiveBuffers, Self::RelayPipes];

    /// The value as it is exported: the key that sets the bound.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ReceiveBuffers => "receive_buffers_per_shard",
            Self::RelayPipes => "relay_pipes_per_shard",
        }
    }
}

/// Every value of the label `error_type`, in the order of the enum.
pub const ERROR_TYPES: [AskError; 6] = [
    AskError::Denied,
    AskError::RateLimited,
    AskError::Failed,
    AskError::Unreachable,
    AskError::TimedOut,
    AskError::Overloaded,
];

/// The label `error_type` as it is exported.
#[must_use]
pub fn error_type(error: AskError) -> &'static str {
    match error {
        AskError::Denied => "denied",
        AskError::RateLimited => "rate_limited",
        AskError::Failed => "failed",
        AskError::Unreachable => "unreachable",
        AskError::TimedOut => "timed_out",
        AskError::Overloaded => "overloaded",
    }
}

/// The labels of the connection metrics. `server_address` is a route's name or `other`, never what a client
/// sent.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLabels<'a> {
    /// Client address; left out of the labels where `client_ip_label` is off.
    pub client_ip: IpAddr,
    /// The route's name, `None` for no route; it then reads `other`.
    pub route: Option<&'a str>,
    /// The protocol version, `None` before the handshake; that and unknown versions read `other`.
    pub protocol: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_value_stands_at_its_own_index_in_all() {
        assert!(
            AdapterName::ALL
                .iter()
                .enumerate()
                .all(|(at, name)| *name as usize == at)
        );
        assert!(
            AdapterType::ALL
                .iter()
                .enumerate()
                .all(|(at, kind)| *kind as usize == at)
        );
        assert!(
            RequestType::ALL
                .iter()
                .enumerate()
                .all(|(at, kind)| *kind as usize == at)
        );
        assert!(
            Bound::ALL
                .iter()
                .enumerate()
                .all(|(at, bound)| *bound as usize == at)
        );
        assert!(Cut::ALL.iter().enumerate().all(|(at, cut)| *cut as usize == at));
        assert!(
            Shortage::ALL
                .iter()
                .enumerate()
                .all(|(at, shortage)| *shortage as usize == at)
        );
        assert!(
            ERROR_TYPES
                .iter()
                .enumerate()
                .all(|(at, error)| *error as usize == at)
        );
    }
}
