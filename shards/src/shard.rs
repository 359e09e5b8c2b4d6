//! One shard: what its connections share, its orders, and the gate through which it drains.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use futures_lite::future;
use glommio::timer::Timer;
use passage_proto::{Entropy, Now};
use slab::Slab;

use crate::accept;
use crate::admission::{Admission, Gatehouse, Laggards};
use crate::ask::{ControlLine, Desk};
use crate::ejection::Ejections;
use crate::engine::{Engine, EngineError, Listening, Notifier, RemoteWaker, Settings, Stats};
use crate::feed::{Board, Tray, Update};
use crate::limits::SOCKETS_PER_CONNECTION;
use crate::metrics::{HAND_OVER_INTERVAL, Meter, Outlet, Shortage};
use crate::pool::{DrainReport, Listeners};
use crate::pulse::Pulse;
use crate::report::Panicked;
use crate::route::{Chooser, Routes};
use crate::rsa::KeyPair;
use crate::trace::{self, Tracer};

pub(crate) use self::bell::Bell;
pub(crate) use self::decryptor::{Decrypting, Decryptor};
pub(crate) use self::refreshes::Waiting;
pub(crate) use self::snapshot::{RouteRef, Snapshot};
pub(crate) use self::terms::Terms;
pub(crate) use self::throttle::Throttle;

use self::refreshes::Refreshes;

mod bell;
mod decryptor;
mod entropy;
mod refreshes;
#[cfg(test)]
mod simulation;
mod snapshot;
mod terms;
mod throttle;

/// How often a draining shard looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How long the connections that were cut may take to notice.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// See [`stay_awake`].
const LIFELINE: Duration = Duration::from_millis(100);

/// How old the wall clock may be; cookies have whole seconds.
const WALL_CLOCK_AGE_MAX: Duration = Duration::from_millis(200);

/// What a shard needs to start, made on the thread that starts it.
pub(crate) struct Launch {
    pub(crate) listeners: Listeners,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) house: House,
}

/// What the connections of a shard will share.
pub(crate) struct House {
    pub(crate) number: usize,
    pub(crate) terms: Terms,
    pub(crate) routes: Arc<Routes>,
    pub(crate) gatehouse: Arc<Gatehouse>,
    pub(crate) key: KeyPair,
    pub(crate) control: ControlLine,
    pub(crate) news: Vec<Update>,
    pub(crate) tray: Arc<Tray>,
    pub(crate) telemetry: Outlet,
    pub(crate) traces: Option<trace::Outlet>,
}

/// Orders to a shard, each followed by a wake-up.
pub(crate) enum Command {
    /// New connections use these routes.
    SwapRoutes(Arc<Routes>),
    /// Accept nothing any more, and end when everybody has gone, or at the deadline.
    Drain { deadline: Instant },
}

/// How a start went.
pub(crate) type Started = Result<RemoteWaker, EngineError>;

/// What the connections of one shard share. Never leaves its thread.
pub(crate) struct Shard {
    pub(crate) engine: Engine,
    pub(crate) admission: Rc<Admission>,
    pub(crate) desk: Rc<Desk>,
    pub(crate) decryptor: Decryptor,
    pub(crate) terms: Terms,
    routes: RefCell<Snapshot>,
    tray: Arc<Tray>,
    pub(crate) board: RefCell<Board>,
    pub(crate) chooser: RefCell<Chooser>,
    pub(crate) ejections: RefCell<Ejections>,
    refreshes: Refreshes,
    /// `None` once the shard has ended: the last counts are on their way then.
    meter: RefCell<Option<Meter>>,
    /// `None` if nothing is traced.
    pub(crate) tracer: Option<Rc<Tracer>>,
    entropy: RefCell<entropy::Reserve>,
    wall_clock: Cell<Option<(Instant, u64)>>,
    scratch: Cell<Vec<u8>>,
    roster: RefCell<Slab<Notifier>>,
    listening: RefCell<Vec<Listening>>,
    gate: Cell<Gate>,
    orders: Bell,
    panic: RefCell<Option<Panicked>>,
    failure: RefCell<Option<String>>,
    /// Warnings about targets.
    pub(crate) target_warnings: Throttle,
}

/// How far a shard's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Everybody may come in.
    Open,
    /// Nobody comes in any more, who is in may finish.
    Draining { deadline: Instant, present: usize },
    /// Everybody has to go.
    Shut,
}

/// Runs a shard until it has drained, or until it can serve no more: then the error says why.
pub(crate) async fn run(
    launch: Launch,
    orders: Receiver<Command>,
    started: Sender<Started>,
) -> Result<DrainReport, String> {
    let engine = match Engine::new(Settings::within(&launch.house.terms.limits)) {
        Ok(engine) => engine,
        Err(error) => {
            let reason = error.to_string();
            // The starter waits for exactly one message.
            let _unheard = started.send(Err(error));
            return Err(reason);
        }
    };
    let (listeners, pulse) = (launch.listeners, launch.pulse);
    let shard = Shard::new(launch.house, engine.clone());
    let pump = glommio::spawn_local({
        let engine = engine.clone();
        async move { engine.run().await }
    });
    glommio::spawn_local(stay_awake()).detach();
    let decrypting = glommio::spawn_local({
        let shard = Rc::clone(&shard);
        async move { shard.decryptor.run().await }
    });
    shard.obey(orders);
    let listening = accept::listen(&shard, listeners);
    let failure = listening.as_ref().err().map(ToString::to_string);
    let waker = listening.map(|listening| {
        shard.listening.replace(listening);
        engine.waker()
    });
    let _starter_has_given_up = started.send(waker);

    let report = match failure {
        Some(reason) => Err(reason),
        None => shard.keep_house(&pulse).await,
    };
    shard.shut().await;
    engine.stop();
    pump.await;
    decrypting.cancel().await;
    drop(shard.meter.take());
    if report.is_ok() {
        pulse.retire();
    }
    report
}

/// Bounds how long the executor may sleep by mistake while the engine's pump, which has a lifeline of its
/// own, does not run: glommio 0.9 goes to sleep although tasks are ready if its preemption timer fires at the
/// wrong moment.
async fn stay_awake() {
    loop {
        Timer::new(LIFELINE).await;
    }
}

fn waking(engine: &Engine) -> Arc<dyn Fn() + Send + Sync> {
    let waker = engine.waker();
    Arc::new(move || waker.wake())
}

impl Shard {
    fn new(house: House, engine: Engine) -> Rc<Self> {
        Rc::new(Self {
            admission: Rc::new(Admission::new(house.gatehouse, &house.terms.limits)),
            desk: Rc::new(Desk::new(house.control, waking(&engine))),
            decryptor: Decryptor::new(house.key, engine.clone()),
            terms: house.terms,
            routes: RefCell::new(Snapshot::new(house.routes)),
            tray: house.tray,
            board: RefCell::new(house.news.into_iter().collect()),
            chooser: RefCell::new(Chooser::new(getrandom::u64().unwrap_or_default())),
            ejections: RefCell::default(),
            refreshes: Refreshes::default(),
            meter: RefCell::new(Some(house.telemetry.meter(house.number))),
            tracer: house
                .traces
                .and_then(|traces| traces.tracer(house.number))
                .map(Rc::new),
            entropy: RefCell::default(),
            wall_clock: Cell::default(),
            scratch: Cell::default(),
            roster: RefCell::default(),
            listening: RefCell::default(),
            gate: Cell::new(Gate::Open),
            orders: Bell::default(),
            panic: RefCell::default(),
            failure: RefCell::default(),
            target_warnings: Throttle::default(),
            engine,
        })
    }

    /// Takes what comes after every wake-up.
    fn obey(self: &Rc<Self>, orders: Receiver<Command>) {
        // The shard owns the engine, so that the engine must not own the shard.
        let ordered = Rc::downgrade(self);
        self.engine.on_wake(Box::new(move || {
            ordered
                .upgrade()
                .into_iter()
                .for_each(|shard| shard.wake(&orders))
        }));
    }

    /// The time now, as sessions want it.
    pub(crate) fn now(&self) -> Now {
        let instant = self.engine.now();
        let unix_seconds = match self.wall_clock.get() {
            Some((read, seconds)) if instant.saturating_duration_since(read) < WALL_CLOCK_AGE_MAX => seconds,
            _ => {
                let since_epoch = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                self.wall_clock.set(Some((instant, since_epoch.as_secs())));
                since_epoch.as_secs()
            }
        };
        Now {
            instant,
            unix_seconds,
        }
    }

    /// Random bytes for one session, or `None` if the kernel has none.
    pub(crate) fn entropy(&self) -> Option<Entropy> {
        self.entropy.borrow_mut().take()
    }

    /// The routes of now.
    pub(crate) fn routes(&self) -> Snapshot {
        self.routes.borrow().clone()
    }

    /// Counts something, unless the shard has ended or died in the middle of counting.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Meter)) {
        if let Ok(mut meter) = self.meter.try_borrow_mut()
            && let Some(meter) = meter.as_mut()
        {
            count(meter);
        }
    }

    /// An empty vector for a turn's output, kept for the next turn if nothing was written.
    pub(crate) fn take_scratch(&self) -> Vec<u8> {
        self.scratch.take()
    }

    /// Gives back what [`Self::take_scratch`] gave.
    pub(crate) fn return_scratch(&self, scratch: Vec<u8>) {
        if scratch.capacity() > 0 {
            self.scratch.set(scratch);
        }
    }

    /// Whether another socket may stay open behind its connection, to be read to the end. A quarter of them
    /// is left to connections.
    pub(crate) fn has_room_to_linger(&self) -> bool {
        let sockets = self
            .terms
            .limits
            .connections_per_shard
            .saturating_mul(SOCKETS_PER_CONNECTION);
        self.engine.open_sockets() < sockets - sockets / 4
    }

    /// Whether new connections are let in.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.get()
    }

    /// Has the connection notified when the shard drains.
    pub(crate) fn enroll(self: &Rc<Self>, notifier: Notifier) -> Enrolment {
        Enrolment {
            shard: Rc::clone(self),
            key: self.roster.borrow_mut().insert(notifier),
        }
    }

    /// Gives up the connection of these that has kept the shard waiting the longest, so that another one may
    /// have its place; `false` if none keeps it waiting.
    pub(crate) fn make_room(&self, laggards: &Laggards) -> bool {
        let Some(number) = laggards.give_up() else {
            return false;
        };
        if let Some(notifier) = self.roster.borrow().get(number) {
            notifier.notify();
        }
        true
    }

    /// Adds to what is known of this client's connection, which panics now. It is told once the panic is
    /// caught.
    pub(crate) fn note_panic(&self, client: SocketAddr, note: impl FnOnce(&mut Panicked)) {
        let mut panic = self.panic.borrow_mut();
        note(panic.get_or_insert_with(|| Panicked::new(client)));
    }

    /// The connection whose panic was just caught.
    pub(crate) fn take_panic(&self) -> Option<Panicked> {
        self.panic.take()
    }

    /// Ends the shard, because it can serve nobody new.
    pub(crate) fn fail(&self, reason: String) {
        self.failure.replace(Some(reason));
        self.orders.ring();
    }

    /// Takes news, answers and orders. Runs after every wake-up, from another thread or by the decryptor.
    fn wake(&self, orders: &Receiver<Command>) {
        self.decryptor.woken();
        // News first: an answer that was also published is to be found on the board.
        self.tray.take().for_each(|update| self.learn(update));
        self.desk.deliver();
        for order in orders.try_iter() {
            match order {
                Command::SwapRoutes(routes) => {
                    self.routes.replace(Snapshot::new(routes));
                }
                Command::Drain { deadline } => self.begin_drain(deadline),
            }
        }
    }

    fn begin_drain(&self, deadline: Instant) {
        if self.gate.get() == Gate::Open {
            self.gate.set(Gate::Draining {
                deadline,
                present: self.admission.connections(),
            });
            self.listening.take().into_iter().for_each(Listening::close);
            self.notify_all();
            self.orders.ring();
        }
    }

    fn notify_all(&self) {
        self.roster
            .borrow()
            .iter()
            .for_each(|(_, notifier)| notifier.notify());
    }

    /// Hands counts over once a second and shows that the shard lives, until the shard has drained or failed.
    async fn keep_house(&self, pulse: &Pulse) -> Result<DrainReport, String> {
        let mut seen = Stats::default();
        let mut next = self.engine.now() + HAND_OVER_INTERVAL;
        loop {
            pulse.beat();
            let until = match self.gate.get() {
                Gate::Open => next,
                Gate::Draining { .. } | Gate::Shut => next.min(self.engine.now() + DRAIN_POLL),
            };
            future::or(self.engine.sleep_until(until), self.orders.rung()).await;
            if let Some(reason) = self.failure.take() {
                return Err(reason);
            }
            let now = self.engine.now();
            if now >= next {
                next = now + HAND_OVER_INTERVAL;
                self.hand_over(&mut seen);
            }
            let Gate::Draining { deadline, present } = self.gate.get() else {
                continue;
            };
            let left = self.admission.connections();
            if left == 0 || now >= deadline {
                self.hand_over(&mut seen);
                return Ok(DrainReport {
                    finished: present.saturating_sub(left),
                    cut: left,
                });
            }
        }
    }

    fn hand_over(&self, seen: &mut Stats) {
        let stats = self.engine.stats();
        let to_target = stats.relayed_to_target.saturating_sub(seen.relayed_to_target);
        let to_client = stats.relayed_to_client.saturating_sub(seen.relayed_to_client);
        let buffers = stats.buffers_missed.saturating_sub(seen.buffers_missed);
        let pipes = stats.pipes_missed.saturating_sub(seen.pipes_missed);
        *seen = stats;
        self.count(|meter| {
            meter.relay_bytes(to_target, to_client);
            self.engine.take_turns(|turns| meter.turns(turns));
            meter.queue_depth(self.desk.waiting());
            meter.relay_memory(stats.spilled);
            meter.ran_short(Shortage::ReceiveBuffers, buffers);
            meter.ran_short(Shortage::RelayPipes, pipes);
            meter.hand_over();
        });
    }

    /// Sends whoever is left away.
    async fn shut(&self) {
        self.gate.set(Gate::Shut);
        self.notify_all();
        self.engine.abort_relays();
        let patience = self.engine.now() + CUT_GRACE;
        while self.admission.connections() > 0 && self.engine.now() < patience {
            self.engine.sleep_until(self.engine.now() + DRAIN_POLL).await;
        }
    }
}

/// A connection's entry among those that a drain notifies.
pub(crate) struct Enrolment {
    shard: Rc<Shard>,
    key: usize,
}

impl Enrolment {
    /// Its number.
    pub(crate) fn number(&self) -> usize {
        self.key
    }
}

impl Drop for Enrolment {
    fn drop(&mut self) {
        self.shard.roster.borrow_mut().try_remove(self.key);
    }
}
