//! When a worker that died is started again: at once, but more and more slowly while it dies young.

use std::time::{Duration, Instant};

/// A worker that lived this long did not die of being started.
const GROWN_UP: Duration = Duration::from_secs(5);
/// The first pause; doubled each time.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Decides it.
#[derive(Default)]
pub struct Respawn {
    /// How many in a row died young.
    young: u32,
    due: Option<Instant>,
}

impl Respawn {
    /// A worker died at this age: when to start the next.
    pub fn after(&mut self, age: Duration, now: Instant) {
        self.young = if age < GROWN_UP { self.young.saturating_add(1) } else { 1 };
        self.due = Some(now + pause(self.young));
    }
    /// When the next is to be started.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
    /// Whether it is time, once.
    pub fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|at| *at <= now).is_some()
    }
    /// A worker was started for another reason.
    pub fn cancel(&mut self) {
        self.due = None;
    }
}

/// The first two at once: a single death, or one stray signal more, costs nothing but what was in flight.
fn pause(young: u32) -> Duration {
    match young.checked_sub(3) {
        None => Duration::ZERO,
        Some(doublings) => FIRST.saturating_mul(1 << doublings.min(20)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loop_slows_down_and_is_forgiven() {
        let now = Instant::now();
        let mut respawn = Respawn::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            respawn.after(Duration::from_millis(3), now);
            pauses.push(respawn.due().map(|at| (at - now).as_millis()));
        }
        let expected = [0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000];
        assert_eq!(pauses, expected.map(Some));
        assert!(
            !respawn.take_due(now) && respawn.take_due(now + LONGEST) && !respawn.take_due(now + LONGEST)
        );
        respawn.after(GROWN_UP, now);
        assert!(respawn.take_due(now), "at once again");
        respawn.after(Duration::ZERO, now);
        respawn.cancel();
        assert_eq!(respawn.due(), None);
    }
}
