//! One deadline per entry, kept in a wheel of 32 ms ticks: constant time to set, no work for deadlines that are moved
//! before they pass, and never early.
//!
//! Connections change their deadline several times per request and almost none passes. So a later deadline leaves
//! the entry in its bucket; when that bucket's tick comes, the entry moves on to where it belongs.

use std::cell::Cell;
use std::time::Duration;

use crate::list::{Link, Links, List};

/// How coarse deadlines are. A deadline passes at the first tick at or after it.
pub(crate) const TICK: Duration = Duration::from_millis(32);
/// Buckets of the wheel: 65 s. Deadlines further away are looked at once each time round.
const BUCKETS: u32 = 2048;
const WORDS: usize = BUCKETS as usize / 64;

/// A deadline or time in ticks since the loop started; 0 is "none", the first tick is 1.
pub(crate) type Tick = u32;
/// A time in nanoseconds since the loop started: what is reckoned with in every turn is a plain number.
pub(crate) type Nanos = u64;

const TICK_NANOS: Nanos = TICK.as_nanos() as Nanos;

/// So many nanoseconds; more than 500 years are taken as that.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

/// The last tick that has passed at `now`.
pub(crate) fn tick_at(now: Nanos) -> Tick {
    Tick::try_from(now / TICK_NANOS).map_or(Tick::MAX, |t| t.saturating_add(1))
}

/// The first tick that is not before `deadline`.
pub(crate) fn tick_after(deadline: Nanos) -> Tick {
    Tick::try_from(deadline.div_ceil(TICK_NANOS)).map_or(Tick::MAX, |t| t.saturating_add(1))
}

/// When a tick begins.
pub(crate) fn begin_of(tick: Tick) -> Nanos {
    TICK_NANOS * Nanos::from(tick - 1)
}

/// What the wheel keeps in each entry.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    /// The deadline; 0: none.
    pub(crate) due: Tick,
    /// The tick in whose bucket the entry is; 0: in none. Never later than `due`, unless `due` is 0.
    at: Tick,
    pub(crate) link: Link,
}

impl Due {
    pub(crate) const NEVER: Due = Due { due: 0, at: 0, link: Link::OUT };

    pub(crate) fn past(&self, now: Tick) -> bool {
        self.due != 0 && self.due <= now
    }
}

/// Where the wheel finds the [`Due`] of an entry. The entry's [`Links`] must be that `link`.
pub(crate) trait Dues: Links {
    fn due(&mut self, index: u32) -> &mut Due;
}

/// The wheel of one loop.
pub(crate) struct Wheel {
    /// The last tick whose bucket was emptied.
    swept: Tick,
    buckets: Box<[List]>,
    /// One bit per bucket that is not empty.
    full: [u64; WORDS],
    /// No entry is in a bucket of an earlier tick: where to look first.
    soonest: Cell<Tick>,
    moving: Vec<u32>,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        let buckets = vec![List::EMPTY; BUCKETS as usize].into_boxed_slice();
        Wheel { swept: 1, buckets, full: [0; WORDS], soonest: Cell::new(Tick::MAX), moving: Vec::new() }
    }

    /// Sets or clears (0) an entry's deadline.
    pub(crate) fn set(&mut self, dues: &mut impl Dues, index: u32, due: Tick) {
        let entry = dues.due(index);
        entry.due = due;
        if due == 0 || (entry.at != 0 && entry.at <= due) {
            return;
        }
        self.unlink(dues, index);
        self.link(dues, index);
    }

    /// Lets an entry's deadline pass now.
    pub(crate) fn pass(&mut self, dues: &mut impl Dues, index: u32) {
        self.set(dues, index, tick_after(0));
    }

    fn link(&mut self, dues: &mut impl Dues, index: u32) {
        let entry = dues.due(index);
        entry.at = entry.due.clamp(self.swept + 1, self.swept + BUCKETS - 1);
        let bucket = (entry.at % BUCKETS) as usize;
        self.soonest.set(self.soonest.get().min(entry.at));
        self.full[bucket / 64] |= 1 << (bucket % 64);
        self.buckets[bucket].push_back(dues, index);
    }

    /// Takes an entry out of the wheel, as must be done before the entry is freed.
    pub(crate) fn unlink(&mut self, dues: &mut impl Dues, index: u32) {
        let at = std::mem::take(&mut dues.due(index).at);
        if at == 0 {
            return;
        }
        let bucket = (at % BUCKETS) as usize;
        self.buckets[bucket].remove(dues, index);
        if self.buckets[bucket].is_empty() {
            self.full[bucket / 64] &= !(1 << (bucket % 64));
        }
    }

    /// The tick at which the wheel has to be swept next; `None` if it is empty.
    pub(crate) fn next(&self) -> Option<Tick> {
        let first = self.soonest.get().max(self.swept + 1);
        let bucket = self.first_full_from(first % BUCKETS)?;
        let tick = first + (bucket + BUCKETS - first % BUCKETS) % BUCKETS;
        self.soonest.set(tick);
        Some(tick)
    }

    /// The first bucket that is not empty, going round from `first`.
    fn first_full_from(&self, first: u32) -> Option<u32> {
        let (word, bit) = (first as usize / 64, first % 64);
        let after = self.full[word] & (u64::MAX << bit);
        if after != 0 {
            return Some(word as u32 * 64 + after.trailing_zeros());
        }
        let round = (1..=WORDS).map(|i| (word + i) % WORDS);
        let found = round.map(|w| (w, self.full[w])).find(|(_, bits)| *bits != 0);
        found.map(|(w, bits)| w as u32 * 64 + bits.trailing_zeros())
    }

    /// Moves time on to `now` and appends the entries whose deadline passed to `expired`, bucket by bucket.
    pub(crate) fn sweep(&mut self, dues: &mut impl Dues, now: Tick, expired: &mut Vec<u32>) {
        if now <= self.swept {
            return;
        }
        let steps = (now - self.swept).min(BUCKETS);
        for step in 1..=steps {
            self.empty_bucket(dues, (self.swept + step) % BUCKETS, now, expired);
        }
        self.swept = now;
        while let Some(index) = self.moving.pop() {
            self.link(dues, index);
        }
    }

    fn empty_bucket(&mut self, dues: &mut impl Dues, bucket: u32, now: Tick, expired: &mut Vec<u32>) {
        let bucket = bucket as usize;
        while let Some(index) = self.buckets[bucket].pop_front(dues) {
            let entry = dues.due(index);
            entry.at = 0;
            match entry.due {
                0 => {}
                due if due <= now => expired.push(index),
                _ => self.moving.push(index),
            }
        }
        self.full[bucket / 64] &= !(1 << (bucket % 64));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    struct Table(Vec<Due>);

    impl Links for Table {
        fn link(&mut self, index: u32) -> &mut Link {
            &mut self.0[index as usize].link
        }
    }

    impl Dues for Table {
        fn due(&mut self, index: u32) -> &mut Due {
            &mut self.0[index as usize]
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Entry, and milliseconds from now.
        Set(u32, Option<u64>),
        Unlink(u32),
        /// Milliseconds.
        Pass(u64),
        /// To when the wheel wants to be looked at.
        PassToNext,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let entry = 0..12u32;
        let delay = prop_oneof![0..200u64, 0..5_000u64, 60_000..70_000u64, 0..400_000u64];
        let step = prop_oneof![
            6 => (entry.clone(), prop::option::weighted(0.9, delay)).prop_map(|(e, d)| Step::Set(e, d)),
            1 => entry.prop_map(Step::Unlink),
            2 => prop_oneof![0..100u64, 0..3_000u64, 0..200_000u64].prop_map(Step::Pass),
            3 => Just(Step::PassToNext),
        ];
        prop::collection::vec(step, 1..200)
    }

    const MILLISECOND: Nanos = 1_000_000;

    /// The wheel beside a table of the deadlines themselves.
    struct Model {
        now: Nanos,
        wheel: Wheel,
        table: Table,
        deadlines: Vec<Option<Nanos>>,
    }

    impl Model {
        fn new() -> Self {
            let table = Table(vec![Due::NEVER; 12]);
            Model { now: 0, wheel: Wheel::new(), table, deadlines: vec![None; 12] }
        }

        fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
            match step {
                Step::Set(entry, delay) => {
                    let deadline = delay.map(|ms| self.now + ms * MILLISECOND);
                    self.wheel.set(&mut self.table, entry, deadline.map_or(0, tick_after));
                    self.deadlines[entry as usize] = deadline;
                }
                Step::Unlink(entry) => {
                    self.wheel.unlink(&mut self.table, entry);
                    self.table.0[entry as usize] = Due::NEVER;
                    self.deadlines[entry as usize] = None;
                }
                Step::Pass(ms) => self.pass(self.now + ms * MILLISECOND)?,
                Step::PassToNext => {
                    let next = self.wheel.next();
                    prop_assert!(next.is_some() || self.deadlines.iter().all(Option::is_none));
                    self.pass(next.map_or(0, begin_of).max(self.now))?;
                }
            }
            Ok(())
        }

        fn pass(&mut self, to: Nanos) -> Result<(), TestCaseError> {
            self.now = to;
            let mut expired = Vec::new();
            let tick = tick_at(to);
            self.wheel.sweep(&mut self.table, tick, &mut expired);
            for entry in expired {
                let deadline = self.deadlines[entry as usize].take();
                prop_assert!(deadline.is_some_and(|d| d <= to), "early, or of no deadline");
            }
            let late = self.deadlines.iter().flatten().find(|d| **d + TICK_NANOS <= to);
            prop_assert!(late.is_none(), "{:?} late", late.map(|d| to - *d));
            let next = self.wheel.next().map(begin_of);
            for deadline in self.deadlines.iter().flatten() {
                prop_assert!(
                    next.is_some_and(|n| n <= *deadline + TICK_NANOS),
                    "the loop would sleep too long"
                );
            }
            prop_assert!(next.is_none_or(|n| n > to || n > 0), "no progress");
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn never_early_and_hardly_late(steps in steps()) {
            let mut model = Model::new();
            for step in steps {
                model.step(step)?;
            }
        }
    }

    #[test]
    fn a_later_deadline_costs_nothing_until_its_bucket_comes() {
        let mut model = Model::new();
        model.step(Step::Set(0, Some(1000))).unwrap();
        let at = model.table.0[0].at;
        model.step(Step::Set(0, Some(60_000))).unwrap();
        assert_eq!(model.table.0[0].at, at);
        model.step(Step::PassToNext).unwrap();
        assert!(model.deadlines[0].is_some() && model.table.0[0].at > at);
    }
}
