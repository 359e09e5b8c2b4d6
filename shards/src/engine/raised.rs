//! The flag between those who wake a shard and the shard: many wakes before it looks are one.

use crate::sync::{AtomicBool, Ordering};

/// Whether a wake is on its way.
#[derive(Debug, Default)]
pub(super) struct Raised(AtomicBool);

impl Raised {
    /// Whether the shard has to be told: nobody has done so since it last looked. Whatever was written before
    /// this is seen by who looks after [`clear`](Self::clear).
    pub(super) fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// To be called before looking at what the others have left.
    pub(super) fn clear(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
