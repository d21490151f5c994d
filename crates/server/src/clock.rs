//! Texts made from the time, once per turn of a loop instead of once per use.

use std::cell::Cell;
use std::time::Duration;

/// The texts of one thread.
pub struct Clock {
    /// The second that the texts are of.
    second: Cell<u64>,
    /// For `Date`.
    pub http_date: Cell<[u8; 29]>,
}
impl Clock {
    /// At a time since 1970.
    pub fn new(now: Duration) -> Clock {
        Clock { second: Cell::new(now.as_secs()), http_date: Cell::new(wire::date::format(now.as_secs())) }
    }
    /// Makes the texts anew if the second changed.
    pub fn refresh(&self, now: Duration) {
        if self.second.replace(now.as_secs()) != now.as_secs() {
            self.http_date.set(wire::date::format(now.as_secs()));
        }
    }
}
