//! The way to the loop for what runs on it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::deadlines::{Nanos, Tick, nanos, tick_after, tick_at};
use crate::entries::{Entries, RestKey};
use crate::listeners::{Listener, Listeners};
use crate::poller::{Clock, Poller};
use crate::remote::{Calls, Remote};
use crate::timers::{Sleep, Timers};
use crate::wake::Doorbell;
use crate::{Socket, Why, Woken};

/// The key of the doorbell's events.
pub(crate) const DOORBELL: u64 = u64::MAX;

/// A future spawned in the background.
pub(crate) type Background = Pin<Box<dyn Future<Output = ()>>>;

/// A loop, from inside: cheap to clone, bound to the loop's thread.
pub struct Handle<R>(pub(crate) Rc<Inner<R>>);

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Handle(self.0.clone())
    }
}

/// What the loop and its handles share.
pub(crate) struct Inner<R> {
    pub(crate) poller: Box<dyn Poller>,
    clock: Box<dyn Clock>,
    start: Instant,
    now: Cell<Instant>,
    /// From `start` to `now`.
    passed: Cell<Nanos>,
    unix_time: Cell<Duration>,
    /// What has to be added to `passed` for the wall-clock time, as it was when the tick began.
    unix_start: Cell<Nanos>,
    tick: Cell<Tick>,
    pub(crate) entries: RefCell<Entries<R>>,
    /// Connections to be served in this turn or the next.
    pub(crate) handed: RefCell<VecDeque<Woken<R>>>,
    pub(crate) spawned: RefCell<VecDeque<Background>>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) listeners: RefCell<Listeners>,
    pub(crate) doorbell: Arc<Doorbell>,
    pub(crate) calls: Arc<Calls<R>>,
    /// Every task is to be polled.
    pub(crate) waking: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
}

impl<R: 'static> Handle<R> {
    pub(crate) fn new(poller: Box<dyn Poller>, clock: Box<dyn Clock>) -> io::Result<Self> {
        let now = clock.now();
        let doorbell = Arc::new(Doorbell::new()?);
        poller.add(doorbell.fd(), DOORBELL, EventFlags::IN | EventFlags::ET)?;
        Ok(Handle(Rc::new(Inner {
            start: now,
            now: Cell::new(now),
            passed: Cell::new(0),
            unix_time: Cell::new(clock.unix_time()),
            unix_start: Cell::new(nanos(clock.unix_time())),
            tick: Cell::new(tick_at(0)),
            poller,
            clock,
            entries: RefCell::new(Entries::new()),
            handed: RefCell::default(),
            spawned: RefCell::default(),
            timers: RefCell::default(),
            listeners: RefCell::default(),
            calls: Arc::new(Calls::new(doorbell.clone())),
            doorbell,
            waking: Cell::new(false),
            stopping: Cell::new(false),
        })))
    }

    pub(crate) fn refresh_clock(&self) {
        let now = self.0.clock.now();
        let passed = self.passed(now);
        self.0.now.set(now);
        self.0.passed.set(passed);
        if self.0.tick.replace(tick_at(passed)) != tick_at(passed) {
            // The wall clock may be set; that it was is seen at the next tick.
            self.0.unix_start.set(nanos(self.0.clock.unix_time()).saturating_sub(passed));
        }
        self.0.unix_time.set(Duration::from_nanos(self.0.unix_start.get().saturating_add(passed)));
    }
}

impl<R> Handle<R> {
    /// Monotonic time, read once per turn.
    pub fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// Wall-clock time since the epoch, of this turn; the clock is read once a tick.
    pub fn unix_time(&self) -> Duration {
        self.0.unix_time.get()
    }

    /// How long this turn has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.now_uncached().saturating_duration_since(self.now())
    }

    /// Monotonic time as it is; for the loop, which waits.
    pub(crate) fn now_uncached(&self) -> Instant {
        self.0.clock.now()
    }

    /// Time since the loop started.
    pub(crate) fn passed(&self, at: Instant) -> Nanos {
        nanos(at.saturating_duration_since(self.0.start))
    }

    /// From the loop's start to [`Handle::now`].
    pub(crate) fn passed_now(&self) -> Nanos {
        self.0.passed.get()
    }

    /// The tick of a deadline.
    pub(crate) fn due_at(&self, deadline: Instant) -> Tick {
        tick_after(self.passed(deadline))
    }

    /// The tick of a deadline that is so far from [`Handle::now`].
    pub(crate) fn due_in(&self, timeout: Duration) -> Tick {
        tick_after(self.passed_now().saturating_add(nanos(timeout)))
    }

    pub(crate) fn tick(&self) -> Tick {
        self.0.tick.get()
    }

    /// Puts a connection to rest until it is readable, its deadline passes or it is evicted; then [`crate::App::serve`]
    /// gets it back with `record`. If it may have bytes to read already, that is at once, in this turn or the next.
    /// The key names it for [`Handle::wake`], and for as long as it rests.
    pub fn rest(&self, socket: Socket<R>, record: R) -> RestKey {
        let mut entries = self.0.entries.borrow_mut();
        if let Some(why) = entries.restless(socket.index(), self.tick()) {
            let key = entries.key(socket.index());
            drop(entries);
            self.hand(Woken { socket, rest: record, why });
            return key;
        }
        let (fd, index) = socket.into_parts();
        let (key, waiting) = entries.rest(index, fd, self.tick(), record);
        drop(entries);
        // After the borrow: a waker may own a future that uses this loop.
        drop(waiting);
        key
    }

    /// Hands a connection to [`crate::App::serve`], in this turn or the next.
    pub fn serve(&self, socket: Socket<R>, record: R) {
        self.hand(Woken { socket, rest: record, why: Why::Handed });
    }

    pub(crate) fn hand(&self, woken: Woken<R>) {
        self.0.handed.borrow_mut().push_back(woken);
    }

    /// How many connections are at rest.
    pub fn resting(&self) -> usize {
        self.0.entries.borrow().resting()
    }

    /// How many sockets there are on this loop, at rest or not.
    pub fn sockets(&self) -> usize {
        self.0.entries.borrow().used()
    }

    /// Wakes up to `at_most` connections with [`Why::Evicted`], those that have rested longest first. Returns how many.
    pub fn evict(&self, at_most: usize) -> usize {
        self.evict_since(at_most, Tick::MAX)
    }

    /// As [`Handle::evict`], of those that have rested for `time`: at least, and at most two ticks of 32 ms longer.
    pub fn evict_rested(&self, at_most: usize, time: Duration) -> usize {
        self.evict_since(at_most, self.tick().saturating_sub(tick_after(nanos(time))))
    }

    fn evict_since(&self, at_most: usize, latest: Tick) -> usize {
        for evicted in 0..at_most {
            let oldest = self.0.entries.borrow_mut().rise_oldest(latest);
            let Some((index, fd, rest)) = oldest else { return evicted };
            let socket = Socket::from_parts(self, fd, index);
            self.hand(Woken { socket, rest, why: Why::Evicted });
        }
        at_most
    }

    /// Lets the deadlines pass of up to `at_most` connections that are being served and may give way
    /// ([`Socket::set_yielding`]), the longest first. Returns how many.
    pub fn hurry(&self, at_most: usize) -> usize {
        for hurried in 0..at_most {
            let waiting = self.0.entries.borrow_mut().hurry(self.tick());
            // After the borrow: a waker may run what uses this loop.
            let Some(waiting) = waiting else { return hurried };
            waiting.wake();
        }
        at_most
    }

    /// Takes a connection out of its rest and gives it to the caller instead of [`crate::App::serve`]; `None` if it
    /// does not rest any more.
    pub fn wake(&self, key: RestKey) -> Option<(Socket<R>, R)> {
        let (fd, rest) = self.0.entries.borrow_mut().rise_by_key(key)?;
        Some((Socket::from_parts(self, fd, key.index), rest))
    }

    /// Runs a future in the background. It is boxed: meant for what lasts, not for each request.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.spawned.borrow_mut().push_back(Box::pin(future));
    }

    /// Has every task polled once more, in the next turn: what it waits for may have changed without a sign.
    pub fn wake_all(&self) {
        self.0.waking.set(true);
        // There is to be another turn, whatever else happens.
        self.0.doorbell.ring();
    }

    /// Ends after `duration`, never early.
    pub fn sleep(&self, duration: Duration) -> Sleep<R> {
        self.sleep_until(self.now() + duration)
    }

    /// Ends when [`Handle::now`] has reached `until`.
    pub fn sleep_until(&self, until: Instant) -> Sleep<R> {
        Sleep::new(self.clone(), self.passed(until))
    }

    /// Accepts connections on a listening socket (which may be shared with other loops and processes) and reports them
    /// with `tag`.
    pub fn listen(&self, fd: Arc<OwnedFd>, tag: u32) -> io::Result<Listener> {
        self.0.listeners.borrow_mut().add(&*self.0.poller, fd, tag)
    }

    /// Stops accepting there. Other holders of the descriptor are not affected.
    pub fn unlisten(&self, listener: Listener) {
        let _fd = self.0.listeners.borrow_mut().remove(&*self.0.poller, listener);
    }

    /// Stops accepting there until [`Handle::resume`]; connections wait in the accept queue.
    pub fn pause(&self, listener: Listener) {
        self.0.listeners.borrow_mut().hold(&*self.0.poller, listener);
    }

    /// Ends [`Handle::pause`]. What [`Handle::pause_all`] paused stays paused.
    pub fn resume(&self, listener: Listener) {
        self.0.listeners.borrow_mut().release(&*self.0.poller, listener);
    }

    /// Stops accepting on all listeners, also on those still to come, until [`Handle::resume_all`]; connections wait in
    /// the accept queues.
    pub fn pause_all(&self) {
        self.0.listeners.borrow_mut().pause_all(&*self.0.poller);
    }

    /// Ends [`Handle::pause_all`].
    pub fn resume_all(&self) {
        self.0.listeners.borrow_mut().resume_all(&*self.0.poller);
    }

    /// The way to this loop from other threads.
    pub fn remote(&self) -> Remote<R> {
        Remote::new(self.0.calls.clone())
    }

    /// Ends [`crate::Loop::run`] at the end of this turn. What still runs is dropped.
    pub fn stop(&self) {
        self.0.stopping.set(true);
    }

    pub(crate) fn watch(&self, fd: &OwnedFd, key: RestKey, events: EventFlags) -> io::Result<()> {
        self.0.poller.add(fd.as_fd(), connection_key(key), events)
    }
}

/// The poller's key of a connection: generation (31 bits) and index.
pub(crate) fn connection_key(key: RestKey) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index)
}

/// The reverse of [`connection_key`].
pub(crate) fn connection_of(key: u64) -> RestKey {
    RestKey { index: key as u32, generation: (key >> 32) as u32 }
}
