//! Series by label set: bounded, and with a memory of what a collector has seen of them.

use std::collections::HashMap;
use std::hash::Hash;

use super::{ExportNumber, Reading};

/// Which exports there were, and which of them a collector took.
#[derive(Debug)]
pub(super) struct Births {
    next: u64,
    taken: u64,
}

impl Births {
    pub(super) fn new() -> Self {
        Self { next: 1, taken: 0 }
    }

    /// A series that begins now: it will be seen by the next export for the first time.
    pub(super) fn born<V>(&self, value: V) -> Born<V> {
        Born {
            first_export: self.next,
            value,
        }
    }

    pub(super) fn begin_export(&mut self) -> ExportNumber {
        let number = ExportNumber(self.next);
        self.next += 1;
        number
    }

    pub(super) fn taken(&mut self, ExportNumber(number): ExportNumber) {
        self.taken = self.taken.max(number);
    }

    /// Whether the series shows what it counted, or still zero.
    pub(super) fn shows<V>(&self, series: &Born<V>, reading: Reading) -> bool {
        let seen = match reading {
            Reading::BirthsFirst => self.taken,
            Reading::Since(ExportNumber(seen)) => seen,
            Reading::Final => return true,
        };
        series.first_export <= seen
    }
}

/// The value of a series, and since when there is one.
#[derive(Debug)]
pub(super) struct Born<V> {
    first_export: u64,
    pub(super) value: V,
}

/// Sums by label set, at most `limit` of them. The last place is that of the overflow.
#[derive(Debug)]
pub(super) struct Sums<K> {
    sets: HashMap<K, Born<u64>>,
    overflow: Option<Born<u64>>,
    limit: usize,
}

impl<K: Clone + Eq + Hash> Sums<K> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            sets: HashMap::new(),
            overflow: None,
            limit: limit.max(1),
        }
    }

    /// Adds to the sum of this label set, or to the overflow where there is no room for one more.
    pub(super) fn add(&mut self, births: &Births, set: &K, more: u64) {
        if more == 0 {
            return;
        }
        if let Some(sum) = self.sets.get_mut(set) {
            sum.value += more;
        } else if self.sets.len() + 1 < self.limit {
            self.sets.insert(set.clone(), births.born(more));
        } else {
            self.add_overflow(births, more);
        }
    }

    pub(super) fn add_overflow(&mut self, births: &Births, more: u64) {
        if more > 0 {
            self.overflow.get_or_insert_with(|| births.born(0)).value += more;
        }
    }

    /// Every label set with its sum; `None` is the overflow.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&K>, &Born<u64>)> {
        let sets = self.sets.iter().map(|(set, sum)| (Some(set), sum));
        sets.chain(self.overflow.iter().map(|sum| (None, sum)))
    }
}
