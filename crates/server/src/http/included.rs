//! Answers of other requests as parts of a body.
//!
//! Each is asked for by a request of its own that goes on beside the one it is within, so that several are on their way
//! at once; in the body they stand in the order in which they were asked for. One that comes from an upstream is taken
//! in meanwhile as far as its buffers allow.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::client::Client;
use super::filters::Unfit;
use super::phases;
use super::pieces;
use super::request::Request;
use super::response::{Body, More};
use super::subrequest::{self, Takes};

/// Another request's answer.
pub struct Included(State);

enum State {
    /// Nothing of it was looked at.
    Runs(Rc<Slot>),
    /// Its head is there, and what was not taken of its body.
    Here(Box<Request>),
    Over,
}

/// What the request and the one it is within know of each other.
#[derive(Default)]
struct Slot {
    arrived: Cell<Option<Box<Request>>>,
    /// It is its turn.
    wanted: Cell<bool>,
    /// Nobody waits for it any more.
    left: Rc<Cell<bool>>,
    runs: RefCell<Option<Waker>>,
    waits: RefCell<Option<Waker>>,
}

fn wake(waker: &RefCell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Included {
    /// Asks another path with GET, beside `request`. `None` if that is too deep; it is logged.
    pub fn ask(request: &mut Request, uri: &[u8], args: &[u8]) -> Option<Included> {
        if !subrequest::is_room(request, uri) {
            return None;
        }
        let mut sub = subrequest::beside(request, uri, args, Takes::Nothing).ok()?;
        sub.share_id(request);
        let slot = Rc::new(Slot::default());
        sub.client.watch(slot.left.clone());
        let thread = sub.thread.clone();
        let (serving, for_it) = (thread.serving(), slot.clone());
        thread.handle.spawn(async move {
            let mut run = pin!(for_it.run(sub));
            std::future::poll_fn(|cx| {
                *for_it.runs.borrow_mut() = Some(cx.waker().clone());
                run.as_mut().poll(cx)
            })
            .await;
            drop(serving);
        });
        Some(Included(State::Runs(slot)))
    }

    /// The request, when its head is there; `None` when it was over before. Variables are in it as it left them.
    ///
    /// # Errors
    /// When the client left meanwhile, or is to get nothing ([`Silence`]).
    pub async fn arrived(&mut self, by: &mut Request) -> io::Result<Option<&mut Request>> {
        if let State::Runs(slot) = &self.0 {
            slot.wanted.set(true);
            wake(&slot.runs);
            let sub = std::future::poll_fn(|cx| slot.poll(cx, &by.client)).await?;
            self.0 = State::Here(sub);
        }
        match &mut self.0 {
            State::Here(sub) => match sub.silenced() {
                Some(status) => Err(io::Error::other(Silence(status))),
                None => Ok(Some(sub)),
            },
            _ => Ok(None),
        }
    }
    /// What comes next of its body; `None` at the end. One that breaks off ends there, and is logged.
    ///
    /// # Errors
    /// When nothing can follow at all.
    pub async fn next(&mut self, by: &mut Request) -> io::Result<Option<Body>> {
        match self.arrived(by).await? {
            Some(sub) => next_of(sub).await,
            None => Ok(None),
        }
    }
    /// What is left of its body, in memory; a little more than `most` bytes of it at most.
    ///
    /// # Errors
    /// As [`Included::next`].
    pub async fn take(&mut self, by: &mut Request, most: usize) -> io::Result<Vec<u8>> {
        let mut taken = Vec::new();
        while taken.len() <= most
            && let Some(mut body) = self.next(by).await?
        {
            while taken.len() <= most
                && let Some(piece) = pieces::next(by, &mut body).await?
            {
                taken.extend_from_slice(&piece.text);
            }
        }
        Ok(taken)
    }
    /// Variables are for `by` what they became here.
    pub fn leave_values(&mut self, by: &mut Request) {
        if let State::Here(sub) = &mut self.0 {
            std::mem::swap(&mut by.values, &mut sub.values);
        }
    }
    /// Whether its body comes from an upstream, piece by piece.
    pub fn flows(&mut self) -> bool {
        match &mut self.0 {
            State::Here(sub) => sub.response.body.is_live(),
            _ => false,
        }
    }
    /// While the client is busy: see [`More::fill`].
    pub fn fill(&mut self, cx: &mut Context<'_>) {
        if let State::Here(sub) = &mut self.0 {
            sub.response.body.fill(cx);
        }
    }
}

impl Drop for Included {
    fn drop(&mut self) {
        if let State::Runs(slot) = &self.0 {
            slot.left.set(true);
            wake(&slot.runs);
            if let Some(sub) = slot.arrived.take() {
                give_back(sub);
            }
        }
        if let State::Here(sub) = std::mem::replace(&mut self.0, State::Over) {
            give_back(sub);
        }
    }
}

impl More for Included {
    fn narrow(&mut self, _: std::ops::Range<u64>) -> Option<u64> {
        None
    }
    fn next<'a>(
        &'a mut self,
        request: &'a mut Request,
    ) -> std::pin::Pin<Box<dyn Future<Output = io::Result<Option<Body>>> + 'a>> {
        Box::pin(Included::next(self, request))
    }
    fn fill(&mut self, cx: &mut Context<'_>) {
        Included::fill(self, cx);
    }
}

impl Slot {
    async fn run(&self, mut sub: Box<Request>) {
        phases::within(&mut sub).await;
        subrequest::settle(&mut sub).await;
        if let Some(upstream) = sub.response.body.upstream_mut() {
            let turn = |cx: &mut Context<'_>| match self.wanted.get() || self.left.get() {
                true => Poll::Ready(()),
                false => {
                    upstream.poll_fill(cx);
                    Poll::Pending
                }
            };
            std::future::poll_fn(turn).await;
        }
        if self.left.get() {
            return give_back(sub);
        }
        self.arrived.set(Some(sub));
        wake(&self.waits);
    }
    fn poll(&self, cx: &mut Context<'_>, client: &Client) -> Poll<io::Result<Box<Request>>> {
        if let Some(sub) = self.arrived.take() {
            return Poll::Ready(Ok(sub));
        }
        *self.waits.borrow_mut() = Some(cx.waker().clone());
        match client.poll_closed(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// With this status an answer within another ends all of it: the client gets nothing more.
#[derive(Debug)]
pub struct Silence(u16);
impl Silence {
    /// The status, if the error is one of these.
    pub fn of(error: &io::Error) -> Option<u16> {
        Some(error.get_ref()?.downcast_ref::<Silence>()?.0)
    }
}
impl std::error::Error for Silence {}
impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "closed with status {}", self.0)
    }
}

/// The next piece of a request's own body, with something in it.
async fn next_of(sub: &mut Request) -> io::Result<Option<Body>> {
    loop {
        let body = std::mem::take(&mut sub.response.body);
        if body.is_over() {
            return Ok(None);
        }
        let next = match body {
            Body::File(_) | Body::Memory(_) | Body::Static(_) => return Ok(Some(body)),
            Body::Series(mut series) => {
                let next = series.next(sub).await;
                sub.response.body = Body::Series(series);
                next?
            }
            mut body => {
                let piece = pieces::next(sub, &mut body).await;
                sub.response.body = body;
                match piece {
                    Ok(piece) => piece.map(|piece| Body::Memory(piece.text.into())),
                    Err(error) => {
                        broke_off(sub, &error);
                        None
                    }
                }
            }
        };
        if next.as_ref().is_none_or(|next| !next.is_over()) {
            return Ok(next);
        }
    }
}

/// Says in the log why a body broke off; the status for it, if nothing else was said yet.
pub fn broke_off(request: &mut Request, error: &io::Error) -> u16 {
    if let Some(status) = Silence::of(error) {
        return status;
    }
    if let Some(why) = Unfit::of(error) {
        log_error!(request, "{why}");
        return 500;
    }
    if request.response.body.upstream_mut().is_some() {
        note_upstream(request);
        return 502;
    }
    log_error!(request, "a part of a page cannot be read ({})", crate::log::Errno(error));
    500
}

/// What is to be said of the upstream that a body comes from, and what was had of it.
pub fn note_upstream(request: &mut Request) {
    let mut body = std::mem::take(&mut request.response.body);
    if let Some(upstream) = body.upstream_mut() {
        upstream.account(&mut request.upstream);
        upstream.log(request);
    }
    request.response.body = body;
}

/// The request is over.
fn give_back(mut sub: Box<Request>) {
    note_upstream(&mut sub);
    phases::log_within(&mut sub);
    sub.client = Client::none(sub.started);
    let thread = sub.thread.clone();
    thread.give_request(sub);
}
