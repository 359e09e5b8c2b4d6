//! Empty vectors for output, so that a ping costs no allocation.

use crate::limits::{POOLED_BYTES_MAX, POOLED_MAX};

/// A few empty vectors with some capacity.
#[derive(Default)]
pub(super) struct Pool {
    vectors: Vec<Vec<u8>>,
}

impl Pool {
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.vectors.pop().unwrap_or_default()
    }

    pub(super) fn put(&mut self, mut vector: Vec<u8>) {
        if self.vectors.len() < POOLED_MAX && (1..=POOLED_BYTES_MAX).contains(&vector.capacity()) {
            vector.clear();
            self.vectors.push(vector);
        }
    }
}
