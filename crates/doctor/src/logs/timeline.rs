//! How often something happened over time, in little memory.

use serde::{Deserialize, Serialize};

use super::moment::Moment;

/// Steps of the picture; when time has outgrown them, two become one.
const STEPS: i64 = 512;

/// Counts, each for a step of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// When the first step began.
    pub first: Moment,
    /// Seconds of a step.
    pub step: i64,
    /// One for each step.
    pub counts: Vec<u32>,
}

impl Timeline {
    /// Counts one.
    pub fn add(&mut self, at: Moment) {
        if self.counts.is_empty() {
            *self = Timeline { first: at, step: 1, counts: vec![0] };
        }
        let end = self.first.saturating_add((self.counts.len() as i64 - 1).saturating_mul(self.step));
        if at < self.first || at >= end.saturating_add(self.step) {
            self.reach(at.min(self.first), at.max(end));
        }
        let index = (at.saturating_sub(self.first) / self.step.max(1)).max(0) as usize;
        if let Some(count) = self.counts.get_mut(index) {
            *count = count.saturating_add(1);
        }
    }

    /// From here to there, in as many steps as there may be.
    fn reach(&mut self, from: Moment, to: Moment) {
        let mut step = self.step.max(1);
        // A step begins at a multiple of itself, so that counts stay in theirs when two become one.
        let first = |step: i64| from.div_euclid(step).saturating_mul(step);
        while to.saturating_sub(first(step)) / step >= STEPS {
            step = step.saturating_mul(2);
        }
        let first = first(step);
        let mut counts = vec![0u32; (to.saturating_sub(first) / step) as usize + 1];
        for (index, count) in self.counts.iter().enumerate() {
            let at = self.first.saturating_add((index as i64).saturating_mul(self.step));
            if let Some(place) = counts.get_mut((at.saturating_sub(first) / step).max(0) as usize) {
                *place = place.saturating_add(*count);
            }
        }
        *self = Timeline { first, step, counts };
    }

    /// All that was counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_grows_both_ways() {
        let mut line = Timeline::default();
        [1000, 1000, 1001, 999].into_iter().for_each(|at| line.add(at));
        assert_eq!((line.first, line.step, line.counts.as_slice()), (999, 1, [1, 2, 1].as_slice()));
        line.add(1_000_000);
        assert!(line.counts.len() <= STEPS as usize && line.step > 1 && line.total() == 5);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(moments in prop::collection::vec(prop_oneof![0i64..5000, any::<i64>().prop_map(|n| n / 4)], 0..40)) {
            let mut line = Timeline::default();
            moments.iter().for_each(|at| line.add(*at));
            prop_assert_eq!(line.total(), moments.len() as u64);
            prop_assert!(line.counts.len() <= STEPS as usize);
        }
    }
}
