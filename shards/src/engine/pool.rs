//! Empty vectors for output, so that a ping costs no allocation.

/// Vectors that are kept at most.
const KEPT_MAX: usize = 64;

/// The largest vector that is kept, in bytes of capacity.
const CAPACITY_MAX: usize = 64 * 1024;

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
        if self.vectors.len() < KEPT_MAX && (1..=CAPACITY_MAX).contains(&vector.capacity()) {
            vector.clear();
            self.vectors.push(vector);
        }
    }
}
