//! Listeners, sockets and sleepers under the simulated kernel: tasks converse, connect, relay and give up at
//! any time.
//!
//! What must hold, whatever happens: who is accepted is shown once; what a task is given is what its peer
//! sent, and the end comes last; messages go out whole and in order, and what is said to be sent is sent;
//! deadlines fire, never early; nobody waits for what is there; a listener pauses after an error, and goes
//! on; in the end nothing is left.

use std::cell::RefCell;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::door::Visitor;
use super::kernel::{Kernel, Seen};
use super::life::{Actor, Life, Relayed, Wait};
use super::peer::{Peer, Reading};
use super::simulate;
use crate::choices::{Choices, play_seeds};
use crate::engine::timers::TICK;
use crate::engine::{Accept, Engine, Listening, Settings};

/// Turns after which everything must have come to an end.
const ROUNDS_MAX: usize = 20_000;

/// How long nobody may wait for something that is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are kept for a task that does not want them, before it is not received from any more.
const STASH: usize = 4 * 1024;

/// The first and the longest pause of a listener.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// A listening socket and what it must do.
struct Door {
    number: usize,
    listening: Option<Listening>,
    ledger: Rc<RefCell<Ledger>>,
}

/// What a listener has said.
struct Ledger {
    pause: Duration,
    /// Nothing may come before.
    until: Option<Instant>,
    is_fatal: bool,
}

/// An engine with its tasks and everything around them.
struct Scene {
    engine: Engine,
    kernel: Rc<RefCell<Kernel>>,
    crew: Rc<RefCell<Crew>>,
    doors: Vec<Door>,
    lives: Rc<RefCell<Vec<Rc<RefCell<Life>>>>>,
    relays: Rc<RefCell<Vec<Relayed>>>,
    /// Lines that listeners have shown.
    shown: Rc<RefCell<Vec<usize>>>,
    /// Of the lines, by number.
    peers: Vec<Peer>,
    tasks: Rc<RefCell<Choices>>,
    epoch: Instant,
    elapsed: Duration,
    buffers: usize,
    stopped: bool,
}

/// What a scene came to.
struct Summary {
    seen: Seen,
    accepted: usize,
    connected: usize,
    relayed: usize,
}

impl Scene {
    fn new(settings: Settings, choices: &mut Choices) -> Self {
        let engine = Engine::new(settings).unwrap();
        let seed = choices.below(1 << 24) << 24 | choices.below(1 << 24);
        let kernel = simulate(&engine, Choices::of_seed(seed));
        let mut scene = Self {
            epoch: engine.now(),
            engine,
            kernel,
            crew: Rc::default(),
            doors: Vec::new(),
            lives: Rc::default(),
            relays: Rc::default(),
            shown: Rc::default(),
            peers: Vec::new(),
            tasks: Rc::new(RefCell::new(Choices::of_seed(seed ^ 1))),
            elapsed: Duration::ZERO,
            // One more than there are: the one that was too much.
            buffers: (1 + usize::from(settings.buffers.next_power_of_two()))
                * usize::from(settings.buffer_bytes),
            stopped: false,
        };
        for _ in 0..=choices.below(2) {
            scene.listen();
        }
        scene
    }

    fn listen(&mut self) {
        // Any descriptor does: nobody but the simulated kernel uses it.
        let (end, _) = UnixStream::pair().unwrap();
        let number = self.kernel.borrow_mut().open_door(end.as_raw_fd());
        let ledger = Rc::new(RefCell::new(Ledger {
            pause: PAUSES[0],
            until: None,
            is_fatal: false,
        }));
        let (shown, noted) = (Rc::clone(&self.shown), Rc::clone(&ledger));
        let (kernel, engine, spawn) = (Rc::clone(&self.kernel), self.engine.clone(), self.spawner());
        let on_accept = move |accept: Accept| {
            let mut ledger = noted.borrow_mut();
            let now = engine.now();
            assert!(
                ledger.until.take().is_none_or(|until| until <= now),
                "no pause after an error"
            );
            assert!(!ledger.is_fatal, "a listener goes on that cannot");
            match accept {
                Accept::Socket(fd) => {
                    ledger.pause = PAUSES[0];
                    let line = kernel.borrow().find(fd.as_raw_fd());
                    shown
                        .borrow_mut()
                        .push(line.expect("a connection that was accepted"));
                    spawn(Some(fd));
                }
                Accept::Transient(error) => {
                    assert_ne!(error.raw_os_error(), Some(libc::EINVAL));
                    ledger.until = Some(now + ledger.pause);
                    ledger.pause = (ledger.pause * 2).min(PAUSES[1]);
                }
                Accept::Fatal(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
                    ledger.is_fatal = true;
                }
            }
        };
        let listener = TcpListener::from(std::os::fd::OwnedFd::from(end));
        let listening = self.engine.listen(listener, Box::new(on_accept));
        let listening = Some(listening.expect("a slot for each listener"));
        self.doors.push(Door {
            number,
            listening,
            ledger,
        });
    }

    /// Begins the task of a connection that was accepted, or that it makes itself.
    fn spawner(&self) -> impl Fn(Option<std::os::fd::OwnedFd>) + 'static {
        let (engine, kernel) = (self.engine.clone(), Rc::clone(&self.kernel));
        let (lives, relays) = (Rc::clone(&self.lives), Rc::clone(&self.relays));
        let (crew, tasks) = (Rc::clone(&self.crew), Rc::clone(&self.tasks));
        move |fd| {
            let life: Rc<RefCell<Life>> = Rc::default();
            let number = lives.borrow().len();
            lives.borrow_mut().push(Rc::clone(&life));
            let mut tasks = tasks.borrow_mut();
            let seed = tasks.below(1 << 24) << 24 | tasks.below(1 << 24);
            let actor = Actor {
                engine: engine.clone(),
                kernel: Rc::clone(&kernel),
                choices: Choices::of_seed(seed),
                life,
                port: u16::try_from(2 * number + 2).unwrap(),
                relays: Rc::clone(&relays),
            };
            crew.borrow_mut().spawn(match fd {
                Some(fd) => Box::pin(actor.serve(fd)),
                None => Box::pin(actor.call()),
            });
        }
    }

    fn run_wild(&mut self, choices: &mut Choices) {
        let steps = 20 + choices.below(300);
        let stop_at = choices.once_in(12).then(|| choices.below(steps));
        let close_at = choices.once_in(4).then(|| choices.below(steps));
        for step in 0..steps {
            if stop_at == Some(step) {
                self.stopped = true;
                self.engine.stop();
            }
            if close_at == Some(step) {
                self.doors[0].listening = None;
            }
            match choices.below(16) {
                0 if self.peers.len() < 10 => {
                    let door = choices.below(self.doors.len() as u64);
                    let number = self.doors[usize::try_from(door).unwrap()].number;
                    let visitor = Visitor {
                        address: ([127, 0, 0, 1], 1).into(),
                        speech: Vec::new(),
                        retort: None,
                    };
                    for _ in 0..=choices.below(2) {
                        let waiting = &mut self.kernel.borrow_mut().doors[number].waiting;
                        waiting.push_back(visitor.clone());
                    }
                }
                1 if self.lives.borrow().len() < 6 => self.spawner()(None),
                2 => self.disturb(choices),
                3 if choices.once_in(40) => self.engine.abort_relays(),
                0..=6 => self.step_peers(choices),
                7..=10 => self.kernel.borrow_mut().perform(false),
                _ => {
                    let most = if choices.once_in(60) { 20_000 } else { 12 };
                    self.turn(Duration::from_millis(choices.below(most)), choices);
                }
            }
        }
    }

    /// Somebody else wants something of a task.
    fn disturb(&mut self, choices: &mut Choices) {
        let lives = self.lives.borrow();
        let Some(life) = (!lives.is_empty()).then(|| choices.one_of(&lives)) else {
            return;
        };
        if choices.once_in(2) {
            life.borrow().nudge();
            return;
        }
        let notifier = life.borrow().notifier.clone();
        if let Some(notifier) = notifier {
            life.borrow_mut().notified = true;
            notifier.notify();
        }
    }

    fn step_peers(&mut self, choices: &mut Choices) {
        self.meet_peers(choices);
        for number in 0..self.peers.len() {
            if choices.once_in(2) {
                self.peers[number].step(&mut self.kernel.borrow_mut(), number);
            }
        }
    }

    /// Every line has a peer.
    fn meet_peers(&mut self, choices: &mut Choices) {
        let lines = self.kernel.borrow().lines.len();
        while self.peers.len() < lines {
            self.peers.push(Peer::new(choices));
        }
    }

    /// Everybody does what they can: then everything must come to an end.
    fn run_down(&mut self, choices: &mut Choices) {
        self.kernel.borrow_mut().faulty = false;
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            self.meet_peers(choices);
            for number in 0..self.peers.len() {
                if let Reading::Slowly(bytes) = &mut self.peers[number].reading {
                    *bytes = 1_000.max(*bytes);
                }
                self.peers[number].step(&mut self.kernel.borrow_mut(), number);
            }
            self.kernel.borrow_mut().perform(true);
            let step = Duration::from_millis(if quiet > 4 { 700 } else { 3 });
            let moved = self.turn(step, choices);
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet > 20 {
                self.check_patience();
                // Who waits for what may never come is to go.
                self.lives.borrow().iter().for_each(|life| life.borrow().nudge());
            }
            if quiet > 40 {
                self.check_doors();
                self.doors.iter_mut().for_each(|door| door.listening = None);
            }
            let open = self.engine.open_sockets() + self.engine.stats().relays;
            if open + self.crew.borrow().busy() == 0 {
                return;
            }
        }
        let busy = self.crew.borrow().busy();
        panic!("{busy} tasks go on; {:?}", self.engine.stats());
    }

    /// Nobody waits for what is there.
    fn check_patience(&self) {
        let now = self.engine.now();
        let kernel = self.kernel.borrow();
        for life in self.lives.borrow().iter() {
            let life = life.borrow();
            let (Some((wait, since, _)), Some(line)) = (life.wait, life.line) else {
                continue;
            };
            if now < since + PATIENCE {
                continue;
            }
            let line = &kernel.lines[line];
            let is_over = line.waiting() == 0 && life.read == line.received && (line.ended || line.broken);
            let lost = match wait {
                Wait::Input => life.notified || line.has_news() || life.read < line.received,
                Wait::Quiet => life.notified || is_over,
                Wait::Room => line.free() > 0 || line.broken,
                Wait::Connection | Wait::Time => false,
            };
            assert!(!lost, "{wait:?} was there for {PATIENCE:?}, and nobody said so");
        }
    }

    /// A listener that can accept everybody has done so.
    fn check_doors(&self) {
        let kernel = self.kernel.borrow();
        for door in &self.doors {
            let stands = door.listening.is_some() && !door.ledger.borrow().is_fatal && !self.stopped;
            let waiting = kernel.doors[door.number].waiting.len();
            assert!(
                !stands || waiting == 0,
                "{waiting} connections wait before a listener"
            );
        }
    }

    /// One turn of the engine, after some time, and all that follows from it. Whether there was anything.
    fn turn(&mut self, after: Duration, choices: &mut Choices) -> bool {
        self.elapsed += after;
        let mut called = self.engine.turn_at(self.epoch + self.elapsed);
        while self.crew.borrow_mut().run(choices) {
            called = true;
            self.engine.run_callbacks();
        }
        let moved = std::mem::take(&mut self.kernel.borrow_mut().moved);
        self.check_deadlines();
        let kernel = self.kernel.borrow();
        let relays = self.relays.borrow();
        let lives = self.lives.borrow();
        for life in lives.iter().chain(relays.iter().map(|relay| &relay.target)) {
            let mut life = life.borrow_mut();
            if let Some(line) = life.line {
                life.script.check(&kernel, line);
            }
        }
        drop((kernel, relays, lives));
        self.check_ends();
        self.check_stashes();
        called || !moved.is_empty()
    }

    fn check_deadlines(&self) {
        let now = self.engine.now();
        for life in self.lives.borrow().iter() {
            if let Some((wait, _, Some(until))) = life.borrow().wait {
                assert!(
                    now < until + 2 * TICK,
                    "{wait:?} should be over since {:?}",
                    now - until
                );
            }
        }
    }

    /// Where a stream was ended in good order, everything was sent.
    fn check_ends(&self) {
        let mut kernel = self.kernel.borrow_mut();
        let relays = self.relays.borrow();
        for life in self
            .lives
            .borrow()
            .iter()
            .chain(relays.iter().map(|relay| &relay.target))
        {
            let life = life.borrow();
            let Some(line) = life.line.map(|line| &mut kernel.lines[line]) else {
                continue;
            };
            line.look();
            if line.shut && !line.is_closed() && !line.failed && !life.script.failed {
                life.script.check_end();
            }
        }
    }

    /// What is kept for tasks is bounded.
    fn check_stashes(&self) {
        let most = STASH + self.buffers;
        self.engine.with(|core| {
            for key in core.slots.keys() {
                let kept = core.slots.slot(key).map_or(0, |slot| slot.stash.len());
                assert!(kept <= most, "{kept} bytes are kept for a task, at most {most}");
            }
        });
    }

    fn conclude(mut self, choices: &mut Choices) -> Summary {
        for _ in 0..4 {
            // Pipes that nobody needs are closed after some seconds.
            self.turn(Duration::from_secs(2), choices);
        }
        self.engine.with(|core| {
            super::check_nothing_left(core);
            if self.stopped {
                assert!(core.is_over());
            }
        });
        let mut kernel = self.kernel.borrow_mut();
        assert!(kernel.is_idle(), "an operation was left");
        assert!(kernel.doors.iter().all(|door| door.closed), "a listener was left");
        for line in &mut kernel.lines {
            assert!(line.is_closed(), "a descriptor was left");
        }
        let (mut shown, mut accepted) = (self.shown.borrow().clone(), kernel.accepted.clone());
        shown.sort_unstable();
        accepted.sort_unstable();
        assert_eq!(shown, accepted, "who was accepted is shown once");
        for relay in self.relays.borrow().iter() {
            assert_eq!(relay.reports.borrow().len(), 1, "a relay ends once");
        }
        Summary {
            seen: kernel.seen,
            accepted: accepted.len(),
            connected: kernel.connected.len(),
            relayed: self.relays.borrow().len(),
        }
    }
}

fn play(choices: &mut Choices) -> Summary {
    let settings = super::settings(choices);
    let mut scene = Scene::new(settings, choices);
    scene.run_wild(choices);
    scene.run_down(choices);
    scene.conclude(choices)
}

fn play_share(share: std::ops::Range<u64>) {
    let alone = std::env::var_os("SIMULATION_SEED").is_some();
    let (mut accepted, mut failed, mut connected, mut relayed) = (0, 0, 0, 0);
    play_seeds(share, |choices| {
        let summary = play(choices);
        accepted += summary.accepted;
        failed += summary.seen.accepts_failed;
        connected += summary.connected;
        relayed += summary.relayed;
    });
    let rare = [accepted as u64, failed, connected as u64, relayed as u64];
    assert!(alone || rare.iter().all(|count| *count > 0), "{rare:?}");
}

#[test]
fn sockets_and_listeners_keep_their_promises_under_every_seed_first_half() {
    play_share(0..1_500);
}

#[test]
fn sockets_and_listeners_keep_their_promises_under_every_seed_second_half() {
    play_share(1_500..3_000);
}
