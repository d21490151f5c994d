//! Connections to upstream servers that speak HTTP/2: several requests share one, each a stream of its own.
//!
//! A line is driven by a task of its own. It rests while it has no streams, and counts then among the connections at
//! rest; whoever closes it takes the connection out from under its task, which ends.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};

use super::group::KeepAlive;
use super::pool::{Key, Link};
use crate::http2::io::{Pipe, Wire};
use crate::worker::thread::Thread;

/// How much a server may send on one stream before somebody takes it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The windows of the streams are the bound, not that of their connection.
const LINE_WINDOW: u32 = (1 << 31) - 1;
/// So much of a request's body waits for the server beyond what its window allows.
const SEND_BUFFER: usize = 64 * 1024;

/// A connection for several requests.
pub struct Line {
    thread: Rc<Thread>,
    /// `None`: it is closed.
    open: RefCell<Option<Open>>,
    /// Whom it leads to, and how long it is kept; `None`: it has one stream only.
    kept: Option<(u32, Key, KeepAlive)>,
    opened: Instant,
    streams: Cell<usize>,
    /// It counts among the connections at rest.
    rests: Cell<bool>,
    /// It takes no more requests.
    worn: Cell<bool>,
    requests: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}
struct Open {
    connection: Connection<Wire<Link>, Bytes>,
    sender: SendRequest<Bytes>,
    link: Rc<Link>,
}

/// One request's place on a line.
pub struct Place(Rc<Line>);

impl Pipe for Link {
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Link::poll_read(self, cx, into)
    }
    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_writev(slices) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_writable(cx))?,
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Line {
    /// Begins to speak HTTP/2 on a new connection. A head may have `longest` bytes.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn begin(
        thread: &Rc<Thread>,
        link: Link,
        kept: Option<(u32, Key, KeepAlive)>,
        longest: usize,
    ) -> Result<Rc<Line>, h2::Error> {
        let (opened, link) = (link.opened, Rc::new(link));
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(LINE_WINDOW)
            .max_header_list_size(u32::try_from(longest).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER);
        let (sender, connection) = builder.handshake(Wire(link.clone())).await?;
        link.socket.set_deadline(None);
        let line = Rc::new(Line {
            thread: thread.clone(),
            open: RefCell::new(Some(Open { connection, sender, link })),
            kept,
            opened,
            streams: Cell::new(0),
            rests: Cell::new(false),
            worn: Cell::new(false),
            requests: Cell::new(0),
            waker: RefCell::default(),
        });
        if line.kept.is_some() {
            thread.upstreams.lines().push(line.clone());
        }
        thread.handle.spawn(drive(line.clone()));
        Ok(line)
    }
    /// Begins a stream.
    ///
    /// # Errors
    /// When the line is closed, or the head is none that HTTP/2 can have.
    pub fn request(
        self: &Rc<Line>,
        head: http::Request<()>,
        end: bool,
    ) -> Result<(Place, ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Err(h2::Reason::REFUSED_STREAM.into()) };
        let (answer, body) = open.sender.send_request(head, end)?;
        self.wake_up();
        open.link.socket.set_deadline(None);
        self.streams.set(self.streams.get() + 1);
        self.requests.set(self.requests.get() + 1);
        Ok((Place(self.clone()), answer, body))
    }
    /// Whether a request for that server may join.
    pub(super) fn takes(&self, group: u32, key: Key, now: Instant) -> bool {
        let Some((own_group, own_key, keep)) = &self.kept else { return false };
        let Ok(open) = self.open.try_borrow() else { return false };
        let Some(open) = &*open else { return false };
        (*own_group, *own_key) == (group, key)
            && !self.worn.get()
            && self.requests.get() < keep.requests
            && now.saturating_duration_since(self.opened) < keep.time
            && self.streams.get() < open.sender.current_max_send_streams()
            && !open.link.socket.peer_closed()
    }
    /// Whether it is at rest.
    pub(super) fn rests(&self) -> bool {
        self.rests.get()
    }
    fn wake_up(&self) {
        if self.rests.take() {
            self.thread.upstreams.count_resting_line(false);
        }
    }
    /// Which group it leads to.
    pub(super) fn group(&self) -> Option<u32> {
        self.kept.as_ref().map(|(group, ..)| *group)
    }
    /// Closes the connection; streams that there still are fail.
    pub(super) fn close(&self) {
        self.wake_up();
        if let Ok(mut open) = self.open.try_borrow_mut() {
            *open = None;
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.replace(Some(cx.waker().clone()));
        let Ok(mut open) = self.open.try_borrow_mut() else { return Poll::Ready(()) };
        let Some(inside) = &mut *open else { return Poll::Ready(()) };
        // What went wrong is told to its streams.
        let _ = ready!(Pin::new(&mut inside.connection).poll(cx));
        *open = None;
        self.wake_up();
        Poll::Ready(())
    }
    /// The last stream ended: it goes to rest, if it may.
    fn rest(&self) {
        let now = self.thread.handle.now();
        let Some((group, key, keep)) = &self.kept else { return self.close() };
        let others = self.thread.upstreams.resting_lines(*group);
        if self.thread.draining() || others >= keep.connections || !self.takes(*group, *key, now) {
            return self.close();
        }
        if let Some(open) = &*self.open.borrow() {
            open.link.socket.set_deadline(Some(now + keep.timeout));
        }
        self.rests.set(true);
        self.thread.upstreams.count_resting_line(true);
        super::pool::begin_sweeping(&self.thread);
    }
}

impl Place {
    /// The server does not want any more: other requests take another line.
    pub fn wear_out(&self) {
        self.0.worn.set(true);
    }
}
impl Drop for Place {
    fn drop(&mut self) {
        let line = &self.0;
        line.streams.set(line.streams.get() - 1);
        if line.streams.get() == 0 {
            line.rest();
        }
    }
}

/// Runs as long as the connection is open.
async fn drive(line: Rc<Line>) {
    std::future::poll_fn(|cx| line.poll(cx)).await;
    line.thread.upstreams.lines().retain(|other| !Rc::ptr_eq(other, &line));
}
