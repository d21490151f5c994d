//! One thread of the worker: an event loop, and what its connections share without locks.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use reactor::{AcceptFailure, App, Listener, Loop, Peer, Remote, Woken};

use super::admission::{self, Door};
use super::generation::Generation;
use super::ledger::{Class, Line};
use super::local::LocalGeneration;
use super::over::{self, Over};
use super::seat::Bank;
use super::{Counters, Process, descriptors};
use crate::chain::Cause;
use crate::clock::Clock;
use crate::connection::{self, Handle, Rest};
use crate::http::request::Request;
use crate::log::Level;

/// What is read at once.
pub const BLOCK: usize = 64 * 1024;
/// Buffers larger than this are not kept for reuse.
const LARGEST_KEPT: usize = 256 * 1024;
/// So many buffers and requests are kept.
const KEPT: usize = 64;
/// So many of the size of a block or more.
const KEPT_BLOCKS: usize = 16;
/// How long an idle connection may take for one more request in a shutdown. Clients that keep asking are not cut off
/// between two requests; those that only keep the connection do not delay the end for long.
const LAST_CHANCE: Duration = Duration::from_millis(500);
/// How long connections of a listener that was removed are served as it was: nginx's `keepalive_timeout`.
const RETIRED: Duration = Duration::from_secs(75);
/// After running out of descriptors a listener is looked at again.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(20);

/// A thread, as its connections see it.
pub struct Thread {
    /// The event loop.
    pub handle: Handle,
    /// What all threads share.
    pub process: Arc<Process>,
    /// Texts made from the time, fresh each turn.
    pub clock: Clock,
    /// Its way to the places of connections.
    pub bank: Rc<Bank>,
    /// What this thread counts.
    pub counters: Arc<Counters>,
    /// Upstream connections at rest, and what else the upstream module keeps per thread.
    pub upstreams: crate::upstream::ThreadState,
    /// Tasks that serve streams of HTTP/2.
    pub streams: crate::http2::workers::Workers,
    /// Configurations whose time is over.
    pub over: Over,
    generation: RefCell<Rc<LocalGeneration>>,
    /// For connections of listeners that are no more, by the listener's lasting number: what is in force for them.
    retired: RefCell<HashMap<u32, Rc<LocalGeneration>>>,
    /// How many connections came through each listener, by its lasting number, and are still there.
    connections: RefCell<Vec<u32>>,
    listeners: RefCell<Vec<(u32, Listener, Arc<OwnedFd>)>>,
    // Boxed: a request is large, and changes hands.
    #[expect(clippy::vec_box)]
    requests: RefCell<Vec<Box<Request>>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    blocks: RefCell<Vec<Vec<u8>>>,
    scratch: RefCell<Vec<u8>>,
    /// Conversations that are told when the thread or their listener leaves, by the connection's number.
    informed: RefCell<HashMap<u64, Waker>>,
    /// Who waits for a seat.
    pub door: Door,
    /// Which thread of the worker.
    pub number: usize,
    /// Some location shows the capacity chain: what turns cost is counted.
    watched: Cell<bool>,
    /// The capacity chain is looked at every second.
    pub sampling: Cell<bool>,
    served: Cell<usize>,
    draining: Cell<bool>,
    each_turn: RefCell<Vec<EachTurn>>,
}

/// What modules do at the end of a turn.
type EachTurn = Box<dyn FnMut(&Thread)>;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Thread>>> = const { RefCell::new(None) };
}

struct Server(Rc<Thread>);

/// Starts thread `i` of the worker.
///
/// # Errors
/// When the event loop or the thread cannot be made.
pub fn spawn(
    process: Arc<Process>,
    i: usize,
    cores: Option<Vec<usize>>,
    generation: Arc<Generation>,
) -> io::Result<(Remote<Rest>, JoinHandle<()>)> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker {i}")).spawn(move || {
        crate::log::settle();
        if let Some(cores) = cores
            && let Err(error) = sys::affinity::bind(&cores)
        {
            process.log(
                Level::Alert,
                format_args!("sched_setaffinity() failed ({})", crate::log::Errno(&error)),
            );
        }
        match Loop::new() {
            Err(error) => drop(tell.send(Err(error))),
            Ok(event_loop) => {
                let thread = Thread::new(event_loop.handle(), process, i, generation);
                let _ = tell.send(Ok(thread.handle.remote()));
                CURRENT.set(Some(thread.clone()));
                // The poller, and what other threads wake it with.
                let _lines = [Line::new(Class::Loop), Line::new(Class::Loop)];
                if let Err(error) = event_loop.run(Rc::new(Server(thread.clone()))) {
                    thread.log_alert(format_args!("epoll_wait() failed ({})", crate::log::Errno(&error)));
                }
                CURRENT.set(None);
            }
        }
    })?;
    let remote = told.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??;
    Ok((remote, thread))
}

/// Does something with the calling thread, if it is one of the worker's.
pub fn with_current(f: impl FnOnce(&Rc<Thread>)) {
    let current = CURRENT.with_borrow(Clone::clone);
    if let Some(thread) = current {
        f(&thread);
    }
}

/// Puts a generation in force on the loop's thread: its sockets first, then the old ones leave.
pub fn install(_: &Handle, generation: Arc<Generation>, sockets: Vec<(u32, Arc<OwnedFd>)>) {
    with_current(|thread| {
        crate::upstream::follow(thread, &generation, &thread.generation().shared);
        let number = thread.generation().number.wrapping_add(1);
        let old = thread.generation.replace(Rc::new(LocalGeneration::new(generation, number)));
        thread.retire(&old);
        // Kept for reuse, requests would keep their generation, too; and what busier times left behind ends here.
        thread.requests.borrow_mut().clear();
        thread.buffers.borrow_mut().clear();
        thread.blocks.borrow_mut().clear();
        thread.listen(sockets);
        thread.forget_unused();
        thread.inform();
        thread.watched.set(thread.generation().shared.watched);
        if thread.number == 0 && thread.generation().shared.watched && !thread.sampling.replace(true) {
            thread.handle.spawn(crate::chain::sample(thread.clone()));
        }
    });
}

/// A connection that came through this listener of the calling thread is closed.
pub fn closed(listener: u32) {
    with_current(|thread| {
        let mut connections = thread.connections.borrow_mut();
        if let Some(count) = connections.get_mut(listener as usize) {
            *count -= 1;
        }
        drop(connections);
        if !thread.retired.borrow().is_empty() {
            thread.forget_unused();
        }
    });
}

/// Stops accepting, ends when the last request is answered. An idle connection may send one more, which is answered
/// with `Connection: close`: closed at once, it might cross with a request on its way, and that would be lost.
pub fn drain(handle: &Handle, timeout: Option<Duration>) {
    with_current(|thread| {
        thread.listen(Vec::new());
        thread.draining.set(true);
        thread.inform();
        handle.spawn(sweep(handle.clone()));
        if let Some(timeout) = timeout {
            handle.spawn(over::end_all(thread.clone(), timeout));
        }
    });
}

/// Gives a retired generation up for a listener, in the end.
async fn forget(thread: Rc<Thread>, number: u32, generation: Weak<LocalGeneration>) {
    thread.handle.sleep(RETIRED).await;
    let mut retired = thread.retired.borrow_mut();
    if retired.get(&number).is_some_and(|kept| Rc::as_ptr(kept) == generation.as_ptr()) {
        retired.remove(&number);
    }
}

/// Asks idle connections to close, again and again: one may come to rest late.
async fn sweep(handle: Handle) {
    loop {
        handle.sleep(LAST_CHANCE).await;
        handle.evict(usize::MAX);
    }
}

impl Thread {
    fn new(handle: Handle, process: Arc<Process>, i: usize, generation: Arc<Generation>) -> Rc<Thread> {
        let counters = process.counters_of(i);
        let clock = Clock::new(handle.unix_time());
        Rc::new(Thread {
            handle,
            bank: Bank::new(process.clone(), counters.clone(), i),
            process,
            clock,
            counters,
            upstreams: Default::default(),
            streams: Default::default(),
            over: Over::default(),
            generation: RefCell::new(Rc::new(LocalGeneration::new(generation, 0))),
            retired: RefCell::default(),
            connections: RefCell::default(),
            listeners: RefCell::default(),
            requests: RefCell::default(),
            buffers: RefCell::default(),
            blocks: RefCell::default(),
            scratch: RefCell::new(vec![0; BLOCK]),
            informed: RefCell::default(),
            door: Door::default(),
            number: i,
            watched: Cell::new(false),
            sampling: Cell::new(false),
            served: Cell::new(0),
            draining: Cell::new(false),
            each_turn: RefCell::default(),
        })
    }
    /// The newest configuration.
    pub fn generation(&self) -> Rc<LocalGeneration> {
        self.generation.borrow().clone()
    }
    /// The configuration in force for connections of a listener: the newest, or the last that listened there; `None` when
    /// that is too long ago.
    pub fn generation_at(&self, listener: u32) -> Option<Rc<LocalGeneration>> {
        let newest = self.generation.borrow();
        match newest.shared.find_listener(listener) {
            Some(_) => Some(newest.clone()),
            None => self.retired.borrow().get(&listener).cloned(),
        }
    }
    /// Whether connections of a listener are to end with the response at hand.
    pub fn is_leaving(&self, listener: u32) -> bool {
        self.draining() || self.retired.borrow().contains_key(&listener)
    }
    /// A connection came through a listener.
    pub fn opened(&self, listener: u32) {
        let mut connections = self.connections.borrow_mut();
        let listener = listener as usize;
        if connections.len() <= listener {
            connections.resize(listener + 1, 0);
        }
        connections[listener] += 1;
    }
    /// Gives up what was retired for listeners without connections.
    fn forget_unused(&self) {
        let connections = self.connections.borrow();
        let used = |listener: u32| connections.get(listener as usize).is_some_and(|count| *count > 0);
        self.retired.borrow_mut().retain(|listener, _| used(*listener));
    }
    /// Nobody is served with a generation any more.
    pub fn forget_retired(&self, number: u32) {
        self.retired.borrow_mut().retain(|_, generation| generation.number != number);
    }
    /// What `old` listened to and the newest does not keeps `old`, for as long as an idle connection usually may last.
    fn retire(self: &Rc<Self>, old: &Rc<LocalGeneration>) {
        let newest = self.generation();
        let mut retired = self.retired.borrow_mut();
        retired.retain(|number, _| newest.shared.find_listener(*number).is_none());
        let gone = old.shared.listener_numbers().filter(|n| newest.shared.find_listener(*n).is_none());
        for number in gone {
            retired.insert(number, old.clone());
            self.handle.spawn(forget(self.clone(), number, Rc::downgrade(old)));
        }
        if let Some(timeout) = old.shared.shutdown_timeout {
            self.handle.spawn(over::end_one(self.clone(), old.number, timeout));
        }
    }
    /// The buffer that reads go to; never kept over a wait.
    pub fn scratch(&self) -> RefMut<'_, Vec<u8>> {
        self.scratch.borrow_mut()
    }
    /// An empty buffer, with capacity from its last use.
    pub fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }
    /// An empty buffer with room for [`BLOCK`] bytes, to read a body into. Nobody holds one while waiting for bytes.
    pub fn block(&self) -> Vec<u8> {
        self.blocks.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BLOCK))
    }
    /// Takes a buffer back, or a block.
    pub fn give_buffer(&self, mut buffer: Vec<u8>) {
        let (pool, most) = match buffer.capacity() < BLOCK {
            true => (&self.buffers, KEPT),
            false => (&self.blocks, KEPT_BLOCKS),
        };
        let mut buffers = pool.borrow_mut();
        if buffers.len() < most && (1..=LARGEST_KEPT).contains(&buffer.capacity()) {
            buffer.clear();
            buffers.push(buffer);
        }
    }
    /// A request to fill.
    pub fn request(self: &Rc<Self>) -> Box<Request> {
        self.served.set(self.served.get() + 1);
        self.requests.borrow_mut().pop().unwrap_or_else(|| Box::new(Request::new(self)))
    }
    /// Takes a request back.
    pub fn give_request(&self, mut request: Box<Request>) {
        self.served.set(self.served.get() - 1);
        let mut requests = self.requests.borrow_mut();
        let current = Rc::ptr_eq(&request.generation, &self.generation.borrow());
        if current && requests.len() < KEPT && request.buffer.capacity() <= LARGEST_KEPT {
            request.rest();
            requests.push(request);
        }
    }
    /// Whether some location shows the capacity chain.
    pub fn is_watched(&self) -> bool {
        self.watched.get()
    }
    /// Something is being served for as long as what is returned lives: the thread does not end before.
    pub fn serving(self: &Rc<Self>) -> Serving {
        self.served.set(self.served.get() + 1);
        Serving(self.clone())
    }
    /// Wakes a conversation when the thread or its listener may be leaving: it does not rest between its requests.
    pub fn keep_informed(&self, connection: u64, waker: Waker) {
        self.informed.borrow_mut().insert(connection, waker);
    }
    /// The conversation is over.
    pub fn forget(&self, connection: u64) {
        self.informed.borrow_mut().remove(&connection);
    }
    fn inform(&self) {
        self.informed.borrow().values().for_each(Waker::wake_by_ref);
    }
    /// Does something at the end of every turn of the loop, e.g. flushing a log.
    pub fn each_turn(&self, work: impl FnMut(&Thread) + 'static) {
        self.each_turn.borrow_mut().push(Box::new(work));
    }
    /// Whether the worker is shutting down gracefully.
    pub fn draining(&self) -> bool {
        self.draining.get()
    }
    /// Writes to the main error log.
    pub fn log_alert(&self, message: std::fmt::Arguments<'_>) {
        self.process.log(Level::Alert, message);
    }

    /// Listens on these sockets and no others; a socket that stays is not touched.
    fn listen(self: &Rc<Self>, wanted: Vec<(u32, Arc<OwnedFd>)>) {
        let mut before = self.listeners.take();
        let mut next = Vec::with_capacity(wanted.len());
        for (tag, fd) in wanted {
            if let Some(i) = before.iter().position(|(old_tag, _, old)| *old_tag == tag && same(old, &fd)) {
                next.push(before.swap_remove(i));
                continue;
            }
            match self.handle.listen(fd.clone(), tag) {
                Ok(listener) => next.push((tag, listener, fd)),
                Err(error) => {
                    self.log_alert(format_args!("epoll_ctl() failed ({})", crate::log::Errno(&error)))
                }
            }
        }
        self.listeners.replace(next);
        for (tag, listener, fd) in before {
            self.handle.unlisten(listener);
            self.accept_rest(tag, &fd);
        }
    }
    /// Who waits at a socket that is about to close has been promised an answer.
    fn accept_rest(self: &Rc<Self>, tag: u32, fd: &OwnedFd) {
        while let Ok((connection, peer)) = sys::net::accept(fd) {
            self.process.accepted.fetch_add(1, Relaxed);
            admission::arrived(self, tag, connection, peer);
        }
    }
    /// Leaves who comes in the accept queues, but for listeners with a reserve of their own.
    pub fn pause_listeners(&self) {
        for (tag, listener, _) in self.listeners.borrow().iter().filter(|(tag, ..)| !self.has_reserve(*tag)) {
            let _ = tag;
            self.handle.pause(*listener);
        }
    }
    /// The reverse of [`Thread::pause_listeners`].
    pub fn resume_listeners(&self) {
        self.listeners.borrow().iter().for_each(|(_, listener, _)| self.handle.resume(*listener));
    }
    fn has_reserve(&self, tag: u32) -> bool {
        self.generation_at(tag).is_some_and(|g| g.shared.find_listener(tag).is_some_and(|l| l.reserve))
    }
    /// A connection from one of the accept queues: from the same as before, unless that is empty or it is the next one's
    /// turn.
    pub fn accept_one(&self, next: bool) -> Option<(u32, OwnedFd, Peer)> {
        let mut listeners = self.listeners.borrow_mut();
        let count = listeners.len();
        if next && count > 1 {
            listeners.rotate_left(1);
        }
        for _ in 0..count {
            let (tag, _, fd) = listeners.first()?;
            if let Ok((connection, peer)) = sys::net::accept(&**fd) {
                return Some((*tag, connection, peer));
            }
            listeners.rotate_left(1);
        }
        None
    }
    /// `overload_wait` of a listener.
    pub fn overload_wait(&self, tag: u32) -> Duration {
        let generation = self.generation_at(tag);
        let found = generation.as_ref().filter(|g| g.shared.find_listener(tag).is_some());
        found.map_or(Duration::ZERO, |g| g.shared.default_plan(tag).core.overload_wait)
    }
    fn end_if_drained(&self) {
        if !admission::somebody_waits(self) && self.served.get() == 0 && self.handle.resting() == 0 {
            self.handle.stop();
        }
    }
}

/// What is being served, see [`Thread::serving`].
pub struct Serving(Rc<Thread>);
impl Drop for Serving {
    fn drop(&mut self) {
        self.0.served.set(self.0.served.get() - 1);
    }
}

/// Whether two descriptors are of the same socket.
fn same(a: &OwnedFd, b: &OwnedFd) -> bool {
    sys::file::identity(a).ok() == sys::file::identity(b).ok()
}

impl App for Server {
    type Rest = Rest;

    fn accepted(&self, _: &Handle, tag: u32, fd: OwnedFd, peer: Peer) {
        self.0.process.accepted.fetch_add(1, Relaxed);
        admission::arrived(&self.0, tag, fd, peer);
    }
    fn accept_failed(&self, _: &Handle, _: u32, error: io::Error) -> AcceptFailure {
        let thread = &self.0;
        if !descriptors::are_out(&error) {
            thread
                .process
                .log(Level::Error, format_args!("accept4() failed ({})", crate::log::Errno(&error)));
            return AcceptFailure::Continue;
        }
        let meter = &thread.process.meter;
        meter.refused(Cause::DescriptorsOnAccept);
        descriptors::make_room(thread);
        if let Some(more) = meter.speak(Cause::DescriptorsOnAccept, thread.handle.now()) {
            let error = crate::log::Errno(&error);
            thread.process.log(Level::Crit, format_args!("accept4() failed ({error}){more}"));
        }
        AcceptFailure::Pause(OUT_OF_DESCRIPTORS)
    }
    fn serve(&self, woken: Woken<Rest>) -> impl Future<Output = ()> {
        connection::serve(self.0.clone(), woken)
    }
    fn panicked(&self, text: &str) {
        self.0.log_alert(format_args!("a request panicked and its connection was closed: {text}"));
    }
    fn turn(&self, handle: &Handle) {
        let thread = &self.0;
        thread.clock.refresh(handle.unix_time());
        for work in thread.each_turn.borrow_mut().iter_mut() {
            work(thread);
        }
        admission::turn(thread);
        if thread.watched.get() {
            thread.counters.turn(handle.elapsed(), thread.upstreams.resting());
        }
        if thread.draining() {
            thread.end_if_drained();
        }
    }
}
