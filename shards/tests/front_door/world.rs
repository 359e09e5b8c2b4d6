//! Shards with everything around them that a test can turn.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use passage_proto::cookie::CookieKeys;
use passage_proto::question::{LocalizeQuery, RewriteHost, Target};
use passage_proto::status::{StatusDocument, StatusReply};
use passage_shards::ask::{Asked, RemoteAnswer, RemoteQuestion};
use passage_shards::ejection::Terms;
use passage_shards::feed::Candidate;
use passage_shards::metrics::{Bound, Cut, Deltas, Options, Outlet, Shortage, error_type};
use passage_shards::pool::{self, Blueprint, DrainReport, Limits, Shards, StartError};
use passage_shards::route::{
    Authentication, Discovery, Localization, Localizer, Mode, RelayOptions, Route, StatusSource, Strategy,
};

pub(crate) const HOST: &str = "play.example.net";

/// Longest that a drain takes in a test that does not look at it.
const DRAIN: Duration = Duration::from_secs(2);

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says the key and the parameters, so that tests can read both, and panics on demand.
pub(crate) struct Words;

/// A locale that makes [`Words`] panic.
pub(crate) const PANIC_HOST: &str = "panic.example.net";

impl Localizer for Words {
    fn localize(&self, query: &LocalizeQuery) -> String {
        let params: Vec<_> = query
            .message
            .params
            .iter()
            .map(|(name, value)| format!(" {name}={value}"))
            .collect();
        format!("\"{}{}\"", query.message.key, params.concat())
    }
}

/// A localizer with a bug.
pub(crate) struct Explosive;

impl Localizer for Explosive {
    fn localize(&self, query: &LocalizeQuery) -> String {
        panic!("no words for {}", query.message.key)
    }
}

pub(crate) fn status(description: &str) -> Arc<StatusReply> {
    let document = StatusDocument {
        version_name: "Passage".into(),
        description: Some(format!("\"{description}\"")),
        ..StatusDocument::default()
    };
    Arc::new(StatusReply::new(&document).unwrap())
}

pub(crate) fn target(identifier: &str, host: &str, port: u16) -> Arc<Target> {
    Arc::new(Target {
        identifier: identifier.into(),
        host: host.into(),
        port,
        priority: 0,
        meta: BTreeMap::new(),
    })
}

/// Words without a service behind them.
pub(crate) fn words() -> Localization {
    Localization {
        words: Arc::new(Words),
        remote: None,
    }
}

/// A transfer route without authentication, with one target.
pub(crate) fn route(name: &str, targets: &[Arc<Target>]) -> Route {
    Route {
        name: name.into(),
        mode: Mode::Transfer,
        relay: RelayOptions {
            send_proxy_protocol: None,
            rewrite_host: RewriteHost::Keep,
        },
        status: StatusSource::Fixed(status(name)),
        authentication: Authentication::Disabled,
        discovery: Discovery::Fixed(targets.iter().cloned().map(Candidate::from).collect()),
        actions: Vec::new(),
        strategy: Strategy::Fixed,
        ejection: Terms::default(),
        localization: words(),
        cookies: None,
    }
}

pub(crate) fn relay_route(name: &str, targets: &[Arc<Target>]) -> Route {
    Route {
        mode: Mode::Relay,
        ..route(name, targets)
    }
}

pub(crate) fn cookie_keys() -> Arc<CookieKeys> {
    Arc::new(CookieKeys::new(b"a secret of the tests", None).unwrap())
}

pub(crate) const LIMITS: Limits = Limits {
    connections_per_shard: 10_000,
    connections_per_prefix: 0,
    logins_per_shard: 1_000,
    rsa_queue_per_shard: 1_000,
    handshake: Duration::from_secs(5),
    step: Duration::from_secs(5),
    dial: Duration::from_secs(3),
    relay_idle: Duration::from_secs(60),
    relay_gone: Duration::from_secs(60),
    relay_memory_per_shard: 128 << 20,
    relay_pipes_per_shard: 32,
    receive_buffers_per_shard: 256,
    backlog: 4_096,
};

type Control = Box<dyn Fn(Asked) + Send>;

/// Something that a service does with a question, and should not.
pub(crate) type Misbehaviour = fn(Asked);

/// Answers host names with the loopback address and believes everybody.
fn obliging(asked: Asked) {
    let answer = match &asked.question {
        RemoteQuestion::Resolve { port, .. } => {
            RemoteAnswer::Addresses(Ok(vec![([127, 0, 0, 1], *port).into()]))
        }
        RemoteQuestion::Authenticate { query, .. } => RemoteAnswer::Profile(Ok(premium(&query.claim.name))),
        // Dropping the way back says that the adapter has failed.
        _ => return,
    };
    asked.reply.send(answer);
}

/// The profile of a premium account of this name.
pub(crate) fn premium(name: &str) -> passage_proto::identity::Profile {
    let property = passage_proto::identity::Property {
        name: "textures".into(),
        value: "aGVsbG8=".into(),
        signature: Some("c2lnbmVk".into()),
    };
    let id = uuid::Uuid::from_u128(0x1111_2222_3333_4444_8555_6666_7777_8888);
    passage_proto::identity::Profile {
        id,
        name: name.into(),
        properties: vec![property],
    }
}

/// What a world is made of; a test changes what it is about.
pub(crate) struct Plan {
    pub(crate) blueprint: Blueprint,
    control: Control,
    questions: Receiver<Asked>,
    counts: Receiver<Box<Deltas>>,
}

impl Plan {
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        let (control, questions) = bounded(4_096);
        let (telemetry, counts) = Outlet::new(Options::default());
        let blueprint = Blueprint {
            addresses: vec![([127, 0, 0, 1], 0).into()],
            shards: NonZeroUsize::new(2),
            pin: false,
            routes: routes.into(),
            unknown_host: None,
            localization: words(),
            proxy_protocol: None,
            rate_limit: None,
            limits: LIMITS,
            max_packet_length: 10_000,
            timeout: Duration::from_secs(30),
            auth_cookie_expiry: Duration::from_secs(3_600),
            control: control.into(),
            news: Vec::new(),
            telemetry,
            traces: None,
        };
        Self {
            blueprint,
            control: Box::new(obliging),
            questions,
            counts,
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Blueprint)) -> Self {
        change(&mut self.blueprint);
        self
    }

    pub(crate) fn control(mut self, control: impl Fn(Asked) + Send + 'static) -> Self {
        self.control = Box::new(control);
        self
    }

    pub(crate) fn try_start(self) -> Result<World, StartError> {
        let shards = pool::start(self.blueprint)?;
        let (questions, control) = (self.questions, self.control);
        let control = std::thread::spawn(move || questions.iter().for_each(control));
        Ok(World {
            address: shards.addresses()[0],
            shards,
            control,
            counts: self.counts,
            seen: Counts::default(),
        })
    }

    pub(crate) fn start(self) -> World {
        self.try_start().unwrap()
    }
}

/// Running shards.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) shards: Shards,
    control: JoinHandle<()>,
    counts: Receiver<Box<Deltas>>,
    /// What was counted and looked at before the end.
    seen: Counts,
}

impl World {
    pub(crate) fn start(routes: Vec<Route>) -> Self {
        Plan::new(routes).start()
    }

    /// Drains and sums up what was counted.
    pub(crate) fn end(self) -> Counts {
        self.end_within(DRAIN)
    }

    pub(crate) fn end_within(self, patience: Duration) -> Counts {
        let drained = self.shards.drain(Instant::now() + patience);
        self.control.join().unwrap();
        let mut counts = self.seen;
        counts.drained = drained;
        self.counts.iter().for_each(|deltas| counts.add(&deltas));
        let explained: u64 = counts.failures.values().sum();
        assert_eq!(explained, counts.failed, "each has one reason: {counts:?}");
        counts
    }

    /// Waits until the shards, which hand their counts over once a second, have counted this.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, holds: impl Fn(&Counts) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.seen) {
            match self.counts.recv_deadline(deadline) {
                Ok(deltas) => {
                    self.seen.add(&deltas);
                    deltas.give_back();
                }
                Err(error) => panic!("{error}: {:?}", self.seen),
            }
        }
    }
}

/// What all shards counted together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) drained: DrainReport,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) attempts: u64,
    pub(crate) failed: u64,
    /// As `reason at stage`.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) rate_limited: u64,
    pub(crate) panics: u64,
    pub(crate) shed: u64,
    /// By [`Bound`].
    pub(crate) shed_by: [u64; Bound::ALL.len()],
    /// By [`Cut`].
    pub(crate) cut: [u64; Cut::ALL.len()],
    /// By [`Shortage`].
    pub(crate) short: [u64; Shortage::ALL.len()],
    /// Most bytes that relays held at a time, as far as that was looked at.
    pub(crate) relay_memory: usize,
    pub(crate) relayed: (u64, u64),
    pub(crate) relays: u64,
    pub(crate) requests: u64,
    /// Selected, connected, failed.
    pub(crate) targets: (u64, u64, u64),
    /// Uses of adapters, as `name/type` or `name/type/error`.
    pub(crate) adapters: BTreeMap<String, u64>,
}

impl Counts {
    /// How often an adapter was used, by `name/type` or `name/type/error`.
    pub(crate) fn adapter(&self, key: &str) -> u64 {
        self.adapters.get(key).copied().unwrap_or_default()
    }

    /// How often there was too little of this.
    pub(crate) fn short_of(&self, shortage: Shortage) -> u64 {
        self.short[shortage as usize]
    }

    /// Asserts that nothing failed but so many connections for this reason, as `reason at stage`.
    #[track_caller]
    pub(crate) fn assert_failed(&self, times: u64, why: &str) {
        let expected = BTreeMap::from([(why.to_owned(), times)]);
        assert_eq!(self.failures, expected, "{self:?}");
    }

    /// How much was cut at this bound.
    pub(crate) fn cut_at(&self, cut: Cut) -> u64 {
        self.cut[cut as usize]
    }

    /// How much was shed at this bound.
    pub(crate) fn shed_at(&self, bound: Bound) -> u64 {
        self.shed_by[bound as usize]
    }

    fn add(&mut self, deltas: &Deltas) {
        let totals = &deltas.totals;
        self.opened += totals.opened;
        self.closed += totals.closed;
        self.panics += totals.panics;
        self.shed += totals.shed.iter().sum::<u64>();
        for (count, more) in self.shed_by.iter_mut().zip(totals.shed) {
            *count += more;
        }
        for (count, more) in self.cut.iter_mut().zip(totals.cut) {
            *count += more;
        }
        for (count, more) in self.short.iter_mut().zip(totals.short) {
            *count += more;
        }
        self.relay_memory = self.relay_memory.max(totals.relay_memory);
        self.relayed.0 += totals.relayed_to_target;
        self.relayed.1 += totals.relayed_to_client;
        self.relays += deltas.relays().count();
        for (reason, stage, count) in deltas.failures() {
            let key = format!("{} at {}", reason.label(), stage.label());
            *self.failures.entry(key).or_default() += count;
        }
        let (overflow, sets) = deltas.connections();
        for counts in sets.map(|(_, counts)| counts).chain([overflow]) {
            self.attempts += counts.attempts;
            self.failed += counts.failed;
            self.rate_limited += counts.rate_limited;
        }
        self.requests += deltas
            .requests()
            .map(|(.., durations)| durations.count())
            .sum::<u64>();
        for (name, kind, error, durations) in deltas.adapters() {
            let error = error.map(|error| format!("/{}", error_type(error)));
            let key = format!("{}/{}{}", name.label(), kind.label(), error.unwrap_or_default());
            *self.adapters.entry(key).or_default() += durations.count();
        }
        let (overflow, sets) = deltas.targets();
        for counts in sets.map(|(_, counts)| counts).chain([overflow]) {
            self.targets.0 += counts.selected;
            self.targets.1 += counts.connected;
            self.targets.2 += counts.failed;
        }
    }
}
