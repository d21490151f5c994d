//! Requests that wait for a server to be free (`queue`), or for the first word about a name (`server .. resolve`): first
//! come, first served, on whichever threads they are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::group::{Group, Held, Turn};
use crate::http::request::Request;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many: looked at without the lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    all: VecDeque<(u64, Waker)>,
}

/// How many may wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// `queue`'s number.
    pub most: usize,
    /// `timeout=`
    pub timeout: Duration,
}

/// Why somebody waited in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// As many wait as may.
    Full,
    /// No server was free in time.
    Late,
    /// The client left.
    Gone,
}

/// A failed server comes back without an event: it is looked for so often.
const LOOK: Duration = Duration::from_secs(1);

/// A place in the queue, given up when dropped.
struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }
    /// How many wait.
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }
    /// A server may be free: the first may look.
    pub fn wake_first(&self) {
        if self.is_empty() {
            return;
        }
        let first = self.lock().all.front().map(|(_, waker)| waker.clone());
        first.into_iter().for_each(Waker::wake);
    }
    fn join(&self, most: usize) -> Option<Ticket<'_>> {
        let mut waiting = self.lock();
        if waiting.all.len() >= most {
            return None;
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.all.push_back((number, Waker::noop().clone()));
        self.count.store(waiting.all.len(), Relaxed);
        Some(Ticket { queue: self, number })
    }
}

impl Ticket<'_> {
    /// Notes whom to wake; whether it is the first.
    fn note(&self, waker: &Waker) -> bool {
        let mut waiting = self.queue.lock();
        if let Some((_, known)) = waiting.all.iter_mut().find(|(number, _)| *number == self.number) {
            known.clone_from(waker);
        }
        waiting.all.front().is_some_and(|(number, _)| *number == self.number)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.all.retain(|(number, _)| *number != self.number);
        self.queue.count.store(waiting.all.len(), Relaxed);
        drop(waiting);
        self.queue.wake_first();
    }
}

/// Waits for a server.
pub(super) async fn wait(
    group: &Arc<Group>,
    turn: &mut Turn,
    request: &Request,
    patience: Patience,
    minds_client: bool,
) -> Result<Held, NoTurn> {
    let ticket = group.queue.join(patience.most).ok_or(NoTurn::Full)?;
    let handle = &request.thread.handle;
    let client = request.client.peer.ip();
    let mut end = std::pin::pin!(handle.sleep(patience.timeout));
    let mut look = std::pin::pin!(handle.sleep(LOOK));
    std::future::poll_fn(|cx| {
        if minds_client && request.client.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(NoTurn::Gone));
        }
        // Noted before it looks: a server that is free meanwhile is not missed.
        if ticket.note(cx.waker()) {
            turn.restart();
            if let Some(held) = group.choose(turn, handle.unix_time(), client) {
                return Poll::Ready(Ok(held));
            }
        }
        // What was waited for may have come, and be nothing.
        if end.as_mut().poll(cx).is_ready() || group.patience().is_none() {
            return Poll::Ready(Err(NoTurn::Late));
        }
        while look.as_mut().poll(cx).is_ready() {
            look.set(handle.sleep(LOOK));
        }
        Poll::Pending
    })
    .await
}
