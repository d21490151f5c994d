//! A table of bounded size, in the order of use.

use std::collections::HashMap;
use std::sync::Arc;

/// Nobody.
const NONE: u32 = u32::MAX;

/// An entry's place in its table; good until the entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u32);

/// Entries by key, the one used last first. Keys come from clients: the table's hash is keyed.
pub struct Lru<V> {
    index: HashMap<Arc<[u8]>, u32>,
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    used: u64,
    most: u64,
}
struct Node<V> {
    key: Arc<[u8]>,
    value: V,
    cost: u64,
    newer: u32,
    older: u32,
}

impl<V> Lru<V> {
    /// An empty one, with room for entries whose costs sum up to `most`.
    pub fn new(most: u64) -> Lru<V> {
        Lru {
            index: HashMap::new(),
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
        let id = *self.index.get(key)?;
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
        let used = self.used.checked_add(cost).filter(|used| *used <= self.most)?;
        self.used = used;
        let key: Arc<[u8]> = key.into();
        let node = Node { key: key.clone(), value, cost, newer: NONE, older: NONE };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.index.insert(key, id);
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
        let key = std::mem::take(&mut node.key);
        self.used -= std::mem::take(&mut node.cost);
        if self.index.remove(&key).is_some() {
            self.unlink(id.0);
            self.free.push(id.0);
        }
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
    }
}
