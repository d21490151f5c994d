//! How many requests were served at once, from when each ended and how long it took.
//!
//! A ring of a quarter of an hour, one counter a millisecond: a request adds one where it began and takes it away where
//! it ended. What time has passed by is summed up and forgotten, so a log of any length takes the same memory.

use serde::{Deserialize, Serialize};

use super::Quantiles;

/// Milliseconds that are remembered: requests that took longer count from there.
const RING: i64 = 1 << 20;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Concurrency {
    /// The most requests at once.
    pub peak: u64,
    /// When, in milliseconds of UTC.
    pub peak_at: i64,
    /// At once, by share of the time.
    pub at_once: Quantiles,
    /// For each step of time (the first is `first`), the most at once.
    pub steps: Vec<u32>,
    /// Milliseconds of one step.
    pub step: i64,
    /// When the first step began.
    pub first: i64,
}

impl Concurrency {
    /// For this share of the time there were no more at once. Quantiles are rounded up, the peak is not.
    pub fn at_most(&self, part: f64) -> u64 {
        self.at_once.at(part).min(self.peak)
    }
}

/// Counts overlapping requests.
pub struct Overlap {
    ring: Vec<i32>,
    /// Up to here all is summed up.
    done: i64,
    /// The last moment seen.
    latest: i64,
    current: i64,
    /// Requests in a row that ended before what is summed up.
    late: u32,
    found: Concurrency,
}

/// So many requests in a row from the past are a clock that was set back.
const MOST_LATE: u32 = 1000;

/// Steps of the picture over time; when they are used up, two become one.
const STEPS: usize = 2048;

impl Default for Overlap {
    fn default() -> Overlap {
        let found = Concurrency { step: 1000, ..Concurrency::default() };
        Overlap { ring: vec![0; RING as usize], done: i64::MIN, latest: i64::MIN, current: 0, late: 0, found }
    }
}

impl Overlap {
    /// A request that ended at `end` and took `took` milliseconds.
    pub fn add(&mut self, end: i64, took: i64) {
        // A request of no time was there too.
        let took = took.clamp(1, RING / 2);
        if self.done == i64::MIN {
            self.done = end - RING / 2;
            self.latest = end;
            self.found.first = end - took;
        }
        // A clock that jumps: nothing is known of the time between. One wrong line is not believed when it goes back.
        self.late = if end <= self.done { self.late + 1 } else { 0 };
        if end > self.latest + RING / 4 || self.late > MOST_LATE {
            self.pass(self.latest + 1);
            (self.done, self.latest, self.current, self.late) = (end - RING / 2, end, 0, 0);
        }
        if end <= self.done {
            return;
        }
        self.latest = self.latest.max(end);
        if self.latest - RING / 2 > self.done {
            self.pass(self.latest - RING / 2);
        }
        let begin = (end - took).max(self.done);
        self.ring[(begin.rem_euclid(RING)) as usize] += 1;
        self.ring[(end.rem_euclid(RING)) as usize] -= 1;
    }

    /// Everything there is.
    pub fn finish(mut self) -> Concurrency {
        if self.done != i64::MIN {
            self.pass(self.latest + 1);
        }
        self.found
    }

    fn pass(&mut self, until: i64) {
        let (mut value, mut since) = (self.current, self.done);
        for moment in self.done..until {
            let change = std::mem::take(&mut self.ring[moment.rem_euclid(RING) as usize]);
            if change != 0 {
                self.lasted(value, since, moment);
                value += i64::from(change);
                since = moment;
            }
        }
        self.lasted(value, since, until);
        (self.current, self.done) = (value, until.max(self.done));
    }

    /// So many at once, from one moment to another.
    fn lasted(&mut self, value: i64, since: i64, until: i64) {
        let value = u64::try_from(value).unwrap_or(0);
        if until <= since || (value == 0 && until <= self.found.first) {
            return;
        }
        self.found.at_once.add_many(value, (until - since) as u64);
        if value > self.found.peak {
            (self.found.peak, self.found.peak_at) = (value, since);
        }
        if value > 0 {
            self.draw(value, since);
        }
    }

    fn draw(&mut self, value: u64, at: i64) {
        let found = &mut self.found;
        while (at - found.first) / found.step >= STEPS as i64 {
            found.steps = found.steps.chunks(2).map(|pair| pair.iter().copied().max().unwrap_or(0)).collect();
            found.step *= 2;
        }
        let index = ((at - found.first) / found.step).max(0) as usize;
        if found.steps.len() <= index {
            found.steps.resize(index + 1, 0);
        }
        found.steps[index] = found.steps[index].max(u32::try_from(value).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peak(requests: &[(i64, i64)]) -> u64 {
        let mut overlap = Overlap::default();
        requests.iter().for_each(|(end, took)| overlap.add(*end, *took));
        overlap.finish().peak
    }

    #[test]
    fn who_comes_when_another_goes_does_not_overlap() {
        assert_eq!(peak(&[(1000, 500), (1500, 500)]), 1);
        assert_eq!(peak(&[(1000, 500), (1499, 500)]), 2);
        assert_eq!(peak(&[]), 0);
    }

    #[test]
    fn long_gaps_and_clocks_that_jump() {
        assert_eq!(peak(&[(0, 10), (1 << 40, 10), (5, 10), ((1 << 40) + 5, 10)]), 2);
        let mut overlap = Overlap::default();
        (0..200_000).for_each(|i| overlap.add(i * 10, 25));
        let found = overlap.finish();
        assert_eq!((found.peak, found.at_once.at(0.9)), (3, 3));
        assert!(found.steps.len() <= STEPS && found.steps.iter().all(|most| *most <= 3));
    }

    proptest! {
        // Each case has a ring of its own, and goes round it.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn as_counted_the_slow_way(requests in prop::collection::vec((0i64..3000, 1i64..800), 1..60)) {
            let mut sorted = requests;
            sorted.sort();
            let at = |moment: i64| sorted.iter().filter(|(end, took)| end - took <= moment && moment < *end).count();
            let expected = (-800..3000).map(at).max().unwrap_or(0) as u64;
            prop_assert_eq!(peak(&sorted), expected);
        }
    }
}
