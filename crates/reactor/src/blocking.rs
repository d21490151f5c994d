//! A bounded pool of threads for what blocks: files on slow disks, password hashes, name look-ups that must block.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::wake::lock;

type Job = Box<dyn FnOnce() + Send>;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// All threads are busy and the queue is full (or no thread could be started).
    Busy,
    /// The work panicked.
    Panicked,
}

/// The pool; clones share it. Its threads are started when first needed and end with the last clone.
#[derive(Clone)]
pub struct Blocking(Arc<Pool>);

/// Tells the threads to end when the last [`Blocking`] is gone: they hold only the queue.
struct Pool {
    queue: Arc<Queue>,
    threads: usize,
    most_waiting: usize,
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.queue.state).closed = true;
        self.queue.changed.notify_all();
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Blocking {
    /// At most `threads` threads, and at most `queue` pieces of work waiting for one.
    pub fn new(threads: usize, queue: usize) -> Self {
        Blocking(Arc::new(Pool { queue: Arc::default(), threads: threads.max(1), most_waiting: queue }))
    }

    /// Runs `work` on a thread of the pool. It is queued at once, and done even if the future is dropped, unless that
    /// happens before its turn.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Working<T> {
        let result = Arc::new(Mutex::new(Slot { outcome: None, waker: None }));
        let theirs = Arc::downgrade(&result);
        let job = Box::new(move || {
            if theirs.strong_count() == 0 {
                return;
            }
            let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|_| Failure::Panicked);
            if let Some(slot) = theirs.upgrade() {
                put(&slot, outcome);
            }
        });
        if !self.0.push(job) {
            put(&result, Err(Failure::Busy));
        }
        Working(result)
    }
}

impl Pool {
    /// Queues a job; `false` if there is no room for it.
    fn push(&self, job: Job) -> bool {
        let mut jobs = lock(&self.queue.state);
        if jobs.waiting.len() >= jobs.idle && jobs.threads < self.threads && self.start_thread() {
            jobs.threads += 1;
            jobs.idle += 1;
        }
        if jobs.threads == 0 || jobs.waiting.len() >= self.most_waiting + jobs.idle {
            return false;
        }
        jobs.waiting.push_back(job);
        self.queue.changed.notify_one();
        true
    }

    fn start_thread(&self) -> bool {
        let queue = self.queue.clone();
        thread::Builder::new().name("blocking".into()).spawn(move || queue.work()).is_ok()
    }
}

impl Queue {
    /// A thread's life. It counts as idle when it starts.
    fn work(&self) {
        let mut jobs = lock(&self.state);
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                jobs.idle -= 1;
                drop(jobs);
                // The job catches what the work does; this is for what a dropped result does.
                let _ = catch_unwind(AssertUnwindSafe(job));
                jobs = lock(&self.state);
                jobs.idle += 1;
            } else if jobs.closed {
                return;
            } else {
                jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

struct Slot<T> {
    outcome: Option<Result<T, Failure>>,
    waker: Option<Waker>,
}

fn put<T>(slot: &Mutex<Slot<T>>, outcome: Result<T, Failure>) {
    let waker = {
        let mut slot = lock(slot);
        slot.outcome = Some(outcome);
        slot.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The result of a piece of work, when it is done. It may be awaited on any loop.
#[must_use = "the result is lost unless awaited"]
pub struct Working<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for Working<T> {
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        if let Some(outcome) = slot.outcome.take() {
            return Poll::Ready(outcome);
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
