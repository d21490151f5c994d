//! The pool of seats: who may have a connection, and who is next.
//!
//! A claim is whole or not at all, so nobody waits while holding part of what is needed. Who waits gets what becomes
//! free before anybody who comes later, first come first served over all threads.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

#[cfg(feature = "loom")]
use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering::SeqCst, fence},
};
use std::sync::PoisonError;
#[cfg(not(feature = "loom"))]
use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering::SeqCst, fence},
};

/// A pool of seats that all threads share. Touched when connections come and go, not for each request.
pub struct Seats {
    most: AtomicUsize,
    taken: AtomicUsize,
    /// How many are in `queue`: whoever gives back looks here first.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Place>>>,
}

/// One who waits.
struct Place {
    count: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    granted: bool,
    waker: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seats {
    /// So many seats, all free.
    pub fn new(most: usize) -> Seats {
        Seats {
            most: AtomicUsize::new(most),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(VecDeque::new()),
        }
    }
    /// Seats in all.
    pub fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
    /// Another number of seats. Where more are taken than that, none is given out until enough came back.
    pub fn resize(&self, most: usize) {
        self.most.store(most, SeqCst);
        fence(SeqCst);
        self.grant();
    }
    /// Seats taken.
    pub fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }
    /// Takes `count` seats if they are free and nobody waits for any; gives how many are taken then.
    pub fn claim(&self, count: usize) -> Option<usize> {
        if self.waiting.load(SeqCst) > 0 { None } else { self.take(count) }
    }
    fn take(&self, count: usize) -> Option<usize> {
        let most = self.most.load(SeqCst);
        let more = |taken: usize| taken.checked_add(count).filter(|sum| *sum <= most);
        self.taken.fetch_update(SeqCst, SeqCst, more).ok().map(|before| before + count)
    }
    /// Gives `count` seats back; who waits longest gets them.
    pub fn give(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.taken.fetch_sub(count, SeqCst);
        fence(SeqCst);
        // Either this sees who waits, or that one's own look, which is after it said so, sees what was given.
        if self.waiting.load(SeqCst) > 0 {
            self.grant();
        }
    }
    /// Waits for `count` seats, behind those that wait already.
    pub fn wait(self: &std::sync::Arc<Self>, count: usize) -> Ticket {
        let place = Arc::new(Place { count, state: Mutex::new(State::default()) });
        lock(&self.queue).push_back(place.clone());
        self.waiting.fetch_add(1, SeqCst);
        fence(SeqCst);
        self.grant();
        Ticket { seats: self.clone(), place, over: false }
    }
    /// Hands out what is free, in order.
    fn grant(&self) {
        let mut queue = lock(&self.queue);
        while let Some(first) = queue.front() {
            if self.take(first.count).is_none() {
                return;
            }
            let Some(place) = queue.pop_front() else { return };
            self.waiting.fetch_sub(1, SeqCst);
            let waker = {
                let mut state = lock(&place.state);
                state.granted = true;
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
    /// Leaves the queue; `false` if the place was granted already.
    fn leave(&self, place: &Arc<Place>) -> bool {
        let mut queue = lock(&self.queue);
        let Some(i) = queue.iter().position(|other| Arc::ptr_eq(other, place)) else { return false };
        queue.remove(i);
        self.waiting.fetch_sub(1, SeqCst);
        true
    }
}

/// A place in the queue; ready when the seats are the holder's. Dropped before, it is as if it had never been.
#[must_use = "dropped, it gives up its place"]
pub struct Ticket {
    seats: std::sync::Arc<Seats>,
    place: Arc<Place>,
    over: bool,
}

impl Ticket {
    /// Whether the seats are the holder's now, who from then on has to give them back.
    pub fn redeem(&mut self) -> bool {
        self.over |= lock(&self.place.state).granted;
        self.over
    }
}

impl Future for Ticket {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = lock(&self.place.state);
            if !state.granted {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.over = true;
        Poll::Ready(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if self.seats.leave(&self.place) {
            // The one behind may need less.
            self.seats.grant();
        } else {
            self.seats.give(self.place.count);
        }
    }
}
