//! Whether the process lives and whether it is ready: what the two probes ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::watch::{Trouble, Watch};

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
    watch: Arc<Watch>,
}

impl Health {
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        Self {
            stage: AtomicU8::new(Stage::Starting as u8),
            watch,
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

    /// The threads that stand still or have died.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        self.watch.troubles()
    }
}
