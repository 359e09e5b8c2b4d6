//! Why connections fail and how far they had come: two closed sets, so that a count is an array slot.

use passage_proto::fault::Fault;
use passage_proto::session::Stage;

/// Why a connection failed: the label `reason`. What an adapter's error or a bound was in detail stands in
/// their own metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client broke the protocol in this way.
    Fault(Fault),
    /// The client took too long.
    TimedOut,
    /// The client went away before its business was done.
    HungUp,
    /// An adapter said no.
    Denied,
    /// An adapter did not answer.
    AdapterFailed,
    /// There was no room for the login, or for its question.
    Overloaded,
    /// No route matched the host name.
    NoRoute,
    /// The client is too old for the route.
    Unsupported,
    /// No target could be reached.
    Unreachable,
    /// The shard had as many connections as it may have.
    ShardFull,
    /// The shard had as many logins as it may have.
    LoginsFull,
    /// The client's prefix had as many connections as it may have.
    PrefixFull,
    /// The relays of the shard held as much as they may.
    RelayMemory,
    /// The peer is none from which connections are taken.
    Untrusted,
    /// Still open at the deadline of a drain.
    Cut,
    /// A bug of ours.
    Bug,
    /// A bug of ours that panicked.
    Panicked,
}

/// Every reason that is no fault, with its label value.
const PLAIN: [(Reason, &str); 16] = [
    (Reason::TimedOut, "timed_out"),
    (Reason::HungUp, "hung_up"),
    (Reason::Denied, "denied"),
    (Reason::AdapterFailed, "adapter_failed"),
    (Reason::Overloaded, "overloaded"),
    (Reason::NoRoute, "no_route"),
    (Reason::Unsupported, "unsupported"),
    (Reason::Unreachable, "unreachable"),
    (Reason::ShardFull, "shard_full"),
    (Reason::LoginsFull, "logins_full"),
    (Reason::PrefixFull, "prefix_full"),
    (Reason::RelayMemory, "relay_memory"),
    (Reason::Untrusted, "untrusted"),
    (Reason::Cut, "cut"),
    (Reason::Bug, "bug"),
    (Reason::Panicked, "panicked"),
];

impl Reason {
    /// How many there are.
    pub const COUNT: usize = PLAIN.len() + Fault::ALL.len();

    /// Every value.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = PLAIN.into_iter().map(|(reason, _)| reason);
        plain.chain(Fault::ALL.into_iter().map(Self::Fault))
    }

    /// The value as it is exported: a fault has its own name.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.name(),
            plain => PLAIN
                .iter()
                .find(|(reason, _)| *reason == plain)
                .map_or("bug", |(_, label)| label),
        }
    }

    /// Its place among [`Self::all`]. Sought, because failures are rare beside the rest.
    fn index(self) -> usize {
        Self::all().position(|reason| reason == self).unwrap_or_default()
    }
}

/// How far a connection had come when it failed: the label `stage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureStage {
    /// It was turned away where it was accepted.
    Accept,
    /// Before the end of its PROXY header.
    ProxyHeader,
    /// Before the end of its handshake.
    Handshake,
    /// In a ping.
    Status,
    /// In a login, the way to a relay's target included.
    Login,
    /// In the configuration phase.
    Configuration,
    /// In a relay.
    Relay,
}

impl FailureStage {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::Accept,
        Self::ProxyHeader,
        Self::Handshake,
        Self::Status,
        Self::Login,
        Self::Configuration,
        Self::Relay,
    ];

    /// The value as it is exported.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::ProxyHeader => "proxy_header",
            Self::Handshake => "handshake",
            Self::Status => "status",
            Self::Login => "login",
            Self::Configuration => "configuration",
            Self::Relay => "relay",
        }
    }
}

impl From<Stage> for FailureStage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::ProxyHeader => Self::ProxyHeader,
            Stage::Handshake => Self::Handshake,
            Stage::Status => Self::Status,
            Stage::Login => Self::Login,
            Stage::Configuration => Self::Configuration,
        }
    }
}

/// Failed connections by reason and stage.
#[derive(Clone, Debug)]
pub(super) struct Failures([[u64; FailureStage::ALL.len()]; Reason::COUNT]);

impl Failures {
    pub(super) const NONE: Self = Self([[0; FailureStage::ALL.len()]; Reason::COUNT]);

    /// One more.
    pub(super) fn count(&mut self, reason: Reason, stage: FailureStage) {
        self.0[reason.index()][stage as usize] += 1;
    }

    /// Those that there were.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Reason, FailureStage, u64)> {
        let rows = Reason::all().zip(&self.0);
        let all = rows.flat_map(|(reason, counts)| {
            let stages = FailureStage::ALL.into_iter().zip(counts);
            stages.map(move |(stage, count)| (reason, stage, *count))
        });
        all.filter(|(_, _, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_label_of_its_own() {
        let reasons: Vec<_> = Reason::all().collect();
        assert_eq!(reasons.len(), Reason::COUNT);
        let labels: HashSet<_> = reasons.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), Reason::COUNT, "{labels:?}");
        for (place, reason) in reasons.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
        let stages = FailureStage::ALL.into_iter().enumerate();
        assert!(stages.into_iter().all(|(at, stage)| stage as usize == at));
    }

    #[test]
    fn what_is_counted_is_what_is_read() {
        let mut failures = Failures::NONE;
        failures.count(Reason::Panicked, FailureStage::Accept);
        failures.count(Reason::Fault(Fault::FrameEmpty), FailureStage::Relay);
        failures.count(Reason::Fault(Fault::FrameEmpty), FailureStage::Relay);
        let read: Vec<_> = failures.iter().collect();
        assert_eq!(
            read,
            [
                (Reason::Panicked, FailureStage::Accept, 1),
                (Reason::Fault(Fault::FrameEmpty), FailureStage::Relay, 2)
            ]
        );
    }
}
