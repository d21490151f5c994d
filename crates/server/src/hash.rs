//! A hash for tables that only the configuration fills: what clients send is looked up, never stored, so that nobody can
//! make such a table slow, and the lookup need not pay for a keyed hash.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// A table from texts of the configuration.
pub type Table<V> = HashMap<Box<[u8]>, V, Cheap>;

/// Makes [`Fnv`] hashers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cheap;

impl BuildHasher for Cheap {
    type Hasher = Fnv;
    fn build_hasher(&self) -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

/// FNV-1a, 64 bits; eight bytes at a time where there are as many.
pub struct Fnv(u64);

impl Fnv {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        // The multiplication carries upwards only, and whole words differ in their upper bytes, too.
        self.0 ^= self.0 >> 32;
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }
    fn write_u8(&mut self, byte: u8) {
        self.mix(byte.into());
    }
    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }
    /// The table takes its seven control bits from the top.
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_that_differ_little_hash_far_apart() {
        let names = (0..10_000).map(|i| format!("/some/longer/path/{i}.html"));
        let hashes: Vec<u64> = names.map(|name| Cheap.hash_one(name.as_bytes())).collect();
        let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0x3fff).collect();
        let top: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert_eq!(top.len(), 128);
        // Of 10,000 in 16,384 places, chance fills some 7,480.
        assert!(low.len() > 7_000, "{} places", low.len());
    }
}
