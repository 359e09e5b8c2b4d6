//! What one shard counted since its last hand-over.

use std::net::{IpAddr, Ipv6Addr};

use crossbeam_channel::Sender;
use passage_proto::question::AskError;
use passage_proto::version;

use super::durations::{ANSWERS, Durations, RELAYS, TURNS};
use super::labels::{
    AdapterName, AdapterType, Bound, ConnectionLabels, Cut, ERROR_TYPES, RequestType, Shortage,
};
use super::reason::{FailureStage, Failures, Reason};
use super::table::{Key, NameId, Names, Seed, Table};

const NAMES: usize = AdapterName::ALL.len();
const TYPES: usize = AdapterType::ALL.len();
const KINDS: usize = RequestType::ALL.len();
const ERRORS: usize = ERROR_TYPES.len() + 1;
const RESULTS: usize = 2;

/// A series of durations that takes memory from its first record on.
type Slot = Option<Box<Durations>>;

/// What one shard counted since its last hand-over. Travels to the telemetry thread and comes back empty.
#[derive(Debug)]
pub struct Deltas {
    /// Which shard counted; `None` for the control thread.
    pub shard: Option<usize>,
    /// What needs no label but the shard's.
    pub totals: Totals,
    /// Whether anything was counted.
    pub(super) dirty: bool,
    pub(super) home: Sender<Box<Self>>,
    label_client_ip: bool,
    names: Names,
    connections: Table<ConnectionKey, ConnectionCounts>,
    targets: Table<TargetKey, TargetCounts>,
    requests: [Slot; KINDS * TYPES * RESULTS],
    adapters: [Slot; NAMES * TYPES * ERRORS],
    failures: Failures,
    relays: Durations,
    turns: Durations,
}

/// Counts of a shard that have no other labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Connections admitted.
    pub opened: u64,
    /// Admitted connections that have ended.
    pub closed: u64,
    /// Bytes relayed from clients to targets.
    pub relayed_to_target: u64,
    /// Bytes relayed from targets to clients.
    pub relayed_to_client: u64,
    /// Work shed, by [`Bound`].
    pub shed: [u64; Bound::ALL.len()],
    /// Connections and dials ended at a bound, by [`Cut`].
    pub cut: [u64; Cut::ALL.len()],
    /// Receives that found none left of something, by [`Shortage`].
    pub short: [u64; Shortage::ALL.len()],
    /// Accepts that failed; each pauses its listener for a moment.
    pub accept_failures: u64,
    /// Connections ended by a panic.
    pub panics: u64,
    /// Hand-overs put off because the telemetry thread had not given the last box back. Their counts went
    /// along with the next one.
    pub deferred: u64,
    /// Spans of traces for which there was no room on the way to the telemetry thread.
    pub spans_dropped: u64,
    /// Most questions that waited for the control thread at a time.
    pub queue_depth: usize,
    /// Most bytes that relays held at a hand-over because their sinks were slow.
    pub relay_memory: usize,
}

/// Counts of one set of [`ConnectionLabels`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Connection attempts.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that the limiter refused.
    pub rate_limited: u64,
}

/// Counts of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetCounts {
    /// How often a strategy chose it.
    pub selected: u64,
    /// Players handed over to it.
    pub connected: u64,
    /// Attempts to dial it that failed.
    pub failed: u64,
}

/// The labels of a connection count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSet<'a> {
    /// The client's address; `None` where that label is switched off.
    pub client_ip: Option<IpAddr>,
    /// The route's name; `None` reads `other`.
    pub route: Option<&'a str>,
    /// A version that Passage knows; `None` reads `other`.
    pub protocol: Option<i32>,
}

/// The labels of a target count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetSet<'a> {
    /// The target's unique name.
    pub identifier: &'a str,
    /// Host name or IP as configured.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
}

impl Totals {
    /// Adds what was counted later. Of the worst values, the worse one stays.
    pub fn add(&mut self, later: &Self) {
        self.opened += later.opened;
        self.closed += later.closed;
        self.relayed_to_target += later.relayed_to_target;
        self.relayed_to_client += later.relayed_to_client;
        for (count, more) in self.shed.iter_mut().zip(later.shed) {
            *count += more;
        }
        for (count, more) in self.cut.iter_mut().zip(later.cut) {
            *count += more;
        }
        for (count, more) in self.short.iter_mut().zip(later.short) {
            *count += more;
        }
        self.accept_failures += later.accept_failures;
        self.panics += later.panics;
        self.deferred += later.deferred;
        self.spans_dropped += later.spans_dropped;
        self.queue_depth = self.queue_depth.max(later.queue_depth);
        self.relay_memory = self.relay_memory.max(later.relay_memory);
    }
}

impl Deltas {
    /// No counts yet. `home` is where [`Self::give_back`] leads.
    pub(super) fn new(
        shard: Option<usize>,
        label_limit: usize,
        client_ip: bool,
        home: Sender<Box<Self>>,
    ) -> Box<Self> {
        let seed = Seed::random();
        Box::new(Self {
            shard,
            totals: Totals::default(),
            dirty: false,
            home,
            label_client_ip: client_ip,
            names: Names::new(label_limit, seed),
            connections: Table::new(label_limit, seed),
            targets: Table::new(label_limit, seed),
            requests: [const { None }; KINDS * TYPES * RESULTS],
            adapters: [const { None }; NAMES * TYPES * ERRORS],
            failures: Failures::NONE,
            relays: Durations::new(&RELAYS),
            turns: Durations::new(&TURNS),
        })
    }

    /// The counts of the overflow, then those of each label set.
    pub fn connections(
        &self,
    ) -> (
        &ConnectionCounts,
        impl Iterator<Item = (ConnectionSet<'_>, &ConnectionCounts)>,
    ) {
        let (overflow, sets) = self.connections.iter();
        let sets = sets.map(|(key, counts)| {
            let set = ConnectionSet {
                client_ip: key.client_ip.map(|ip| ip.to_canonical()),
                route: (key.route != NameId::default()).then(|| self.names.name(key.route)),
                protocol: key.protocol,
            };
            (set, counts)
        });
        (overflow, sets)
    }

    /// The counts of the overflow, then those of each target.
    pub fn targets(
        &self,
    ) -> (
        &TargetCounts,
        impl Iterator<Item = (TargetSet<'_>, &TargetCounts)>,
    ) {
        let (overflow, sets) = self.targets.iter();
        let sets = sets.map(|(key, counts)| {
            let (identifier, host) = (self.names.name(key.identifier), self.names.name(key.host));
            (
                TargetSet {
                    identifier,
                    host,
                    port: key.port,
                },
                counts,
            )
        });
        (overflow, sets)
    }

    /// Durations of requests, by type, adapter type and success. Series without any are left out.
    pub fn requests(&self) -> impl Iterator<Item = (RequestType, AdapterType, bool, &Durations)> {
        recorded(&self.requests).map(|(at, durations)| {
            let kind = RequestType::ALL[at / RESULTS / TYPES];
            (
                kind,
                AdapterType::ALL[at / RESULTS % TYPES],
                at % RESULTS == 1,
                durations,
            )
        })
    }

    /// Durations of adapter calls, by name, type and error. Series without any are left out.
    pub fn adapters(&self) -> impl Iterator<Item = (AdapterName, AdapterType, Option<AskError>, &Durations)> {
        recorded(&self.adapters).map(|(at, durations)| {
            let name = AdapterName::ALL[at / ERRORS / TYPES];
            let error = (at % ERRORS).checked_sub(1).map(|error| ERROR_TYPES[error]);
            (name, AdapterType::ALL[at / ERRORS % TYPES], error, durations)
        })
    }

    /// How many connections failed, by reason and stage; together as many as by [`Self::connections`]. Those
    /// without any are left out.
    pub fn failures(&self) -> impl Iterator<Item = (Reason, FailureStage, u64)> {
        self.failures.iter()
    }

    /// Durations of relays.
    #[must_use]
    pub fn relays(&self) -> &Durations {
        &self.relays
    }

    /// Durations of turns of the shard's loop.
    #[must_use]
    pub fn turns(&self) -> &Durations {
        &self.turns
    }

    /// Empties the box and sends it back to its shard. Dropped, where the shard has ended.
    pub fn give_back(mut self: Box<Self>) {
        self.clear();
        let home = self.home.clone();
        let _ = home.try_send(self);
    }

    pub(super) fn totals_mut(&mut self) -> &mut Totals {
        self.dirty = true;
        &mut self.totals
    }

    /// The smallest box that there is, for a shard that counts no more.
    pub(super) fn stand_in(&self) -> Box<Self> {
        Self::new(self.shard, 1, false, self.home.clone())
    }

    pub(super) fn connection(&mut self, labels: &ConnectionLabels<'_>) -> &mut ConnectionCounts {
        self.dirty = true;
        let route = match labels.route {
            None => NameId::default(),
            Some(name) => match self.names.intern(name) {
                Some(id) => id,
                None => return self.connections.overflow(),
            },
        };
        let client_ip = self.label_client_ip.then(|| match labels.client_ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        });
        let protocol = labels.protocol.filter(|number| version::is_release(*number));
        self.connections.slot(ConnectionKey {
            client_ip,
            route,
            protocol,
        })
    }

    pub(super) fn target(&mut self, identifier: &str, host: &str, port: u16) -> &mut TargetCounts {
        self.dirty = true;
        match (self.names.intern(identifier), self.names.intern(host)) {
            (Some(identifier), Some(host)) => self.targets.slot(TargetKey {
                identifier,
                host,
                port,
            }),
            _ => self.targets.overflow(),
        }
    }

    pub(super) fn request(
        &mut self,
        kind: RequestType,
        adapter: AdapterType,
        success: bool,
    ) -> &mut Durations {
        self.dirty = true;
        let at = (kind as usize * TYPES + adapter as usize) * RESULTS + usize::from(success);
        self.requests[at].get_or_insert_with(|| Box::new(Durations::new(&ANSWERS)))
    }

    pub(super) fn adapter(
        &mut self,
        name: AdapterName,
        kind: AdapterType,
        error: Option<AskError>,
    ) -> &mut Durations {
        self.dirty = true;
        let error = error.map_or(0, |error| 1 + error as usize);
        let at = (name as usize * TYPES + kind as usize) * ERRORS + error;
        self.adapters[at].get_or_insert_with(|| Box::new(Durations::new(&ANSWERS)))
    }

    /// One connection failed. To be counted by its labels as well.
    pub(super) fn fail(&mut self, reason: Reason, stage: FailureStage) {
        self.dirty = true;
        self.failures.count(reason, stage);
    }

    pub(super) fn relay(&mut self) -> &mut Durations {
        self.dirty = true;
        &mut self.relays
    }

    pub(super) fn turn(&mut self) -> &mut Durations {
        self.dirty = true;
        &mut self.turns
    }

    fn clear(&mut self) {
        self.dirty = false;
        self.totals = Totals::default();
        self.names.clear();
        self.connections.clear();
        self.targets.clear();
        for durations in self.requests.iter_mut().chain(&mut self.adapters).flatten() {
            durations.clear();
        }
        self.failures = Failures::NONE;
        self.relays.clear();
        self.turns.clear();
    }
}

fn recorded(slots: &[Slot]) -> impl Iterator<Item = (usize, &Durations)> {
    let slots = slots.iter().enumerate();
    slots.filter_map(|(at, slot)| {
        slot.as_deref()
            .filter(|durations| !durations.is_empty())
            .map(|some| (at, some))
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ConnectionKey {
    /// IPv4 as the mapped IPv6 address.
    client_ip: Option<Ipv6Addr>,
    route: NameId,
    protocol: Option<i32>,
}

impl Key for ConnectionKey {
    fn words(self) -> [u64; 3] {
        let address = self.client_ip.map_or([0; 8], |ip| ip.segments());
        let half = |part: &[u16]| {
            part.iter()
                .fold(0, |word, segment| word << 16 | u64::from(*segment))
        };
        let protocol = u64::from(self.protocol.unwrap_or(-1).cast_unsigned());
        [
            half(&address[..4]),
            half(&address[4..]),
            self.route.word() << 32 | protocol,
        ]
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TargetKey {
    identifier: NameId,
    host: NameId,
    port: u16,
}

impl Key for TargetKey {
    fn words(self) -> [u64; 3] {
        [self.identifier.word(), self.host.word(), u64::from(self.port)]
    }
}
