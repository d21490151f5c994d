//! A deadline of one stream: its connection's belongs to all of them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::connection::Rest;

/// A stream's own deadline.
pub struct Deadline {
    handle: reactor::Handle<Rest>,
    until: Cell<Option<Instant>>,
    sleep: RefCell<Option<Pin<Box<reactor::Sleep<Rest>>>>>,
    waiting: RefCell<Option<Waker>>,
}

impl Deadline {
    /// Nothing to wait for yet.
    pub fn new(handle: reactor::Handle<Rest>) -> Deadline {
        Deadline { handle, until: Cell::new(None), sleep: RefCell::default(), waiting: RefCell::default() }
    }
    /// Until when; whoever waits already is woken by the new time.
    pub fn set(&self, until: Option<Instant>) {
        self.until.set(until);
        *self.sleep.borrow_mut() = None;
        let waiting = self.waiting.borrow().clone();
        if let Some(waker) = waiting
            && self.poll(&mut Context::from_waker(&waker)).is_ready()
        {
            waker.wake();
        }
    }
    /// What was waited for has come.
    pub fn stop_waiting(&self) {
        *self.waiting.borrow_mut() = None;
    }
    /// As [`Deadline::poll`], with a time that begins when the wait does.
    pub fn poll_within(&self, cx: &mut Context<'_>, timeout: Duration) -> Poll<io::Error> {
        if self.waiting.borrow().is_none() {
            self.until.set(Some(self.handle.now() + timeout));
            *self.sleep.borrow_mut() = None;
        }
        self.poll(cx)
    }
    /// Ready with an error when the time is over.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        let Some(until) = self.until.get() else { return Poll::Pending };
        let mut sleep = self.sleep.borrow_mut();
        let sleep = sleep.get_or_insert_with(|| Box::pin(self.handle.sleep_until(until)));
        sleep.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}
