//! The way of a shard's counts to the telemetry thread and back.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::deltas::Deltas;
use super::meter::Meter;

/// Most shards that one outlet serves without ever refusing a box.
pub const SHARDS_MAX: usize = 1_024;

/// Boxes that each shard owns: one to count in, one on its way.
pub(super) const BOXES_PER_SHARD: usize = 2;

/// What decides how shards count.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most label sets of a metric, the overflow among them, per shard and hand-over.
    pub label_limit: usize,
    /// Whether connection counts tell client addresses apart.
    pub client_ip: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            label_limit: 2_000,
            client_ip: true,
        }
    }
}

/// Where each shard's counts go. Cloned once per shard, which makes its [`Meter`] of it.
///
/// The channel holds as many boxes as there can be, so that it is never full. A shard that has no spare box,
/// because the telemetry thread has not given one back, goes on counting in the one that it has: it neither
/// waits nor loses anything.
#[derive(Clone, Debug)]
pub struct Outlet {
    options: Options,
    deltas: Sender<Box<Deltas>>,
}

impl Outlet {
    /// An outlet and the end at which its boxes arrive. Who takes one out gives it back with
    /// [`Deltas::give_back`].
    #[must_use]
    pub fn new(options: Options) -> (Self, Receiver<Box<Deltas>>) {
        let (deltas, arrivals) = bounded((SHARDS_MAX + 1) * BOXES_PER_SHARD);
        (Self { options, deltas }, arrivals)
    }

    /// The meter of the shard with this number. Allocates all that the shard ever needs for label sets.
    #[must_use]
    pub fn meter(self, shard: usize) -> Meter {
        let options = self.options;
        self.meter_of(Some(shard), options)
    }

    /// The meter of the control thread, which calls adapters in the background but serves no connection.
    #[must_use]
    pub fn control_meter(self) -> Meter {
        let no_label_sets = Options {
            label_limit: 1,
            client_ip: false,
        };
        self.meter_of(None, no_label_sets)
    }

    fn meter_of(self, shard: Option<usize>, options: Options) -> Meter {
        let (home, spares) = bounded(BOXES_PER_SHARD);
        let make = || Deltas::new(shard, options.label_limit, options.client_ip, home.clone());
        let (current, spare) = (make(), make());
        Meter::new(
            current,
            Exchange {
                spare: Some(spare),
                spares,
                deltas: self.deltas,
            },
        )
    }
}

/// A shard's end of the way.
#[derive(Debug)]
pub(super) struct Exchange {
    spare: Option<Box<Deltas>>,
    spares: Receiver<Box<Deltas>>,
    deltas: Sender<Box<Deltas>>,
}

impl Exchange {
    /// Sends `current` off and puts an empty box in its place. Leaves it as it is where there is no empty
    /// box.
    pub(super) fn swap(&mut self, current: &mut Box<Deltas>) {
        if !current.dirty {
            return;
        }
        let Some(empty) = self.spare.take().or_else(|| self.spares.try_recv().ok()) else {
            current.totals.deferred += 1;
            return;
        };
        let full = std::mem::replace(current, empty);
        if let Err(TrySendError::Full(full) | TrySendError::Disconnected(full)) = self.deltas.try_send(full) {
            self.spare = Some(std::mem::replace(current, full));
        }
    }

    /// Sends the last counts off, whether or not there is an empty box.
    pub(super) fn finish(&mut self, last: &mut Box<Deltas>) {
        if self.spare.is_none() && self.spares.is_empty() {
            self.spare = Some(last.stand_in());
        }
        self.swap(last);
    }
}
