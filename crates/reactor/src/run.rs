//! The turn of the loop.

use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::epoll::Event;

use crate::deadlines::{Nanos, begin_of};
use crate::entries::Stir;
use crate::handle::{Background, DOORBELL, connection_of};
use crate::listeners::{Listener, Listeners, Ready};
use crate::poller::{Clock, Epoll, Poller, SystemClock};
use crate::slots::{Payload, Slots};
use crate::wake::{BACKGROUND, Running, any_ready, next_ready};
use crate::{AcceptFailure, App, Handle, Socket, Why, Woken};

/// Events taken from the poller at once.
const EVENTS: usize = 512;
/// Tasks polled before the poller is looked at again.
const POLLS: usize = 256;
/// What is due sooner is waited for exactly; what is further away may be late by as long as the turn before took, which
/// saves reading the clock a second time in each turn.
const SOON: Nanos = 100_000_000;
/// Later than all that is waited for.
const NEVER: Nanos = Nanos::MAX;

/// An event loop, before it runs.
pub struct Loop<A: App> {
    handle: Handle<A::Rest>,
    app: PhantomData<Rc<A>>,
}

impl<A: App> Loop<A> {
    /// A loop on epoll and the system's clocks.
    pub fn new() -> io::Result<Self> {
        Self::with(Box::new(Epoll::new()?), Box::new(SystemClock))
    }

    /// A loop on a poller and a clock of the caller's.
    pub fn with(poller: Box<dyn Poller>, clock: Box<dyn Clock>) -> io::Result<Self> {
        Ok(Loop { handle: Handle::new(poller, clock)?, app: PhantomData })
    }

    /// The way to this loop.
    pub fn handle(&self) -> Handle<A::Rest> {
        self.handle.clone()
    }

    /// Runs until [`Handle::stop`] (or until the poller fails, which is a bug); then drops what still runs or rests.
    pub fn run(self, app: Rc<A>) -> io::Result<()> {
        let handle = self.handle;
        let _running = Running::enter(&handle.0.doorbell);
        let app = &*app;
        let outcome = Turns::new(&handle, app, |woken| app.serve(woken)).run();
        clear_out(&handle);
        outcome
    }
}

/// Drops what the loop still holds. Dropping may hand over, spawn or wake more, so until nothing is left.
fn clear_out<R: 'static>(handle: &Handle<R>) {
    loop {
        let handed = handle.0.handed.take();
        let spawned = handle.0.spawned.take();
        let calls = handle.0.calls.take();
        handle.evict(usize::MAX);
        let done = handed.is_empty() && spawned.is_empty() && calls.is_empty();
        if done && handle.0.handed.borrow().is_empty() {
            break;
        }
    }
    handle.0.listeners.borrow_mut().clear(&*handle.0.poller);
}

/// A running loop: generic over the application's future, so that it is polled without a box or a vtable.
struct Turns<'a, A: App, S, F> {
    handle: &'a Handle<A::Rest>,
    app: &'a A,
    serve: S,
    served: Slots<F>,
    background: Slots<Background>,
    events: Vec<Event>,
    number: u64,
}

impl<'a, A, S, F> Turns<'a, A, S, F>
where
    A: App,
    S: Fn(Woken<A::Rest>) -> F,
    F: Future<Output = ()>,
{
    fn new(handle: &'a Handle<A::Rest>, app: &'a A, serve: S) -> Self {
        let doorbell = &handle.0.doorbell;
        Turns {
            handle,
            app,
            serve,
            served: Slots::new(0, doorbell.clone()),
            background: Slots::new(BACKGROUND, doorbell.clone()),
            events: Vec::with_capacity(EVENTS),
            number: 0,
        }
    }

    fn run(mut self) -> io::Result<()> {
        while !self.handle.0.stopping.get() {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.events.clear();
        self.number += 1;
        let timeout = self.timeout();
        self.handle.0.poller.wait(&mut self.events, timeout)?;
        self.handle.refresh_clock();
        for i in 0..self.events.len() {
            self.event(self.events[i]);
        }
        self.pass_deadlines();
        self.end_sleeps();
        self.end_pauses();
        self.poll_tasks();
        let turned = catch_unwind(AssertUnwindSafe(|| self.app.turn(self.handle)));
        self.report(turned);
        Ok(())
    }

    /// How long the poller may wait: not at all while there is work, else until the next time something is due.
    fn timeout(&self) -> Option<Duration> {
        let inner = &self.handle.0;
        if any_ready() || !inner.handed.borrow().is_empty() || !inner.spawned.borrow().is_empty() {
            return Some(Duration::ZERO);
        }
        let deadline = inner.entries.borrow().next_deadline().map_or(NEVER, begin_of);
        let sleep = inner.timers.borrow().next().unwrap_or(NEVER);
        let resume = inner.listeners.borrow().next_resume().map_or(NEVER, |at| self.handle.passed(at));
        let next = deadline.min(sleep).min(resume);
        if next == NEVER {
            return None;
        }
        let mut now = self.handle.passed_now();
        if next < now + SOON {
            now = self.handle.passed(self.handle.now_uncached());
        }
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    fn event(&mut self, event: Event) {
        let Event { flags, data } = event;
        let key = data.u64();
        if key == DOORBELL {
            return self.answer();
        }
        if let Some(listener) = Listeners::of_key(key) {
            return self.accept(listener);
        }
        let key = connection_of(key);
        let stir = self.handle.0.entries.borrow_mut().event(key, flags);
        self.stir(key.index, stir, Why::Readable);
    }

    /// Other threads woke tasks or sent calls.
    fn answer(&mut self) {
        self.handle.0.doorbell.answer();
        self.handle.0.doorbell.collect();
        for call in self.handle.0.calls.take() {
            let called = catch_unwind(AssertUnwindSafe(|| call(self.handle)));
            self.report(called);
        }
    }

    fn stir(&mut self, index: u32, stir: Stir<A::Rest>, why: Why) {
        match stir {
            Stir::Nothing => {}
            Stir::Wake(waiting) => waiting.wake(),
            Stir::Rose(fd, rest) => {
                let socket = Socket::from_parts(self.handle, fd, index);
                self.start(Woken { socket, rest, why });
            }
        }
    }

    fn start(&mut self, woken: Woken<A::Rest>) {
        let outcome = self.served.start(|| (self.serve)(woken));
        self.report(outcome);
    }

    fn accept(&mut self, listener: Listener) {
        let ready = self.handle.0.listeners.borrow_mut().ready(listener);
        let Some(Ready { fd, tag, at_most }) = ready else { return };
        let mut count = 0;
        let more = loop {
            match sys::net::accept(&*fd) {
                Ok((fd, peer)) => {
                    let accepted =
                        catch_unwind(AssertUnwindSafe(|| self.app.accepted(self.handle, tag, fd, peer)));
                    self.report(accepted);
                    count += 1;
                }
                Err(error) => {
                    self.accept_failed(listener, tag, error);
                    break false;
                }
            }
            let paused = self.handle.0.listeners.borrow_mut().ready(listener).is_none();
            if count == at_most || paused {
                break !paused;
            }
        };
        let poller = &*self.handle.0.poller;
        self.handle.0.listeners.borrow_mut().accepted(poller, listener, self.number, count, more);
    }

    fn accept_failed(&mut self, listener: Listener, tag: u32, error: io::Error) {
        // Another thread was faster, or a signal came.
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            return;
        }
        let said = catch_unwind(AssertUnwindSafe(|| self.app.accept_failed(self.handle, tag, error)));
        match said {
            Ok(AcceptFailure::Continue) => {}
            Ok(AcceptFailure::Pause(pause)) => {
                let until = self.handle.now() + pause;
                self.handle.0.listeners.borrow_mut().pause(&*self.handle.0.poller, listener, until);
            }
            Err(payload) => self.report(Err(payload)),
        }
    }

    fn pass_deadlines(&mut self) {
        let now = self.handle.tick();
        if !self.handle.0.entries.borrow_mut().sweep(now) {
            return;
        }
        loop {
            let next = self.handle.0.entries.borrow_mut().next_expired(now);
            let Some((index, stir)) = next else { break };
            self.stir(index, stir, Why::TimedOut);
        }
    }

    fn end_sleeps(&mut self) {
        loop {
            let next = self.handle.0.timers.borrow_mut().pop(self.handle.passed_now());
            let Some(waker) = next else { break };
            waker.wake();
        }
    }

    fn end_pauses(&mut self) {
        let mut listeners = self.handle.0.listeners.borrow_mut();
        if listeners.next_resume().is_some() {
            listeners.resume_due(&*self.handle.0.poller, self.handle.now());
        }
    }

    /// Polls what was woken, handed over or spawned, but only so many before the poller is looked at again.
    fn poll_tasks(&mut self) {
        if self.handle.0.waking.take() {
            self.served.wake_all();
            self.background.wake_all();
        }
        for _ in 0..POLLS {
            let ready = next_ready();
            let handed = self.handle.0.handed.borrow_mut().pop_front();
            let spawned = self.handle.0.spawned.borrow_mut().pop_front();
            if ready.is_none() && handed.is_none() && spawned.is_none() {
                break;
            }
            if let Some(task) = ready {
                let outcome =
                    if task & BACKGROUND == 0 { self.served.poll(task) } else { self.background.poll(task) };
                self.report(outcome);
            }
            if let Some(woken) = handed {
                self.start(woken);
            }
            if let Some(future) = spawned {
                let outcome = self.background.start(|| future);
                self.report(outcome);
            }
        }
    }

    #[inline]
    fn report(&self, outcome: Result<(), Payload>) {
        if let Err(payload) = outcome {
            self.report_panic(payload);
        }
    }

    #[cold]
    fn report_panic(&self, payload: Payload) {
        let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => text,
            (_, Some(text)) => text.as_str(),
            _ => "panic without a text",
        };
        // A panic while a panic is reported: there is nobody left to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| self.app.panicked(text)));
    }
}
