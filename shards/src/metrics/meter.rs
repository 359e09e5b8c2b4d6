//! The face that the data plane counts with.

use std::time::Duration;

use passage_proto::question::{AskError, Target};

use super::deltas::Deltas;
use super::durations::{Durations, Exemplar};
use super::labels::{AdapterName, AdapterType, Bound, ConnectionLabels, Cut, RequestType, Shortage};
use super::outlet::Exchange;
use super::reason::{FailureStage, Reason};

/// How often a shard calls [`Meter::hand_over`].
pub const HAND_OVER_INTERVAL: Duration = Duration::from_secs(1);

/// Counts for one shard. Every method costs some tens of nanoseconds at most and never blocks; memory is
/// taken when a series is used for the first time only. When dropped, the meter sends off what it has still
/// counted.
#[derive(Debug)]
pub struct Meter {
    deltas: Box<Deltas>,
    exchange: Exchange,
}

impl Meter {
    pub(super) fn new(deltas: Box<Deltas>, exchange: Exchange) -> Self {
        Self { deltas, exchange }
    }

    /// Sends what was counted since the last call to the telemetry thread, if that one has given a box back;
    /// otherwise it goes along next time. To be called every [`HAND_OVER_INTERVAL`].
    pub fn hand_over(&mut self) {
        self.exchange.swap(&mut self.deltas);
    }

    /// A connection was accepted and admitted: one more is active.
    pub fn connection_opened(&mut self) {
        self.deltas.totals_mut().opened += 1;
    }

    /// An admitted connection ended: one fewer is active.
    pub fn connection_closed(&mut self) {
        self.deltas.totals_mut().closed += 1;
    }

    /// Counts a connection attempt once its labels are known: when the handshake is read or at its end,
    /// whichever comes first. Shed and rate-limited attempts count too.
    pub fn connection_attempt(&mut self, labels: &ConnectionLabels<'_>) {
        self.deltas.connection(labels).attempts += 1;
    }

    /// The attempt failed for this reason, having come this far.
    pub fn connection_failed(&mut self, labels: &ConnectionLabels<'_>, reason: Reason, stage: FailureStage) {
        self.deltas.connection(labels).failed += 1;
        self.deltas.fail(reason, stage);
    }

    /// The limiter said no.
    pub fn connection_rate_limited(&mut self, labels: &ConnectionLabels<'_>) {
        self.deltas.connection(labels).rate_limited += 1;
    }

    /// Work was shed at this bound. The attempt and its failure are counted besides.
    pub fn shed(&mut self, bound: Bound) {
        self.deltas.totals_mut().shed[bound as usize] += 1;
    }

    /// A connection was ended at this bound, or a dial. The end is counted besides.
    pub fn cut(&mut self, cut: Cut) {
        self.deltas.totals_mut().cut[cut as usize] += 1;
    }

    /// So many receives found none left of this. They went on later, or in another way.
    pub fn ran_short(&mut self, shortage: Shortage, times: u64) {
        if times > 0 {
            self.deltas.totals_mut().short[shortage as usize] += times;
        }
    }

    /// A connection could not be accepted, for want of descriptors or memory; its listener pauses.
    pub fn accept_failed(&mut self) {
        self.deltas.totals_mut().accept_failures += 1;
    }

    /// A connection ended in a panic.
    pub fn panicked(&mut self) {
        self.deltas.totals_mut().panics += 1;
    }

    /// A status or login was finished. `adapter` is the adapter that gave the answer: the route's status
    /// adapter for a status, its discovery for a login, [`AdapterType::None`] where the request did not get
    /// to a route.
    pub fn request(&mut self, kind: RequestType, adapter: AdapterType, success: bool, took: Duration) {
        self.deltas.request(kind, adapter, success).record(took);
    }

    /// An adapter was asked and answered, or failed.
    pub fn adapter(&mut self, name: AdapterName, kind: AdapterType, took: Duration, error: Option<AskError>) {
        self.deltas.adapter(name, kind, error).record(took);
    }

    /// Shows a request of this series, which was counted, with its trace.
    pub fn request_exemplar(
        &mut self,
        kind: RequestType,
        adapter: AdapterType,
        success: bool,
        exemplar: Exemplar,
    ) {
        self.deltas.request(kind, adapter, success).exemplify(exemplar);
    }

    /// Shows an answer of this series, which was counted, with its trace.
    pub fn adapter_exemplar(
        &mut self,
        name: AdapterName,
        kind: AdapterType,
        error: Option<AskError>,
        exemplar: Exemplar,
    ) {
        self.deltas.adapter(name, kind, error).exemplify(exemplar);
    }

    /// Shows a relay, which was counted, with its trace.
    pub fn relay_exemplar(&mut self, exemplar: Exemplar) {
        self.deltas.relay().exemplify(exemplar);
    }

    /// There was no room for spans on their way to the telemetry thread.
    pub fn spans_dropped(&mut self, spans: usize) {
        if spans > 0 {
            self.deltas.totals_mut().spans_dropped += spans as u64;
        }
    }

    /// A strategy chose this target.
    pub fn target_selected(&mut self, target: &Target) {
        self.deltas
            .target(&target.identifier, &target.host, target.port)
            .selected += 1;
    }

    /// A player was handed over to this target: transferred, or its relay connection stands.
    pub fn target_connected(&mut self, target: &Target) {
        self.deltas
            .target(&target.identifier, &target.host, target.port)
            .connected += 1;
    }

    /// The target could not be dialled.
    pub fn target_connection_failed(&mut self, target: &Target) {
        self.deltas
            .target(&target.identifier, &target.host, target.port)
            .failed += 1;
    }

    /// A relay ended. Its bytes are counted by [`Self::relay_bytes`] only.
    pub fn relay_closed(&mut self, took: Duration) {
        self.deltas.relay().record(took);
    }

    /// Bytes relayed since the last call, over all relays of the shard.
    pub fn relay_bytes(&mut self, to_target: u64, to_client: u64) {
        if to_target | to_client != 0 {
            let totals = self.deltas.totals_mut();
            totals.relayed_to_target += to_target;
            totals.relayed_to_client += to_client;
        }
    }

    /// How long the turns of the shard's loop took since the last call. Their bounds are
    /// [`TURNS`](super::TURNS).
    pub fn turns(&mut self, turns: &Durations) {
        if !turns.is_empty() {
            self.deltas.turn().merge(turns);
        }
    }

    /// How many questions of this shard wait for the control thread now.
    pub fn queue_depth(&mut self, questions: usize) {
        if questions > self.deltas.totals.queue_depth {
            self.deltas.totals_mut().queue_depth = questions;
        }
    }

    /// How many bytes relays hold now because their sinks are slow.
    pub fn relay_memory(&mut self, bytes: usize) {
        if bytes > self.deltas.totals.relay_memory {
            self.deltas.totals_mut().relay_memory = bytes;
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.exchange.finish(&mut self.deltas);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::super::durations::TURNS;
    use super::super::labels::{AdapterType, ConnectionLabels, RequestType};
    use super::super::outlet::{Options, Outlet};
    use super::*;

    fn labels(ip: u32) -> ConnectionLabels<'static> {
        let client_ip = IpAddr::V4(ip.into());
        ConnectionLabels {
            client_ip,
            route: Some("play.example.net"),
            protocol: Some(767),
        }
    }

    #[test]
    fn a_shard_without_a_spare_box_keeps_counting_and_loses_nothing() {
        let (outlet, arrivals) = Outlet::new(Options::default());
        let mut meter = outlet.meter(3);
        for _ in 0..1_000 {
            meter.connection_attempt(&labels(1));
            meter.hand_over();
        }
        let first = arrivals.try_recv().unwrap();
        assert_eq!(
            (
                first.shard,
                first
                    .connections()
                    .1
                    .map(|(_, counts)| counts.attempts)
                    .sum::<u64>()
            ),
            (Some(3), 1)
        );
        assert!(
            arrivals.is_empty(),
            "both boxes are out of the shard's hands or in use"
        );
        first.give_back();
        meter.hand_over();
        let second = arrivals.try_recv().unwrap();
        assert_eq!(
            second
                .connections()
                .1
                .map(|(_, counts)| counts.attempts)
                .sum::<u64>(),
            999
        );
        assert_eq!(second.totals.deferred, 999);
    }

    #[test]
    fn a_dropped_meter_sends_off_its_last_counts_even_without_a_spare_box() {
        let (outlet, arrivals) = Outlet::new(Options::default());
        let mut meter = outlet.meter(0);
        meter.connection_opened();
        meter.hand_over();
        meter.connection_opened();
        drop(meter);
        assert_eq!(arrivals.iter().map(|deltas| deltas.totals.opened).sum::<u64>(), 2);
    }

    #[test]
    fn an_idle_shard_sends_nothing() {
        let (outlet, arrivals) = Outlet::new(Options::default());
        let mut meter = outlet.meter(0);
        meter.hand_over();
        meter.relay_bytes(0, 0);
        meter.queue_depth(0);
        meter.turns(&Durations::new(&TURNS));
        meter.hand_over();
        drop(meter);
        assert!(arrivals.is_empty());
    }

    #[test]
    fn counting_goes_on_after_the_telemetry_thread_has_gone() {
        let (outlet, arrivals) = Outlet::new(Options::default());
        let mut meter = outlet.meter(0);
        drop(arrivals);
        for _ in 0..10 {
            meter.connection_opened();
            meter.hand_over();
        }
        assert_eq!(meter.deltas.totals.opened, 10);
    }

    #[test]
    fn label_sets_over_the_limit_are_counted_as_overflow() {
        let (outlet, arrivals) = Outlet::new(Options {
            label_limit: 10,
            client_ip: true,
        });
        let mut meter = outlet.meter(0);
        for ip in 0..50 {
            meter.connection_attempt(&labels(ip));
            meter.connection_failed(&labels(ip), Reason::HungUp, FailureStage::Login);
        }
        drop(meter);
        let deltas = arrivals.recv().unwrap();
        let (overflow, sets) = deltas.connections();
        assert_eq!((overflow.attempts, overflow.failed), (41, 41));
        let by_reason: Vec<_> = deltas.failures().collect();
        assert_eq!(
            by_reason,
            [(Reason::HungUp, FailureStage::Login, 50)],
            "whatever the labels"
        );
        assert_eq!(
            sets.map(|(_, counts)| (counts.attempts, counts.failed))
                .collect::<Vec<_>>(),
            [(1, 1); 9]
        );
    }

    #[test]
    fn labels_come_out_as_they_went_in() {
        let (outlet, arrivals) = Outlet::new(Options::default());
        let mut meter = outlet.meter(0);
        let v6 = "2001:db8::7".parse().unwrap();
        meter.connection_attempt(&labels(0x7F00_0001));
        meter.connection_attempt(&ConnectionLabels {
            client_ip: v6,
            route: None,
            protocol: Some(i32::MAX),
        });
        meter.request(
            RequestType::Login,
            AdapterType::Dns,
            true,
            Duration::from_millis(3),
        );
        meter.adapter(
            AdapterName::Localization,
            AdapterType::Agones,
            Duration::ZERO,
            Some(AskError::Overloaded),
        );
        drop(meter);
        let deltas = arrivals.recv().unwrap();
        let sets: Vec<_> = deltas.connections().1.map(|(set, _)| set).collect();
        assert_eq!(
            (sets[0].client_ip, sets[0].route),
            (Some([127, 0, 0, 1].into()), Some("play.example.net"))
        );
        assert_eq!(sets[0].protocol, Some(767));
        assert_eq!(
            (sets[1].client_ip, sets[1].route, sets[1].protocol),
            (Some(v6), None, None)
        );
        let requests: Vec<_> = deltas
            .requests()
            .map(|(kind, adapter, success, _)| (kind, adapter, success))
            .collect();
        assert_eq!(requests, [(RequestType::Login, AdapterType::Dns, true)]);
        let adapters: Vec<_> = deltas
            .adapters()
            .map(|(name, kind, error, _)| (name, kind, error))
            .collect();
        assert_eq!(
            adapters,
            [(
                AdapterName::Localization,
                AdapterType::Agones,
                Some(AskError::Overloaded)
            )]
        );
    }

    #[test]
    fn without_the_client_ip_label_all_clients_share_a_set() {
        let (outlet, arrivals) = Outlet::new(Options {
            label_limit: 10,
            client_ip: false,
        });
        let mut meter = outlet.meter(0);
        for ip in 0..50 {
            meter.connection_rate_limited(&labels(ip));
        }
        drop(meter);
        let deltas = arrivals.recv().unwrap();
        let sets: Vec<_> = deltas
            .connections()
            .1
            .map(|(set, counts)| (set.client_ip, counts.rate_limited))
            .collect();
        assert_eq!(sets, [(None, 50)]);
    }

    #[test]
    fn a_box_that_was_given_back_is_empty() {
        let (outlet, arrivals) = Outlet::new(Options::default());
        let mut meter = outlet.meter(0);
        let target = Target {
            identifier: "hub-1".into(),
            host: "hub.example.net".into(),
            port: 25565,
            priority: 0,
            meta: std::collections::BTreeMap::new(),
        };
        let mut turn = Durations::new(&TURNS);
        turn.record(Duration::from_millis(9));
        for round in 1..=5 {
            for ip in 0..round {
                meter.connection_attempt(&labels(ip));
                meter.target_selected(&target);
                meter.target_connected(&target);
                meter.target_connection_failed(&target);
                meter.connection_failed(&labels(ip), Reason::NoRoute, FailureStage::Login);
                meter.relay_bytes(1, 2);
                meter.relay_closed(Duration::from_secs(4));
                meter.shed(Bound::RsaQueue);
                meter.panicked();
                meter.turns(&turn);
                meter.queue_depth(3);
            }
            meter.hand_over();
            let deltas = arrivals.recv().unwrap();
            assert_eq!(deltas.connections().1.count(), round as usize);
            let n = u64::from(round);
            let failures: Vec<_> = deltas.failures().collect();
            assert_eq!(failures, [(Reason::NoRoute, FailureStage::Login, n)]);
            let (_, mut targets) = deltas.targets();
            let expected = super::super::deltas::TargetCounts {
                selected: n,
                connected: n,
                failed: n,
            };
            assert_eq!(
                targets.next().map(|(set, counts)| (set.host, *counts)),
                Some(("hub.example.net", expected))
            );
            assert!(targets.next().is_none());
            drop(targets);
            assert_eq!(
                (deltas.relays().count(), deltas.totals.relayed_to_client),
                (n, 2 * n)
            );
            assert_eq!(
                (deltas.totals.shed[Bound::RsaQueue as usize], deltas.totals.panics),
                (n, n)
            );
            assert_eq!(
                (
                    deltas.turns().count(),
                    deltas.turns().max(),
                    deltas.totals.queue_depth
                ),
                (n, Some(Duration::from_millis(9)), 3)
            );
            deltas.give_back();
        }
    }
}
