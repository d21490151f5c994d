//! One thread of the worker: an event loop, and what its connections share without locks.

mod generations;
mod listening;
mod pools;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use reactor::{AcceptFailure, App, Listener, Loop, Peer, Remote, Woken};

pub use generations::{closed, install};
use pools::Pools;

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
use crate::log::Level;

/// What is read at once: 64 KB, as bodies often are, with the head before them.
pub const BLOCK: usize = 68 * 1024;
/// How long an idle connection may take for one more request in a shutdown. Clients that keep asking are not cut off
/// between two requests; those that only keep the connection do not delay the end for long.
const LAST_CHANCE: Duration = Duration::from_millis(500);
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
    pools: Pools,
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
            pools: Pools::new(),
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
