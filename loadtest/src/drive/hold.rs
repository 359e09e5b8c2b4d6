//! Connections that are opened once and kept: one unit is one message that came back, or, where nothing is
//! sent, one connection that stayed open.

mod line;

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::line::{Block, Heard, Line};
use super::{Phase, Share, Signals, TICK, earlier};
use crate::address::Sources;
use crate::event_loop::{EventLoop, Received};
use crate::failure::{Failure, Kind};
use crate::random::Random;
use crate::schedule::{Pace, Schedule};
use crate::tally::Tally;

/// Connections that are being opened at once; below any listener's backlog.
const OPENING_MAX: usize = 128;
/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(100);

/// What is said on kept connections.
pub(crate) trait Talk {
    /// What connection number `id` sends first.
    fn greeting(&self, id: u64) -> Vec<u8>;
    /// Whether the greeting comes back when the connection stands all the way to the target.
    fn is_echoed(&self) -> bool;
    /// Length of a message in bytes; `None` keeps the connections silent.
    fn message_bytes(&self) -> Option<usize>;
}

/// Opens one thread's share of the connections, holds them through all phases, and closes them.
pub(crate) fn hold<T: Talk>(talk: T, share: Share, signals: &Signals) -> io::Result<Tally> {
    let mut random = Random::split(share.seed, share.thread);
    let sources = Sources::new(share.sources, &mut random);
    let event_loop = EventLoop::new(share.target, sources, true)?;
    let block = Block::new(talk.message_bytes().unwrap_or(0), &mut random);
    let hold = Hold {
        talk,
        signals,
        event_loop,
        block,
        tally: Tally::new(),
        lines: Vec::with_capacity(share.connections),
        opened: 0,
        settled: 0,
        begun: 0,
        measuring: false,
        ready: Vec::new(),
        share,
    };
    hold.run()
}

struct Hold<'a, T> {
    talk: T,
    share: Share,
    signals: &'a Signals,
    event_loop: EventLoop<Line>,
    block: Block,
    tally: Tally,
    /// Keys of connections, in the order of opening; closed ones stay in and are passed over.
    lines: Vec<usize>,
    /// Connections that were begun.
    opened: usize,
    /// Connections that stand or have failed.
    settled: usize,
    /// Messages sent since counting began.
    begun: u64,
    measuring: bool,
    /// Reused for the keys of a turn.
    ready: Vec<usize>,
}

impl<T: Talk> Hold<'_, T> {
    fn run(mut self) -> io::Result<Tally> {
        self.open_all()?;
        self.signals.ready.fetch_add(1, Ordering::AcqRel);
        self.turn_until(Phase::Warming)?;
        let mut schedule = self.schedule();
        let begun_at = Instant::now();
        if schedule.is_none() {
            self.send_all();
        }
        let mut swept = begun_at;
        while self.signals.phase() < Phase::Draining && !self.is_over() {
            if !self.measuring && self.signals.phase() == Phase::Measuring {
                self.measuring = true;
                self.begun = 0;
                self.restart_tally();
            }
            let due = schedule.as_ref().map(|schedule| begun_at + schedule.next());
            self.turn(earlier(Instant::now() + TICK, due))?;
            if let Some(schedule) = &mut schedule {
                self.send_due(schedule, begun_at);
            }
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                self.sweep(swept);
            }
        }
        self.drain()?;
        self.signals.drained.fetch_add(1, Ordering::AcqRel);
        // Kept open until the server's memory was read.
        self.turn_until(Phase::Closing)?;
        Ok(self.tally)
    }

    fn open_all(&mut self) -> io::Result<()> {
        let mut swept = Instant::now();
        while self.settled < self.share.connections {
            while self.opened < self.share.connections && self.opened - self.settled < OPENING_MAX {
                self.open();
            }
            self.turn(Instant::now() + TICK)?;
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                self.sweep(swept);
            }
            if self.tally.failed() > self.share.failures_max || self.signals.phase() >= Phase::Draining {
                return Ok(());
            }
        }
        Ok(())
    }

    fn open(&mut self) {
        let id = (self.share.thread << 32) | self.opened as u64;
        self.opened += 1;
        let greeting = self.talk.greeting(id);
        let is_echoed = self.talk.is_echoed();
        let start = Instant::now();
        let opened = self.event_loop.open(|_, output| {
            output.extend_from_slice(&greeting);
            Line::new(id, if is_echoed { greeting } else { Vec::new() }, start)
        });
        match opened {
            Ok(key) => {
                self.lines.push(key);
                if !is_echoed {
                    self.settle(start);
                }
            }
            Err(error) => {
                self.settled += 1;
                self.fail(Failure::socket(&error, "connecting"), 1);
            }
        }
    }

    /// A connection stands.
    fn settle(&mut self, start: Instant) {
        self.settled += 1;
        self.signals.progress.fetch_add(1, Ordering::Relaxed);
        if self.talk.message_bytes().is_none() {
            self.tally.complete(start, Instant::now());
        }
    }

    /// Where messages are counted, what came before counts no more. Failures to open do.
    fn restart_tally(&mut self) {
        if self.talk.message_bytes().is_some() {
            let failures = std::mem::take(&mut self.tally.failures);
            self.tally = Tally {
                failures,
                ..Tally::new()
            };
        }
    }

    fn schedule(&self) -> Option<Schedule> {
        match self.share.pace {
            Pace::Open { rate, arrivals } if self.talk.message_bytes().is_some() => Some(Schedule::new(
                rate,
                arrivals,
                Random::split(self.share.seed, self.share.thread ^ (1 << 32)),
            )),
            _ => None,
        }
    }

    /// Whether all of a counted run was sent.
    fn is_over(&self) -> bool {
        self.tally.failed() > self.share.failures_max
            || (self.talk.message_bytes().is_some() && (self.event_loop.len() == 0 || self.is_counted_out()))
    }

    /// Whether as many messages as were asked for are on their way.
    fn is_counted_out(&self) -> bool {
        self.measuring && self.share.count.is_some_and(|count| self.begun >= count)
    }

    /// A first message on every connection of a closed loop.
    fn send_all(&mut self) {
        if self.talk.message_bytes().is_none() || self.is_over() {
            return;
        }
        let now = Instant::now();
        for index in 0..self.lines.len() {
            self.send(index, now);
        }
    }

    /// Every message that is due, one connection after the other, whether the last was answered or not.
    fn send_due(&mut self, schedule: &mut Schedule, begun_at: Instant) {
        let now = Instant::now();
        while !self.lines.is_empty() && !self.is_counted_out() {
            let start = begun_at + schedule.next();
            if start > now {
                return;
            }
            schedule.advance();
            let index = usize::try_from(self.begun).unwrap_or(0) % self.lines.len();
            self.send(index, start);
        }
    }

    fn send(&mut self, index: usize, start: Instant) {
        self.begun += 1;
        let Some(&key) = self.lines.get(index) else { return };
        let Some(line) = self.event_loop.state(key) else {
            return self.fail(
                Failure::new(Kind::NotStarted, "a message was due on a connection that is gone"),
                1,
            );
        };
        let message = line.begin(start, &self.block);
        if let Err(error) = self.event_loop.send(key, self.block.message(message)) {
            self.drop_line(key, Failure::socket(&error, "sending a message"));
        }
    }

    fn turn(&mut self, until: Instant) -> io::Result<()> {
        self.event_loop.wait(until)?;
        let mut ready = std::mem::take(&mut self.ready);
        self.event_loop.take_ready(&mut ready);
        for &key in &ready {
            if let Err(failure) = self.serve(key) {
                self.drop_line(key, failure);
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn turn_until(&mut self, phase: Phase) -> io::Result<()> {
        while self.signals.phase() < phase {
            self.turn(Instant::now() + TICK)?;
        }
        Ok(())
    }

    fn serve(&mut self, key: usize) -> Result<(), Failure> {
        let socket = |error: io::Error| Failure::socket(&error, "on a kept connection");
        self.event_loop.flush(key).map_err(socket)?;
        loop {
            let count = match self.event_loop.receive(key).map_err(socket)? {
                Received::Blocked => return Ok(()),
                Received::Ended => {
                    return Err(Failure::new(Kind::Closed, "a connection that was to be kept"));
                }
                Received::Bytes(count) => count,
            };
            self.hear(key, count)?;
            self.event_loop.flush(key).map_err(socket)?;
            if self.event_loop.emptied(count) {
                return Ok(());
            }
        }
    }

    /// Compares what came with what was sent; in a closed loop the next message follows at once.
    fn hear(&mut self, key: usize, count: usize) -> Result<(), Failure> {
        let is_closed = matches!(self.share.pace, Pace::Closed { .. });
        let (mut standing, mut completed) = (None, 0u64);
        if let Some((mut bytes, line, output)) = self.event_loop.received(key, count) {
            let now = Instant::now();
            while !bytes.is_empty() {
                match line.hear(&mut bytes, &self.block)? {
                    Heard::Part => {}
                    Heard::Greeting(start) => standing = Some(start),
                    Heard::Message(start) => {
                        completed += 1;
                        self.tally.complete(start, now);
                        let counted_out =
                            self.measuring && self.share.count.is_some_and(|count| self.begun >= count);
                        let goes_on = self.signals.phase() < Phase::Draining && !counted_out;
                        if is_closed && goes_on {
                            self.begun += 1;
                            let message = line.begin(now, &self.block);
                            output.extend_from_slice(self.block.message(message));
                        }
                    }
                }
            }
        }
        self.signals.progress.fetch_add(completed, Ordering::Relaxed);
        if let Some(start) = standing {
            self.settle(start);
        }
        Ok(())
    }

    /// Waits for what was sent and not yet answered.
    fn drain(&mut self) -> io::Result<()> {
        let until = Instant::now() + self.share.timeout;
        while self.event_loop.iter().any(|(_, line)| line.waits()) && Instant::now() < until {
            self.turn(Instant::now() + TICK)?;
        }
        self.sweep(until);
        if self.talk.message_bytes().is_none() {
            self.tally.completed = self.event_loop.len() as u64;
            self.tally.last = Some(Instant::now());
        }
        Ok(())
    }

    /// Gives connections up on which something was due too long ago.
    fn sweep(&mut self, now: Instant) {
        let timeout = self.share.timeout;
        let is_late = |line: &Line| {
            line.oldest()
                .is_some_and(|start| now.saturating_duration_since(start) >= timeout)
        };
        let late: Vec<usize> = self
            .event_loop
            .iter()
            .filter(|(_, line)| is_late(line))
            .map(|(key, _)| key)
            .collect();
        for key in late {
            self.drop_line(
                key,
                Failure::new(Kind::TimedOut, format!("no echo after {timeout:?}")),
            );
        }
    }

    /// Closes a connection that failed. Every message on it that was not answered is a failure.
    fn drop_line(&mut self, key: usize, failure: Failure) {
        let Some(line) = self.event_loop.close(key) else {
            return;
        };
        if !line.stands() {
            self.settled += 1;
        } else if !self.talk.is_echoed() && self.signals.phase() != Phase::Opening {
            // A server may well end connections that say nothing.
            self.tally.closed_idle += 1;
            return;
        }
        self.fail(failure, line.outstanding().max(1));
    }

    fn fail(&mut self, failure: Failure, times: u64) {
        self.signals.failed.fetch_add(times, Ordering::Relaxed);
        self.tally.fail_times(failure, times);
    }
}
