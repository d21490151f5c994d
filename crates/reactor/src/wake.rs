//! Wakers: which task is to be polled next.
//!
//! A wake from the loop's own thread, which is nearly every one, goes to a queue that belongs to the thread; one from
//! another thread goes through a lock and an eventfd.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use rustix::event::{EventfdFlags, eventfd};

/// Which future of the loop: a slot's number, with [`BACKGROUND`] set for a spawned one.
pub(crate) type TaskId = u32;
/// The bit that tells spawned tasks from served connections.
pub(crate) const BACKGROUND: TaskId = 1 << 31;
/// The task of a waker whose future has ended.
const ENDED: TaskId = TaskId::MAX;

thread_local! {
    static LOCAL: Local = const { Local { running: Cell::new(0), ready: RefCell::new(VecDeque::new()) } };
}

struct Local {
    /// The loop that runs on this thread; 0: none.
    running: Cell<u64>,
    ready: RefCell<VecDeque<TaskId>>,
}

/// Locks; a panic while the lock was held leaves these queues whole, so poisoning says nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks this thread as running one loop, until dropped.
pub(crate) struct Running {
    before: u64,
    ready_before: VecDeque<TaskId>,
}

impl Running {
    pub(crate) fn enter(doorbell: &Doorbell) -> Self {
        LOCAL.with(|local| Running {
            before: local.running.replace(doorbell.number),
            ready_before: local.ready.take(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        LOCAL.with(|local| {
            local.running.set(self.before);
            local.ready.replace(std::mem::take(&mut self.ready_before));
        });
    }
}

/// The next task that was woken on this thread.
pub(crate) fn next_ready() -> Option<TaskId> {
    LOCAL.with(|local| local.ready.borrow_mut().pop_front())
}

/// Whether a task was woken on this thread.
pub(crate) fn any_ready() -> bool {
    LOCAL.with(|local| !local.ready.borrow().is_empty())
}

/// Queues a task of the loop that runs on this thread.
pub(crate) fn push_ready(task: TaskId) {
    LOCAL.with(|local| local.ready.borrow_mut().push_back(task));
}

/// How other threads reach a loop: an eventfd in its poller, rung once however much there is to say.
pub(crate) struct Doorbell {
    number: u64,
    event: OwnedFd,
    rung: AtomicBool,
    woken: Mutex<Vec<TaskId>>,
}

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Ok(Doorbell { number, event, rung: AtomicBool::new(false), woken: Mutex::new(Vec::new()) })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Makes the loop look, after what it is to see was put where it looks.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Fails only if the counter is full, and then the event stands anyway. It is watched edge-triggered, so
            // nobody has to read it.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// The loop looks: from here on the bell has to be rung again. Must come before the queues are emptied.
    pub(crate) fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// Moves what other threads woke to the loop's own queue.
    pub(crate) fn collect(&self) {
        lock(&self.woken).drain(..).for_each(push_ready);
    }
}

/// The waker of one slot, made once and used for every future in it.
pub(crate) struct TaskWaker {
    task: AtomicU32,
    /// Whether the task is in a queue.
    queued: AtomicBool,
    doorbell: Arc<Doorbell>,
}

impl TaskWaker {
    pub(crate) fn new(task: TaskId, doorbell: Arc<Doorbell>) -> Self {
        TaskWaker { task: AtomicU32::new(task), queued: AtomicBool::new(false), doorbell }
    }

    /// From here on, a wake polls again. Must come before the poll.
    pub(crate) fn taken(&self) {
        self.queued.store(false, Ordering::Release);
    }

    /// The future has ended while somebody still holds this waker: waking does nothing any more.
    pub(crate) fn retire(&self) {
        self.task.store(ENDED, Ordering::Release);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = self.task.load(Ordering::Acquire);
        if task == ENDED || self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if LOCAL.with(|local| local.running.get()) == self.doorbell.number {
            push_ready(task);
        } else {
            lock(&self.doorbell.woken).push(task);
            self.doorbell.ring();
        }
    }
}
