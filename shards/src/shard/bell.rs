//! A flag that one task of a shard waits for and others set.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes the one task that waits in [`Self::rung`]. Rings that nobody has waited for are kept, as one.
#[derive(Default)]
pub(crate) struct Bell {
    has_rung: Cell<bool>,
    sleeper: RefCell<Option<Waker>>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.has_rung.set(true);
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.wake();
        }
    }

    /// Waits for a ring since the last wait. Cancel-safe.
    pub(crate) async fn rung(&self) {
        poll_fn(|context| {
            if self.has_rung.replace(false) {
                return Poll::Ready(());
            }
            self.sleeper.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
