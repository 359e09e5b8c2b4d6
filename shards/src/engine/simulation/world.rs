//! The peers around one engine, and what must be true of what they see.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::ring::Sending;
use super::kernel::Kernel;
use super::line::{Line, copy_noise};
use super::peer::{Peer, Reading};
use super::{Summary, take_over};
use crate::choices::Choices;
use crate::engine::Settings;
use crate::engine::calls::Call;
use crate::engine::core::Core;
use crate::engine::relay::{HIGH_WATER, RelayEnd, RelayReport};
use crate::engine::slot::{Face, Outgoing, Side};
use crate::engine::tag::Key;
use crate::engine::timers::TICK;
use crate::engine::wake::Signal;

/// Bytes that a direction holds before its source is paused.
pub(super) const HELD: u64 = HIGH_WATER as u64;

/// Bytes that a pipe holds at most.
const PIPE: u64 = 256 * 1024;

/// Turns after which peers and a kernel that do what they can must have come to an end.
const ROUNDS_MAX: usize = 6_000;

/// Two lines that are relayed, or will be.
struct Pair {
    lines: [usize; 2],
    keys: [Key; 2],
    peers: [Peer; 2],
    /// What the target reads before the client's bytes: sent before the relay, and with its start.
    header: Vec<u8>,
    first: Vec<u8>,
    idle: Duration,
    /// When the relay began.
    started: bool,
    /// How much of the header the engine knew to be sent then.
    header_sent: usize,
    /// The end that was known when the relay began.
    known: Option<RelayEnd>,
    moved: Duration,
    /// It was seen to have ended, while everybody did what they could.
    ended: bool,
    reports: Rc<RefCell<Vec<(RelayReport, Duration)>>>,
    /// How much of what each line's peer got was checked.
    checked: [usize; 2],
}

/// An engine with everything around it.
pub(super) struct World {
    core: Core,
    kernel: Rc<RefCell<Kernel>>,
    pairs: Vec<Pair>,
    epoch: Instant,
    elapsed: Duration,
    pool: u64,
    memory: usize,
    aborted: bool,
    /// Since when everybody does what they can.
    fair: Option<Duration>,
    held: u64,
}

impl World {
    pub(super) fn new(settings: Settings, choices: &mut Choices) -> Self {
        let signal = Arc::new(Signal::new().unwrap());
        let mut core = Core::new(settings, signal).unwrap();
        let seed = choices.below(1 << 24) << 24 | choices.below(1 << 24);
        let kernel = take_over(&mut core, Choices::of_seed(seed));
        let epoch = core.now;
        let mut world = Self {
            core,
            kernel,
            pairs: Vec::new(),
            epoch,
            elapsed: Duration::ZERO,
            pool: u64::from(settings.buffers) * u64::from(settings.buffer_bytes)
                + u64::from(settings.large_buffers) * u64::from(settings.large_buffer_bytes),
            memory: settings.relay_memory,
            aborted: false,
            fair: None,
            held: 0,
        };
        for _ in 0..=choices.below(3) {
            let pair = world.pair(choices);
            world.pairs.push(pair);
        }
        world
    }

    /// Peers, kernel and engine by turns, as the decisions have it.
    pub(super) fn run_wild(&mut self, choices: &mut Choices) {
        let steps = 20 + choices.below(400);
        let end_at = choices.once_in(12).then(|| choices.below(steps));
        for step in 0..steps {
            if end_at == Some(step) {
                self.aborted = true;
                if choices.once_in(2) {
                    self.core.stop();
                } else {
                    self.core.abort_relays();
                }
            }
            let index = usize::try_from(choices.below(self.pairs.len() as u64)).unwrap();
            match choices.below(8) {
                0 | 1 => self.step_peer(index, usize::from(choices.once_in(2))),
                2 if !self.pairs[index].started => self.start(index, choices),
                2..=4 => self.kernel.borrow_mut().perform(false),
                _ => {
                    let jumps = choices.once_in(60);
                    let most = if jumps { 30_000 } else { 12 };
                    self.turn(Duration::from_millis(choices.below(most)));
                }
            }
        }
    }

    /// Everybody does what they can: then everything must come to an end.
    pub(super) fn run_down(&mut self) {
        self.kernel.borrow_mut().faulty = false;
        self.fair = Some(self.elapsed);
        for pair in &mut self.pairs {
            pair.ended = !pair.reports.borrow().is_empty();
        }
        let mut fair = Choices::written(&[]);
        for index in 0..self.pairs.len() {
            if !self.pairs[index].started {
                self.start(index, &mut fair);
            }
            for peer in &mut self.pairs[index].peers {
                if let Reading::Slowly(bytes) = &mut peer.reading {
                    *bytes = 1_000.max(*bytes);
                }
            }
        }
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            for index in 0..self.pairs.len() {
                self.step_peer(index, 0);
                self.step_peer(index, 1);
            }
            self.kernel.borrow_mut().perform(true);
            let moved = self.turn(Duration::from_millis(if quiet > 4 { 700 } else { 1 }));
            quiet = if moved { 0 } else { quiet + 1 };
            if self.core.slots.open() == 0 && self.core.relays.is_empty() {
                return;
            }
        }
        let open = self.pairs.iter().filter(|pair| pair.reports.borrow().is_empty());
        let peers: Vec<_> = open.map(|pair| &pair.peers).collect();
        panic!(
            "{} descriptors are open, and these relays: {peers:?}",
            self.core.slots.open()
        );
    }

    pub(super) fn conclude(mut self) -> Summary {
        self.turn(Duration::ZERO);
        for _ in 0..3 {
            // Pipes that nobody needs are closed after some seconds.
            self.turn(Duration::from_secs(2));
        }
        assert_eq!(self.core.pipes.open(), 0, "a pipe was left");
        let kernel = self.kernel.borrow();
        assert!(kernel.is_idle(), "an operation was left");
        assert!(
            kernel.lines.iter().all(|line| line.closed),
            "a descriptor was left"
        );
        assert_eq!(self.core.buffers.all_leased(), 0, "a buffer was left");
        assert_eq!(self.core.spilled, 0, "bytes are counted that are not there");
        assert!(!self.core.slots.any_busy());
        assert_eq!(self.core.stats.panics, 0, "a completion panicked");
        let ends = self.pairs.iter().map(|pair| pair.conclude(&kernel, self.aborted));
        Summary {
            ends: ends.collect(),
            starved: self.core.stats.starved,
            held: self.held,
            seen: kernel.seen,
        }
    }

    fn pair(&mut self, choices: &mut Choices) -> Pair {
        let mut kernel = self.kernel.borrow_mut();
        let mut lines = [0; 2];
        let keys = [0, 1].map(|side| {
            let (line, fd) = kernel.connect();
            lines[side] = line;
            self.core.slots.insert(Some(fd), Face::Socket).unwrap()
        });
        drop(kernel);
        for key in keys {
            // A conversation came before, and what it does not want to read is kept for it.
            if choices.once_in(2) {
                self.core.slots.slot(key).unwrap().flags.wanted = choices.once_in(2);
                self.core.receive(key);
            }
        }
        let header = if choices.once_in(3) {
            vec![0xAB; 60]
        } else {
            Vec::new()
        };
        if !header.is_empty() {
            self.core.slots.slot(keys[1]).unwrap().outgoing = Outgoing::Bytes(header.clone(), 0);
            self.core.send_outgoing(keys[1], Sending::Wait);
        }
        let first = usize::try_from(choices.below(3) * choices.below(3_000)).unwrap();
        Pair {
            lines,
            keys,
            peers: [Peer::new(choices), Peer::new(choices)],
            header,
            first: vec![0xCD; first],
            idle: Duration::from_secs(10 + choices.below(50)),
            started: false,
            header_sent: 0,
            known: None,
            moved: Duration::ZERO,
            ended: false,
            reports: Rc::default(),
            checked: [0; 2],
        }
    }

    fn start(&mut self, index: usize, choices: &mut Choices) {
        if choices.once_in(3) {
            return;
        }
        let pair = &mut self.pairs[index];
        pair.started = true;
        pair.moved = self.core.now - self.epoch;
        pair.known = Side::BOTH.into_iter().find_map(|side| {
            let slot = self.core.slots.slot(pair.keys[side as usize])?;
            match (slot.errno, slot.flags.ended) {
                (0, false) => None,
                (0, true) => Some(closed(side as usize)),
                _ => Some(failed(side as usize)),
            }
        });
        let rest = self
            .core
            .slots
            .slot(pair.keys[1])
            .map_or(0, |slot| slot.outgoing.rest().len());
        pair.header_sent = pair.header.len() - rest;
        let (reports, epoch) = (Rc::clone(&pair.reports), self.epoch);
        let started = self.core.now;
        let on_end = Box::new(move |report: RelayReport| {
            let ended = started + report.took - epoch;
            reports.borrow_mut().push((report, ended));
        });
        self.core
            .start_relay(pair.keys, pair.first.clone(), pair.idle, on_end);
    }

    fn step_peer(&mut self, index: usize, side: usize) {
        let pair = &mut self.pairs[index];
        pair.peers[side].step(&mut self.kernel.borrow_mut(), pair.lines[side]);
    }

    /// One turn of the engine, after some time. Whether anything moved.
    fn turn(&mut self, after: Duration) -> bool {
        self.elapsed += after;
        self.core.turn_at(self.epoch + self.elapsed).unwrap();
        self.check_quiet_sends();
        while let Some(call) = self.core.calls.pop_front() {
            match call {
                Call::Ended(on_end, report) => on_end(report),
                Call::Woken | Call::Accepted(..) => panic!("nobody calls"),
            }
        }
        self.core.wakes.clear();
        let moved = std::mem::take(&mut self.kernel.borrow_mut().moved);
        let kernel = self.kernel.borrow();
        let pipes = usize::from(self.core.pipes.open());
        assert_eq!(pipes, kernel.open_tubes(), "a pipe is counted that is not there");
        let (spilled, most) = (self.core.spilled, self.memory);
        assert!(
            spilled <= most,
            "{spilled} bytes outside of buffers, at most {most}"
        );
        for pair in &mut self.pairs {
            let runs = pair.reports.borrow().is_empty();
            if runs && pair.lines.iter().any(|line| moved.contains(line)) {
                pair.moved = self.elapsed;
            }
            pair.check_bytes(&kernel);
            pair.check_idle(self.elapsed);
            // Only where everybody else did what they could, was it the relay that was idle.
            let fair = self.fair.is_some_and(|since| self.elapsed >= since + pair.idle);
            let ends = !runs && !std::mem::replace(&mut pair.ended, !runs);
            if fair && ends && pair.has_ended_idle() {
                let [client, target] = pair.lines;
                let moves = kernel.could_move(client, target) || kernel.could_move(target, client);
                assert!(!moves, "bytes are left that could have gone on");
                assert!(!pair.could_deliver(&kernel), "bytes were held back");
            }
            let held = pair.held(&kernel);
            let most = HELD + PIPE + 2 * self.pool + 16 * 1024 + pair.first.len() as u64;
            assert!(held <= most, "{held} bytes wait, at most {most}");
            self.held = self.held.max(held);
        }
        !moved.is_empty()
    }

    /// The next turn waits only if nothing has to be done once the quiet sends have been submitted.
    fn check_quiet_sends(&mut self) {
        for key in self.core.slots.keys() {
            let Some(slot) = self.core.slots.slot(key).filter(|slot| slot.flags.quiet) else {
                continue;
            };
            let alone = match slot.face {
                Face::Relay { relay, side } => {
                    let relay = self.core.relays.get(relay).expect("a slot names its relay");
                    relay.is_done_with(side, slot.outgoing.rest().len())
                }
                _ => false,
            };
            assert!(
                alone || self.core.hasty,
                "somebody waits for {key:?}, and the turn for nothing"
            );
        }
    }
}

impl Pair {
    /// What a peer got, is what it should have got so far.
    fn check_bytes(&mut self, kernel: &Kernel) {
        for (side, checked) in self.checked.iter_mut().enumerate() {
            let taken = &kernel.lines[self.lines[side]].taken;
            if taken.len() == *checked {
                continue;
            }
            let before: Vec<u8> = match side {
                1 => [self.header.as_slice(), &self.first].concat(),
                _ => Vec::new(),
            };
            let source = &kernel.lines[self.lines[1 - side]];
            let mut expected = vec![0; taken.len() - *checked];
            for (at, byte) in (*checked..taken.len().min(before.len())).enumerate() {
                expected[at] = before[byte];
            }
            if taken.len() > before.len() {
                let position = checked.saturating_sub(before.len());
                let skipped = before.len().saturating_sub(*checked);
                copy_noise(source.start, position as u64, &mut expected[skipped..]);
                let sent = (taken.len() - before.len()) as u64;
                assert!(sent <= source.received, "bytes were sent that nobody sent");
            }
            assert!(taken[*checked..] == expected, "other bytes came than were sent");
            *checked = taken.len();
        }
    }

    /// Whether the engine has something for a side that would take it, whatever became of who sent it.
    fn could_deliver(&self, kernel: &Kernel) -> bool {
        let before = [0, self.header.len() + self.first.len()];
        [0, 1].into_iter().any(|side| {
            let (sink, source) = (
                &kernel.lines[self.lines[side]],
                &kernel.lines[self.lines[1 - side]],
            );
            let due = before[side] as u64 + source.reaped;
            !sink.failed && sink.free() > 0 && (sink.taken.len() as u64) < due
        })
    }

    fn has_ended_idle(&self) -> bool {
        self.reports
            .borrow()
            .iter()
            .any(|(report, _)| report.end == RelayEnd::Idle)
    }

    fn check_idle(&self, elapsed: Duration) {
        let ended = !self.reports.borrow().is_empty();
        let due = self.moved + self.idle + 3 * TICK;
        assert!(
            !self.started || ended || elapsed < due,
            "idle since {:?} and not over",
            self.moved
        );
    }

    /// The most bytes that a direction holds: told to the engine, and not taken from it.
    fn held(&self, kernel: &Kernel) -> u64 {
        if !self.started || !self.reports.borrow().is_empty() {
            return 0;
        }
        let [client, target] = self.lines.map(|line| &kernel.lines[line]);
        let before = self.header.len() + self.first.len();
        let to_target = (client.reaped + before as u64).saturating_sub(target.taken.len() as u64);
        let to_client = target.reaped.saturating_sub(client.taken.len() as u64);
        // What nobody is left to get is thrown away.
        let to_target = if target.failed { 0 } else { to_target };
        let to_client = if client.failed { 0 } else { to_client };
        to_target.max(to_client)
    }

    /// One report, which says what happened. How the relay ended.
    fn conclude(&self, kernel: &Kernel, aborted: bool) -> RelayEnd {
        let reports = self.reports.borrow();
        assert_eq!(reports.len(), 1, "a relay ends once");
        let (report, ended) = &reports[0];
        let lines = self.lines.map(|line| &kernel.lines[line]);
        let news = lines
            .iter()
            .enumerate()
            .filter_map(|(side, line)| Some((side, line.told?)));
        let first = news.min_by_key(|(_, told)| told.order);
        let first = first.map(|(side, told)| if told.failed { failed(side) } else { closed(side) });
        let counted = [
            lines[0].taken.len(),
            lines[1].taken.len().saturating_sub(self.header_sent),
        ];
        let reported = [report.to_client, report.to_target];
        match report.end {
            RelayEnd::Idle => {
                let due = self.moved + self.idle;
                let broken = lines.iter().any(|line| line.failed);
                assert!(
                    broken || *ended + TICK >= due,
                    "idle too soon: {ended:?}, due {due:?}"
                );
            }
            RelayEnd::Aborted => assert!(aborted, "nobody aborted it"),
            RelayEnd::Overloaded => {}
            RelayEnd::Gone => panic!("every host is there"),
            end => {
                assert_eq!(Some(end), self.known.or(first), "the first news is the reason");
                if !aborted {
                    self.check_delivery(&lines, reported, counted);
                }
            }
        }
        for side in [0, 1] {
            assert!(
                reported[side] <= counted[side] as u64,
                "more was counted than sent"
            );
        }
        report.end
    }

    /// What came from a side was delivered, as far as the other one could take it.
    fn check_delivery(&self, lines: &[&Line; 2], reported: [u64; 2], counted: [usize; 2]) {
        let before = [0, self.header.len() + self.first.len()];
        for side in [0, 1] {
            if lines[side].failed {
                continue;
            }
            let source = lines[1 - side];
            let taken = lines[side].taken.len() as u64 - before[side] as u64;
            // What comes after the source is known to be broken may be delivered or not.
            assert!(taken >= source.reaped, "something was lost on its way");
            assert!(taken <= source.reaped_ever, "something came that nobody sent");
            assert_eq!(reported[side], counted[side] as u64, "something was not counted");
        }
    }
}

fn closed(side: usize) -> RelayEnd {
    [RelayEnd::ClientClosed, RelayEnd::TargetClosed][side]
}

fn failed(side: usize) -> RelayEnd {
    [RelayEnd::ClientFailed, RelayEnd::TargetFailed][side]
}
