//! What a shard remembers about single servers, by their address.

use std::collections::{BTreeMap, HashMap};

use passage_proto::question::Target;

/// One entry for each server that there is something to say about. Targets with the same host and port are
/// the same server, whatever their identifiers and routes are; a target that has moved is another one.
#[derive(Debug)]
pub(crate) struct Ledger<T> {
    hosts: HashMap<Box<str>, BTreeMap<u16, T>>,
    entries: usize,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            hosts: HashMap::new(),
            entries: 0,
        }
    }
}

impl<T> Ledger<T> {
    /// The target's entry.
    pub(crate) fn find(&self, target: &Target) -> Option<&T> {
        if self.entries == 0 {
            return None;
        }
        self.hosts.get(&*target.host)?.get(&target.port)
    }

    /// The target's entry, to change it.
    pub(crate) fn find_mut(&mut self, target: &Target) -> Option<&mut T> {
        self.hosts.get_mut(&*target.host)?.get_mut(&target.port)
    }

    /// Adds or replaces the target's entry.
    pub(crate) fn insert(&mut self, target: &Target, entry: T) {
        if !self.hosts.contains_key(&*target.host) {
            self.hosts.insert(target.host.as_str().into(), BTreeMap::new());
        }
        let replaced = self
            .hosts
            .get_mut(&*target.host)
            .and_then(|ports| ports.insert(target.port, entry));
        self.entries += usize::from(replaced.is_none());
    }

    /// Removes the target's entry.
    pub(crate) fn remove(&mut self, target: &Target) -> Option<T> {
        let ports = self.hosts.get_mut(&*target.host)?;
        let removed = ports.remove(&target.port)?;
        if ports.is_empty() {
            self.hosts.remove(&*target.host);
        }
        self.entries -= 1;
        Some(removed)
    }

    /// Keeps the entries that pass.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.hosts.retain(|_, ports| {
            ports.retain(|_, entry| keep(entry));
            !ports.is_empty()
        });
        self.entries = self.hosts.values().map(BTreeMap::len).sum();
    }

    /// All entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &T> {
        self.hosts.values().flat_map(BTreeMap::values)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }
}
