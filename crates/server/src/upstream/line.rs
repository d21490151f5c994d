//! Connections to upstream servers that speak HTTP/2: several requests share one, each a stream of its own.
//!
//! A line is driven by a task of its own, which reads and sends; what streams set out is gathered and sent once a turn.
//! It rests while it has no streams, and counts then among the connections at rest; whoever closes it takes the
//! connection out from under its task, which ends.

use std::cell::{Cell, RefCell, RefMut};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use frames::{Client, Fault};

use super::group::KeepAlive;
use super::pool::{Key, Link};
use crate::worker::thread::Thread;

/// After so many bytes read in one turn others have theirs.
const BURST: usize = 256 * 1024;

/// A connection for several requests.
pub struct Line {
    thread: Rc<Thread>,
    /// `None`: it is closed.
    link: RefCell<Option<Link>>,
    client: RefCell<Client>,
    /// What broke the connection, if something did.
    error: RefCell<Option<io::Error>>,
    /// Whom it leads to, and how long it is kept; `None`: it has one stream only.
    kept: Option<(u32, Key, KeepAlive)>,
    opened: Instant,
    /// It counts among the connections at rest.
    rests: Cell<bool>,
    requests: Cell<u32>,
    waker: RefCell<Option<Waker>>,
    /// Its task is at it, or was told to be: it sends what there is.
    awake: Cell<bool>,
}

/// One request's place on a line.
pub struct Place {
    line: Rc<Line>,
    id: u32,
}

impl Line {
    /// Begins to speak HTTP/2 on a new connection.
    pub fn begin(thread: &Rc<Thread>, link: Link, kept: Option<(u32, Key, KeepAlive)>) -> Rc<Line> {
        link.socket.set_deadline(None);
        let line = Rc::new(Line {
            thread: thread.clone(),
            opened: link.opened,
            link: RefCell::new(Some(link)),
            client: RefCell::default(),
            error: RefCell::default(),
            kept,
            rests: Cell::new(false),
            requests: Cell::new(0),
            waker: RefCell::default(),
            awake: Cell::new(true),
        });
        if line.kept.is_some() {
            thread.upstreams.lines().push(line.clone());
        }
        thread.handle.spawn(drive(line.clone()));
        line
    }
    /// Begins a stream with a request's head, which is all of it if it `ends` there. The head of the answer may have `limit`
    /// bytes. `None`: nothing can be asked there any more.
    pub fn request(self: &Rc<Line>, head: &[u8], ends: bool, limit: usize) -> Option<Place> {
        let link = self.link.borrow();
        let link = link.as_ref()?;
        let id = self.client.borrow_mut().begin(head, ends, limit)?;
        link.socket.set_deadline(None);
        self.wake_up();
        self.requests.set(self.requests.get() + 1);
        self.wake();
        Some(Place { line: self.clone(), id })
    }
    /// Whether a stream can begin at all.
    pub fn can_ask(&self) -> bool {
        self.link.borrow().is_some() && self.client.borrow().can_begin()
    }
    /// Whether a request for that server may join.
    pub(super) fn takes(&self, group: u32, key: Key, now: Instant) -> bool {
        let Some((own_group, own_key, keep)) = &self.kept else { return false };
        let link = self.link.borrow();
        let Some(link) = &*link else { return false };
        (*own_group, *own_key) == (group, key)
            && self.client.borrow().takes()
            && self.requests.get() < keep.requests
            && now.saturating_duration_since(self.opened) < keep.time
            && !link.socket.peer_closed()
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
        self.end();
        self.wake();
    }
    fn end(&self) {
        self.wake_up();
        self.client.borrow_mut().end(Fault::Gone);
        self.link.replace(None);
    }
    /// Has its task look again.
    fn wake(&self) {
        if !self.awake.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
    /// Goes on as long as it can; ready when it is closed.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        self.awake.set(true);
        let ended = match &*self.link.borrow() {
            None => Poll::Ready(Ok(())),
            Some(link) => self.exchange(cx, link),
        };
        self.awake.set(false);
        if let Err(error) = ready!(ended) {
            self.error.replace(Some(error));
        }
        self.end();
        Poll::Ready(())
    }
    /// Sends and reads; ready when nothing more comes.
    fn exchange(&self, cx: &mut Context<'_>, link: &Link) -> Poll<io::Result<()>> {
        let mut read = 0;
        let mut broken = Ok(());
        loop {
            let sends = match self.send(cx, link) {
                // What the server said before it closed is read all the same.
                Poll::Ready(Err(error)) => {
                    broken = Err(error);
                    false
                }
                sent => sent.is_pending(),
            };
            let client = self.client.borrow();
            if client.is_over() {
                return Poll::Ready(Ok(()));
            }
            if sends && client.is_full() {
                return Poll::Pending;
            }
            drop(client);
            if read >= BURST {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut scratch = self.thread.scratch();
            match link.poll_read(cx, &mut scratch) {
                Poll::Pending if broken.is_ok() => return Poll::Pending,
                Poll::Pending | Poll::Ready(Ok(0)) => return Poll::Ready(broken),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(n)) => {
                    read += n;
                    self.client.borrow_mut().take(&scratch[..n]);
                }
            }
        }
    }
    /// Sends what there is.
    fn send(&self, cx: &mut Context<'_>, link: &Link) -> Poll<io::Result<()>> {
        let mut client = self.client.borrow_mut();
        while !client.output().is_empty() {
            match link.try_writev(&[IoSlice::new(client.output())]) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(link.poll_writable(cx))?,
                written => client.note_sent(written?),
            }
        }
        Poll::Ready(Ok(()))
    }
    /// The last stream ended: it goes to rest, if it may.
    fn rest(&self) {
        let now = self.thread.handle.now();
        let Some((group, key, keep)) = &self.kept else { return self.close() };
        let others = self.thread.upstreams.resting_lines(*group);
        if self.thread.draining() || others >= keep.connections || !self.takes(*group, *key, now) {
            return self.close();
        }
        if let Some(link) = &*self.link.borrow() {
            link.socket.set_deadline(Some(now + keep.timeout));
        }
        self.client.borrow_mut().shrink();
        self.rests.set(true);
        self.thread.upstreams.count_resting_line(true);
        super::pool::begin_sweeping(&self.thread);
    }
}

impl Place {
    /// The server does not want any more: other requests take another line.
    pub fn wear_out(&self) {
        self.client().wear_out();
    }
    /// What broke the connection, if something did.
    pub fn error(&self) -> Option<io::Error> {
        let error = self.line.error.borrow();
        let error = error.as_ref()?;
        Some(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        })
    }
    fn client(&self) -> RefMut<'_, Client> {
        self.line.client.borrow_mut()
    }
    /// See [`Client::poll_room`].
    pub fn poll_room(&self, cx: &Context<'_>, wanted: usize) -> Poll<usize> {
        self.client().poll_room(self.id, cx, wanted)
    }
    /// See [`Client::send`].
    pub fn send(&self, bytes: &[u8], ends: bool) {
        self.client().send(self.id, bytes, ends);
        self.line.wake();
    }
    /// See [`Client::poll_head`].
    pub fn poll_head(&self, cx: &Context<'_>, text: &mut Vec<u8>) -> Poll<Result<bool, Fault>> {
        self.client().poll_head(self.id, cx, text)
    }
    /// See [`Client::poll_body`].
    pub fn poll_body(
        &self,
        cx: &Context<'_>,
        into: &mut Vec<u8>,
        trailers: &mut Vec<u8>,
    ) -> Poll<Result<(), Fault>> {
        let mut client = self.client();
        let before = client.output().len();
        let came = client.poll_body(self.id, cx, into, trailers);
        if client.output().len() > before {
            self.line.wake();
        }
        came
    }
    /// See [`Client::is_end`].
    pub fn is_end(&self) -> bool {
        self.client().is_end(self.id)
    }
}
impl Drop for Place {
    fn drop(&mut self) {
        let mut client = self.line.client.borrow_mut();
        client.forget(self.id);
        let was_last = client.open() == 0;
        drop(client);
        if was_last {
            self.line.rest();
        }
        self.line.wake();
    }
}

/// Runs as long as the connection is open.
async fn drive(line: Rc<Line>) {
    std::future::poll_fn(|cx| line.poll(cx)).await;
    line.thread.upstreams.lines().retain(|other| !Rc::ptr_eq(other, &line));
}
