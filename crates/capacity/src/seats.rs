//! The pool of seats: who may have a connection, and who is next.
//!
//! A claim is whole or not at all, so nobody waits while holding part of what is needed. Who waits gets what becomes
//! free before anybody who comes later, first come first served over all threads.
//!
//! Each thread has a lane with a few free seats of its own, so that threads do not meet for every connection that comes or
//! goes. As far as the pool knows, those are taken: the ceiling holds by that alone. They are called back before anybody is
//! refused or waits, and there are none where seats are few: four seats mean four.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

#[cfg(feature = "loom")]
use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use std::sync::PoisonError;
#[cfg(not(feature = "loom"))]
use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// A pool of seats that all threads share. Touched when connections come and go, not for each request.
pub struct Seats {
    /// How many are in `queue`: whoever gives back looks here first.
    waiting: AtomicUsize,
    most: AtomicUsize,
    /// How many a lane gets at once.
    batch: AtomicUsize,
    shared: Shared,
    queue: Mutex<VecDeque<Arc<Place>>>,
    lanes: Box<[Lane]>,
}

/// What threads meet at, away from what they only read.
#[repr(align(128))]
struct Shared {
    /// Seats that are somebody's, or in a lane.
    taken: AtomicUsize,
    peak: AtomicUsize,
    meetings: AtomicUsize,
}

/// A thread's own free seats. Written by its thread, and by whoever calls them back.
#[repr(align(128))]
struct Lane(AtomicUsize);

/// A lane never gets more at once.
const LARGEST_BATCH: usize = 32;

/// The order of what was done before this and what is looked at after it. The operations on both sides are in one order of
/// all threads anyway; the model checker knows that of fences only.
fn in_order() {
    #[cfg(feature = "loom")]
    loom::sync::atomic::fence(SeqCst);
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
    /// So many seats, all free, and lanes for so many threads.
    pub fn new(most: usize, lanes: usize) -> Seats {
        let shared =
            Shared { taken: AtomicUsize::new(0), peak: AtomicUsize::new(0), meetings: AtomicUsize::new(0) };
        Seats {
            waiting: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            batch: AtomicUsize::new(batch(most, lanes)),
            shared,
            queue: Mutex::new(VecDeque::new()),
            lanes: (0..lanes).map(|_| Lane(AtomicUsize::new(0))).collect(),
        }
    }
    /// Seats in all.
    pub fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
    /// Another number of seats. Where more are taken than that, none is given out until enough came back.
    pub fn resize(&self, most: usize) {
        self.most.store(most, SeqCst);
        self.batch.store(batch(most, self.lanes.len()), SeqCst);
        self.recall();
        self.grant();
    }
    /// Seats taken.
    pub fn taken(&self) -> usize {
        let idle: usize = self.lanes.iter().map(|lane| lane.0.load(SeqCst)).sum();
        // The two are not looked at in the same moment.
        self.shared.taken.load(SeqCst).saturating_sub(idle)
    }
    /// The most that were taken, as far as was seen: what threads took from their lanes since they last met is not.
    pub fn peak(&self) -> usize {
        self.note_peak();
        self.shared.peak.load(SeqCst)
    }
    fn note_peak(&self) {
        let taken = self.taken();
        if taken > self.shared.peak.load(SeqCst) {
            self.shared.peak.fetch_max(taken, SeqCst);
        }
    }
    /// How often threads met: went beyond their lane.
    pub fn meetings(&self) -> usize {
        self.shared.meetings.load(SeqCst)
    }
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }
    /// Takes `count` seats, from the lane if it has them, if they are free and nobody waits for any.
    pub fn claim(&self, lane: usize, count: usize) -> bool {
        if self.waiting.load(SeqCst) > 0 {
            return false;
        }
        self.lanes.get(lane).is_some_and(|own| own.take(count)) || self.claim_shared(lane, count)
    }
    /// The lane has too few: with them come some to spare, where there are; else all lanes give back what they have.
    #[cold]
    fn claim_shared(&self, lane: usize, count: usize) -> bool {
        self.shared.meetings.fetch_add(1, SeqCst);
        let batch = self.batch.load(SeqCst);
        let own = self.lanes.get(lane).filter(|_| batch > 0);
        let with_more = own.is_some() && self.take(count + batch);
        if let Some(own) = own.filter(|_| with_more) {
            own.0.fetch_add(batch, SeqCst);
            self.serve_who_waits();
        }
        let claimed = with_more || self.take(count) || (batch > 0 && self.recall() > 0 && self.take(count));
        if claimed {
            self.note_peak();
        }
        claimed
    }
    fn take(&self, count: usize) -> bool {
        let most = self.most.load(SeqCst);
        let more = |taken: usize| taken.checked_add(count).filter(|sum| *sum <= most);
        self.shared.taken.fetch_update(SeqCst, SeqCst, more).is_ok()
    }
    /// Calls back what is in the lanes; how many that were.
    fn recall(&self) -> usize {
        let back =
            self.lanes.iter().filter(|lane| lane.0.load(SeqCst) > 0).map(|lane| lane.0.swap(0, SeqCst)).sum();
        self.shared.taken.fetch_sub(back, SeqCst);
        back
    }
    /// Gives `count` seats back, into the lane while it is not full; who waits longest gets them.
    pub fn give(&self, lane: usize, count: usize) {
        if count == 0 {
            return;
        }
        let batch = self.batch.load(SeqCst);
        match self.lanes.get(lane).filter(|_| batch > 0) {
            None => self.give_shared(count),
            Some(own) => {
                let kept = own.0.fetch_add(count, SeqCst) + count;
                if kept > 2 * batch && own.take(kept - batch) {
                    self.give_shared(kept - batch);
                }
                self.serve_who_waits();
            }
        }
    }
    #[cold]
    fn give_shared(&self, count: usize) {
        self.shared.meetings.fetch_add(1, SeqCst);
        self.shared.taken.fetch_sub(count, SeqCst);
        self.serve_who_waits();
    }
    /// After something was given: either this sees who waits, or that one's own look, which is after it said so, sees what
    /// was given.
    fn serve_who_waits(&self) {
        in_order();
        if self.waiting.load(SeqCst) > 0 {
            self.recall();
            self.grant();
        }
    }
    /// Waits for `count` seats, behind those that wait already.
    pub fn wait(self: &std::sync::Arc<Self>, count: usize) -> Ticket {
        let place = Arc::new(Place { count, state: Mutex::new(State::default()) });
        lock(&self.queue).push_back(place.clone());
        self.waiting.fetch_add(1, SeqCst);
        in_order();
        self.recall();
        self.grant();
        Ticket { seats: self.clone(), place, over: false }
    }
    /// Hands out what is free, in order.
    fn grant(&self) {
        let mut queue = lock(&self.queue);
        while let Some(first) = queue.front() {
            if !self.take(first.count) {
                return;
            }
            self.note_peak();
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

impl Lane {
    fn take(&self, count: usize) -> bool {
        self.0.fetch_update(SeqCst, SeqCst, |free| free.checked_sub(count)).is_ok()
    }
}

/// How many seats a lane gets at once: few enough that all lanes together hold a small part of the pool.
fn batch(most: usize, lanes: usize) -> usize {
    (most / (8 * lanes.max(1))).min(LARGEST_BATCH)
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
            self.seats.give_shared(self.place.count);
        }
    }
}
