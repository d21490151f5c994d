//! The buckets of a zone: how far each key is ahead of its rate, in thousandths of a request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::variables::Template;
use crate::worker::zones::{self, Id, Lru, Zone};

pub type ZoneOfRates = Arc<Zone<Rates>>;

/// One `limit_req` as run.
pub struct Limit {
    pub zone: ZoneOfRates,
    pub key: Template,
    /// In thousandths of a request a second.
    pub rate: u64,
    pub burst: u64,
    pub delay: u64,
}

/// What nginx's node takes besides the key.
const NODE: usize = 80;
/// An entry is given up after so many milliseconds without use, once its bucket is empty.
const IDLE: i64 = 60_000;
/// Never, in milliseconds.
const LONG_AGO: i64 = -(1 << 40);

/// The state of a zone.
pub struct Rates {
    base: Instant,
    table: Lru<Bucket>,
}
struct Bucket {
    excess: i64,
    /// When `excess` was true, in milliseconds.
    last: i64,
    /// Requests that looked and have not counted themselves yet: it must not go.
    held: u32,
}
impl Bucket {
    /// What is in it with one request more, and whether time has passed.
    fn with_one(&self, rate: u64, now: i64) -> (i64, bool) {
        let ms = match now - self.last {
            // The clocks of two threads are a turn apart, at most; more is a clock that went astray.
            ms if ms < -IDLE => 1,
            ms => ms.max(0),
        };
        ((self.excess.saturating_sub(leaked(rate, ms)).saturating_add(1000)).max(0), ms > 0)
    }
    fn put(&mut self, excess: i64, passed: bool, now: i64) {
        self.excess = excess;
        if passed {
            self.last = now;
        }
    }
}
fn leaked(rate: u64, ms: i64) -> i64 {
    i64::try_from(rate).unwrap_or(i64::MAX).saturating_mul(ms) / 1000
}

/// What a look at one limit showed.
#[derive(Clone, Copy)]
pub enum Found {
    /// It does not concern this request.
    NoKey,
    /// The request would be this much ahead, which is too much.
    Over(u64),
    /// There is no room for its key.
    Full,
    /// It fits, and is counted; it is this much ahead.
    Counted(u64),
    /// It fits, and is counted when all others let it pass.
    Held(Id),
}

impl Rates {
    pub fn new(room: u64) -> Rates {
        Rates { base: Instant::now(), table: Lru::new(room) }
    }
    fn ms(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.base).as_millis() as i64
    }

    pub fn look(&mut self, key: &[u8], limit: &Limit, last: bool, now: Instant) -> Found {
        let now = self.ms(now);
        let Some(id) = self.table.find(key) else { return self.add(key, limit.rate, last, now) };
        let Some(bucket) = self.table.value(id) else { return Found::Full };
        let (excess, passed) = bucket.with_one(limit.rate, now);
        if excess as u64 > limit.burst {
            return Found::Over(excess as u64);
        }
        if last {
            bucket.put(excess, passed, now);
            return Found::Counted(excess as u64);
        }
        bucket.held += 1;
        Found::Held(id)
    }

    fn add(&mut self, key: &[u8], rate: u64, last: bool, now: i64) -> Found {
        self.expire(rate, now, false);
        let cost = zones::cost(NODE + key.len());
        let bucket = || match last {
            true => Bucket { excess: 0, last: now, held: 0 },
            false => Bucket { excess: 0, last: LONG_AGO, held: 1 },
        };
        let added = self.table.insert(key, bucket(), cost).or_else(|| {
            self.expire(rate, now, true);
            self.table.insert(key, bucket(), cost)
        });
        match added {
            None => Found::Full,
            Some(_) if last => Found::Counted(0),
            Some(id) => Found::Held(id),
        }
    }

    /// Gives up one or two entries that are idle; by force, the oldest whatever it is.
    fn expire(&mut self, rate: u64, now: i64, force: bool) {
        for i in 0..if force { 3 } else { 2 } {
            let Some(id) = self.table.oldest() else { return };
            let Some(bucket) = self.table.value(id) else { return };
            let idle = (now - bucket.last).abs();
            let busy = idle < IDLE || bucket.excess > leaked(rate, idle);
            let by_force = force && i == 0;
            if bucket.held > 0 || (busy && !by_force) {
                return;
            }
            self.table.remove(id);
        }
    }
}

/// The buckets that a request holds while it looks at several limits.
pub struct Held<'a> {
    limits: &'a [Limit],
    ids: Vec<(usize, Id)>,
}
impl<'a> Held<'a> {
    pub fn new(limits: &'a [Limit]) -> Held<'a> {
        Held { limits, ids: Vec::new() }
    }
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
    pub fn push(&mut self, limit: usize, id: Id) {
        self.ids.push((limit, id));
    }
    /// The request does not pass: it leaves no trace.
    pub fn let_go(self) {
        for (i, id) in self.ids {
            if let Some(bucket) = self.limits[i].zone.lock().table.value(id) {
                bucket.held -= 1;
            }
        }
    }
    /// Counts the request in all of them. The longest delay that one asks for: which limit, by how much, for how long.
    pub fn count(self, counted: Option<(usize, u64)>, now: Instant) -> Option<(usize, u64, Duration)> {
        let mut longest = None;
        let mut see = |i: usize, excess: u64| {
            let delay = delay(&self.limits[i], excess);
            let more = longest.is_none_or(|(_, _, most)| delay > most);
            if more && !delay.is_zero() {
                longest = Some((i, excess, delay));
            }
        };
        if let Some((i, excess)) = counted {
            see(i, excess);
        }
        for (i, id) in self.ids.iter().rev() {
            let limit = &self.limits[*i];
            let mut rates = limit.zone.lock();
            let now = rates.ms(now);
            let Some(bucket) = rates.table.value(*id) else { continue };
            let (excess, passed) = bucket.with_one(limit.rate, now);
            let fresh = bucket.last == LONG_AGO;
            let excess = if fresh { 0 } else { excess };
            bucket.put(excess, passed, now);
            bucket.held -= 1;
            drop(rates);
            see(*i, excess as u64);
        }
        longest
    }
}

fn delay(limit: &Limit, excess: u64) -> Duration {
    let over = excess.saturating_sub(limit.delay);
    Duration::from_millis(over.saturating_mul(1000) / limit.rate.max(1))
}
