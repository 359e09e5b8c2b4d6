//! Drives connections through a flow, in one of three ways: [`churn`] opens and ends them one after the
//! other, [`hold`] keeps them open and exchanges messages on them, [`ends`] is the target of those that it
//! keeps too.

pub(crate) mod churn;
pub(crate) mod ends;
pub(crate) mod hold;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::schedule::Pace;

/// How often the loop looks at phases and deadlines when nothing else happens.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// One thread's share of the work.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) target: SocketAddr,
    pub(crate) pace: Pace,
    /// Connections that a [`hold`] keeps open.
    pub(crate) connections: usize,
    /// Units to begin; `None` until the phase changes.
    pub(crate) count: Option<u64>,
    /// Longest life of a unit.
    pub(crate) timeout: Duration,
    /// Most connections in flight, however many are due.
    pub(crate) in_flight_max: usize,
    /// More failures than this end the run.
    pub(crate) failures_max: u64,
    pub(crate) sources: u32,
    pub(crate) seed: u64,
    pub(crate) thread: u64,
    /// Never sleeps while there is load.
    pub(crate) awake: bool,
    /// Lets others go first after each step.
    pub(crate) makes_way: bool,
}

/// What a whole run is doing. Only goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Threads set themselves up; a hold opens its connections.
    Opening,
    /// Load runs, nothing counts.
    Warming,
    /// Load runs and counts.
    Measuring,
    /// Nothing new begins; what is in flight still counts.
    Draining,
    /// Everything is closed.
    Closing,
}

/// What the threads and the one that measures tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    phase: AtomicU8,
    /// Threads that are ready to begin.
    pub(crate) ready: AtomicUsize,
    /// Threads that have nothing in flight any more.
    pub(crate) drained: AtomicUsize,
    /// Units so far, for the progress bar; connections while opening.
    pub(crate) progress: AtomicU64,
    /// Failures so far.
    pub(crate) failed: AtomicU64,
}

impl Signals {
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Opening,
            1 => Phase::Warming,
            2 => Phase::Measuring,
            3 => Phase::Draining,
            _ => Phase::Closing,
        }
    }

    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

/// How far a conversation came with what it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for more.
    More,
    /// All was said and everything was right.
    Finished,
}

/// One connection's conversation, from the client's side.
pub(crate) trait Conversation {
    /// Takes received bytes and appends what is to be sent.
    fn receive(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<Progress, Failure>;
    /// What it waits for, for the words of a failure.
    fn awaits(&self) -> &'static str;
}

/// Makes conversations, all alike but for what the seed varies.
pub(crate) trait Flow {
    /// What it makes.
    type Conversation: Conversation;
    /// Begins one: appends what is sent first. `source` is the address that the connection comes from, if
    /// known.
    fn begin(&mut self, source: Option<std::net::Ipv4Addr>, output: &mut Vec<u8>) -> Self::Conversation;
}

/// The earlier of two times.
pub(crate) fn earlier(one: Instant, other: Option<Instant>) -> Instant {
    other.map_or(one, |other| one.min(other))
}
