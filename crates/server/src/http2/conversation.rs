//! What a connection's driver, its streams and its wire share.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use super::io::Pipe;
use super::stream::Stream;
use crate::http::client::Client;
use crate::log::Level;
use crate::worker::thread::Thread;

/// So much is gathered before it has to be sent.
const GATHERED: usize = 64 * 1024;
/// After so many bytes read in one turn others have theirs.
const BURST: usize = 256 * 1024;
/// nginx's measure of a flood: an eighth of what came in beyond the payload, and a megabyte.
const OVERHEAD: u64 = 1 << 20;

/// One client's connection while it speaks HTTP/2.
pub struct Conversation {
    /// The thread it lives on.
    pub thread: Rc<Thread>,
    client: RefCell<Client>,
    /// Bytes that were read before it was known what they are.
    first: RefCell<Vec<u8>>,
    out: RefCell<Vec<u8>>,
    /// How much of `out` is sent.
    sent: Cell<usize>,
    /// A write went through since the last look.
    progress: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    timed_out: Cell<bool>,
    burst: Cell<usize>,
    live: Cell<u32>,
    requests: Cell<u32>,
    /// Streams that the client cancelled, less those that ended.
    canceled: Cell<u32>,
    received: Cell<u64>,
    payload: Cell<u64>,
}

impl Conversation {
    /// A conversation that begins with the bytes `first`.
    pub fn new(thread: Rc<Thread>, client: Client, first: Vec<u8>) -> Rc<Conversation> {
        Rc::new(Conversation {
            thread,
            client: RefCell::new(client),
            first: RefCell::new(first),
            out: RefCell::default(),
            sent: Cell::new(0),
            progress: Cell::new(false),
            waker: RefCell::default(),
            timed_out: Cell::new(false),
            burst: Cell::new(0),
            live: Cell::new(0),
            requests: Cell::new(0),
            canceled: Cell::new(0),
            received: Cell::new(0),
            payload: Cell::new(0),
        })
    }
    /// The connection, when the conversation is over.
    pub fn take_client(&self) -> Client {
        let mut client = self.client.borrow_mut().take();
        client.requests = self.requests.get();
        client
    }
    /// The listening socket it came by.
    pub fn listener(&self) -> u32 {
        self.client.borrow().listener
    }
    /// What the kernel knows of the connection.
    pub fn tcp_information(&self) -> Option<sys::net::TcpInfo> {
        self.client.borrow().tcp_information()
    }
    /// How long the connection is open.
    pub fn age(&self) -> Duration {
        self.thread.handle.now().saturating_duration_since(self.client.borrow().opened)
    }
    /// Streams so far.
    pub fn requests(&self) -> u32 {
        self.requests.get()
    }
    /// Streams whose requests are under way.
    pub fn live(&self) -> u32 {
        self.live.get()
    }
    /// The driver is being polled: whoever waits for it wakes this task.
    pub fn begin_turn(&self, cx: &Context<'_>) {
        self.burst.set(0);
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
            self.thread.keep_informed(self.client.borrow().id, cx.waker().clone());
        }
    }
    /// Polls the driver again.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
    /// Whether a deadline passed since this was asked last.
    pub fn take_timed_out(&self) -> bool {
        self.timed_out.take()
    }
    /// Whether something was sent since this was asked last.
    pub fn take_progress(&self) -> bool {
        self.progress.take()
    }
    /// The connection's deadline: from now, or none.
    pub fn set_deadline(&self, timeout: Option<Duration>) {
        let until: Option<Instant> = timeout.map(|timeout| self.thread.handle.now() + timeout);
        self.client.borrow().set_deadline(until);
    }
    /// Says from when on it gives way to others where slots are short; `None`: it does not.
    pub fn set_yielding(&self, from: Option<Instant>) {
        self.client.borrow().set_yielding(from);
    }
    /// When it was accepted.
    pub fn opened(&self) -> Instant {
        self.client.borrow().opened
    }
    /// A client for a new stream: what is known of the connection, and the stream itself.
    pub fn stream_client(self: &Rc<Self>, stream: impl FnOnce(Rc<Conversation>) -> Stream) -> Client {
        self.requests.set(self.requests.get() + 1);
        self.live.set(self.live.get() + 1);
        let stream = stream(self.clone());
        self.client.borrow_mut().of_stream(Box::new(stream), self.requests.get())
    }
    /// A stream's request is over.
    pub fn stream_ended(&self, canceled: bool) {
        self.live.set(self.live.get() - 1);
        let count = self.canceled.get();
        self.canceled.set(if canceled { count + 1 } else { count.saturating_sub(1) });
        if self.live.get() == 0 || canceled {
            self.wake();
        }
    }
    /// Streams that the client cancelled, beyond those it let end.
    pub fn canceled(&self) -> u32 {
        self.canceled.get()
    }
    /// Forgets the cancelled streams.
    pub fn forgive(&self) {
        self.canceled.set(0);
    }
    /// Bytes of heads and bodies, as opposed to the frames around them.
    pub fn add_payload(&self, bytes: usize) {
        self.payload.set(self.payload.get() + bytes as u64);
    }
    /// Whether the client sends frames for the frames' sake.
    pub fn is_flooding(&self) -> bool {
        self.received.get() / 8 > self.payload.get() + OVERHEAD
    }
    /// Writes to the error log.
    pub fn note(&self, level: Level, message: std::fmt::Arguments<'_>) {
        super::note(&self.client.borrow(), &self.thread, level, message);
    }

    /// Sends what is gathered.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.out.borrow_mut();
        let mut client = self.client.borrow_mut();
        while self.sent.get() < out.len() {
            let slices = [IoSlice::new(&out[self.sent.get()..])];
            let written = match client.poll_write(cx, &slices, false) {
                Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::TimedOut => {
                    self.timed_out.set(true);
                    return Poll::Pending;
                }
                written => ready!(written)?,
            };
            self.sent.set(self.sent.get() + written);
            self.progress.set(true);
        }
        self.sent.set(0);
        self.thread.give_buffer(std::mem::take(&mut out));
        client.poll_flush(cx)
    }
}

impl Pipe for Conversation {
    /// Reads as [`Client::poll_read`]; a deadline that passes is noted and waited past.
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut first = self.first.borrow_mut();
        if !first.is_empty() {
            let n = first.len().min(into.len());
            into[..n].copy_from_slice(&first[..n]);
            first.drain(..n);
            return Poll::Ready(Ok(n));
        }
        if self.burst.get() >= BURST {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut client = self.client.borrow_mut();
        let mut read = client.poll_read(cx, into);
        if matches!(&read, Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::TimedOut) {
            self.timed_out.set(true);
            client.set_deadline(None);
            read = client.poll_read(cx, into);
        }
        let n = ready!(read)?;
        self.burst.set(self.burst.get() + n);
        self.received.set(self.received.get() + n as u64);
        Poll::Ready(Ok(n))
    }
    /// Gathers bytes to be sent at the end of the turn; waits where too much is gathered already.
    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.out.borrow().len() >= GATHERED {
            ready!(self.poll_flush(cx))?;
        }
        let mut out = self.out.borrow_mut();
        if out.capacity() == 0 {
            *out = self.thread.buffer();
        }
        let before = out.len();
        slices.iter().for_each(|slice| out.extend_from_slice(slice));
        Poll::Ready(Ok(out.len() - before))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.thread.forget(self.client.borrow().id);
    }
}
