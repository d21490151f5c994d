//! Waiting for conditions. Nothing in a test sleeps for luck: it waits for something, with a deadline.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test fails. Long, since a loaded machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Polls until the condition gives something, for at most [`PATIENCE`].
pub fn within<T>(condition: impl FnMut() -> Option<T>) -> Option<T> {
    within_time(PATIENCE, condition)
}

/// Polls until the condition gives something, for at most this long.
pub(crate) fn within_time<T>(time: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Polls until the condition holds.
///
/// # Panics
/// After [`PATIENCE`], naming what was awaited.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    if within(|| condition().then_some(())).is_none() {
        panic!("waited {PATIENCE:?} in vain: {what}");
    }
}

/// A door between threads: an origin's script waits at it until the test opens it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Waits until the gate is open; false if that took longer than [`PATIENCE`].
    pub fn pass(&self) -> bool {
        let (open, changed) = &*self.0;
        let guard = open.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = changed.wait_timeout_while(guard, PATIENCE, |open| !*open);
        wait.is_ok_and(|(open, _)| *open)
    }
}
