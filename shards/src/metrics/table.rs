//! Bounded tables from label sets to counts. Their keys come from attackers (addresses), so that each table
//! hashes with its own random seed, holds a fixed number of sets, and counts the rest in slot 0, the
//! overflow.

use crate::limits::{LABEL_SETS_MAX, LABEL_TEXT_BYTES_MAX};

/// The secret that decides where keys go. An attacker who does not know it cannot choose keys that collide,
/// and nothing that a table does can be observed from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed([u64; 3]);

impl Seed {
    /// A seed from the operating system's random source; from the standard library's where that one fails.
    pub(crate) fn random() -> Self {
        let mut bytes = [0_u8; 24];
        if getrandom::fill(&mut bytes).is_err() {
            return Self(std::array::from_fn(|_| std_random()));
        }
        let mut words = [0_u64; 3];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = word_of(chunk);
        }
        Self(words)
    }

    fn of_words(&self, [a, b, c]: [u64; 3]) -> u64 {
        let Self([s0, s1, s2]) = self;
        fold(fold(a ^ s0, b ^ s1) ^ s2, c ^ s0)
    }

    fn of_text(&self, text: &str) -> usize {
        let Self([s0, s1, s2]) = self;
        let mut hash = *s0 ^ text.len() as u64;
        for chunk in text.as_bytes().chunks(8) {
            hash = fold(hash ^ word_of(chunk), *s1);
        }
        lower(fold(hash, *s2))
    }
}

fn std_random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// Up to eight bytes as a number.
fn word_of(bytes: &[u8]) -> u64 {
    if let Ok(whole) = bytes.try_into() {
        return u64::from_le_bytes(whole);
    }
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The two halves of the product, mixed.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a 128-bit product are 64 bits each"
)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "a hash may lose bits")]
fn lower(hash: u64) -> usize {
    hash as usize
}

/// A key of a [`Table`]: its words decide where it goes. The default key stands for the overflow.
pub(crate) trait Key: Copy + Default + Eq {
    fn words(self) -> [u64; 3];
}

/// The bits of an index word that are a part of the hash; those below number the entry.
const TAG: u32 = !0 << LABEL_SETS_MAX.trailing_zeros();

/// An open-addressed table of at most `limit` label sets, the overflow among them.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    seed: Seed,
    /// Where each set's entry is, and above that a part of its hash, so that nearly all keys that are not
    /// there are told without a look at any entry. 0 is free, since slot 0 is never looked up. At most a
    /// quarter full: in a flood of new keys, the first look mostly finds nothing, as the processor guesses.
    index: Box<[u32]>,
    entries: Vec<(K, V)>,
    limit: usize,
}

impl<K: Key, V: Default> Table<K, V> {
    /// An empty table. All that it ever needs is reserved here.
    pub(crate) fn new(limit: usize, seed: Seed) -> Self {
        let limit = limit.clamp(1, LABEL_SETS_MAX);
        let mut entries = Vec::with_capacity(limit);
        entries.push((K::default(), V::default()));
        Self {
            seed,
            index: vec![0; (4 * limit).next_power_of_two()].into(),
            entries,
            limit,
        }
    }

    /// The counts of this label set; those of the overflow where the table is full.
    pub(crate) fn slot(&mut self, key: K) -> &mut V {
        let hash = self.seed.of_words(key.words());
        let (mask, tag) = (self.index.len() - 1, upper(hash) & TAG);
        let mut at = lower(hash) & mask;
        let entry = loop {
            let word = self.index[at];
            if word == 0 {
                break self.insert(at, tag, key);
            }
            let entry = (word & !TAG) as usize;
            if word & TAG == tag && self.entries[entry].0 == key {
                break entry;
            }
            at = (at + 1) & mask;
        };
        &mut self.entries[entry].1
    }

    /// The counts of what belongs to no set of this table.
    pub(crate) fn overflow(&mut self) -> &mut V {
        &mut self.entries[0].1
    }

    /// The counts of the overflow, then each label set with its own.
    pub(crate) fn iter(&self) -> (&V, impl Iterator<Item = (K, &V)>) {
        (
            &self.entries[0].1,
            self.entries[1..].iter().map(|(key, counts)| (*key, counts)),
        )
    }

    /// Forgets every set and keeps the memory.
    pub(crate) fn clear(&mut self) {
        if self.entries.len() > 1 {
            self.index.fill(0);
        }
        self.entries.truncate(1);
        self.entries[0].1 = V::default();
    }

    fn insert(&mut self, at: usize, tag: u32, key: K) -> usize {
        let entry = self.entries.len();
        if entry == self.limit {
            return 0;
        }
        self.entries.push((key, V::default()));
        self.index[at] = tag | index_word(entry);
        entry
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "entries number at most LABEL_SETS_MAX"
)]
fn index_word(entry: usize) -> u32 {
    entry as u32
}

/// A name in a [`Names`]. The default stands for "no name".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameId(u32);

impl NameId {
    /// A word for a key's hash.
    pub(crate) fn word(self) -> u64 {
        u64::from(self.0)
    }
}

/// A bounded set of names, each stored once, so that keys are small and `Copy`.
#[derive(Debug)]
pub(crate) struct Names {
    seed: Seed,
    index: Box<[u32]>,
    spans: Vec<(usize, usize)>,
    text: String,
    limit: usize,
}

impl Names {
    /// No names yet. All that is ever needed but the text itself is reserved here.
    pub(crate) fn new(limit: usize, seed: Seed) -> Self {
        let limit = limit.clamp(1, LABEL_SETS_MAX);
        let mut spans = Vec::with_capacity(limit);
        spans.push((0, 0));
        Self {
            seed,
            index: vec![0; (2 * limit).next_power_of_two()].into(),
            spans,
            text: String::new(),
            limit,
        }
    }

    /// The name's id; `None` if there are too many names, or too long ones, already.
    pub(crate) fn intern(&mut self, name: &str) -> Option<NameId> {
        let mask = self.index.len() - 1;
        let mut at = self.seed.of_text(name) & mask;
        loop {
            let id = self.index[at];
            if id == 0 {
                return self.insert(at, name);
            }
            if self.span(id as usize) == name {
                return Some(NameId(id));
            }
            at = (at + 1) & mask;
        }
    }

    /// The name behind an id of this set; nothing for "no name".
    pub(crate) fn name(&self, id: NameId) -> &str {
        self.span(id.0 as usize)
    }

    /// Forgets every name and keeps the memory.
    pub(crate) fn clear(&mut self) {
        if self.spans.len() > 1 {
            self.index.fill(0);
        }
        self.spans.truncate(1);
        self.text.clear();
    }

    fn span(&self, id: usize) -> &str {
        let (start, end) = self.spans[id];
        &self.text[start..end]
    }

    fn insert(&mut self, at: usize, name: &str) -> Option<NameId> {
        let (id, start) = (self.spans.len(), self.text.len());
        let end = start + name.len();
        if id == self.limit || end > LABEL_TEXT_BYTES_MAX {
            return None;
        }
        self.text.push_str(name);
        self.spans.push((start, end));
        self.index[at] = index_word(id);
        Some(NameId(index_word(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    struct Number(u64);

    impl Key for Number {
        fn words(self) -> [u64; 3] {
            [self.0, 0, 0]
        }
    }

    #[test]
    fn counts_every_key_once_and_the_rest_in_the_overflow() {
        let mut table: Table<Number, u64> = Table::new(100, Seed::random());
        let mut expected: HashMap<u64, u64> = HashMap::new();
        let mut overflowed = 0;
        for step in 0..10_000_u64 {
            let key = step * step % 257;
            *table.slot(Number(key)) += 1;
            let full = expected.len() == 99;
            match expected.get_mut(&key) {
                Some(count) => *count += 1,
                None if full => overflowed += 1,
                None => assert!(expected.insert(key, 1).is_none()),
            }
        }
        let (overflow, sets) = table.iter();
        assert_eq!(*overflow, overflowed);
        assert_eq!(
            sets.map(|(key, count)| (key.0, *count))
                .collect::<HashMap<_, _>>(),
            expected
        );
    }

    #[test]
    fn a_cleared_table_is_empty_and_takes_new_keys_without_growing() {
        let mut table: Table<Number, u64> = Table::new(8, Seed::random());
        for round in 0..1_000 {
            for key in 0..20 {
                *table.slot(Number(round * 20 + key)) += 1;
            }
            assert_eq!(table.iter().1.count(), 7);
            assert_eq!(*table.iter().0, 13);
            table.clear();
            assert_eq!(table.entries.capacity(), 8);
        }
        assert_eq!((*table.iter().0, table.iter().1.count()), (0, 0));
    }

    #[test]
    fn a_table_of_one_set_holds_the_overflow_only() {
        let mut table: Table<Number, u64> = Table::new(0, Seed::random());
        *table.slot(Number(5)) += 3;
        *table.overflow() += 1;
        assert_eq!((*table.iter().0, table.iter().1.count()), (4, 0));
    }

    #[test]
    fn keys_in_sequence_spread_over_the_index() {
        let seed = Seed::random();
        let mut hits = [0_u32; 256];
        for key in 0..25_600_u64 {
            hits[lower(seed.of_words([key << 16, 7, 0]) & 255)] += 1;
        }
        assert!(hits.iter().all(|count| (20..300).contains(count)), "{hits:?}");
    }

    #[test]
    fn names_keep_their_ids_until_they_are_cleared() {
        let mut names = Names::new(4, Seed::random());
        let hub = names.intern("hub").unwrap();
        let lobby = names.intern("a rather longer name").unwrap();
        assert_eq!(names.intern("hub"), Some(hub));
        assert_eq!(
            (names.name(hub), names.name(lobby)),
            ("hub", "a rather longer name")
        );
        assert!(names.intern("").is_some());
        assert_eq!(names.intern("one too many"), None);
        assert_eq!(names.name(NameId::default()), "");
        names.clear();
        assert!(names.intern("one too many").is_some());
    }

    #[test]
    fn names_take_a_bounded_number_of_bytes() {
        let mut names = Names::new(100, Seed::random());
        let long = "x".repeat(LABEL_TEXT_BYTES_MAX - 1);
        assert!(names.intern(&long).is_some());
        assert_eq!(names.intern("xx"), None);
        assert!(names.intern("y").is_some());
    }
}
