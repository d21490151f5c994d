//! What is known of names, and who waits for what is being asked; shared by all threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::{Known, Unresolved, Wanted};

/// Names, with what is known of them.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    all: HashMap<(Wanted, Box<str>), State>,
    /// At this size what is out of date is looked for.
    sweep_at: usize,
}

#[derive(Debug)]
enum State {
    Known(Arc<Known>),
    Asking(Arc<Query>),
}

/// What the cache has of a name.
pub(super) enum Entry {
    /// It is known.
    Known(Arc<Known>),
    /// Somebody asks.
    Asking(Arc<Query>),
    /// The caller is to ask.
    New(Arc<Query>),
}

/// A name that is being asked for.
#[derive(Debug, Default)]
pub(super) struct Query(Mutex<Outcome>);

#[derive(Debug, Default)]
struct Outcome {
    result: Option<Result<Arc<Known>, Unresolved>>,
    waiting: Vec<Waker>,
}

/// The least number of names at which the cache is swept.
const SWEEP: usize = 1024;
/// The most names that are kept: more can only be a flood of them.
const MOST: usize = 65_536;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// What there is of a name.
    pub fn find(&self, name: &str, wanted: Wanted, now: Instant) -> Entry {
        let mut names = lock(&self.0);
        let key = key(name, wanted);
        match names.all.get(&key) {
            Some(State::Known(known)) if known.until > now => return Entry::Known(known.clone()),
            Some(State::Asking(query)) => return Entry::Asking(query.clone()),
            _ => {}
        }
        names.make_room(now);
        let query = Arc::new(Query::default());
        names.all.insert(key, State::Asking(query.clone()));
        Entry::New(query)
    }
    /// A question is over. What cannot be found is asked for again at once, as in nginx.
    pub fn finish(&self, name: &str, wanted: Wanted, query: &Query, result: Result<Arc<Known>, Unresolved>) {
        let mut names = lock(&self.0);
        let key = key(name, wanted);
        match &result {
            Ok(known) => drop(names.all.insert(key, State::Known(known.clone()))),
            Err(_) => names.forget(&key, query),
        }
        drop(names);
        query.finish(result);
    }
    /// One waits no longer. Who comes when nobody is left asks anew: the answer to an old question may never come.
    pub fn leave(&self, name: &str, wanted: Wanted, query: &Arc<Query>) {
        // The names, the task that asks, and the one who leaves.
        if Arc::strong_count(query) <= 3 {
            lock(&self.0).forget(&key(name, wanted), query);
        }
    }
}

fn key(name: &str, wanted: Wanted) -> (Wanted, Box<str>) {
    (wanted, name.trim_end_matches('.').to_ascii_lowercase().into_boxed_str())
}

impl Names {
    /// Ends a question, unless another has taken its place.
    fn forget(&mut self, key: &(Wanted, Box<str>), query: &Query) {
        if matches!(self.all.get(key), Some(State::Asking(asking)) if std::ptr::eq(&**asking, query)) {
            self.all.remove(key);
        }
    }
    fn make_room(&mut self, now: Instant) {
        if self.all.len() < self.sweep_at.max(SWEEP) {
            return;
        }
        let keep = |state: &State| match state {
            State::Known(known) => known.until > now,
            State::Asking(_) => true,
        };
        self.all.retain(|_, state| keep(state));
        if self.all.len() >= MOST {
            self.all.retain(|_, state| matches!(state, State::Asking(_)));
        }
        self.sweep_at = self.all.len() * 2;
    }
}

impl Query {
    /// Ready when the question is over.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Arc<Known>, Unresolved>> {
        let mut outcome = lock(&self.0);
        if let Some(result) = &outcome.result {
            return Poll::Ready(result.clone());
        }
        if !outcome.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            outcome.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
    fn finish(&self, result: Result<Arc<Known>, Unresolved>) {
        let mut outcome = lock(&self.0);
        outcome.result = Some(result);
        let waiting = std::mem::take(&mut outcome.waiting);
        drop(outcome);
        waiting.into_iter().for_each(Waker::wake);
    }
}
