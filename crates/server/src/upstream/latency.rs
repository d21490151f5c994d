//! How long a server took for the head of its answers, lately: counted where the capacity chain is shown.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

/// Steps within a doubling: what is told is at most an eighth too much.
const STEPS: u32 = 8;
/// Shorter is as good as this: 64 microseconds.
const SHORTEST: u32 = 6;
/// Doublings from there: beyond two minutes is all the same.
const DOUBLINGS: u32 = 21;
const BUCKETS: usize = (STEPS * DOUBLINGS) as usize;
/// Counts begin anew so often; those before are told, too.
const PERIOD: u64 = 60;

/// The counts of this period and of the one before. Nothing while nobody counts.
#[derive(Debug, Default)]
pub struct Latencies(OnceLock<Box<Counts>>);

#[derive(Debug)]
struct Counts {
    period: AtomicU64,
    of: [[AtomicU32; BUCKETS]; 2],
}

/// What is told of them, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Answers of the last one or two minutes.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: f64,
    /// Nine of ten took no longer.
    pub p90: f64,
    /// All but one of a hundred took no longer.
    pub p99: f64,
}

/// Of another server, which has not answered yet.
impl Clone for Latencies {
    fn clone(&self) -> Latencies {
        Latencies::default()
    }
}
/// It is nothing that was configured.
impl PartialEq for Latencies {
    fn eq(&self, _: &Latencies) -> bool {
        true
    }
}
impl Eq for Latencies {}

impl Latencies {
    /// An answer's head took so long; `now` since 1970.
    pub fn note(&self, took: Duration, now: Duration) {
        let counts = self.0.get_or_init(Box::default);
        counts.turn(now.as_secs() / PERIOD);
        counts.of[counts.present()][bucket(took)].fetch_add(1, Relaxed);
    }
    /// What is known of the last one or two minutes; `None` where nobody answered.
    pub fn lately(&self, now: Duration) -> Option<Latency> {
        let counts = self.0.get()?;
        counts.turn(now.as_secs() / PERIOD);
        let sum: Vec<u64> =
            (0..BUCKETS).map(|i| counts.of.iter().map(|of| u64::from(of[i].load(Relaxed))).sum()).collect();
        let count: u64 = sum.iter().sum();
        let part = |part: f64| {
            let rank = ((count as f64 * part).ceil() as u64).max(1);
            let mut seen = 0;
            let at = sum.iter().position(|here| {
                seen += here;
                seen >= rank
            });
            end(at.unwrap_or(BUCKETS - 1))
        };
        (count > 0).then(|| Latency { count, p50: part(0.5), p90: part(0.9), p99: part(0.99) })
    }
}

impl Default for Counts {
    fn default() -> Counts {
        let none = || std::array::from_fn(|_| AtomicU32::new(0));
        Counts { period: AtomicU64::new(0), of: [none(), none()] }
    }
}

impl Counts {
    fn present(&self) -> usize {
        (self.period.load(Relaxed) % 2) as usize
    }
    /// Begins a period, once: what was counted two periods ago is forgotten, all of it where nobody looked for longer.
    fn turn(&self, period: u64) {
        let before = self.period.load(Relaxed);
        if before >= period || self.period.compare_exchange(before, period, Relaxed, Relaxed).is_err() {
            return;
        }
        let clear = |of: &[AtomicU32; BUCKETS]| of.iter().for_each(|count| count.store(0, Relaxed));
        clear(&self.of[(period % 2) as usize]);
        if before + 1 < period {
            clear(&self.of[((period + 1) % 2) as usize]);
        }
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1 << SHORTEST);
    let doubling = micros.ilog2();
    let step = (micros >> (doubling - STEPS.ilog2())) - u64::from(STEPS);
    (((doubling - SHORTEST) * STEPS) as usize + step as usize).min(BUCKETS - 1)
}

/// Where a bucket ends, in milliseconds.
fn end(bucket: usize) -> f64 {
    let (doubling, step) = (bucket as u32 / STEPS + SHORTEST, bucket as u32 % STEPS);
    let unit = (1u64 << doubling) as f64 / f64::from(STEPS);
    (unit * f64::from(STEPS + step + 1) / 10.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(6000);

    #[test]
    fn parts_of_what_was_noted() {
        let all = Latencies::default();
        assert_eq!(all.lately(NOW), None);
        (0..90).for_each(|_| all.note(Duration::from_millis(10), NOW));
        (0..10).for_each(|_| all.note(Duration::from_secs(2), NOW));
        let lately = all.lately(NOW).unwrap();
        assert_eq!(lately.count, 100);
        assert!((10.0..11.3).contains(&lately.p50) && lately.p90 == lately.p50, "{lately:?}");
        assert!((2000.0..2250.0).contains(&lately.p99), "{lately:?}");
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let all = Latencies::default();
        let later = |seconds| NOW + Duration::from_secs(seconds);
        all.note(Duration::from_millis(10), NOW);
        all.note(Duration::from_millis(10), later(61));
        assert_eq!(all.lately(later(61)).unwrap().count, 2);
        assert_eq!(all.lately(later(121)).unwrap().count, 1);
        assert_eq!(all.lately(later(1000)), None);
    }

    proptest! {
        #[test]
        fn a_bucket_is_around_what_is_in_it(micros in 64..100_000_000u64) {
            let end = end(bucket(Duration::from_micros(micros))) * 1000.0;
            let micros = micros as f64;
            // As told: two places behind the point.
            prop_assert!(end + 5.0 >= micros && end - 5.0 <= micros * 1.126, "{micros} {end}");
        }
        #[test]
        fn any_time_has_a_bucket(seconds in any::<u64>(), nanos in 0..1_000_000_000u32) {
            prop_assert!(bucket(Duration::new(seconds, nanos)) < BUCKETS);
        }
    }
}
