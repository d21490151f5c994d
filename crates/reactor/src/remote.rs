//! Calls from other threads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::Handle;
use crate::wake::{Doorbell, lock};

/// What is to be done on a loop.
pub type Call<R> = Box<dyn FnOnce(&Handle<R>) + Send>;

/// What other threads want done on a loop.
pub(crate) struct Calls<R> {
    doorbell: Arc<Doorbell>,
    waiting: Mutex<VecDeque<Call<R>>>,
}

impl<R> Calls<R> {
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Self {
        Calls { doorbell, waiting: Mutex::default() }
    }

    pub(crate) fn take(&self) -> VecDeque<Call<R>> {
        std::mem::take(&mut lock(&self.waiting))
    }
}

/// A loop, from another thread. What is sent to a loop that has ended is dropped with the last remote.
pub struct Remote<R>(Arc<Calls<R>>);

impl<R> Clone for Remote<R> {
    fn clone(&self) -> Self {
        Remote(self.0.clone())
    }
}

impl<R> Remote<R> {
    pub(crate) fn new(calls: Arc<Calls<R>>) -> Self {
        Remote(calls)
    }

    /// Runs `call` on the loop's thread, soon. Calls of one thread run in their order.
    pub fn run(&self, call: Call<R>) {
        lock(&self.0.waiting).push_back(call);
        self.0.doorbell.ring();
    }
}
