//! Simulated time: the same scheduler, run as fast as the machine allows and always in the same order.
//!
//! Descriptors are real (socket pairs and pipes are immediate, so their readiness is deterministic) and so are epoll's
//! edges; only time is simulated. When nothing is ready, time jumps to the next thing due.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{Event, EventFlags};

use crate::poller::{Clock, Epoll, Poller};

type Action = Box<dyn FnOnce()>;

/// The world outside of the loop: a clock, and what happens when.
#[derive(Clone)]
pub struct World(Rc<Inner>);

struct Inner {
    start: Instant,
    passed: Cell<Duration>,
    plan: RefCell<BTreeMap<(Duration, u64), Action>>,
    planned: Cell<u64>,
    waits: Cell<u64>,
}

impl World {
    /// A world at time zero, in which nothing is planned.
    #[expect(clippy::new_without_default, reason = "a world starts at the present, which is no default")]
    pub fn new() -> Self {
        World(Rc::new(Inner {
            start: Instant::now(),
            passed: Cell::default(),
            plan: RefCell::default(),
            planned: Cell::default(),
            waits: Cell::default(),
        }))
    }

    /// Time since the start.
    pub fn passed(&self) -> Duration {
        self.0.passed.get()
    }

    /// The time `at` after the start.
    pub fn instant(&self, at: Duration) -> Instant {
        self.0.start + at
    }

    /// Plans something to happen at a time after the start, while the loop waits. What is planned for the same time
    /// happens in the order of planning.
    pub fn at(&self, at: Duration, action: impl FnOnce() + 'static) {
        let number = self.0.planned.replace(self.0.planned.get() + 1);
        self.0.plan.borrow_mut().insert((at, number), Box::new(action));
    }

    /// Moves time on without the loop waiting, as a slow turn does.
    pub fn spend(&self, time: Duration) {
        self.0.passed.set(self.passed() + time);
    }

    /// How often the loop has looked at the poller.
    pub fn waits(&self) -> u64 {
        self.0.waits.get()
    }

    /// The poller of this world, for [`crate::Loop::with`].
    pub fn poller(&self) -> io::Result<Box<dyn Poller>> {
        Ok(Box::new(SimPoller { world: self.clone(), epoll: Epoll::new()? }))
    }

    /// The clock of this world, for [`crate::Loop::with`].
    pub fn clock(&self) -> Box<dyn Clock> {
        Box::new(self.clone())
    }

    /// Lets time pass until the next planned action, at most to `end`. `false` if there is neither.
    fn pass(&self, end: Option<Duration>) -> bool {
        let next = self.0.plan.borrow().first_key_value().map(|((at, _), _)| *at);
        let Some(until) = [next, end].into_iter().flatten().min() else { return false };
        self.0.passed.set(self.passed().max(until));
        true
    }

    /// Does what is planned for now. Says whether there was anything.
    fn act(&self) -> bool {
        let mut acted = false;
        while let Some(action) = self.due() {
            action();
            acted = true;
        }
        acted
    }

    fn due(&self) -> Option<Action> {
        let mut plan = self.0.plan.borrow_mut();
        let first = plan.first_entry()?;
        (first.key().0 <= self.passed()).then(|| first.remove())
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        self.instant(self.passed())
    }

    fn unix_time(&self) -> Duration {
        // Some day in 2026.
        Duration::from_secs(1_790_000_000) + self.passed()
    }
}

struct SimPoller {
    world: World,
    epoll: Epoll,
}

impl Poller for SimPoller {
    fn add(&self, fd: BorrowedFd<'_>, key: u64, events: EventFlags) -> io::Result<()> {
        self.epoll.add(fd, key, events)
    }

    fn modify(&self, fd: BorrowedFd<'_>, key: u64, events: EventFlags) -> io::Result<()> {
        self.epoll.modify(fd, key, events)
    }

    fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.delete(fd)
    }

    /// Ends early after a planned action, since that may have woken a task or stopped the loop. Fails with `Deadlock` if
    /// nothing is ready, due or planned: the real loop would wait for ever.
    fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let world = &self.world;
        world.0.waits.set(world.waits() + 1);
        let mut acted = world.act();
        self.epoll.wait(events, Some(Duration::ZERO))?;
        let end = timeout.map(|t| world.passed() + t);
        while events.is_empty() && !acted && end.is_none_or(|end| world.passed() < end) {
            if !world.pass(end) {
                return Err(io::ErrorKind::Deadlock.into());
            }
            acted = world.act();
            self.epoll.wait(events, Some(Duration::ZERO))?;
        }
        Ok(())
    }
}
