//! What modules put into the phases: steps that judge a request, handlers that answer it.
//!
//! Both say what they decided at once where they can; only what has to wait costs a boxed future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::phases::Next;
use super::request::Request;
use crate::flow::{Check, Verdict};
use crate::upstream::Group;

/// What is decided, now or later.
pub enum Outcome<'a, T> {
    /// Decided.
    Now(T),
    /// Decided when this is ready.
    Wait(Pin<Box<dyn Future<Output = T> + 'a>>),
}
impl<'a, T> Outcome<'a, T> {
    /// Decided when `future` is ready.
    pub fn wait(future: impl Future<Output = T> + 'a) -> Outcome<'a, T> {
        Outcome::Wait(Box::pin(future))
    }
    /// What is decided in the end.
    pub async fn outcome(self) -> T {
        match self {
            Outcome::Now(decided) => decided,
            Outcome::Wait(future) => future.await,
        }
    }
}
impl<T> From<T> for Outcome<'_, T> {
    fn from(decided: T) -> Self {
        Outcome::Now(decided)
    }
}

/// A configured step of a phase before the content: it lets the request go on, or rejects it.
///
/// What needs no more than a [`crate::flow::Flow`] is a [`Check`], and a step by that.
pub trait Step: Send + Sync {
    /// Looks at the request; once for each pass through a location.
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict>;
}
impl<C: Check> Step for C {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        Outcome::Now(Check::check(self, request))
    }
}

/// What answers the requests of a location.
pub trait Handler: Send + Sync {
    /// Fills `Request::response` ([`Next::Respond`]), or says what is to be done instead.
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next>;
    /// Whether it passes requests on: `/path` is then redirected to a location `/path/`.
    fn passes_on(&self) -> bool {
        false
    }
    /// Whether it takes CONNECT, which servers refuse otherwise.
    fn tunnels(&self) -> bool {
        false
    }
    /// The servers it asks, if they are always the same.
    fn asks(&self) -> Option<&Arc<Group>> {
        None
    }
}

/// Waits in the middle of the phases, for as long as the client stays: one that goes away is 499, as in nginx.
pub async fn pause(request: &mut Request, time: Duration) -> Verdict {
    let mut sleep = std::pin::pin!(request.thread.handle.sleep(time));
    let stays = std::future::poll_fn(|cx| {
        if sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        request.client.poll_closed(cx).map(|()| false)
    });
    if stays.await {
        return Verdict::Next;
    }
    log_info!(request, "client prematurely closed connection");
    request.aborted = true;
    Verdict::Reject(499)
}
