//! What a stream and its connection's driver share: windows, what came of the request's body, how it ended.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

/// One stream, seen from both sides.
pub struct Flow {
    /// Its number.
    pub id: u32,
    /// More than the request's head was to come, be it nothing.
    pub has_body: bool,
    /// Bytes that the client takes on it.
    pub window: Cell<i64>,
    /// Bytes that the client may send on it.
    pub credit: Cell<i64>,
    /// What came of the request's body, and nobody took yet.
    pub body: RefCell<Vec<u8>>,
    /// The client sent its last.
    pub in_closed: Cell<bool>,
    /// The last of the answer is set out.
    pub out_closed: Cell<bool>,
    /// The client ended it with this code.
    pub reset: Cell<Option<u32>>,
    /// Nothing goes in or out any more.
    pub over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Flow {
    /// A stream with these windows.
    pub fn new(id: u32, window: i64, credit: i64, in_closed: bool) -> Flow {
        Flow {
            id,
            has_body: !in_closed,
            window: Cell::new(window),
            credit: Cell::new(credit),
            body: RefCell::default(),
            in_closed: Cell::new(in_closed),
            out_closed: Cell::new(false),
            reset: Cell::new(None),
            over: Cell::new(false),
            waker: RefCell::default(),
        }
    }
    /// Whoever serves the stream is woken when anything changes.
    pub fn wait(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
    /// Something changed.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
    /// Nothing goes in or out any more.
    pub fn end(&self) {
        self.over.set(true);
        self.wake();
    }
}
