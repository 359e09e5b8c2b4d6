//! Drives an attack: one thread, one epoll loop, until it is told to end. It yields after each step, because
//! clients whose times are taken share its CPU, and the scheduler lets nobody in before a slice of some
//! milliseconds is over.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{ATTACKERS, ATTACKERS_COUNT, Attack, BALANCER, CONNECTIONS_MAX, Move, Origin, Plan, Strike};
use crate::address::Sources;
use crate::event_loop::{EventLoop, Received};
use crate::pin;
use crate::random::Random;

/// How often the loop looks around when nothing happens.
const TICK: Duration = Duration::from_millis(5);
/// How often lifetimes are looked at.
const SWEEP: Duration = Duration::from_millis(100);
/// Connections begun in one turn, so that a turn stays short.
const BEGUN_PER_TURN: usize = 64;
/// Connections that say something more in one turn.
const PULSED_PER_TURN: usize = 64;
/// Starts that are not made up for after a pause.
const ARREARS_MAX: f64 = 256.0;
/// No storm lasts longer, whoever forgets to end it.
const STORM_MAX: Duration = Duration::from_secs(120);

/// What an attack came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Toll {
    /// Connections begun.
    pub opened: u64,
    /// Connections that could not be begun: refused, or out of ports or files on this side.
    pub unopened: u64,
    /// Most connections at a time.
    pub held_most: usize,
    /// Bytes said.
    pub sent_bytes: u64,
    /// Bytes that came back.
    pub received_bytes: u64,
    /// Connections that the server ended.
    pub ended_by_server: u64,
    /// What the server let through and must not, and the first of it in words.
    pub breaches: u64,
    /// In words.
    pub first_breach: Option<String>,
    /// Seconds from the first connection to the end.
    pub seconds: f64,
}

/// An attack under way; ends when dropped.
#[derive(Debug)]
pub struct Storm {
    stop: Arc<AtomicBool>,
    held: Arc<AtomicUsize>,
    thread: Option<JoinHandle<io::Result<Toll>>>,
}

impl Storm {
    /// Begins an attack on `server`, on `cpu` if given. `strength` scales its rate and its connections at a
    /// time.
    ///
    /// # Errors
    /// If the thread cannot be had.
    pub fn begin(
        attack: Box<dyn Attack>,
        server: SocketAddr,
        strength: f64,
        seed: u64,
        cpu: Option<usize>,
    ) -> io::Result<Self> {
        let (stop, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, holds) = (Arc::clone(&stop), Arc::clone(&held));
        let thread = pin::spawn_behind("storm", cpu, move || {
            Driver::new(attack, server, strength, seed)?.drive(&stopped, &holds)
        })?;
        Ok(Self {
            stop,
            held,
            thread: Some(thread),
        })
    }

    /// Connections that it has open now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Ends it: all its connections are closed.
    ///
    /// # Errors
    /// If sockets or epoll could not be had.
    pub fn end(mut self) -> io::Result<Toll> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take();
        thread.map_or_else(
            || Ok(Toll::default()),
            |thread| {
                thread
                    .join()
                    .map_err(|_| io::Error::other("the storm's thread panicked"))?
            },
        )
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection of an attack.
struct Attacker {
    strike: Box<dyn Strike>,
    begun: Instant,
    is_deaf: bool,
}

struct Driver {
    attack: Box<dyn Attack>,
    plan: Plan,
    event_loop: EventLoop<Attacker>,
    random: Random,
    toll: Toll,
    /// Who has its pulse next, in this interval,
    pulsing: VecDeque<usize>,
    /// and how many of them are due.
    pulses_due: f64,
}

impl Driver {
    fn new(attack: Box<dyn Attack>, server: SocketAddr, strength: f64, seed: u64) -> io::Result<Self> {
        let mut plan = attack.plan();
        plan.rate *= strength;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "thousands of connections"
        )]
        let at_once = (plan.at_once as f64 * strength).ceil() as usize;
        plan.at_once = at_once;
        let sources = match plan.origin {
            Origin::Many => Sources::from(ATTACKERS, ATTACKERS_COUNT),
            Origin::One => Sources::from(ATTACKERS, 1),
            Origin::Balancer => Sources::from(BALANCER, 1),
        };
        Ok(Self {
            attack,
            plan,
            event_loop: EventLoop::new(server, sources, true)?,
            random: Random::new(seed),
            toll: Toll::default(),
            pulsing: VecDeque::new(),
            pulses_due: 0.0,
        })
    }

    fn drive(mut self, stop: &AtomicBool, held: &AtomicUsize) -> io::Result<Toll> {
        let begun = Instant::now();
        let (mut due, mut looked) = (0.0, begun);
        let mut swept = begun;
        let mut ready = Vec::new();
        while !stop.load(Ordering::Acquire) && begun.elapsed() < STORM_MAX {
            let now = Instant::now();
            let passed = now.saturating_duration_since(looked).as_secs_f64();
            due = (due + passed * self.plan.rate).min(ARREARS_MAX);
            looked = now;
            self.pulse(passed);
            self.launch(&mut due, now);
            // At high rates a start is always due; the wait is then no longer than a look.
            let wait = Duration::from_secs_f64((1.0 / self.plan.rate).min(TICK.as_secs_f64()));
            self.event_loop.wait(now + wait)?;
            self.event_loop.take_ready(&mut ready);
            for &key in &ready {
                self.serve(key);
                std::thread::yield_now();
            }
            let now = Instant::now();
            if now >= swept + SWEEP {
                swept = now;
                self.sweep(now);
            }
            self.toll.held_most = self.toll.held_most.max(self.event_loop.len());
            held.store(self.event_loop.len(), Ordering::Relaxed);
        }
        self.toll.seconds = begun.elapsed().as_secs_f64();
        Ok(self.toll)
    }

    /// Begins connections that are due.
    fn launch(&mut self, due: &mut f64, now: Instant) {
        for _ in 0..BEGUN_PER_TURN {
            let is_over = self.toll.opened + self.toll.unopened >= CONNECTIONS_MAX;
            if *due < 1.0 || is_over || self.event_loop.len() >= self.plan.at_once {
                return;
            }
            *due -= 1.0;
            self.open(now);
            std::thread::yield_now();
        }
    }

    fn open(&mut self, now: Instant) {
        let (attack, random, number) = (&mut self.attack, &mut self.random, self.toll.opened);
        let (mut said, mut opening) = (0, Move::Stay);
        let opened = self
            .event_loop
            .open(|source: Option<Ipv4Addr>, output: &mut Vec<u8>| {
                let (strike, next) = attack.strike(number, source, random, output);
                (said, opening) = (output.len(), next);
                Attacker {
                    strike,
                    begun: now,
                    is_deaf: false,
                }
            });
        match opened {
            Ok(key) => {
                self.toll.opened += 1;
                self.toll.sent_bytes += said as u64;
                self.make(key, opening);
            }
            Err(_) => self.toll.unopened += 1,
        }
    }

    fn serve(&mut self, key: usize) {
        if self.event_loop.flush(key).is_err() {
            return self.lose(key);
        }
        loop {
            if self.event_loop.state(key).is_none_or(|attacker| attacker.is_deaf) {
                return;
            }
            match self.event_loop.receive(key) {
                Ok(Received::Blocked) => return,
                Ok(Received::Ended) | Err(_) => return self.lose(key),
                Ok(Received::Bytes(count)) => {
                    self.toll.received_bytes += count as u64;
                    let Some((bytes, attacker, output)) = self.event_loop.received(key, count) else {
                        return;
                    };
                    let before = output.len();
                    let next = attacker.strike.receive(bytes, output);
                    self.toll.sent_bytes += (output.len() - before) as u64;
                    if self.event_loop.flush(key).is_err() {
                        return self.lose(key);
                    }
                    self.make(key, next);
                }
            }
        }
    }

    /// Each connection says something more once an interval, spread over it: a burst of thousands would
    /// measure the CPU that clients and attackers share.
    #[expect(clippy::cast_precision_loss, reason = "thousands of connections")]
    fn pulse(&mut self, passed: f64) {
        let Some(interval) = self.plan.pulse else { return };
        let rate = self.event_loop.len() as f64 / interval.as_secs_f64();
        self.pulses_due = (self.pulses_due + passed * rate).min(ARREARS_MAX);
        let mut output = Vec::new();
        for _ in 0..PULSED_PER_TURN {
            if self.pulses_due < 1.0 {
                return;
            }
            self.pulses_due -= 1.0;
            if self.pulsing.is_empty() {
                self.pulsing.extend(self.event_loop.iter().map(|(key, _)| key));
            }
            let Some(key) = self.pulsing.pop_front() else {
                return;
            };
            if self.event_loop.unsent(key) > 0 {
                continue;
            }
            let Some(attacker) = self.event_loop.state(key) else {
                continue;
            };
            output.clear();
            let next = attacker.strike.pulse(&mut output);
            self.toll.sent_bytes += output.len() as u64;
            if !output.is_empty() && self.event_loop.send(key, &output).is_err() {
                self.lose(key);
                continue;
            }
            self.make(key, next);
            std::thread::yield_now();
        }
    }

    fn make(&mut self, key: usize, next: Move) {
        match next {
            Move::Stay => {}
            Move::Deafen => {
                if let Some(attacker) = self.event_loop.state(key) {
                    attacker.is_deaf = true;
                }
            }
            Move::Close => {
                self.event_loop.close(key);
            }
            Move::Reset => {
                self.event_loop.reset(key);
            }
            Move::Breach(what) => {
                self.toll.breaches += 1;
                self.toll.first_breach.get_or_insert(what);
                self.event_loop.close(key);
            }
        }
    }

    /// The server ended it.
    fn lose(&mut self, key: usize) {
        if self.event_loop.close(key).is_some() {
            self.toll.ended_by_server += 1;
        }
    }

    fn sweep(&mut self, now: Instant) {
        let lifetime = self.plan.lifetime;
        let links = self.event_loop.iter();
        let old = links.filter(|(_, attacker)| now.saturating_duration_since(attacker.begun) > lifetime);
        let old: Vec<usize> = old.map(|(key, _)| key).collect();
        for key in old {
            self.event_loop.close(key);
            std::thread::yield_now();
        }
    }
}
