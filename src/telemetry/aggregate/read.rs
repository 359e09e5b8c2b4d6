//! Reads the aggregate as families of points, one family an instrument.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use passage_shards::metrics::{
    Bound, Cut, Durations, ERROR_TYPES, RequestType, Shortage, Totals, error_type,
};

use super::series::{Born, Sums};
use super::{
    AdapterId, Aggregate, ConnectionId, FailureId, Family, Label, LabelValue, Loss, Lost, Point, Reading,
    RequestId, Shard, Surroundings, TargetId, Value,
};
use crate::telemetry::instruments::{self as i, Instrument, label};
use crate::watch::Part;

/// The value of labels that would otherwise be a client's word.
const OTHER: &str = "other";

/// One of a shard's counts.
type Count = fn(&Totals) -> u64;

/// Values of the label `direction`, and what they count.
const RELAYED: [(&str, Count); 2] = [
    ("to_target", |totals| totals.relayed_to_target),
    ("to_client", |totals| totals.relayed_to_client),
];

/// Which quantiles there are of a shard's answers, and their label values.
const QUANTILES: [(f64, &str); 2] = [(0.5, "0.5"), (0.99, "0.99")];

impl Aggregate {
    /// All instruments that have points.
    #[must_use]
    pub(crate) fn read(&self, around: Surroundings, reading: Reading) -> Vec<Family<'_>> {
        let mut families = self.read_connections(reading);
        families.extend(self.read_requests(reading));
        families.extend(self.read_adapters(reading));
        families.extend(self.read_targets(around, reading));
        families.extend(self.read_relays(reading));
        families.extend(self.read_shards(reading));
        families.extend(self.read_system(around));
        families.retain(|family| !family.points.is_empty());
        families
    }

    fn read_connections(&self, reading: Reading) -> Vec<Family<'_>> {
        let sums = |instrument, sums| self.read_sums(instrument, sums, ConnectionId::labels, reading);
        vec![
            sums(&i::CONNECTIONS, &self.connection_attempts),
            single(&i::CONNECTIONS_ACTIVE, self.active()),
            sums(&i::CONNECTIONS_FAILED, &self.connection_failures),
            sums(&i::CONNECTIONS_RATE_LIMITED, &self.connections_rate_limited),
        ]
    }

    fn read_requests(&self, reading: Reading) -> Vec<Family<'_>> {
        let counts = |instrument, kind: Option<RequestType>| {
            let chosen = self
                .requests
                .iter()
                .filter(|(id, _)| kind.is_none_or(|kind| id.kind == kind));
            let points = chosen.map(|(id, series)| self.count(id.labels(), series, reading));
            Family::of(instrument, points)
        };
        let durations = self
            .requests
            .iter()
            .map(|(id, series)| self.durations(id.labels(), series, reading));
        vec![
            counts(&i::REQUESTS, None),
            counts(&i::STATUS_REQUESTS, Some(RequestType::Status)),
            counts(&i::LOGIN_REQUESTS, Some(RequestType::Login)),
            Family::of(&i::REQUEST_DURATION, durations),
        ]
    }

    fn read_adapters(&self, reading: Reading) -> Vec<Family<'_>> {
        let all = || self.adapters.iter();
        let requests = all().map(|(id, series)| self.count(id.labels(), series, reading));
        let durations = all().map(|(id, series)| self.durations(id.labels(), series, reading));
        // Every adapter shows each error from the start, with zero.
        let errors = all().filter(|(id, _)| id.error.is_none()).flat_map(|(id, _)| {
            ERROR_TYPES.iter().map(move |error| {
                let id = AdapterId {
                    error: Some(*error),
                    ..*id
                };
                match self.adapters.get(&id) {
                    Some(series) => self.count(id.labels(), series, reading),
                    None => Point::new(id.labels(), Value::Whole(0)),
                }
            })
        });
        vec![
            Family::of(&i::ADAPTER_REQUESTS, requests),
            Family::of(&i::ADAPTER_ERRORS, errors),
            Family::of(&i::ADAPTER_DURATION, durations),
        ]
    }

    fn read_targets(&self, around: Surroundings, reading: Reading) -> Vec<Family<'_>> {
        let sums = |instrument, sums| self.read_sums(instrument, sums, TargetId::labels, reading);
        vec![
            single(&i::TARGETS_DISCOVERED, Value::Whole(around.targets_discovered)),
            sums(&i::TARGET_SELECTIONS, &self.target_selections),
            sums(&i::TARGET_CONNECTIONS, &self.target_connections),
            sums(&i::TARGET_CONNECTION_FAILURES, &self.target_failures),
        ]
    }

    fn read_relays(&self, reading: Reading) -> Vec<Family<'_>> {
        let shows = self.births.shows(&self.relays, reading);
        let sum = |of: fn(&Totals) -> u64| {
            if shows {
                self.shards.values().map(|shard| of(&shard.value.totals)).sum()
            } else {
                0
            }
        };
        let bytes =
            RELAYED.map(|(direction, of)| (vec![text(label::DIRECTION, direction)], Value::Whole(sum(of))));
        vec![
            Family::new(&i::RELAY_BYTES, bytes.into_iter()),
            Family::of(
                &i::RELAY_DURATION,
                std::iter::once(self.durations(Vec::new(), &self.relays, reading)),
            ),
        ]
    }

    fn read_shards(&self, reading: Reading) -> Vec<Family<'_>> {
        let gauge = |instrument, of: fn(&Shard) -> Value<'static>| {
            let points = self
                .shards
                .iter()
                .map(|(number, shard)| (vec![shard_label(*number)], of(&shard.value)));
            Family::new(instrument, points)
        };
        let counter = |instrument, of: fn(&Shard) -> u64| {
            let points = self.shards.iter().map(|(number, shard)| {
                let count = Value::Whole(self.shown(shard, reading, of));
                (vec![shard_label(*number)], count)
            });
            Family::new(instrument, points)
        };
        vec![
            gauge(&i::SHARD_CONNECTIONS, |shard| {
                Value::Whole(shard.totals.opened.saturating_sub(shard.totals.closed))
            }),
            counter(&i::SHARD_REQUESTS, |shard| shard.requests),
            self.read_quantiles(),
            self.read_shard_relays(reading),
            counter(&i::SHARD_RATE_LIMITED, |shard| shard.rate_limited),
            gauge(&i::SHARD_LOOP_LAG, |shard| {
                Value::Seconds(shard.recent.loop_lag().as_secs_f64())
            }),
            self.read_turns(reading),
            gauge(&i::SHARD_QUEUE_DEPTH, |shard| {
                Value::Whole(shard.recent.queue_depth() as u64)
            }),
            self.read_sums(&i::SHARD_FAILURES, &self.failures, FailureId::labels, reading),
            self.read_bounds(
                &i::SHARD_SHED,
                Bound::ALL.map(|bound| (bound.label(), bound as usize)),
                |totals| &totals.shed,
                reading,
            ),
            self.read_bounds(
                &i::SHARD_CUT,
                Cut::ALL.map(|bound| (bound.label(), bound as usize)),
                |totals| &totals.cut,
                reading,
            ),
            self.read_bounds(
                &i::SHARD_SHORTAGES,
                Shortage::ALL.map(|bound| (bound.label(), bound as usize)),
                |totals| &totals.short,
                reading,
            ),
            gauge(&i::SHARD_RELAY_MEMORY, |shard| {
                Value::Whole(shard.recent.relay_memory() as u64)
            }),
            counter(&i::SHARD_ACCEPT_FAILURES, |shard| shard.totals.accept_failures),
            counter(&i::SHARD_PANICS, |shard| shard.totals.panics),
            counter(&i::SHARD_TELEMETRY_DEFERRED, |shard| shard.totals.deferred),
        ]
    }

    fn read_quantiles(&self) -> Family<'_> {
        let points = self.shards.iter().flat_map(|(number, shard)| {
            let times = shard.value.recent.quantiles(QUANTILES.map(|(part, _)| part));
            QUANTILES.iter().zip(times).map(|((_, name), time)| {
                let labels = vec![shard_label(*number), text(label::RANK, *name)];
                (labels, Value::Seconds(time.as_secs_f64()))
            })
        });
        Family::new(&i::SHARD_REQUEST_QUANTILE, points)
    }

    fn read_turns(&self, reading: Reading) -> Family<'_> {
        let points = self.shards.iter().map(|(number, shard)| {
            let shows = self.births.shows(shard, reading);
            let turns = shows.then_some(&shard.value.turns);
            (vec![shard_label(*number)], Value::Durations(turns))
        });
        Family::new(&i::SHARD_TURN_DURATION, points)
    }

    fn read_shard_relays(&self, reading: Reading) -> Family<'_> {
        let points = self.shards.iter().flat_map(|(number, shard)| {
            RELAYED.map(|(direction, of)| {
                let bytes = self.shown(shard, reading, |shard| of(&shard.totals));
                let labels = vec![shard_label(*number), text(label::DIRECTION, direction)];
                (labels, Value::Whole(bytes))
            })
        });
        Family::new(&i::SHARD_RELAY_BYTES, points)
    }

    /// What happened on each shard at each of some bounds, which have these labels and places in the counts.
    fn read_bounds<const N: usize>(
        &self,
        instrument: &'static Instrument,
        bounds: [(&'static str, usize); N],
        of: impl Fn(&Totals) -> &[u64; N],
        reading: Reading,
    ) -> Family<'_> {
        let points = self.shards.iter().flat_map(|(number, shard)| {
            bounds.map(|(bound, place)| {
                let count = self.shown(shard, reading, |shard| of(&shard.totals)[place]);
                let labels = vec![shard_label(*number), text(label::BOUND, bound)];
                (labels, Value::Whole(count))
            })
        });
        Family::new(instrument, points)
    }

    fn shown(&self, shard: &Born<Shard>, reading: Reading, of: impl Fn(&Shard) -> u64) -> u64 {
        if self.births.shows(shard, reading) {
            of(&shard.value)
        } else {
            0
        }
    }

    fn active(&self) -> Value<'static> {
        let of = |shard: &Born<Shard>| {
            shard
                .value
                .totals
                .opened
                .saturating_sub(shard.value.totals.closed)
        };
        Value::Whole(self.shards.values().map(of).sum())
    }

    fn read_sums<'a, K: Clone + Eq + std::hash::Hash>(
        &'a self,
        instrument: &'static Instrument,
        sums: &'a Sums<K>,
        labels: fn(&'a K) -> Vec<Label<'a>>,
        reading: Reading,
    ) -> Family<'a> {
        let points = sums.iter().map(|(set, sum)| {
            let value = if self.births.shows(sum, reading) {
                sum.value
            } else {
                0
            };
            (
                set.map_or_else(|| vec![(i::OVERFLOW, LabelValue::True)], labels),
                Value::Whole(value),
            )
        });
        Family::new(instrument, points)
    }

    fn count<'a>(&self, labels: Vec<Label<'a>>, series: &'a Born<Durations>, reading: Reading) -> Point<'a> {
        let shown = self.births.shows(series, reading).then_some(&series.value);
        Point {
            exemplar: shown.and_then(Durations::exemplar),
            ..Point::new(labels, Value::Whole(shown.map_or(0, Durations::count)))
        }
    }

    fn durations<'a>(
        &self,
        labels: Vec<Label<'a>>,
        series: &'a Born<Durations>,
        reading: Reading,
    ) -> Point<'a> {
        let shown = self.births.shows(series, reading).then_some(&series.value);
        Point {
            exemplar: shown.and_then(Durations::exemplar),
            ..Point::new(labels, Value::Durations(shown))
        }
    }

    fn read_system(&self, around: Surroundings) -> Vec<Family<'static>> {
        let version = (
            vec![text(label::VERSION, env!("CARGO_PKG_VERSION"))],
            Value::Whole(1),
        );
        let Lost {
            metrics,
            mut traces,
            logs,
            sentry,
        } = around.lost;
        traces.dropped += self.dropped_spans;
        let signals = [
            ("metrics", metrics),
            ("traces", traces),
            ("logs", logs),
            ("sentry", sentry),
        ];
        let losses = |instrument, of: fn(Loss) -> u64| {
            let points =
                signals.map(|(signal, loss)| (vec![text(label::SIGNAL, signal)], Value::Whole(of(loss))));
            Family::new(instrument, points.into_iter())
        };
        let threads = Part::ALL.into_iter().zip(around.thread_failures);
        let threads =
            threads.map(|(part, count)| (vec![text(label::THREAD, part.label())], Value::Whole(count)));
        vec![
            Family::new(&i::THREAD_FAILURES, threads),
            single(&i::UPTIME, Value::Seconds(around.uptime.as_secs_f64())),
            Family::new(&i::VERSION_INFO, std::iter::once(version)),
            losses(&i::TELEMETRY_DROPPED, |loss| loss.dropped),
            losses(&i::TELEMETRY_EXPORT_FAILURES, |loss| loss.failed),
        ]
    }
}

impl<'a> Family<'a> {
    fn new(
        instrument: &'static Instrument,
        points: impl Iterator<Item = (Vec<Label<'a>>, Value<'a>)>,
    ) -> Self {
        Self::of(
            instrument,
            points.map(|(labels, value)| Point::new(labels, value)),
        )
    }

    fn of(instrument: &'static Instrument, points: impl Iterator<Item = Point<'a>>) -> Self {
        let points: Vec<_> = points.collect();
        debug_assert!(
            points.iter().all(|point| point.fits(instrument)),
            "{} has other labels",
            instrument.name
        );
        Self { instrument, points }
    }
}

impl<'a> Point<'a> {
    fn new(labels: Vec<Label<'a>>, value: Value<'a>) -> Self {
        Self {
            labels,
            value,
            exemplar: None,
        }
    }

    fn fits(&self, instrument: &Instrument) -> bool {
        self.labels
            .iter()
            .all(|(key, _)| *key == i::OVERFLOW || instrument.labels.contains(key))
    }
}

fn single<'a>(instrument: &'static Instrument, value: Value<'a>) -> Family<'a> {
    Family::new(instrument, std::iter::once((Vec::new(), value)))
}

fn text<'a>(key: &'static str, value: impl Into<Cow<'a, str>>) -> Label<'a> {
    (key, LabelValue::Text(value.into()))
}

fn shard_label<'a>(number: usize) -> Label<'a> {
    text(label::SHARD, number.to_string())
}

impl ConnectionId {
    fn labels(&self) -> Vec<Label<'_>> {
        let mut labels = Vec::with_capacity(3);
        labels.extend(self.client_ip.map(|ip| text(label::CLIENT_IP, ip.to_string())));
        labels.push(text(
            label::SERVER_ADDRESS,
            self.route.as_deref().unwrap_or(OTHER),
        ));
        let protocol = self
            .protocol
            .map_or(OTHER.into(), |number| Cow::from(number.to_string()));
        labels.push(text(label::PROTOCOL_VERSION, protocol));
        labels
    }
}

impl FailureId {
    fn labels(&self) -> Vec<Label<'_>> {
        vec![
            shard_label(self.shard),
            text(label::REASON, self.reason.label()),
            text(label::STAGE, self.stage.label()),
        ]
    }
}

impl TargetId {
    fn labels(&self) -> Vec<Label<'_>> {
        let address = match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        };
        vec![
            text(label::TARGET_IDENTIFIER, &*self.identifier),
            text(label::TARGET_ADDRESS, address),
        ]
    }
}

impl RequestId {
    fn labels(self) -> Vec<Label<'static>> {
        vec![
            text(label::REQUEST_TYPE, self.kind.label()),
            text(label::ADAPTER_TYPE, self.adapter.label()),
            text(label::RESULT, if self.success { "success" } else { "failure" }),
        ]
    }
}

impl AdapterId {
    fn labels(self) -> Vec<Label<'static>> {
        let mut labels = vec![
            text(label::ADAPTER_NAME, self.name.label()),
            text(label::ADAPTER_TYPE, self.kind.label()),
        ];
        labels.extend(self.error.map(|error| text(label::ERROR_TYPE, error_type(error))));
        labels
    }
}
