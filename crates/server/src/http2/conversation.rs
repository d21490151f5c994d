//! What a connection's driver and its streams share.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use frames::{Kind, code, flag, put_head};

use super::flow::Flow;
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
/// The largest window there is.
pub const MOST_WINDOW: i64 = (1 << 31) - 1;
/// Windows and frames before anybody sets them.
pub const FIRST_WINDOW: i64 = 65_535;
pub const FIRST_FRAME: usize = 16_384;
/// How much a client may send of a body that is being read.
const READING: i64 = 256 * 1024;
/// Streams that were ended here, and whose last frames may still be under way.
const REMEMBERED: usize = 8;

/// One client's connection while it speaks HTTP/2.
pub struct Conversation {
    /// The thread it lives on.
    pub thread: Rc<Thread>,
    client: RefCell<Client>,
    out: RefCell<Vec<u8>>,
    /// How much of `out` is sent.
    sent: Cell<usize>,
    /// A write went through since the last look.
    progress: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// The driver is at it, or was told to be: it sends what there is.
    awake: Cell<bool>,
    timed_out: Cell<bool>,
    burst: Cell<usize>,
    /// Streams by their numbers.
    streams: RefCell<Vec<Rc<Flow>>>,
    ended: Cell<[u32; REMEMBERED]>,
    /// Bytes that the client takes on all streams together.
    window: Cell<i64>,
    /// Some stream waits for room.
    crowded: Cell<bool>,
    /// What the client set: windows of new streams, the longest frame, that its table changed.
    pub initial: Cell<i64>,
    /// See `initial`.
    pub longest: Cell<usize>,
    /// See `initial`.
    pub table_changed: Cell<bool>,
    live: Cell<u32>,
    requests: Cell<u32>,
    /// Streams that the client cancelled, less those that ended.
    canceled: Cell<u32>,
    received: Cell<u64>,
    payload: Cell<u64>,
}

impl Conversation {
    /// A conversation with a client.
    pub fn new(thread: Rc<Thread>, client: Client) -> Rc<Conversation> {
        Rc::new(Conversation {
            thread,
            client: RefCell::new(client),
            out: RefCell::default(),
            sent: Cell::new(0),
            progress: Cell::new(false),
            waker: RefCell::default(),
            awake: Cell::new(true),
            timed_out: Cell::new(false),
            burst: Cell::new(0),
            streams: RefCell::default(),
            ended: Cell::default(),
            window: Cell::new(FIRST_WINDOW),
            crowded: Cell::new(false),
            initial: Cell::new(FIRST_WINDOW),
            longest: Cell::new(FIRST_FRAME),
            table_changed: Cell::new(false),
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
        self.awake.set(true);
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
            self.thread.keep_informed(self.client.borrow().id, cx.waker().clone());
        }
    }
    /// The driver waits from here on: whoever has something for it wakes it.
    pub fn end_turn(&self) {
        self.awake.set(false);
    }
    /// Polls the driver again.
    pub fn wake(&self) {
        if !self.awake.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
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
    pub fn stream_client(self: &Rc<Self>, flow: Rc<Flow>) -> Client {
        self.requests.set(self.requests.get() + 1);
        self.live.set(self.live.get() + 1);
        let stream = Stream::new(self.clone(), flow);
        self.client.borrow_mut().of_stream(Box::new(stream), self.requests.get())
    }
    /// A stream's request is over.
    pub fn stream_ended(&self, flow: &Flow) {
        self.live.set(self.live.get() - 1);
        let canceled = flow.reset.get().is_some();
        let count = self.canceled.get();
        self.canceled.set(if canceled { count + 1 } else { count.saturating_sub(1) });
        self.remove(flow);
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

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.streams.borrow().len()
    }
    /// The stream of a number.
    pub fn find(&self, id: u32) -> Option<Rc<Flow>> {
        let streams = self.streams.borrow();
        let at = streams.binary_search_by_key(&id, |flow| flow.id).ok()?;
        streams.get(at).cloned()
    }
    /// A new stream; numbers grow.
    pub fn add(&self, flow: Rc<Flow>) {
        self.streams.borrow_mut().push(flow);
    }
    fn remove(&self, flow: &Flow) {
        let mut streams = self.streams.borrow_mut();
        if let Ok(at) = streams.binary_search_by_key(&flow.id, |flow| flow.id) {
            streams.remove(at);
        }
    }
    /// Whether a stream was ended here a moment ago.
    pub fn was_ended(&self, id: u32) -> bool {
        self.ended.get().contains(&id)
    }
    /// The client ended a stream.
    pub fn reset(&self, flow: &Flow, code: u32) {
        flow.reset.set(Some(code));
        self.remove(flow);
        flow.end();
    }
    /// Ends a stream from here.
    pub fn terminate(&self, flow: &Flow, code: u32) {
        self.put_reset(flow.id, code);
        self.remove(flow);
        flow.end();
    }
    /// Tells the client that a stream ended.
    pub fn put_reset(&self, id: u32, code: u32) {
        let mut ended = self.ended.get();
        ended.rotate_right(1);
        ended[0] = id;
        self.ended.set(ended);
        self.put_control(Kind::Reset, 0, id, &code.to_be_bytes());
    }
    /// Nothing goes in or out any more.
    pub fn end(&self) {
        let streams = self.streams.take();
        streams.iter().for_each(|flow| flow.end());
    }
    /// Bytes that the client takes on all streams together, or on one.
    pub fn window(&self, flow: Option<&Flow>) -> i64 {
        flow.map_or(&self.window, |flow| &flow.window).get()
    }
    /// The window of all streams, or each stream's, changed by so much; `false`: beyond all bounds.
    pub fn widen(&self, flow: Option<&Flow>, by: i64) -> bool {
        let window = flow.map_or(&self.window, |flow| &flow.window);
        let wider = window.get() + by;
        if wider > MOST_WINDOW {
            return false;
        }
        window.set(wider);
        match flow {
            Some(flow) => flow.wake(),
            None => self.make_room(),
        }
        true
    }
    /// Windows that begin otherwise change those that are open.
    pub fn set_initial(&self, window: i64) -> bool {
        let by = window - self.initial.replace(window);
        self.streams.borrow().iter().all(|flow| self.widen(Some(flow), by))
    }
    /// The client knows what a stream may send: those that are open may send so much more, or less.
    pub fn acknowledge(&self, by: i64) {
        self.streams.borrow().iter().for_each(|flow| flow.credit.set(flow.credit.get() + by));
    }
    fn make_room(&self) {
        if self.crowded.take() {
            self.streams.borrow().iter().for_each(|flow| flow.wake());
        }
    }
    /// How many of these bytes may be set out now.
    pub fn room(&self, flow: &Flow, wanted: usize) -> usize {
        if self.is_full() {
            self.crowded.set(true);
            self.wake();
            return 0;
        }
        if self.window.get() <= 0 {
            self.crowded.set(true);
        }
        let window = flow.window.get().min(self.window.get()).max(0);
        wanted.min(self.longest.get()).min(usize::try_from(window).unwrap_or(usize::MAX))
    }
    /// Lets the client send more of a body that is being read.
    pub fn grant(&self, flow: &Flow) {
        let credit = flow.credit.get();
        if credit <= READING / 2 && !flow.in_closed.get() && !flow.over.get() {
            flow.credit.set(READING);
            self.put_control(Kind::WindowUpdate, 0, flow.id, &((READING - credit) as u32).to_be_bytes());
        }
    }

    /// Whether so much waits to be sent that nothing more is set out.
    pub fn is_full(&self) -> bool {
        self.out.borrow().len() - self.sent.get() >= GATHERED
    }
    fn put(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut out = self.out.borrow_mut();
        if out.capacity() == 0 {
            *out = self.thread.buffer();
        }
        put(&mut out);
        drop(out);
        self.wake();
    }
    /// Sets out a frame.
    pub fn put_control(&self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.put(|out| {
            put_head(payload.len(), kind, flags, stream, out);
            out.extend_from_slice(payload);
        });
    }
    /// Sets out a head: as many frames as it takes. Says how many bytes that are.
    pub fn put_block(&self, flow: &Flow, block: &[u8], end: bool) -> usize {
        let changed = self.table_changed.take();
        let (mut kind, mut flags) = (Kind::Headers, if end { flag::END_STREAM } else { 0 });
        let (mut rest, mut sent) = (block, 0);
        self.put(|out| {
            let before = out.len();
            loop {
                let table = usize::from(changed && kind == Kind::Headers);
                let (part, behind) = rest.split_at(rest.len().min(self.longest.get() - table));
                let last = if behind.is_empty() { flag::END_HEADERS } else { 0 };
                put_head(part.len() + table, kind, flags | last, flow.id, out);
                if table > 0 {
                    frames::put_table_update(out);
                }
                out.extend_from_slice(part);
                if behind.is_empty() {
                    break;
                }
                (kind, flags, rest) = (Kind::Continuation, 0, behind);
            }
            sent = out.len() - before;
        });
        flow.out_closed.set(end);
        sent
    }
    /// Sets out so many bytes of a body, which there is room for.
    pub fn put_data(&self, flow: &Flow, slices: &[IoSlice<'_>], length: usize, end: bool) {
        self.put(|out| {
            put_head(length, Kind::Data, if end { flag::END_STREAM } else { 0 }, flow.id, out);
            let mut left = length;
            for slice in slices {
                let part = &slice[..slice.len().min(left)];
                out.extend_from_slice(part);
                left -= part.len();
            }
        });
        flow.window.set(flow.window.get() - length as i64);
        self.window.set(self.window.get() - length as i64);
        flow.out_closed.set(end);
    }
    /// Says goodbye.
    pub fn put_goodbye(&self, last: u32, code: u32) {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&last.to_be_bytes());
        payload[4..].copy_from_slice(&code.to_be_bytes());
        self.put_control(Kind::GoAway, 0, 0, &payload);
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
            // Where more is set out before all is sent, what is sent must not stay for ever.
            if (GATHERED..out.len()).contains(&self.sent.get()) {
                out.drain(..self.sent.replace(0));
            }
        }
        self.sent.set(0);
        if out.capacity() > 0 {
            self.thread.give_buffer(std::mem::take(&mut out));
            drop(out);
            self.make_room();
        }
        client.poll_flush(cx)
    }
    /// Appends what there is to `input`; 0 at the end. A deadline that passes is noted and waited past.
    pub fn poll_read(&self, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if self.burst.get() >= BURST {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut scratch = self.thread.scratch();
        let mut client = self.client.borrow_mut();
        let mut read = client.poll_read(cx, &mut scratch);
        if matches!(&read, Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::TimedOut) {
            self.timed_out.set(true);
            client.set_deadline(None);
            read = client.poll_read(cx, &mut scratch);
        }
        let n = ready!(read)?;
        if input.capacity() == 0 {
            *input = self.thread.buffer();
        }
        input.extend_from_slice(&scratch[..n]);
        self.burst.set(self.burst.get() + n);
        self.received.set(self.received.get() + n as u64);
        Poll::Ready(Ok(n))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.thread.forget(self.client.borrow().id);
    }
}

/// What a stream ends with that nobody answers for.
pub fn ending(flow: &Flow, timed_out: bool) -> Option<u32> {
    match (flow.over.get(), flow.out_closed.get(), flow.in_closed.get()) {
        (true, ..) | (_, true, true) => None,
        (_, true, false) => Some(code::NO_ERROR),
        (_, false, _) if timed_out => Some(code::PROTOCOL_ERROR),
        _ => Some(code::INTERNAL_ERROR),
    }
}
