//! The body of an upstream's response on its way to the client.
//!
//! A body that came whole with its head is memory, and its connection rests before the client sees a byte. Others are
//! pulled by the sender. While a slow client takes its time, `proxy_buffering` lets the upstream hand over what it has
//! ([`UpstreamBody::poll_fill`]) and be free.

mod decode;
mod parts;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

pub(super) use self::parts::{Coding, Keeper, TunnelParts};
pub use self::parts::{Parts, Rests, UpstreamSource};
use super::failure;
use super::pace::Pace;
use super::settings::Settings;
use super::spill::Spill;
use crate::http::filters::{Chunk, Piece};
use crate::http::request::Request;
use crate::http::response::Body;
use crate::log::{Action, Level};
use crate::upstream::{self, Held, Record};
use crate::worker::thread::Thread;

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
/// After so many bytes in a row other connections of the thread have their turn.
const BURST: usize = 1 << 20;
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

struct Inner {
    thread: Rc<Thread>,
    settings: Arc<Settings>,
    source: Option<UpstreamSource>,
    held: Option<Held>,
    rests: Option<Rests>,
    coding: Coding,
    keeper: Option<Box<Keeper>>,
    buffering: bool,
    spill: Spill,
    complete: bool,
    failure: Option<String>,
    /// The failure is logged.
    told: bool,
    /// What is to be logged.
    remarks: Vec<(Level, String)>,
    /// What is being done, as nginx says it: without buffering that depends on what came with the head, and on who is waited for.
    during: Action,
    flush: bool,
    waits: bool,
    /// Bytes read since others had their turn.
    burst: usize,
    /// `.._limit_rate`
    pace: Option<Box<Pace>>,
    /// Bytes read with the head.
    with_head: u64,
    /// Bytes sent with the request's head, where its body may still follow.
    sent: u64,
    received: u64,
    /// What stood behind a stream's body.
    trailers: Vec<u8>,
    /// Bytes of the body with its framing (`$upstream_response_length`).
    length: u64,
    ended: Option<Instant>,
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

impl Inner {
    #[inline]
    fn new(settings: &Arc<Settings>, request: &mut Request, parts: Parts, buffering: bool) -> Inner {
        Inner {
            thread: request.thread.clone(),
            settings: settings.clone(),
            source: parts.source,
            held: parts.held,
            rests: parts.rests,
            coding: parts.coding,
            keeper: parts.keeper,
            buffering,
            spill: Spill::default(),
            complete: false,
            failure: None,
            told: false,
            remarks: Vec::new(),
            during: if buffering { Action::Upstream } else { Action::UpstreamHead },
            flush: false,
            waits: false,
            burst: 0,
            pace: Pace::new(settings, request, buffering),
            with_head: request.upstream.last().map_or(0, |last| last.received),
            sent: 0,
            received: 0,
            trailers: Vec::new(),
            length: 0,
            ended: None,
        }
    }
    /// Whether the client may be told that something follows the body: what has a length is given it, unless frames say
    /// where it ends.
    fn may_trail(&self, request: &Request) -> bool {
        self.settings.pass_trailers
            && match &self.source {
                Some(UpstreamSource::Stream(stream)) => {
                    let unknown = request.response.content_length.is_none();
                    !stream.is_end() && (unknown || request.client.is_stream())
                }
                _ => matches!(self.coding, Coding::Chunked(_)),
            }
    }
    /// Of a stream: what was sent before it, and whether it ended with its head.
    fn note_stream(&mut self, record: &mut Record) {
        let Some(UpstreamSource::Stream(stream)) = &self.source else { return };
        self.sent = record.last().map_or(0, |last| last.sent).saturating_sub(stream.sent());
        if !stream.is_end() {
            return;
        }
        match stream.wrong_at_end() {
            Some(what) => self.fail(what.into()),
            None => self.end(),
        }
    }
    fn account(&self, record: &mut Record) {
        let now = self.ended.unwrap_or_else(|| self.thread.handle.now());
        record.end_at(now);
        if let Some(last) = record.last() {
            last.length = self.length;
            last.received = self.with_head + self.received;
            if let Some(UpstreamSource::Stream(stream)) = &self.source {
                last.sent = self.sent + stream.sent();
            }
        }
        if self.ended.is_some() && record.trailers.is_empty() {
            record.trailers.extend_from_slice(self.trailers());
        }
    }
    fn trailers(&self) -> &[u8] {
        match &self.coding {
            Coding::Chunked(decoder) => decoder.trailers(),
            _ => &self.trailers,
        }
    }
    fn log(&mut self, request: &Request) {
        for (level, remark) in self.remarks.drain(..) {
            request.note(level, format_args!("{remark}"));
        }
        if let Some(failure) = self.failure.as_ref().filter(|_| !std::mem::replace(&mut self.told, true)) {
            log_error!(request, "{failure}");
        }
    }
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        loop {
            if std::mem::take(&mut self.flush) && !self.buffering {
                return Poll::Ready(Ok(Some(Chunk::Flush)));
            }
            if !self.spill.is_empty() {
                self.flush = true;
                return Poll::Ready(self.pop().map(Some));
            }
            if self.failure.is_some() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if self.complete {
                return Poll::Ready(Ok(None));
            }
            let Poll::Ready(bytes) = self.read(cx) else { return Poll::Pending };
            let decoded = self.decode(bytes);
            if !decoded.is_empty() {
                self.flush = true;
                return Poll::Ready(Ok(Some(Chunk::Memory(decoded))));
            }
            self.thread.give_buffer(decoded.into_buffer());
        }
    }
    fn pop(&mut self) -> io::Result<Chunk> {
        match self.spill.pop(|| self.thread.buffer()) {
            Ok(bytes) => Ok(Chunk::Memory(bytes)),
            Err(error) => {
                self.fail(format!("pread() from temporary file failed ({})", crate::log::Errno(&error)));
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    /// Reads ahead into memory and the temporary file.
    fn fill(&mut self, cx: &mut Context<'_>) {
        let (memory, most) = (self.settings.memory, self.settings.max_temp_file_size);
        while !self.complete && self.failure.is_none() && self.spill.has_room(memory, most) {
            let Poll::Ready(bytes) = self.read(cx) else { return };
            let decoded = self.decode(bytes);
            if decoded.is_empty() {
                self.thread.give_buffer(decoded.into_buffer());
                continue;
            }
            match self.spill.push(decoded, memory, &self.settings.temp_path) {
                Ok(Some(written)) => self.thread.give_buffer(written.into_buffer()),
                Ok(None) => {}
                Err(error) => {
                    self.fail(format!("writing a temporary file failed ({})", crate::log::Errno(&error)))
                }
            }
            if let Some(path) = self.spill.made.take() {
                let what = format!("an upstream response is buffered to a temporary file {}", path.display());
                self.remark(Level::Warn, what);
            }
        }
    }

    /// What the upstream has; empty when that is nothing any more.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let link = match &mut self.source {
            Some(UpstreamSource::Link(link)) => &*link,
            Some(UpstreamSource::Stream(_)) => return self.read_stream(cx),
            None => {
                self.end();
                return Poll::Ready(Piece::default());
            }
        };
        let mut most = usize::MAX;
        if let Some(pace) = &mut self.pace {
            most = ready!(pace.poll(cx, &self.thread, self.with_head + self.received));
        }
        if self.burst >= BURST {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let error = loop {
            if link.maybe_readable() {
                let mut buffer = self.thread.block();
                let read = match most {
                    usize::MAX => link.try_append(&mut buffer),
                    most => {
                        buffer.resize(most.min(crate::worker::thread::BLOCK), 0);
                        let read = link.try_read(&mut buffer);
                        buffer.truncate(*read.as_ref().unwrap_or(&0));
                        read
                    }
                };
                match read {
                    Ok(0) => break None,
                    Ok(n) => {
                        self.received += n as u64;
                        self.waits = false;
                        self.burst += n;
                        return Poll::Ready(buffer.into());
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.thread.give_buffer(buffer),
                    Err(e) => break Some(e),
                }
            }
            if !std::mem::replace(&mut self.waits, true) {
                link.socket.set_timeout(self.settings.read_timeout);
            }
            match link.poll_readable(cx) {
                Poll::Pending => {
                    self.burst = 0;
                    self.during = Action::Upstream;
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => break Some(e),
            }
        };
        match error {
            None if self.coding.ends_by_closing() => self.end(),
            None => self.fail("upstream prematurely closed connection".into()),
            Some(e) if e.kind() == io::ErrorKind::TimedOut => {
                self.fail("upstream timed out (110: Connection timed out)".into());
            }
            Some(e) => {
                let call = if self.buffering { "readv()" } else { "recv()" };
                self.fail(format!("{call} failed ({})", crate::log::Errno(&e)));
            }
        }
        Poll::Ready(Piece::default())
    }

    fn read_stream(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        if let Some(pace) = &mut self.pace {
            ready!(pace.poll(cx, &self.thread, self.with_head + self.received));
        }
        let Some(UpstreamSource::Stream(stream)) = &mut self.source else {
            return Poll::Ready(Piece::default());
        };
        let mut buffer = self.thread.buffer();
        let came = stream.poll_body(cx, &mut buffer, &mut self.trailers);
        if matches!(came, Poll::Ready(Ok(()))) && !buffer.is_empty() {
            self.received += buffer.len() as u64;
            return Poll::Ready(buffer.into());
        }
        self.thread.give_buffer(buffer);
        match ready!(came) {
            Ok(()) => self.end(),
            Err(failure) => self.fail(failure::of_body(failure)),
        }
        Poll::Ready(Piece::default())
    }

    /// Nobody takes the body any more: what is being kept is still read to its end.
    fn go_on(mut self) {
        if self.keeper.is_none() || self.complete || self.failure.is_some() {
            return;
        }
        self.pace = None;
        let handle = self.thread.handle.clone();
        handle.spawn(async move { std::future::poll_fn(|cx| self.poll_rest(cx)).await });
    }
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.keeper.is_some() && !self.complete && self.failure.is_none() {
            let bytes = ready!(self.read(cx));
            let decoded = self.decode(bytes);
            self.thread.give_buffer(decoded.into_buffer());
        }
        Poll::Ready(())
    }
    fn said(&self, what: &str) -> String {
        format!("{what} while {}", self.during.text().unwrap_or_default())
    }
    fn remark(&mut self, level: Level, what: String) {
        self.remarks.push((level, self.said(&what)));
    }
    fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            self.failure = Some(self.said(&what));
        }
        self.rests = None;
        self.close();
    }
    /// The body is complete: its connection rests, its server is done.
    fn end(&mut self) {
        self.complete = true;
        self.close();
    }
    fn close(&mut self) {
        self.ended.get_or_insert(self.thread.handle.now());
        if let Some(mut held) = self.held.take() {
            held.finished(self.thread.handle.unix_time());
        }
        let Some(UpstreamSource::Link(link)) = self.source.take() else { return };
        let reusable = match &self.coding {
            Coding::Other(answer) => answer.is_reusable(),
            _ => true,
        };
        if let Some(rests) = self.rests.take().filter(|_| reusable) {
            upstream::rest(&self.thread, rests.number, rests.key, &rests.keep, link);
        }
    }
}
