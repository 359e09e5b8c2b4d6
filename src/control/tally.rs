//! What the control thread asks in the background, counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use passage_proto::question::AskError;
use passage_shards::metrics::{AdapterName, AdapterType, Meter, error_type};
use passage_shards::report::{ADAPTER_ERROR, TARGET};

/// The control thread's meter, shared by its tasks.
#[derive(Clone, Debug)]
pub(super) struct Tally(Arc<Mutex<Meter>>);

impl Tally {
    pub(super) fn new(meter: Meter) -> Self {
        Self(Arc::new(Mutex::new(meter)))
    }

    /// A service was asked, and answered or failed. Fixed adapters are counted where they are used.
    pub(super) fn count(
        &self,
        name: AdapterName,
        kind: AdapterType,
        took: Duration,
        error: Option<AskError>,
    ) {
        if kind == AdapterType::Fixed {
            return;
        }
        self.meter().adapter(name, kind, took, error);
        if let Some(cause) = error.filter(|cause| *cause != AskError::Denied) {
            tracing::error!(
                name: ADAPTER_ERROR,
                target: TARGET,
                adapter_name = name.label(),
                adapter_type = kind.label(),
                error_type = error_type(cause),
                "An adapter failed"
            );
        }
    }

    /// Sends off what was counted. To be called every [`passage_shards::metrics::HAND_OVER_INTERVAL`].
    pub(super) fn hand_over(&self) {
        self.meter().hand_over();
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        // A count that a panic interrupted is a count short, and no reason to count no more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
