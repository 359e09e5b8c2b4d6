//! A whole shard on a simulated engine: accept, admission, sessions, questions, dials and relays, until it
//! has drained.
//!
//! What must hold, whatever clients, targets, services and the kernel do: every accepted connection is
//! counted exactly once; gauges return to zero; all that is bounded in time ends in time; nothing is left.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use futures_lite::future::yield_now;
use glommio::{LocalExecutorBuilder, Placement};
use passage_proto::identity::Profile;
use passage_proto::question::AskError;

use self::plan::{blueprint, settings, targets};
use self::speech::{Crowd, visitor};
use super::{Command, Gate, House, Shard, Terms};
use crate::accept;
use crate::admission::Gatehouse;
use crate::ask::{Asked, RemoteAnswer, RemoteQuestion, choice_refusal};
use crate::choices::{Choices, play_seeds};
use crate::engine::RemoteWaker;
use crate::engine::simulation::Backstage;
use crate::metrics::{Bound, Deltas, Options, Outlet, Totals};
use crate::pool::DrainReport;
use crate::pulse::Pulse;
use crate::route::Routes;
use crate::rsa::KeyPair;

mod plan;
mod speech;

/// Turns after which a shard must have drained.
const ROUNDS_MAX: usize = 20_000;

/// How long it may be that nothing moves: a conversation, the dials after it, a relay without traffic, what
/// lingers.
const SILENCE_MAX: Duration = Duration::from_secs(30 + 3 + 40 + 10);

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(600);

/// What has to go wrong now and then, by stage and reason.
const FAILURES: [(&str, &str); 8] = [
    ("accept", "untrusted"),
    ("proxy_header", "proxy_header_missing"),
    ("proxy_header", "proxy_version_refused"),
    ("handshake", "timed_out"),
    ("login", "encryption_invalid"),
    ("login", "overloaded"),
    ("login", "unreachable"),
    ("status", "no_route"),
];

/// A service behind the control thread.
struct Services {
    questions: Receiver<Asked>,
    /// What was asked and is not answered yet.
    open: Vec<Asked>,
    sworn: u64,
}

/// A shard with everything around it.
struct World {
    backstage: Backstage,
    shard: Rc<Shard>,
    services: Services,
    counts: Receiver<Box<Deltas>>,
    orders: Sender<Command>,
    waker: RemoteWaker,
    house: glommio::Task<Result<DrainReport, String>>,
    decrypting: glommio::Task<()>,
    crowd: Crowd,
    /// Whether the shard has ended.
    ended: Rc<Cell<bool>>,
    visitors: usize,
    drains: bool,
    /// Connections that the engine had been shown while the shard let everybody in.
    let_in: usize,
}

/// What a world came to.
#[derive(Default)]
struct Summary {
    totals: Totals,
    attempts: u64,
    failed: u64,
    limited: u64,
    relayed: u64,
    cut: usize,
    /// By stage and reason.
    failures: BTreeMap<(&'static str, &'static str), u64>,
    /// Players whose secret was decrypted.
    sworn: u64,
}

impl World {
    fn new(key: KeyPair, choices: &mut Choices) -> Self {
        let backstage = Backstage::new(settings(choices), choices);
        let engine = backstage.engine().clone();
        let (control, questions) = bounded(choices.one_of(&[64, 1]));
        let (telemetry, counts) = Outlet::new(Options::default());
        let blueprint = blueprint(control, telemetry, choices);
        let crowd = Crowd {
            balanced: blueprint.proxy_protocol.is_some(),
            rushes: choices.once_in(5),
        };
        let routes = Routes::new(blueprint.routes.clone(), None, blueprint.localization.clone());
        let house = House {
            number: 0,
            terms: Terms::of(&blueprint),
            routes: Arc::new(routes.unwrap_or_else(|errors| panic!("{errors:?}"))),
            gatehouse: Arc::new(Gatehouse::new(&blueprint, engine.now())),
            key,
            control: blueprint.control,
            news: Vec::new(),
            tray: Arc::default(),
            telemetry: blueprint.telemetry,
            traces: None,
        };
        let shard = Shard::new(house, engine.clone());
        let (orders, ordered) = unbounded();
        shard.obey(ordered);
        let listeners = vec![backstage.listener()];
        let listening = accept::listen(&shard, listeners).expect("a slot for each listener");
        shard.listening.replace(listening);
        let ended = Rc::new(Cell::new(false));
        let house = glommio::spawn_local({
            let (shard, ended) = (Rc::clone(&shard), Rc::clone(&ended));
            async move {
                let report = shard.keep_house(&Pulse::default()).await;
                shard.shut().await;
                ended.set(true);
                report
            }
        });
        let decrypting = glommio::spawn_local({
            let shard = Rc::clone(&shard);
            async move { shard.decryptor.run().await }
        });
        Self {
            decrypting,
            crowd,
            waker: engine.waker(),
            backstage,
            shard,
            services: Services {
                questions,
                open: Vec::new(),
                sworn: 0,
            },
            counts,
            orders,
            house,
            ended,
            visitors: 0,
            drains: false,
            let_in: 0,
        }
    }

    async fn run_wild(&mut self, choices: &mut Choices) {
        let steps = 20 + choices.below(300);
        let drain_at = choices.once_in(3).then(|| choices.below(steps));
        for step in 0..steps {
            if drain_at == Some(step) {
                self.drain(Duration::from_secs(choices.below(60)));
            }
            match choices.below(8) {
                0 if self.visitors < 12 => {
                    for _ in 0..if self.crowd.rushes { 3 } else { 1 } {
                        self.visit(choices);
                    }
                }
                1 => self.services.answer(choices),
                0..=4 => self.backstage.step(choices),
                _ => {
                    let most = if choices.once_in(60) { 9_000 } else { 12 };
                    self.turn(Duration::from_millis(choices.below(most))).await;
                }
            }
        }
    }

    /// Everybody who can act does, until the shard has drained.
    async fn run_down(&mut self, choices: &mut Choices) {
        let (mut quiet, mut silence) = (0, Duration::ZERO);
        for _ in 0..ROUNDS_MAX {
            self.backstage.step_fairly(choices);
            self.services.answer(choices);
            let step = Duration::from_millis(if quiet > 4 { 500 } else { 3 });
            let moved = self.turn(step).await;
            quiet = if moved { 0 } else { quiet + 1 };
            silence += if moved { Duration::ZERO } else { step };
            assert!(silence < SILENCE_MAX, "nothing moves, and no deadline fires");
            // A silent relay goes on until it is idle.
            let deserted = self.backstage.waiting() == 0 && self.shard.admission.connections() == 0;
            if deserted && !self.drains {
                self.drain(DRAIN);
            }
            if self.ended.get() {
                return;
            }
        }
        panic!(
            "{} connections go on after {:?}",
            self.shard.admission.connections(),
            self.backstage.elapsed()
        );
    }

    fn drain(&mut self, within: Duration) {
        self.drains = true;
        let deadline = self.shard.engine.now() + within;
        self.orders.send(Command::Drain { deadline }).unwrap();
        self.waker.wake();
    }

    fn visit(&mut self, choices: &mut Choices) {
        self.visitors += 1;
        let host = u8::try_from(choices.below(3)).unwrap();
        let address = SocketAddr::from(([192, 0, 2, host], 40_000));
        let visitor = visitor(address, self.crowd, choices);
        self.backstage.visit(0, visitor);
    }

    /// One turn of the engine, and all that the shard's tasks do then.
    async fn turn(&mut self, after: Duration) -> bool {
        let moved = self.backstage.turn(after);
        for _ in 0..4 {
            yield_now().await;
        }
        if self.shard.gate() == Gate::Open {
            self.let_in = self.backstage.accepted();
        }
        moved
    }

    async fn conclude(mut self) -> Summary {
        let cut = match self.house.await {
            Ok(report) => report.cut,
            Err(reason) => {
                assert!(reason.starts_with("a listener failed"), "{reason}");
                0
            }
        };
        assert!(self.shard.gate() == Gate::Shut);
        self.decrypting.cancel().await;
        let shard = &self.shard;
        shard.engine.stop();
        for _ in 0..20 {
            self.backstage.turn(Duration::from_millis(20));
            yield_now().await;
        }
        assert_eq!(shard.admission.connections(), 0, "a seat was left");
        let logins: Vec<_> = (0..shard.terms.limits.logins_per_shard.min(8))
            .map(|_| shard.admission.login())
            .collect();
        assert!(logins.iter().all(Option::is_some), "a login was left");
        drop(logins);
        assert_eq!(shard.desk.waiting(), 0, "a question was left");
        assert_eq!(shard.decryptor.waiting(), 0, "a decryption was left");
        assert!(shard.roster.borrow().is_empty(), "a connection stayed enrolled");
        drop(shard.meter.take());
        self.services.open.clear();
        self.backstage.conclude();
        let mut summary = Summary::default();
        for deltas in self.counts.try_iter() {
            summary.totals.add(&deltas.totals);
            let (overflow, sets) = deltas.connections();
            for counts in sets.map(|(_, counts)| counts).chain([overflow]) {
                summary.attempts += counts.attempts;
                summary.failed += counts.failed;
                summary.limited += counts.rate_limited;
            }
            for (reason, stage, times) in deltas.failures() {
                let failures = summary.failures.entry((stage.label(), reason.label()));
                *failures.or_default() += times;
            }
            let (overflow, sets) = deltas.targets();
            let targets = sets.map(|(_, counts)| counts).chain([overflow]);
            summary.relayed += targets.map(|counts| counts.connected).sum::<u64>();
            deltas.give_back();
        }
        let accepted = self.backstage.accepted() as u64;
        let let_in = self.let_in as u64;
        // Who comes between the order to drain and the listener's end is nobody's.
        assert!(
            (let_in..=accepted).contains(&summary.attempts),
            "{} connections are counted, {let_in} to {accepted} were accepted",
            summary.attempts
        );
        assert_eq!(
            summary.totals.opened, summary.totals.closed,
            "the gauge is not zero"
        );
        assert!(summary.totals.opened <= summary.attempts);
        assert!(summary.failed <= summary.attempts, "one failed more than once");
        assert_eq!(summary.totals.panics, 0, "a connection panicked");
        summary.cut = cut;
        summary.sworn = self.services.sworn;
        summary
    }
}

impl Services {
    /// Answers some of what was asked: well, badly, or by forgetting it.
    fn answer(&mut self, choices: &mut Choices) {
        self.open.extend(self.questions.try_iter());
        let mut left = Vec::new();
        for asked in self.open.drain(..) {
            let swears = matches!(asked.question, RemoteQuestion::Authenticate { .. });
            match choices.below(6) {
                0 => {
                    self.sworn += u64::from(swears);
                    asked.reply.send(good(&asked.question));
                }
                1 if choices.once_in(3) => asked.reply.fail(AskError::Failed),
                2 if choices.once_in(8) => drop(asked),
                _ => left.push(asked),
            }
        }
        self.open = left;
    }
}

fn good(question: &RemoteQuestion) -> RemoteAnswer {
    match question {
        RemoteQuestion::Authenticate { .. } => RemoteAnswer::Profile(Ok(Profile {
            id: uuid::Uuid::from_u128(7),
            name: "Alice".into(),
            properties: Vec::new(),
        })),
        RemoteQuestion::Discover { .. } => RemoteAnswer::Targets(Ok(targets())),
        RemoteQuestion::Resolve { port, .. } => {
            RemoteAnswer::Addresses(Ok(vec![([127, 0, 0, 1], *port).into()]))
        }
        _ => RemoteAnswer::Targets(Err(choice_refusal(AskError::Failed))),
    }
}

async fn play(key: KeyPair, mut choices: Choices) -> Summary {
    let mut world = World::new(key, &mut choices);
    world.run_wild(&mut choices).await;
    world.run_down(&mut choices).await;
    world.conclude().await
}

fn play_share(share: Range<u64>) {
    let alone = std::env::var_os("SIMULATION_SEED").is_some();
    let key = KeyPair::generate().unwrap();
    let mut sum = Summary::default();
    play_seeds(share, |choices| {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(64 << 10)
            .preempt_timer(Duration::from_secs(3_600))
            .make()
            .unwrap();
        let seed = choices.below(1 << 24) << 24 | choices.below(1 << 24);
        let summary = executor.run(play(key.copy().unwrap(), Choices::of_seed(seed)));
        sum.totals.add(&summary.totals);
        sum.attempts += summary.attempts;
        sum.failed += summary.failed;
        sum.limited += summary.limited;
        sum.relayed += summary.relayed;
        sum.cut += summary.cut;
        sum.sworn += summary.sworn;
        for (failure, times) in summary.failures {
            *sum.failures.entry(failure).or_default() += times;
        }
    });
    for (stage, reason) in FAILURES {
        let times = sum.failures.get(&(stage, reason));
        assert!(alone || times.is_some(), "nobody failed with {reason} at {stage}");
    }
    assert!(!sum.failures.keys().any(|(_, reason)| *reason == "bug"));
    let unsworn = sum.totals.shed[Bound::RsaQueue as usize];
    assert!(alone || sum.sworn > 0 && unsworn > 0, "{} {unsworn}", sum.sworn);
    let shed: u64 = sum.totals.shed.iter().sum();
    let cut: u64 = sum.totals.cut.iter().sum();
    let rare = [sum.failed, sum.limited, sum.relayed, shed, cut, sum.cut as u64];
    assert!(alone || rare.iter().all(|count| *count > 0), "{rare:?}");
    assert!(alone || sum.failed < sum.attempts, "nobody was served");
}

#[test]
fn a_shard_counts_everybody_once_under_every_seed_first_half() {
    play_share(0..500);
}

#[test]
fn a_shard_counts_everybody_once_under_every_seed_second_half() {
    play_share(500..1_000);
}
