//! Random bytes for sessions, taken from the kernel many at a time.

use passage_proto::Entropy;
use zeroize::Zeroize;

const BYTES: usize = 4096;
const TAKE: usize = size_of::<Entropy>();

const _: () = assert!(BYTES.is_multiple_of(TAKE));

/// Random bytes in reserve; each is given out once and wiped.
pub(super) struct Reserve {
    bytes: [u8; BYTES],
    left: usize,
}

impl Default for Reserve {
    fn default() -> Self {
        Self {
            bytes: [0; BYTES],
            left: 0,
        }
    }
}

impl Reserve {
    /// Bytes that nobody else gets, or `None` if the kernel has none.
    pub(super) fn take(&mut self) -> Option<Entropy> {
        if self.left == 0 {
            getrandom::fill(&mut self.bytes).ok()?;
            self.left = BYTES;
        }
        let taken = self.bytes.get_mut(self.left - TAKE..self.left)?;
        let entropy = Entropy((&*taken).try_into().ok()?);
        taken.zeroize();
        self.left -= TAKE;
        Some(entropy)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn never_gives_the_same_bytes_twice() {
        let mut reserve = Reserve::default();
        let mut seen = HashSet::new();
        for _ in 0..3 * BYTES / TAKE {
            let Entropy(bytes) = reserve.take().unwrap();
            assert_ne!(bytes, [0; TAKE]);
            assert!(seen.insert(bytes));
        }
    }
}
