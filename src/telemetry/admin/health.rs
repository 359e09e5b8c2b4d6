//! Whether the process lives and whether it is ready: what the two probes ask.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use passage_shards::pulse::Pulse;

/// Longest silence of a thread that counts as alive: five beats.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Nothing listens yet.
    Starting,
    /// Players are let in.
    Ready,
    /// Nobody is let in any more.
    Draining,
}

/// What the process says of itself.
#[derive(Debug)]
pub(super) struct Health {
    stage: AtomicU8,
    pulses: Mutex<Vec<(String, Arc<Pulse>)>>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            stage: AtomicU8::new(Stage::Starting as u8),
            pulses: Mutex::default(),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            ready if ready == Stage::Ready as u8 => Stage::Ready,
            draining if draining == Stage::Draining as u8 => Stage::Draining,
            _ => Stage::Starting,
        }
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// From now on this thread is missed when it stands still.
    pub(super) fn watch(&self, name: impl Into<String>, pulse: Arc<Pulse>) {
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.push((name.into(), pulse));
    }

    /// The threads that stand still, and for how long.
    pub(super) fn standing_still(&self) -> Vec<(String, Duration)> {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = pulses.iter().filter_map(|(name, pulse)| {
            let silence = pulse.silence().filter(|silence| *silence > SILENCE_MAX)?;
            Some((name.clone(), silence))
        });
        silent.collect()
    }
}
