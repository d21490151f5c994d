//! What modules put into the phases: steps that judge a request, handlers that answer it.
//!
//! Both say what they decided at once where they can; only what has to wait costs a boxed future.

use std::future::Future;
use std::pin::Pin;

use super::phases::Next;
use super::request::Request;
use crate::flow::{Check, Verdict};

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
}
