//! The worker process: threads, each an event loop; one pool of seats; the generation in force.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use capacity::Seats;
use reactor::{Blocking, Remote};

use crate::chain::Meter;
use crate::connection::{Handle, Rest};
use crate::log::{Context, ErrorLog, Level};
use crate::program::{Address, Program};

use self::generation::Generation;
pub use self::seat::{Kind, OPERATORS, Seat};

pub mod admission;
pub mod channel;
pub mod descriptors;
pub mod generation;
pub mod ledger;
pub mod local;
pub mod over;
pub mod run;
pub mod seat;
mod settle;
pub mod thread;
pub mod zones;

/// Threads that wait for the disk, so that no loop does.
const BLOCKING_THREADS: usize = 32;
/// Jobs that may wait for them.
const BLOCKING_QUEUE: usize = 65_536;

/// What the threads of a worker share.
pub struct Process {
    /// The pool of threads that may block.
    pub blocking: Blocking,
    /// Connections accepted, a seat or none (`stub_status`: accepts).
    pub accepted: AtomicU64,
    /// Connections that got a seat (`stub_status`: handled).
    pub handled: AtomicU64,
    /// What is known of the capacity chain beyond the counters.
    pub meter: Meter,
    /// Counters of each thread.
    counters: Mutex<Vec<Arc<Counters>>>,
    /// The places of all connections.
    pub seats: Arc<Seats>,
    /// Clients being told that there is no room.
    refusing: AtomicUsize,
    /// Clients of listeners with a reserve of their own.
    operators: AtomicUsize,
    /// Threads at which clients wait for a seat, and requests that wait for one upstream.
    pressed: AtomicUsize,
    remotes: Mutex<Vec<Remote<Rest>>>,
    next_boundary: AtomicU64,
    next_connection: AtomicU64,
    error_log: Mutex<ErrorLog>,
    addresses: Mutex<Vec<Address>>,
    /// Graceful shutdown is under way.
    quitting: AtomicBool,
}

/// What one thread counts; written by it alone.
#[derive(Default)]
pub struct Counters {
    /// Requests.
    pub requests: AtomicU64,
    /// Requests whose head is being read.
    pub reading: AtomicI64,
    /// Requests being answered.
    pub writing: AtomicI64,
    /// Upstream connections at rest.
    pub idle_upstream: AtomicUsize,
    /// Microseconds for which the loop was at work.
    pub busy: AtomicU64,
    /// Clients connected.
    clients: AtomicUsize,
    /// The longest turn of the loop since somebody looked, in microseconds: so long did what came next wait.
    pub lag: AtomicU64,
}
/// Counts where nobody else writes: no locked instruction is needed for that.
fn count(counter: &AtomicI64, change: i64) {
    counter.store(counter.load(Relaxed).wrapping_add(change), Relaxed);
}
impl Counters {
    /// A client more. Only its thread writes, so that no thread waits for another one's count.
    fn add_client(&self) {
        self.clients.store(self.clients.load(Relaxed) + 1, Relaxed);
    }
    fn remove_client(&self) {
        self.clients.store(self.clients.load(Relaxed).saturating_sub(1), Relaxed);
    }
    /// A request begins. Only its thread writes.
    pub fn request(&self) {
        self.requests.store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
    }
    /// Of the requests whose head is being read, so many more or fewer. Only its thread writes.
    pub fn read(&self, change: i64) {
        count(&self.reading, change);
    }
    /// As [`Counters::read`], of those being answered.
    pub fn write(&self, change: i64) {
        count(&self.writing, change);
    }
    /// Takes note of a turn of the loop. Only its thread writes.
    pub fn turn(&self, took: Duration, idle_upstream: usize) {
        let took = took.as_micros() as u64;
        self.busy.store(self.busy.load(Relaxed).wrapping_add(took), Relaxed);
        if took > self.lag.load(Relaxed) {
            self.lag.store(took, Relaxed);
        }
        self.idle_upstream.store(idle_upstream, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    fn new(program: &Program) -> Process {
        let (threads, queue) = program.blocking.unwrap_or((BLOCKING_THREADS, BLOCKING_QUEUE));
        Process {
            blocking: Blocking::new(threads, queue),
            accepted: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            meter: Meter::new(program),
            counters: Mutex::default(),
            seats: Arc::new(Seats::new(seats(program), program.threads)),
            refusing: AtomicUsize::new(0),
            operators: AtomicUsize::new(0),
            pressed: AtomicUsize::new(0),
            remotes: Mutex::default(),
            next_boundary: AtomicU64::new(1),
            next_connection: AtomicU64::new(1),
            error_log: Mutex::new(program.error_log.clone()),
            addresses: Mutex::default(),
            quitting: AtomicBool::new(false),
        }
    }
    /// The counters of each thread there ever was.
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        lock(&self.counters).clone()
    }
    /// The counters of thread `i`.
    fn counters_of(&self, i: usize) -> Arc<Counters> {
        let mut counters = lock(&self.counters);
        if counters.len() <= i {
            counters.resize_with(i + 1, Arc::default);
        }
        counters[i].clone()
    }
    /// Asks the other threads to let idle connections go.
    pub fn reclaim_elsewhere(&self, thread: usize, count: usize) {
        self.each_other(thread, move || admission::give_way(count));
    }
    /// Has every thread but this one do something soon.
    pub fn each_other(&self, thread: usize, work: impl Fn() + Clone + Send + 'static) {
        for (_, remote) in lock(&self.remotes).iter().enumerate().filter(|(i, _)| *i != thread) {
            let work = work.clone();
            remote.run(Box::new(move |_| work()));
        }
    }
    /// Seats in all.
    pub fn seats(&self) -> usize {
        self.seats.most()
    }
    /// Seats taken now: clients and upstream connections, and what is kept for those.
    pub fn seats_taken(&self) -> usize {
        self.seats.taken()
    }
    /// Clients connected now (`stub_status`: active).
    pub fn clients(&self) -> u64 {
        lock(&self.counters).iter().map(|counters| counters.clients.load(Relaxed) as u64).sum()
    }
    /// Those of them that have a seat beside the pool.
    pub fn operators(&self) -> u64 {
        self.operators.load(Relaxed) as u64
    }
    /// Clients that are being told that there is no room.
    pub fn refusing(&self) -> u64 {
        self.refusing.load(Relaxed) as u64
    }
    /// A number for the boundary between parts of a response.
    pub fn next_boundary(&self) -> u64 {
        self.next_boundary.fetch_add(1, Relaxed)
    }
    /// The number of a new connection.
    pub fn next_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Relaxed)
    }
    /// Writes to the main error log.
    pub fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        let log = lock(&self.error_log).clone();
        log.write(level, &Context::none(), message);
    }
    /// Whether a graceful shutdown is under way.
    pub fn is_quitting(&self) -> bool {
        self.quitting.load(Relaxed)
    }
    /// The lasting number of a listening address.
    fn address_id(&self, address: &Address) -> u32 {
        let mut all = lock(&self.addresses);
        if let Some(i) = all.iter().position(|a| a == address) {
            return i as u32;
        }
        all.push(address.clone());
        all.len() as u32 - 1
    }
}

/// Slots for which there have to be descriptors: with less nothing could be passed on.
const FEWEST: u64 = 8;

/// All threads share one pool of slots: no worker is full beside an idle one. There are never more than descriptors for
/// them, each with a file beside it.
fn seats(program: &Program) -> usize {
    let listeners = program.listens.len() + 1;
    let product = program.threads.saturating_mul(program.connections as usize);
    let configured = product.saturating_sub(program.threads.saturating_mul(listeners));
    let limit = sys::limits::descriptors().soft.unwrap_or(u64::MAX);
    let room = limit.saturating_sub(crate::chain::OTHERS + program.listens.len() as u64) / 2;
    let room = room.max(FEWEST);
    configured.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

/// The listening sockets of a program: one for each address, or one a thread with `reuseport`.
pub type Sockets = HashMap<Address, Vec<Arc<OwnedFd>>>;

/// The running worker.
pub struct Worker {
    process: Arc<Process>,
    threads: Mutex<Threads>,
    /// The descriptors threads listen on, by the socket's identity.
    listening: Mutex<HashMap<(u64, u64), Weak<OwnedFd>>>,
}

/// Threads never end before the worker does: where a configuration wants fewer, the others get no more connections but
/// keep those they have.
#[derive(Default)]
struct Threads {
    remotes: Vec<Remote<Rest>>,
    running: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Starts the threads and serves.
    ///
    /// # Errors
    /// When a thread or its event loop cannot be made.
    pub fn start(program: &Program, sockets: &Sockets) -> std::io::Result<Worker> {
        let process = Arc::new(Process::new(program));
        let worker = Worker { process, threads: Mutex::default(), listening: Mutex::default() };
        worker.put_in_force(program, sockets)?;
        Ok(worker)
    }
    /// Puts a new configuration in force: connections go on, the next request sees it.
    ///
    /// # Errors
    /// When a thread more cannot be made; nothing has changed then.
    pub fn install(&self, program: &Program, sockets: &Sockets) -> std::io::Result<()> {
        self.put_in_force(program, sockets)?;
        self.process.seats.resize(seats(program));
        self.process.meter.install(program);
        *lock(&self.process.error_log) = program.error_log.clone();
        Ok(())
    }
    fn put_in_force(&self, program: &Program, sockets: &Sockets) -> std::io::Result<()> {
        self.process.number(&program.generation);
        self.grow(program)?;
        program.generation.caches.iter().try_for_each(crate::cache::Zone::manage)?;
        self.listen(program, &self.known(sockets));
        Ok(())
    }
    fn grow(&self, program: &Program) -> std::io::Result<()> {
        let mut threads = lock(&self.threads);
        for i in threads.remotes.len()..program.threads {
            let cores = cores(program, i);
            let (remote, thread) = thread::spawn(self.process.clone(), i, cores, program.generation.clone())?;
            lock(&self.process.remotes).push(remote.clone());
            threads.remotes.push(remote);
            threads.running.push(thread);
        }
        Ok(())
    }
    /// The same sockets, each by the descriptor it is already listened on, if it is: threads that listen to one since
    /// different reloads would each keep a descriptor of their own.
    fn known(&self, sockets: &Sockets) -> Sockets {
        let mut listening = lock(&self.listening);
        listening.retain(|_, fd| fd.strong_count() > 0);
        let mut known = |fd: &Arc<OwnedFd>| {
            let Ok(identity) = sys::file::identity(fd) else { return fd.clone() };
            let before = listening.get(&identity).and_then(Weak::upgrade);
            before.unwrap_or_else(|| {
                listening.insert(identity, Arc::downgrade(fd));
                fd.clone()
            })
        };
        sockets.iter().map(|(address, all)| (address.clone(), all.iter().map(&mut known).collect())).collect()
    }
    fn remotes(&self) -> Vec<Remote<Rest>> {
        lock(&self.threads).remotes.clone()
    }
    /// Returns when every thread has done so.
    fn listen(&self, program: &Program, sockets: &Sockets) {
        self.on_each(|i| {
            let mine = match i < program.threads {
                true => self.sockets_of(i, program.threads, sockets),
                false => Vec::new(),
            };
            let generation = program.generation.clone();
            move |handle: &Handle| thread::install(handle, generation, mine)
        });
    }
    /// Has every thread do what is made for it, and returns when all have.
    fn on_each<Work: FnOnce(&Handle) + Send + 'static>(&self, make: impl Fn(usize) -> Work) {
        let (tell, told) = std::sync::mpsc::channel::<()>();
        for (i, remote) in self.remotes().iter().enumerate() {
            let (work, tell) = (make(i), tell.clone());
            remote.run(Box::new(move |handle| {
                work(handle);
                drop(tell);
            }));
        }
        drop(tell);
        // Nothing is ever sent: it ends when the last thread has dropped its end.
        let _ = told.recv();
    }
    /// The sockets of thread `i`. Where an address has several (`reuseport`), each is some thread's, however many there
    /// are of either: connections wait in each of them.
    fn sockets_of(&self, i: usize, threads: usize, sockets: &Sockets) -> Vec<(u32, Arc<OwnedFd>)> {
        let mut mine = Vec::new();
        for (address, all) in sockets {
            let own = all.iter().enumerate().filter(|(j, _)| j % threads == i % all.len().max(1) % threads);
            mine.extend(own.map(|(_, fd)| (self.process.address_id(address), fd.clone())));
        }
        mine
    }
    /// Stops listening, lets requests finish, then ends; `timeout`: `worker_shutdown_timeout`.
    pub fn quit(&self, timeout: Option<Duration>) {
        self.process.quitting.store(true, Relaxed);
        for remote in self.remotes() {
            remote.run(Box::new(move |handle| thread::drain(handle, timeout)));
        }
    }
    /// Lets every thread have a turn now: the logs are other files, and what waits for the old ones must go there.
    pub fn turn(&self) {
        for remote in self.remotes() {
            remote.run(Box::new(|_: &Handle| {}));
        }
    }
    /// Returns when every thread has ended the turn it is in.
    pub fn wait_turn(&self) {
        self.on_each(|_| |_: &Handle| {});
    }
    /// Ends now.
    pub fn stop(&self) {
        for remote in self.remotes() {
            remote.run(Box::new(|handle: &Handle| handle.stop()));
        }
    }
    /// Waits until every thread has ended, also those that a reload adds meanwhile.
    pub fn join(&self) {
        loop {
            let running = std::mem::take(&mut lock(&self.threads).running);
            if running.is_empty() {
                return;
            }
            for thread in running {
                // One that panicked has ended as well.
                let _ = thread.join();
            }
        }
    }
}

impl Process {
    /// Whether anybody waits for a seat.
    pub fn is_pressed(&self) -> bool {
        self.pressed.load(Relaxed) > 0
    }
    /// Gives a generation's listeners their lasting numbers.
    fn number(&self, generation: &Generation) {
        let ids = generation.listens.iter().map(|listen| self.address_id(&listen.address));
        generation.number_listeners(ids);
    }
}

/// The cores of thread `i`: the masks in turn, the last one for the rest.
fn cores(program: &Program, i: usize) -> Option<Vec<usize>> {
    use crate::modules::core::process::Affinity;
    match program.affinity.as_ref()? {
        Affinity::Masks(masks) => masks.get(i).or(masks.last()).cloned(),
        Affinity::Auto(mask) => {
            let all = mask.clone().unwrap_or_else(|| (0..sys::proc::online_cpus()).collect());
            all.get(i % all.len().max(1)).map(|core| vec![*core])
        }
    }
}
