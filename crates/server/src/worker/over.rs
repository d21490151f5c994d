//! `worker_shutdown_timeout`: what was begun with a configuration that is no longer in force ends so long after it went, as in
//! nginx, whose old workers end then.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::thread::Thread;

/// The generations of a thread whose time is over, as long as somebody has not heard of it.
#[derive(Default)]
pub struct Over {
    some: Cell<bool>,
    all: Cell<bool>,
    numbers: RefCell<Vec<u32>>,
}

impl Over {
    fn has(&self, number: u32) -> bool {
        self.some.get() && (self.all.get() || self.numbers.borrow().contains(&number))
    }
    fn begin(&self, number: u32) {
        self.numbers.borrow_mut().push(number);
        self.some.set(true);
    }
    fn end(&self, number: u32) {
        let mut numbers = self.numbers.borrow_mut();
        numbers.retain(|other| *other != number);
        self.some.set(self.all.get() || !numbers.is_empty());
    }
    fn begin_all(&self) {
        self.all.set(true);
        self.some.set(true);
    }
}

/// Goes on with `work`, of a request with the generation of this number, as long as its time is not over; `None`: it is.
pub fn unless_over<F: Future>(
    thread: &Thread,
    number: u32,
    mut work: Pin<&mut F>,
) -> impl Future<Output = Option<F::Output>> {
    std::future::poll_fn(move |cx| match thread.over.has(number) {
        true => Poll::Ready(None),
        false => work.as_mut().poll(cx).map(Some),
    })
}

/// Ends what was begun with a generation, so long after it went.
pub async fn end_one(thread: Rc<Thread>, number: u32, after: Duration) {
    thread.handle.sleep(after).await;
    thread.over.begin(number);
    thread.forget_retired(number);
    poll_all(&thread).await;
    thread.over.end(number);
}

/// Ends the thread so long after it was told to end.
pub async fn end_all(thread: Rc<Thread>, after: Duration) {
    thread.handle.sleep(after).await;
    thread.over.begin_all();
    poll_all(&thread).await;
    thread.handle.stop();
}

/// Has every task of the thread polled, and returns when all have been.
async fn poll_all(thread: &Thread) {
    thread.handle.wake_all();
    let mut polls = 0;
    std::future::poll_fn(|cx| {
        polls += 1;
        match polls {
            // This task is woken with all others ..
            1 => Poll::Pending,
            // .. and then behind the last of them.
            2 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    })
    .await;
}
