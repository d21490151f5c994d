//! A table from very many texts, in a few large pieces of memory: a small allocation for each would cost more than the
//! text. Filled once, by the configuration.

use std::hash::{BuildHasher, Hasher};

use crate::hash::Cheap;

/// Values by text.
#[derive(Debug, PartialEq, Eq)]
pub struct Texts<V> {
    /// One text behind the other.
    bytes: Vec<u8>,
    entries: Vec<Entry<V>>,
    /// Numbers of entries, from 1, where their hash says or as soon as possible behind; 0 for none. A power of two of
    /// them, of which a quarter is always free.
    slots: Vec<u32>,
}
#[derive(Debug, PartialEq, Eq)]
struct Entry<V> {
    start: u32,
    length: u32,
    value: V,
}

impl<V> Default for Texts<V> {
    fn default() -> Self {
        Texts { bytes: Vec::new(), entries: Vec::new(), slots: Vec::new() }
    }
}

impl<V> Texts<V> {
    /// Adds a text that is not there yet; `false` if it is, or if there are more bytes than can be counted.
    pub fn add(&mut self, text: &[u8], value: V) -> bool {
        let (start, length) = (u32::try_from(self.bytes.len()), u32::try_from(text.len()));
        let (Ok(start), Ok(length)) = (start, length) else { return false };
        if self.slots.len() * 3 <= (self.entries.len() + 1) * 4 {
            self.grow();
        }
        let place = self.place(text);
        if self.slots[place] != 0 {
            return false;
        }
        self.bytes.extend_from_slice(text);
        self.entries.push(Entry { start, length, value });
        self.slots[place] = self.entries.len() as u32;
        true
    }
    /// The value of a text.
    pub fn get(&self, text: &[u8]) -> Option<&V> {
        if self.slots.is_empty() {
            return None;
        }
        let entry = self.slots[self.place(text)].checked_sub(1)?;
        Some(&self.entries[entry as usize].value)
    }
    /// No more are coming.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// The slot that has the text, or would have it.
    fn place(&self, text: &[u8]) -> usize {
        let last = self.slots.len() - 1;
        let mut place = hash(text) as usize & last;
        loop {
            match self.slots[place] {
                0 => return place,
                entry if self.text(&self.entries[entry as usize - 1]) == text => return place,
                _ => place = (place + 1) & last,
            }
        }
    }
    fn text(&self, entry: &Entry<V>) -> &[u8] {
        &self.bytes[entry.start as usize..][..entry.length as usize]
    }
    fn grow(&mut self) {
        self.slots = vec![0; (self.slots.len() * 2).max(8)];
        let last = self.slots.len() - 1;
        for number in 0..self.entries.len() {
            let mut place = hash(self.text(&self.entries[number])) as usize & last;
            while self.slots[place] != 0 {
                place = (place + 1) & last;
            }
            self.slots[place] = number as u32 + 1;
        }
    }
}

/// Its upper half is the better one.
fn hash(text: &[u8]) -> u64 {
    let mut hasher = Cheap.build_hasher();
    hasher.write(text);
    hasher.finish() >> 32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_is_a_map(texts in proptest::collection::vec("[ab]{0,5}", 0..200), asked in "[ab]{0,6}") {
            let (mut ours, mut theirs) = (Texts::default(), HashMap::new());
            for (number, text) in texts.iter().enumerate() {
                let fresh = !theirs.contains_key(text);
                proptest::prop_assert_eq!(ours.add(text.as_bytes(), number), fresh);
                theirs.entry(text.clone()).or_insert(number);
            }
            ours.shrink();
            for text in texts.iter().chain([&asked]) {
                proptest::prop_assert_eq!(ours.get(text.as_bytes()), theirs.get(text));
            }
        }
    }
}
