//! Callbacks that completions have caused. They may use the engine, so they run after its core was left.

use super::Engine;
use super::listen::{Accept, OnAccept};
use super::relay::{OnEnd, RelayReport};

/// A callback that is due.
pub(super) enum Call {
    /// A listener has something to say.
    Accepted(OnAccept, Accept),
    /// A relay has ended.
    Ended(OnEnd, RelayReport),
    /// Another thread has woken the shard.
    Woken,
}

impl Call {
    pub(super) fn run(self, engine: &Engine) {
        match self {
            Self::Accepted(on_accept, accept) => (on_accept.borrow_mut())(accept),
            Self::Ended(on_end, report) => on_end(report),
            Self::Woken => {
                let on_wake = engine.shared.on_wake.borrow().clone();
                if let Some(on_wake) = on_wake {
                    (on_wake.borrow_mut())();
                }
            }
        }
    }
}
