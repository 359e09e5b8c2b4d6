//! A simulated engine with its peers, for who simulates what stands on it.

use std::cell::RefCell;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::door::Visitor;
use super::kernel::Kernel;
use super::peer::{Peer, Reading};
use super::simulate;
use crate::choices::Choices;
use crate::engine::{Engine, Settings};

/// An engine on a simulated kernel, and everybody at the other ends of its connections.
pub(crate) struct Backstage {
    engine: Engine,
    kernel: Rc<RefCell<Kernel>>,
    /// Of the lines, by number.
    peers: Vec<Peer>,
    epoch: Instant,
    elapsed: Duration,
}

impl Backstage {
    pub(crate) fn new(settings: Settings, choices: &mut Choices) -> Self {
        let engine = Engine::new(settings).unwrap();
        let seed = choices.below(1 << 24) << 24 | choices.below(1 << 24);
        let kernel = simulate(&engine, Choices::of_seed(seed));
        Self {
            epoch: engine.now(),
            engine,
            kernel,
            peers: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A listening socket, known by the number of how many there were before.
    pub(crate) fn listener(&self) -> TcpListener {
        // Any descriptor does: nobody but the simulated kernel uses it.
        let (end, _) = UnixStream::pair().unwrap();
        self.kernel.borrow_mut().open_door(end.as_raw_fd());
        TcpListener::from(OwnedFd::from(end))
    }

    /// Somebody connects to a listening socket.
    pub(crate) fn visit(&self, door: usize, visitor: Visitor) {
        self.kernel.borrow_mut().doors[door].waiting.push_back(visitor);
    }

    /// Somebody at the other ends does something, or the kernel.
    pub(crate) fn step(&mut self, choices: &mut Choices) {
        if choices.once_in(2) {
            return self.kernel.borrow_mut().perform(false);
        }
        self.meet_peers(choices);
        for (number, peer) in self.peers.iter_mut().enumerate() {
            if choices.once_in(2) {
                peer.step(&mut self.kernel.borrow_mut(), number);
            }
        }
    }

    /// Everybody, the kernel too, does what they can.
    pub(crate) fn step_fairly(&mut self, choices: &mut Choices) {
        self.kernel.borrow_mut().faulty = false;
        self.meet_peers(choices);
        for (number, peer) in self.peers.iter_mut().enumerate() {
            if let Reading::Slowly(bytes) = &mut peer.reading {
                *bytes = 1_000.max(*bytes);
            }
            peer.step(&mut self.kernel.borrow_mut(), number);
        }
        self.kernel.borrow_mut().perform(true);
    }

    /// One turn of the engine, after some time. Whether anything came of it.
    pub(crate) fn turn(&mut self, after: Duration) -> bool {
        self.elapsed += after;
        let called = self.engine.turn_at(self.epoch + self.elapsed);
        let moved = std::mem::take(&mut self.kernel.borrow_mut().moved);
        called || !moved.is_empty()
    }

    /// The virtual time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many connections the engine was shown.
    pub(crate) fn accepted(&self) -> usize {
        self.kernel.borrow().shown
    }

    /// How many wait to be accepted.
    pub(crate) fn waiting(&self) -> usize {
        let kernel = self.kernel.borrow();
        kernel.doors.iter().map(|door| door.waiting.len()).sum()
    }

    /// Panics if the engine has left anything behind.
    pub(crate) fn conclude(&mut self) {
        for _ in 0..4 {
            // Pipes that nobody needs are closed after some seconds.
            self.turn(Duration::from_secs(2));
        }
        self.engine.with(super::check_nothing_left);
        let mut kernel = self.kernel.borrow_mut();
        assert!(kernel.is_idle(), "an operation was left");
        assert!(kernel.doors.iter().all(|door| door.closed), "a listener was left");
        for line in &mut kernel.lines {
            assert!(line.is_closed(), "a descriptor was left");
        }
    }

    /// Every line has a peer.
    fn meet_peers(&mut self, choices: &mut Choices) {
        let kernel = self.kernel.borrow();
        for line in &kernel.lines[self.peers.len()..] {
            let peer = match line.address {
                Some(_) => Peer::saying(line.speech.len() as u64, choices),
                None => Peer::new(choices),
            };
            self.peers.push(peer);
        }
    }
}
