//! Quantiles of durations in little memory.

use serde::{Deserialize, Serialize};

/// Counts in buckets that grow with the value: what is read from it is at most one sixteenth too much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    counts: Vec<u64>,
    total: u64,
    sum: u64,
}

const STEPS: u32 = 4;

impl Quantiles {
    /// Counts one value.
    pub fn add(&mut self, value: u64) {
        self.add_many(value, 1);
    }

    /// Counts a value several times.
    pub fn add_many(&mut self, value: u64, times: u64) {
        let bucket = bucket(value);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += times;
        self.total += times;
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.sum as f64 / self.total as f64 }
    }

    /// The value that this part of them (0 to 1) does not exceed.
    pub fn at(&self, part: f64) -> u64 {
        let wanted = (part.clamp(0.0, 1.0) * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return highest(bucket);
            }
        }
        0
    }
}

/// Small values have a bucket each; then each power of two has sixteen.
fn bucket(value: u64) -> usize {
    let bits = 64 - value.leading_zeros();
    if bits <= STEPS + 1 {
        return value as usize;
    }
    let shift = bits - STEPS - 1;
    ((shift as usize) << STEPS) + (value >> shift) as usize
}

/// The highest value of a bucket.
fn highest(bucket: usize) -> u64 {
    if bucket < 2 << STEPS {
        return bucket as u64;
    }
    let shift = (bucket >> STEPS) - 1;
    let start = (bucket - (shift << STEPS)) as u64;
    ((start + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_a_hundred() {
        let mut all = Quantiles::default();
        (1..=100).for_each(|value| all.add(value));
        assert_eq!((all.count(), all.mean(), all.at(0.5)), (100, 50.5, 51));
        assert!((99..=103).contains(&all.at(0.99)), "{}", all.at(0.99));
        assert_eq!(Quantiles::default().at(0.5), 0);
    }

    proptest! {
        #[test]
        fn a_bucket_is_near_its_values(value in 0u64..1 << 60) {
            let highest = highest(bucket(value));
            prop_assert!(highest >= value && highest - value <= value / 16, "{} {}", value, highest);
        }
    }
}
