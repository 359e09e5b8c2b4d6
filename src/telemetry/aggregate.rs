//! The totals over all shards since the start, and how they are read.

mod read;
mod recent;
mod series;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::question::AskError;
use passage_shards::metrics::{
    ANSWERS, AdapterName, AdapterType, ConnectionSet, Deltas, Durations, Exemplar, FailureStage, RELAYS,
    Reason, RequestType, TURNS, TargetSet, Totals,
};

use super::instruments::Instrument;
use crate::watch::Failures;
use recent::{Recent, WINDOW_MIN};
use series::{Births, Born, Sums};

/// All points of one instrument at one moment.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    /// Which one.
    pub(crate) instrument: &'static Instrument,
    /// One point a label set.
    pub(crate) points: Vec<Point<'a>>,
}

/// One series at one moment.
#[derive(Debug)]
pub(crate) struct Point<'a> {
    /// The labels.
    pub(crate) labels: Vec<Label<'a>>,
    /// The value.
    pub(crate) value: Value<'a>,
    /// The last thing that it counted and that was traced.
    pub(crate) exemplar: Option<&'a Exemplar>,
}

/// A label's key and value.
pub(crate) type Label<'a> = (&'static str, LabelValue<'a>);

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LabelValue<'a> {
    /// What nearly all labels have.
    Text(Cow<'a, str>),
    /// For [`super::instruments::OVERFLOW`].
    True,
}

/// The value of a point, in the form that its instrument's [`super::instruments::Kind`] asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// A count.
    Whole(u64),
    /// A time.
    Seconds(f64),
    /// A histogram; `None` for one without any durations.
    Durations(Option<&'a Durations>),
}

/// What the aggregate cannot know by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Surroundings {
    /// Time since the start.
    pub(crate) uptime: Duration,
    /// Distinct targets that discovery knows.
    pub(crate) targets_discovered: u64,
    /// What did not arrive of each signal.
    pub(crate) lost: Lost,
    /// How often threads stood still or died.
    pub(crate) thread_failures: Failures,
}

/// What did not arrive since the start, by signal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    /// Points that the collector rejected. What it did not get, it gets with the next export.
    pub(crate) metrics: Loss,
    /// Spans, but for those that the shards had to drop.
    pub(crate) traces: Loss,
    /// Log lines.
    pub(crate) logs: Loss,
    /// Reports to Sentry.
    pub(crate) sentry: Loss,
}

/// What did not arrive of one signal since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Pieces that will never arrive.
    pub(crate) dropped: u64,
    /// Posts that were not taken.
    pub(crate) failed: u64,
}

/// How the counts of young series are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A series that no collector has taken yet reads 0, so that `rate()` sees its birth.
    BirthsFirst,
    /// Every series reads what was counted: for the last export, and for whoever keeps no history.
    Final,
    /// A series that was born after this reading reads 0: what [`Self::BirthsFirst`] is to the collector, to
    /// one who reads by himself.
    Since(ExportNumber),
}

/// The number of an export or scrape, by which it is remembered what its receiver has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExportNumber(u64);

impl ExportNumber {
    /// Before the first one: nothing was seen yet.
    pub(crate) const NONE: Self = Self(0);
}

/// Count and quantiles of all requests of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// How many there were.
    pub(crate) count: u64,
    /// Half of them took no longer.
    pub(crate) median: Duration,
    /// 99 % of them took no longer.
    pub p99: Duration,
    /// The longest.
    pub(crate) max: Duration,
}

/// The totals over all shards since the start.
#[derive(Debug)]
pub(crate) struct Aggregate {
    births: Births,
    connection_attempts: Sums<ConnectionId>,
    connection_failures: Sums<ConnectionId>,
    connections_rate_limited: Sums<ConnectionId>,
    requests: HashMap<RequestId, Born<Durations>>,
    adapters: HashMap<AdapterId, Born<Durations>>,
    target_selections: Sums<TargetId>,
    target_connections: Sums<TargetId>,
    target_failures: Sums<TargetId>,
    failures: Sums<FailureId>,
    relays: Born<Durations>,
    dropped_spans: u64,
    shards: BTreeMap<usize, Born<Shard>>,
    window: Duration,
    now: Instant,
}

/// What one shard counted.
#[derive(Debug)]
struct Shard {
    totals: Totals,
    requests: u64,
    rate_limited: u64,
    turns: Durations,
    recent: Recent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ConnectionId {
    client_ip: Option<IpAddr>,
    route: Option<Arc<str>>,
    protocol: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FailureId {
    shard: usize,
    reason: Reason,
    stage: FailureStage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TargetId {
    identifier: Arc<str>,
    host: Arc<str>,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RequestId {
    kind: RequestType,
    adapter: AdapterType,
    success: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AdapterId {
    name: AdapterName,
    kind: AdapterType,
    error: Option<AskError>,
}

impl Aggregate {
    /// Nothing counted yet. At most `label_limit` label sets a metric, the overflow among them. The series of
    /// the configured `adapters` exist from now on.
    #[must_use]
    pub(crate) fn new(label_limit: usize, adapters: &[(AdapterName, AdapterType)]) -> Self {
        let births = Births::new();
        let mut aggregate = Self {
            connection_attempts: Sums::new(label_limit),
            connection_failures: Sums::new(label_limit),
            connections_rate_limited: Sums::new(label_limit),
            requests: HashMap::new(),
            adapters: HashMap::new(),
            target_selections: Sums::new(label_limit),
            target_connections: Sums::new(label_limit),
            target_failures: Sums::new(label_limit),
            failures: Sums::new(label_limit),
            relays: births.born(Durations::new(&RELAYS)),
            dropped_spans: 0,
            shards: BTreeMap::new(),
            window: WINDOW_MIN,
            now: Instant::now(),
            births,
        };
        for (name, kind) in adapters {
            aggregate.expect_adapter(*name, *kind);
        }
        aggregate
    }

    /// Has the worst and most recent values of shards cover at least this time, 15 s if it is shorter.
    #[must_use]
    pub(crate) fn with_window(self, window: Duration) -> Self {
        Self {
            window: window.max(WINDOW_MIN),
            ..self
        }
    }

    /// Lets time pass, by which recent values grow old.
    pub(crate) fn turn(&mut self, now: Instant) {
        self.now = now;
        for shard in self.shards.values_mut() {
            shard.value.recent.turn(now, self.window);
        }
    }

    /// So many shards there are: each has its series from now on, counted or not.
    pub(crate) fn expect_shards(&mut self, count: usize) {
        for number in 0..count {
            self.shard(number);
        }
    }

    /// Adds what a shard or the control thread has counted.
    pub(crate) fn merge(&mut self, deltas: &Deltas) {
        self.merge_connections(deltas);
        self.merge_targets(deltas);
        for (kind, adapter, success, durations) in deltas.requests() {
            self.request(RequestId {
                kind,
                adapter,
                success,
            })
            .merge(durations);
        }
        for (name, kind, error, durations) in deltas.adapters() {
            self.adapter(AdapterId {
                name,
                kind,
                error: None,
            });
            self.adapter(AdapterId { name, kind, error }).merge(durations);
        }
        self.relays.value.merge(deltas.relays());
        self.dropped_spans += deltas.totals.spans_dropped;
        if let Some(shard) = deltas.shard {
            self.shard(shard).merge(deltas);
            for (reason, stage, count) in deltas.failures() {
                let id = FailureId { shard, reason, stage };
                self.failures.add(&self.births, &id, count);
            }
        }
    }

    /// Begins an export or scrape: series that come to be after this belong to the next one.
    pub(crate) fn begin_export(&mut self) -> ExportNumber {
        self.births.begin_export()
    }

    /// The collector has taken this export, and with it the first sight of all series that were in it.
    pub(crate) fn export_taken(&mut self, number: ExportNumber) {
        self.births.taken(number);
    }

    /// Count and quantiles of all requests of one type; `None` if there were none.
    #[must_use]
    pub(crate) fn summary(&self, kind: RequestType) -> Option<Summary> {
        let mut all = Durations::new(&ANSWERS);
        for (id, durations) in &self.requests {
            if id.kind == kind {
                all.merge(&durations.value);
            }
        }
        let (median, p99, max) = (all.quantile(0.5)?, all.quantile(0.99)?, all.max()?);
        Some(Summary {
            count: all.count(),
            median,
            p99,
            max,
        })
    }

    fn expect_adapter(&mut self, name: AdapterName, kind: AdapterType) {
        self.adapter(AdapterId {
            name,
            kind,
            error: None,
        });
        let requests = match name {
            AdapterName::Status => RequestType::Status,
            AdapterName::Discovery => RequestType::Login,
            AdapterName::Authentication
            | AdapterName::Action
            | AdapterName::Strategy
            | AdapterName::Localization => return,
        };
        for success in [true, false] {
            self.request(RequestId {
                kind: requests,
                adapter: kind,
                success,
            });
        }
    }

    fn request(&mut self, id: RequestId) -> &mut Durations {
        let births = &self.births;
        &mut self
            .requests
            .entry(id)
            .or_insert_with(|| births.born(Durations::new(&ANSWERS)))
            .value
    }

    fn adapter(&mut self, id: AdapterId) -> &mut Durations {
        let births = &self.births;
        &mut self
            .adapters
            .entry(id)
            .or_insert_with(|| births.born(Durations::new(&ANSWERS)))
            .value
    }

    fn shard(&mut self, number: usize) -> &mut Shard {
        let born = || self.births.born(Shard::new(self.now));
        &mut self.shards.entry(number).or_insert_with(born).value
    }

    fn merge_connections(&mut self, deltas: &Deltas) {
        let births = &self.births;
        let (overflow, sets) = deltas.connections();
        self.connection_attempts.add_overflow(births, overflow.attempts);
        self.connection_failures.add_overflow(births, overflow.failed);
        self.connections_rate_limited
            .add_overflow(births, overflow.rate_limited);
        for (set, counts) in sets {
            let id = ConnectionId::from(set);
            self.connection_attempts.add(births, &id, counts.attempts);
            self.connection_failures.add(births, &id, counts.failed);
            self.connections_rate_limited
                .add(births, &id, counts.rate_limited);
        }
    }

    fn merge_targets(&mut self, deltas: &Deltas) {
        let births = &self.births;
        let (overflow, sets) = deltas.targets();
        self.target_selections.add_overflow(births, overflow.selected);
        self.target_connections.add_overflow(births, overflow.connected);
        self.target_failures.add_overflow(births, overflow.failed);
        for (set, counts) in sets {
            let id = TargetId::from(set);
            self.target_selections.add(births, &id, counts.selected);
            self.target_connections.add(births, &id, counts.connected);
            self.target_failures.add(births, &id, counts.failed);
        }
    }
}

impl Shard {
    fn new(now: Instant) -> Self {
        Self {
            totals: Totals::default(),
            requests: 0,
            rate_limited: 0,
            turns: Durations::new(&TURNS),
            recent: Recent::new(now),
        }
    }

    fn merge(&mut self, deltas: &Deltas) {
        self.totals.add(&deltas.totals);
        self.requests += deltas
            .requests()
            .map(|(_, _, _, durations)| durations.count())
            .sum::<u64>();
        let (overflow, sets) = deltas.connections();
        self.rate_limited += overflow.rate_limited + sets.map(|(_, counts)| counts.rate_limited).sum::<u64>();
        self.turns.merge(deltas.turns());
        self.recent.merge(deltas);
    }
}

impl From<ConnectionSet<'_>> for ConnectionId {
    fn from(set: ConnectionSet<'_>) -> Self {
        Self {
            client_ip: set.client_ip,
            route: set.route.map(Arc::from),
            protocol: set.protocol,
        }
    }
}

impl From<TargetSet<'_>> for TargetId {
    fn from(set: TargetSet<'_>) -> Self {
        Self {
            identifier: set.identifier.into(),
            host: set.host.into(),
            port: set.port,
        }
    }
}

#[cfg(test)]
mod tests;
