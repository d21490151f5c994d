//! Tasks that serve streams. One that has served a stream waits for the next: its future, which is large, is made once.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::gather::Head;
use crate::connection;
use crate::http::client::Client;
use crate::worker::local::LocalGeneration;
use crate::worker::thread::Thread;

/// So many wait at most, for each thread.
const MOST: usize = 256;

/// The tasks of a thread that wait for streams.
#[derive(Default)]
pub struct Workers(RefCell<Vec<Rc<Desk>>>);

/// Where the next stream is laid.
#[derive(Default)]
struct Desk {
    job: RefCell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

/// A stream to serve: its client, its head, and the configuration it belongs to.
pub struct Job(pub Client, pub Head, pub Rc<LocalGeneration>);

impl Workers {
    /// Lets a task serve a stream.
    pub fn serve(&self, thread: &Rc<Thread>, job: Job) {
        let Some(desk) = self.0.borrow_mut().pop() else {
            return thread.handle.spawn(work(thread.clone(), job));
        };
        *desk.job.borrow_mut() = Some(job);
        if let Some(waker) = desk.waker.take() {
            waker.wake();
        }
    }
    /// Waits for the next stream; `None`: enough others do.
    async fn next(&self, desk: &Rc<Desk>) -> Option<Job> {
        {
            let mut waiting = self.0.borrow_mut();
            if waiting.len() >= MOST {
                return None;
            }
            waiting.push(desk.clone());
        }
        let job = std::future::poll_fn(|cx| match desk.job.take() {
            Some(job) => Poll::Ready(job),
            None => {
                *desk.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        });
        Some(job.await)
    }
}

async fn work(thread: Rc<Thread>, first: Job) {
    let desk = Rc::new(Desk::default());
    let mut next = Some(first);
    while let Some(job) = next {
        one(&thread, job).await;
        next = thread.streams.next(&desk).await;
    }
}

/// One stream: a request from its head to its log line.
async fn one(thread: &Rc<Thread>, Job(client, head, generation): Job) {
    let mut request = thread.request();
    request.use_client(client, generation);
    connection::serve_stream(thread, &mut request, head).await;
    drop(request.client.take());
    thread.give_request(request);
}
