//! A table of bounded size, in the order of use.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

/// Nobody.
const NONE: u32 = u32::MAX;
/// An entry that is removed leaves the memory of its key to the next one, up to so many bytes.
const KEPT_KEY: usize = 64;

/// An entry's place in its table; good until the entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u32);

/// Entries by key, the one used last first. Keys come from clients: the table's hash is keyed. A key that comes and goes, as
/// with a request, allocates nothing.
pub struct Lru<V> {
    hasher: RandomState,
    /// The entries' places in `nodes`.
    index: HashTable<u32>,
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    used: u64,
    most: u64,
}
struct Node<V> {
    key: Vec<u8>,
    hash: u64,
    newer: u32,
    older: u32,
    cost: u64,
    value: V,
}

impl<V> Lru<V> {
    /// An empty one, with room for entries whose costs sum up to `most`.
    pub fn new(most: u64) -> Lru<V> {
        Lru {
            hasher: RandomState::new(),
            index: HashTable::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            used: 0,
            most,
        }
    }
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
    /// The entry of a key; it counts as used now.
    pub fn find(&mut self, key: &[u8]) -> Option<Id> {
        let hash = self.hasher.hash_one(key);
        let is_it = |id: &u32| self.nodes.get(*id as usize).is_some_and(|node| node.key == key);
        let id = *self.index.find(hash, is_it)?;
        if self.newest != id {
            self.unlink(id);
            self.link(id);
        }
        Some(Id(id))
    }
    /// An entry's value.
    pub fn value(&mut self, id: Id) -> Option<&mut V> {
        self.nodes.get_mut(id.0 as usize).map(|node| &mut node.value)
    }
    /// Adds an entry that is not there yet; `None` if there is no room for it.
    pub fn insert(&mut self, key: &[u8], value: V, cost: u64) -> Option<Id> {
        self.used = self.used.checked_add(cost).filter(|used| *used <= self.most)?;
        let hash = self.hasher.hash_one(key);
        let id = match self.free.pop() {
            Some(id) => {
                let node = &mut self.nodes[id as usize];
                node.key.extend_from_slice(key);
                (node.value, node.hash, node.cost) = (value, hash, cost);
                id
            }
            None => {
                self.nodes.push(Node { key: key.into(), hash, newer: NONE, older: NONE, cost, value });
                self.nodes.len() as u32 - 1
            }
        };
        let nodes = &self.nodes;
        self.index.insert_unique(hash, id, |id| nodes[*id as usize].hash);
        self.link(id);
        Some(Id(id))
    }
    /// The entry that was not used for the longest time.
    pub fn oldest(&self) -> Option<Id> {
        (self.oldest != NONE).then_some(Id(self.oldest))
    }
    /// Removes an entry.
    pub fn remove(&mut self, id: Id) {
        let Some(node) = self.nodes.get_mut(id.0 as usize) else { return };
        let Ok(entry) = self.index.find_entry(node.hash, |other| *other == id.0) else { return };
        entry.remove();
        self.used -= node.cost;
        node.key.clear();
        node.key.shrink_to(KEPT_KEY);
        self.unlink(id.0);
        self.free.push(id.0);
    }

    fn link(&mut self, id: u32) {
        let before = std::mem::replace(&mut self.newest, id);
        let node = &mut self.nodes[id as usize];
        (node.newer, node.older) = (NONE, before);
        match self.nodes.get_mut(before as usize) {
            Some(node) => node.newer = id,
            None => self.oldest = id,
        }
    }
    fn unlink(&mut self, id: u32) {
        let (newer, older) = (self.nodes[id as usize].newer, self.nodes[id as usize].older);
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// As a list of keys in which what is used goes to the front.
        #[test]
        fn behaves_as_a_list(steps in prop::collection::vec((0u8..3, 0u8..12), 0..200)) {
            let mut table = Lru::new(8);
            let mut list: Vec<u8> = Vec::new();
            for (what, key) in steps {
                let at = list.iter().position(|k| *k == key);
                match what {
                    0 => {
                        let found = table.find(&[key]);
                        prop_assert_eq!(found.map(|id| *table.value(id).unwrap()), at.map(|_| key));
                        if let Some(at) = at {
                            list.remove(at);
                            list.insert(0, key);
                        }
                    }
                    1 if at.is_none() => {
                        let fits = list.len() < 8;
                        prop_assert_eq!(table.insert(&[key], key, 1).is_some(), fits);
                        if fits {
                            list.insert(0, key);
                        }
                    }
                    _ => {
                        let oldest = table.oldest();
                        prop_assert_eq!(oldest.map(|id| *table.value(id).unwrap()), list.pop());
                        if let Some(oldest) = oldest {
                            table.remove(oldest);
                        }
                    }
                }
                prop_assert_eq!(table.len(), list.len());
            }
        }

        /// Whoever is in, is found, however many came and went.
        #[test]
        fn nobody_is_lost(steps in prop::collection::vec((any::<bool>(), 0u16..200), 0..600)) {
            let mut table = Lru::new(1000);
            let mut there = std::collections::BTreeMap::new();
            for (comes, key) in steps {
                let id = there.remove(&key);
                if let Some(id) = id {
                    table.remove(id);
                }
                if comes {
                    there.insert(key, table.insert(&key.to_be_bytes(), key, 1).unwrap());
                }
            }
            for key in 0..200u16 {
                prop_assert_eq!(table.find(&key.to_be_bytes()), there.get(&key).copied());
            }
        }
    }

    #[test]
    fn a_place_is_removed_once_and_long_keys_are_not_kept() {
        let mut table = Lru::new(10);
        let id = table.insert(&[b'x'; 1000], 1, 10).unwrap();
        assert_eq!(table.insert(b"y", 2, 1), None);
        table.remove(id);
        table.remove(id);
        assert!(table.is_empty() && table.oldest().is_none() && table.nodes[0].key.capacity() <= KEPT_KEY);
        assert_eq!(table.insert(b"y", 2, 10), Some(id));
    }
}
