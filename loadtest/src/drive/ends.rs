//! Relays whose both ends are here: the client that connects to the server, and the target that the server
//! connects to. One loop drives both, so that each end can say something unasked, and so that what it said
//! can be followed to the other end by one clock.

pub(crate) mod bulk;
pub(crate) mod players;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::hold::Talk;
use super::{Phase, Share, Signals, TICK, earlier};
use crate::address::Sources;
use crate::double;
use crate::event_loop::{EventLoop, Received};
use crate::failure::{Failure, Kind};
use crate::flow::relay::RelayTalk;
use crate::random::Random;
use crate::tally::Tally;

/// Relays that are being opened at once; below any listener's backlog.
const OPENING_MAX: usize = 128;
/// How often relays are looked at that do not come to stand.
const SWEEP: Duration = Duration::from_millis(100);

/// Where the other ends of relays arrive: a socket that listens on loopback for as long as this is kept.
#[derive(Clone, Debug)]
pub struct Arrival(Arc<std::net::TcpListener>, SocketAddr);

impl Arrival {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn listen() -> io::Result<Self> {
        let listener = double::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        Ok(Self(Arc::new(listener), address))
    }

    /// The target that a server is to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.1
    }
}

impl Serialize for Arrival {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.1.serialize(serializer)
    }
}

/// Which end of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It connected to the server.
    Client,
    /// The server connected to it.
    Target,
}

/// One end of a relay.
#[derive(Debug)]
pub(crate) struct End<S> {
    pub(crate) side: Side,
    /// Number of its relay, known of a target once it was greeted.
    id: Option<usize>,
    /// What of the greeting came.
    heard: Vec<u8>,
    /// Whether the greeting went to the target and back.
    stands: bool,
    opened_at: Instant,
    /// What the traffic keeps.
    pub(crate) state: S,
}

impl<S: Default> End<S> {
    fn new(side: Side, id: Option<usize>) -> Self {
        Self {
            side,
            id,
            heard: Vec::new(),
            stands: false,
            opened_at: Instant::now(),
            state: S::default(),
        }
    }
}

/// What goes through relays that stand.
pub(crate) trait Traffic {
    /// What it keeps of each end.
    type State: Default;
    /// Both ends of one more relay stand.
    fn join(&mut self, ends: &mut EventLoop<End<Self::State>>, client: usize, target: usize);
    /// Load begins.
    fn start(&mut self, now: Instant);
    /// When it has something to send unasked.
    fn due(&self) -> Option<Instant>;
    /// Sends what is due. A failure names its end.
    fn send_due(&mut self, ends: &mut EventLoop<End<Self::State>>) -> Result<(), (usize, Failure)>;
    /// Something happened to an end.
    fn serve(
        &mut self,
        ends: &mut EventLoop<End<Self::State>>,
        key: usize,
        tally: &mut Tally,
    ) -> Result<(), Failure>;
    /// What came before counts no more.
    fn renew(&mut self);
    /// Nothing more is sent.
    fn stop(&mut self);
    /// Units that were sent and have not arrived, where they are told apart.
    fn under_way(&self) -> u64;
    /// Adds to the tally what was not counted one by one.
    fn conclude(&self, tally: &mut Tally);
}

/// Opens relays, has traffic go through them in all phases, and closes them.
///
/// # Errors
/// If the loop or its sockets cannot be had, or if more than one thread is to share the arrivals.
pub(crate) fn run<T: Traffic>(
    talk: RelayTalk,
    arrival: &Arrival,
    traffic: T,
    share: Share,
    signals: &Signals,
) -> io::Result<Tally> {
    if share.thread != 0 {
        return Err(io::Error::other(
            "whoever holds both ends of relays needs to be one thread",
        ));
    }
    let sources = Sources::new(share.sources, &mut Random::split(share.seed, share.thread));
    let mut ends = EventLoop::new(share.target, sources, true)?;
    if share.awake {
        ends.stay_awake();
    }
    ends.listen(arrival.0.try_clone()?)?;
    let relays = Relays {
        greeting_bytes: talk.greeting(0).len(),
        talk,
        signals,
        ends,
        traffic,
        tally: Tally::new(),
        targets: vec![None; share.connections],
        clients: vec![None; share.connections],
        opened: 0,
        settled: 0,
        ready: Vec::new(),
        share,
    };
    relays.run()
}

struct Relays<'a, T: Traffic> {
    talk: RelayTalk,
    /// The same for all.
    greeting_bytes: usize,
    share: Share,
    signals: &'a Signals,
    ends: EventLoop<End<T::State>>,
    traffic: T,
    tally: Tally,
    /// Keys of both ends, by the relay's number.
    clients: Vec<Option<usize>>,
    targets: Vec<Option<usize>>,
    /// Relays that were begun.
    opened: usize,
    /// Relays that stand or have failed.
    settled: usize,
    /// Reused for the keys of a turn.
    ready: Vec<usize>,
}

impl<T: Traffic> Relays<'_, T> {
    fn run(mut self) -> io::Result<Tally> {
        self.open_all()?;
        self.signals.ready.fetch_add(1, Ordering::AcqRel);
        self.turn_until(Phase::Warming)?;
        self.traffic.start(Instant::now());
        let mut measuring = false;
        while self.signals.phase() < Phase::Draining && !self.is_failed() {
            if !measuring && self.signals.phase() == Phase::Measuring {
                measuring = true;
                self.traffic.renew();
                let failures = std::mem::take(&mut self.tally.failures);
                self.tally = Tally {
                    failures,
                    ..Tally::new()
                };
            }
            self.turn(earlier(Instant::now() + TICK, self.traffic.due()))?;
            if let Err((key, failure)) = self.traffic.send_due(&mut self.ends) {
                self.end(key, failure);
            }
        }
        self.drain()?;
        self.signals.drained.fetch_add(1, Ordering::AcqRel);
        self.turn_until(Phase::Closing)?;
        Ok(self.tally)
    }

    fn open_all(&mut self) -> io::Result<()> {
        let mut swept = Instant::now();
        while self.settled < self.share.connections && !self.is_failed() {
            while self.opened < self.share.connections && self.opened - self.settled < OPENING_MAX {
                self.open();
            }
            self.turn(Instant::now() + TICK)?;
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                self.sweep(swept);
            }
            if self.signals.phase() >= Phase::Draining {
                break;
            }
        }
        Ok(())
    }

    fn open(&mut self) {
        let id = self.opened;
        self.opened += 1;
        let greeting = self.talk.greeting(id as u64);
        let opened = self.ends.open(|_, output| {
            output.extend_from_slice(&greeting);
            End::new(Side::Client, Some(id))
        });
        match opened {
            Ok(key) => {
                if let Some(client) = self.clients.get_mut(id) {
                    *client = Some(key);
                }
            }
            Err(error) => {
                self.settled += 1;
                self.fail(Failure::socket(&error, "connecting"), 1);
            }
        }
    }

    fn turn(&mut self, until: Instant) -> io::Result<()> {
        self.ends.wait(until)?;
        let mut ready = std::mem::take(&mut self.ready);
        self.ends.take_ready(&mut ready);
        for &key in &ready {
            let stands = self.ends.state(key).is_some_and(|end| end.stands);
            let served = if stands {
                self.traffic.serve(&mut self.ends, key, &mut self.tally)
            } else {
                self.greet(key)
            };
            if let Err(failure) = served {
                self.end(key, failure);
            }
        }
        self.ready = ready;
        self.signals
            .progress
            .store(self.tally.completed.max(self.settled as u64), Ordering::Relaxed);
        if self.settled < self.share.connections {
            while self.ends.accept(|| End::new(Side::Target, None))?.is_some() {}
        }
        Ok(())
    }

    fn turn_until(&mut self, phase: Phase) -> io::Result<()> {
        while self.signals.phase() < phase {
            self.turn(Instant::now() + TICK)?;
        }
        Ok(())
    }

    /// Hears the greeting at the target, which sends it back, and then at the client.
    fn greet(&mut self, key: usize) -> Result<(), Failure> {
        let socket = |error: io::Error| Failure::socket(&error, "on a relay that begins");
        self.ends.flush(key).map_err(socket)?;
        loop {
            let count = match self.ends.receive(key).map_err(socket)? {
                Received::Blocked => return Ok(()),
                Received::Ended => return Err(Failure::new(Kind::Closed, "a relay that began")),
                Received::Bytes(count) => count,
            };
            let Some((bytes, end, _)) = self.ends.received(key, count) else {
                return Ok(());
            };
            end.heard.extend_from_slice(bytes);
            if end.heard.len() >= self.greeting_bytes {
                return self.join(key);
            }
        }
    }

    /// The greeting is complete at one of both ends.
    fn join(&mut self, key: usize) -> Result<(), Failure> {
        let Some(end) = self.ends.state(key) else {
            return Ok(());
        };
        let (side, heard) = (end.side, std::mem::take(&mut end.heard));
        // It ends in the player's UUID, and that in the relay's number.
        let id = heard
            .last_chunk()
            .map_or(u64::MAX, |tail| u64::from_be_bytes(*tail));
        let number = usize::try_from(id).unwrap_or(usize::MAX);
        let is_known = self.clients.get(number).is_some_and(Option::is_some);
        if !is_known || heard != self.talk.greeting(id) || end.id.is_some_and(|own| own != number) {
            return Err(Failure::new(Kind::Mismatch, "the greeting came out different"));
        }
        match (side, self.targets.get(number).copied().flatten()) {
            (Side::Target, None) => {
                end.id = Some(number);
                if let Some(target) = self.targets.get_mut(number) {
                    *target = Some(key);
                }
                let sent = self.ends.send(key, &heard);
                sent.map_err(|error| Failure::socket(&error, "sending the greeting back"))
            }
            (Side::Client, Some(target)) => {
                for key in [key, target] {
                    if let Some(end) = self.ends.state(key) {
                        end.stands = true;
                    }
                }
                self.settled += 1;
                self.traffic.join(&mut self.ends, key, target);
                Ok(())
            }
            (Side::Target, Some(_)) => Err(Failure::new(Kind::Mismatch, "one client, two connections")),
            (Side::Client, None) => Err(Failure::new(Kind::Mismatch, "an answer that no target gave")),
        }
    }

    /// Waits for what is under way.
    fn drain(&mut self) -> io::Result<()> {
        self.traffic.stop();
        let until = Instant::now() + self.share.timeout;
        while self.traffic.under_way() > 0 && Instant::now() < until && !self.is_failed() {
            self.turn(Instant::now() + TICK)?;
        }
        let what = format!(
            "not at the other end {:?} after the last one was sent",
            self.share.timeout
        );
        self.fail(Failure::new(Kind::TimedOut, what), self.traffic.under_way());
        self.traffic.conclude(&mut self.tally);
        Ok(())
    }

    /// Gives up on relays that take too long to stand.
    fn sweep(&mut self, now: Instant) {
        let timeout = self.share.timeout;
        let is_late = |end: &End<T::State>| {
            end.side == Side::Client && !end.stands && now.saturating_duration_since(end.opened_at) >= timeout
        };
        let late: Vec<usize> = self
            .ends
            .iter()
            .filter(|(_, end)| is_late(end))
            .map(|(key, _)| key)
            .collect();
        for key in late {
            self.end(
                key,
                Failure::new(Kind::TimedOut, format!("no greeting after {timeout:?}")),
            );
        }
    }

    /// Closes both ends of a relay that failed.
    fn end(&mut self, key: usize, failure: Failure) {
        let Some(end) = self.ends.close(key) else {
            return;
        };
        // Whoever looks whether a server listens makes it connect here, and leaves without a word.
        let Some(id) = end.id else { return };
        for keys in [&mut self.clients, &mut self.targets] {
            if let Some(other) = keys.get_mut(id).and_then(Option::take) {
                self.ends.close(other);
            }
        }
        if !end.stands {
            self.settled += 1;
        }
        self.fail(failure, 1);
    }

    fn is_failed(&self) -> bool {
        self.tally.failed() > self.share.failures_max
    }

    fn fail(&mut self, failure: Failure, times: u64) {
        self.signals.failed.fetch_add(times, Ordering::Relaxed);
        self.tally.fail_times(failure, times);
    }
}
