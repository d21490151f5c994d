//! The body of an upstream's response on its way to the client.
//!
//! A body that came whole with its head is memory, and its connection rests before the client sees a byte. Others are
//! pulled by the sender. While a slow client takes its time, `proxy_buffering` lets the upstream hand over what it has
//! ([`UpstreamBody::poll_fill`]) and be free.

mod decode;
mod inner;
mod parts;
mod read;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use self::inner::Inner;
pub(super) use self::parts::{Coding, Keeper, TunnelParts};
pub use self::parts::{Parts, Rests, UpstreamSource};
use super::failure;
use super::settings::Settings;
use super::spill::Spill;
use crate::http::filters::{Chunk, Piece};
use crate::http::request::Request;
use crate::http::response::Body;
use crate::log::Action;
use crate::upstream::{self, Record};

/// A body that came whole with its head, as most small ones do: its connection rests before the client sees a byte.
fn whole(request: &mut Request, mut parts: Parts, body: Piece) -> Body {
    let now = request.thread.handle.now();
    request.upstream.end_at(now);
    if let Some(last) = request.upstream.last() {
        last.length = body.len() as u64;
    }
    if let Some(held) = &mut parts.held {
        held.finished(request.thread.handle.unix_time());
    }
    if let (Some(UpstreamSource::Link(link)), Some(rests)) = (parts.source, parts.rests) {
        upstream::rest(&request.thread, rests.number, rests.key, &rests.keep, link);
    }
    in_memory(request, body)
}

/// As in nginx, what nobody reads is not read here either.
fn unread(request: &mut Request, mut parts: Parts) -> Body {
    request.upstream.end_at(request.thread.handle.now());
    if let Some(held) = &mut parts.held {
        held.finished(request.thread.handle.unix_time());
    }
    Body::Empty
}

fn in_memory(request: &Request, body: Piece) -> Body {
    if body.is_empty() {
        request.thread.give_buffer(body.into_buffer());
        return Body::Empty;
    }
    Body::Memory(body)
}

/// The body of an upstream's response, while it is passed on.
pub struct UpstreamBody {
    /// There until the body is dropped; full until it becomes a tunnel.
    place: Option<Box<Option<Inner>>>,
}

thread_local! {
    /// Empty places of earlier bodies: a body costs no allocation in the steady state.
    #[allow(clippy::vec_box, reason = "the boxes are what is kept")]
    static PLACES: RefCell<Vec<Box<Option<Inner>>>> = const { RefCell::new(Vec::new()) };
}
/// So many places are kept.
const KEPT: usize = 256;

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        let Some(mut place) = self.place.take() else { return };
        if let Some(inner) = place.take() {
            inner.go_on();
        }
        // While the thread ends there is no list any more, and no need for one.
        let _ = PLACES.try_with(|places| {
            if let Ok(mut places) = places.try_borrow_mut()
                && places.len() < KEPT
            {
                places.push(place);
            }
        });
    }
}

impl UpstreamBody {
    fn new(inner: Inner) -> UpstreamBody {
        let mut place = PLACES.with_borrow_mut(Vec::pop).unwrap_or_default();
        *place = Some(inner);
        UpstreamBody { place: Some(place) }
    }
    fn inner(&self) -> Option<&Inner> {
        self.place.as_ref()?.as_ref().as_ref()
    }
    fn inner_mut(&mut self) -> Option<&mut Inner> {
        self.place.as_mut()?.as_mut().as_mut()
    }
    /// The body behind a head that is in the request's record.
    pub(super) fn begin(
        settings: &Arc<Settings>,
        request: &mut Request,
        parts: Parts,
        buffering: bool,
    ) -> Body {
        let first = request.upstream.part_from_head(request.thread.buffer());
        if request.response.upgrade {
            // What came behind the head is the first of the tunnel.
            let mut inner = Inner::new(settings, request, parts, buffering);
            inner.spill = Spill::begin(first);
            return Body::Upstream(UpstreamBody::new(inner));
        }
        if parts.is_whole(&first) {
            return whole(request, parts, first);
        }
        if request.is_head() && parts.keeper.is_none() {
            return unread(request, parts);
        }
        let mut inner = Inner::new(settings, request, parts, buffering);
        request.response.expects_trailers |= inner.may_trail(request);
        let decoded = inner.decode(first);
        inner.during =
            if buffering || decoded.is_empty() { Action::Upstream } else { Action::SendingUpstream };
        inner.note_stream(&mut request.upstream);
        inner.account(&mut request.upstream);
        if inner.complete {
            inner.log(request);
            inner.pass_trailers(&mut request.response);
            return in_memory(request, decoded);
        }
        inner.spill = Spill::begin(decoded);
        Body::Upstream(UpstreamBody::new(inner))
    }

    /// As in nginx nothing goes out of an answer whose coding is broken before any of it did.
    pub(super) fn give_up_broken(request: &mut Request) {
        let Body::Upstream(body) = &request.response.body else { return };
        let broken = body
            .inner()
            .is_some_and(|inner| inner.failure.is_some() && matches!(inner.coding, Coding::Chunked(_)));
        if broken && let Body::Upstream(mut body) = std::mem::take(&mut request.response.body) {
            body.log(request);
            request.aborted = true;
        }
    }

    /// The next piece of the body; `None` at its end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self.inner_mut() {
            Some(inner) => inner.poll_next(cx),
            None => Poll::Ready(Ok(None)),
        }
    }
    /// While the client is busy: takes what the upstream has, as far as it is to be buffered, and sends it what it has to get.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) {
        let Some(inner) = self.inner_mut() else { return };
        if inner.buffering {
            inner.fill(cx);
        } else if let Some(UpstreamSource::Stream(stream)) = &mut inner.source
            && let Err(failure) = stream.send(cx)
        {
            inner.fail(failure::of_body(failure));
        }
    }
    /// Tells the record of the try what was read so far.
    pub fn account(&self, record: &mut Record) {
        if let Some(inner) = self.inner() {
            inner.account(record);
        }
    }
    /// The body is complete: what follows it goes on to the client.
    pub fn pass_trailers(request: &mut Request) {
        let body = std::mem::take(&mut request.response.body);
        if let Body::Upstream(UpstreamBody { place: Some(place) }) = &body
            && let Some(inner) = &**place
        {
            inner.pass_trailers(&mut request.response);
        }
        request.response.body = body;
    }
    /// Writes to the error log what happened while the body was passed on.
    pub fn log(&mut self, request: &Request) {
        if let Some(inner) = self.inner_mut() {
            inner.log(request);
        }
    }
    /// Whether it ended too early, by the upstream's doing.
    pub fn is_broken(&self) -> bool {
        self.inner().is_some_and(|inner| inner.failure.is_some())
    }
    /// Whether the upstream connection closes when the client's does.
    pub fn minds_client(&self) -> bool {
        self.inner().is_some_and(|inner| !inner.settings.ignore_client_abort && inner.keeper.is_none())
    }
    /// The connection, its timeouts and what was read behind the head: for a tunnel.
    pub(super) fn into_tunnel(mut self) -> Option<TunnelParts> {
        let mut inner = self.place.as_mut()?.take()?;
        let first = inner.spill.pop(|| inner.thread.buffer()).unwrap_or_default().into_vec();
        let UpstreamSource::Link(link) = inner.source.take()? else { return None };
        Some((link, inner.held.take(), inner.settings.clone(), first))
    }
}
