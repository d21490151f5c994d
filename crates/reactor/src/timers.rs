//! Sleeps: exact timers, ended in the order of their times. For connections use their deadline, which is cheaper.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::Handle;
use crate::deadlines::Nanos;

/// The sleepers of one loop, by time since it started, then in the order they lay down.
#[derive(Default)]
pub(crate) struct Timers {
    sleepers: BTreeMap<(Nanos, u64), Waker>,
    last: u64,
}

impl Timers {
    fn add(&mut self, until: Nanos, waker: Waker) -> (Nanos, u64) {
        self.last += 1;
        let key = (until, self.last);
        self.sleepers.insert(key, waker);
        key
    }

    /// When the next sleep ends.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.sleepers.first_key_value().map(|((until, _), _)| *until)
    }

    /// Takes the first sleeper whose time has come.
    pub(crate) fn pop(&mut self, now: Nanos) -> Option<Waker> {
        let first = self.sleepers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// Ends at a time. See [`Handle::sleep`].
#[must_use = "a sleep does nothing unless awaited"]
pub struct Sleep<R> {
    handle: Handle<R>,
    until: Nanos,
    key: Option<(Nanos, u64)>,
}

impl<R> Sleep<R> {
    pub(crate) fn new(handle: Handle<R>, until: Nanos) -> Self {
        Sleep { handle, until, key: None }
    }
}

impl<R> Future for Sleep<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.until <= self.handle.passed_now() {
            return Poll::Ready(());
        }
        let mut timers = self.handle.0.timers.borrow_mut();
        let waiting = self.key.and_then(|key| timers.sleepers.get_mut(&key));
        let key = match waiting {
            Some(waker) => {
                waker.clone_from(cx.waker());
                self.key
            }
            None => Some(timers.add(self.until, cx.waker().clone())),
        };
        drop(timers);
        self.key = key;
        Poll::Pending
    }
}

impl<R> Drop for Sleep<R> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // Bound, so that the waker is dropped after the borrow ends.
            let _waker = self.handle.0.timers.borrow_mut().sleepers.remove(&key);
        }
    }
}
