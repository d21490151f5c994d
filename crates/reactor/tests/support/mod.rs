//! A server as small as can be: loops on threads that share a listener and answer every request with the same bytes.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use reactor::{AcceptFailure, App, Handle, Loop, Peer, Remote, Socket, Woken};

pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: plimsoll\r\nDate: Sat, 21 Nov 2026 02:53:32 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nok\n";
const LAST_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: plimsoll\r\nDate: Sat, 21 Nov 2026 02:53:32 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// What a real server would remember about an idle connection: 48 bytes.
pub type Rest = [u64; 6];

#[derive(Default)]
pub struct Counts {
    pub accepted: AtomicU64,
    pub turns: AtomicU64,
    pub served: AtomicU64,
}

struct Hello {
    counts: Arc<Counts>,
    scratch: RefCell<Vec<u8>>,
    served: Cell<u64>,
}

impl App for Hello {
    type Rest = Rest;

    fn accepted(&self, handle: &Handle<Rest>, _tag: u32, fd: OwnedFd, _peer: Peer) {
        self.counts.accepted.fetch_add(1, Relaxed);
        let Ok(socket) = Socket::new(handle, fd) else { return };
        socket.set_deadline(Some(handle.now() + Duration::from_secs(75)));
        handle.rest(socket, [0; 6]);
    }

    fn accept_failed(&self, _: &Handle<Rest>, _: u32, error: io::Error) -> AcceptFailure {
        eprintln!("accept: {error}");
        AcceptFailure::Pause(Duration::from_millis(100))
    }

    async fn serve(&self, woken: Woken<Rest>) {
        let Woken { socket, mut rest, .. } = woken;
        let outcome = socket.try_read(&mut self.scratch.borrow_mut());
        let close = match outcome {
            Ok(0) => return,
            Ok(n) => self.scratch.borrow()[..n].windows(8).any(|w| w == b"n: close"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let handle = socket.handle().clone();
                handle.rest(socket, rest);
                return;
            }
            Err(_) => return,
        };
        self.served.set(self.served.get() + 1);
        if socket.write_all(if close { LAST_ANSWER } else { ANSWER }).await.is_err() || close {
            return;
        }
        rest[0] += 1;
        let handle = socket.handle().clone();
        socket.set_deadline(Some(handle.now() + Duration::from_secs(75)));
        handle.rest(socket, rest);
    }

    fn panicked(&self, text: &str) {
        eprintln!("panic: {text}");
    }

    fn turn(&self, _: &Handle<Rest>) {
        self.counts.turns.fetch_add(1, Relaxed);
        self.counts.served.store(self.served.get(), Relaxed);
    }
}

/// One loop on a thread.
pub struct Worker {
    pub tid: u32,
    pub counts: Arc<Counts>,
    remote: Remote<Rest>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(listener: Arc<OwnedFd>) -> Self {
        let counts = Arc::new(Counts::default());
        let theirs = counts.clone();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let event_loop = Loop::<Hello>::new().unwrap();
            event_loop.handle().listen(listener, 0).unwrap();
            let tid = rustix::thread::gettid().as_raw_nonzero().get() as u32;
            tell.send((tid, event_loop.handle().remote())).unwrap();
            let scratch = RefCell::new(vec![0; 65536]);
            event_loop.run(Rc::new(Hello { counts: theirs, scratch, served: Cell::new(0) })).unwrap();
        });
        let (tid, remote) = told.recv().unwrap();
        Worker { tid, counts, remote, thread: Some(thread) }
    }

    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Relaxed)
    }

    /// How often the thread went to sleep.
    pub fn switches(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/self/task/{}/status", self.tid)).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.remote.run(Box::new(|handle| handle.stop()));
        let outcome = self.thread.take().map(JoinHandle::join);
        assert!(matches!(outcome, Some(Ok(())) | None));
    }
}

/// Loops on `threads` threads that share a listener.
pub fn serve(threads: usize) -> (SocketAddr, Vec<Worker>) {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let listener: Arc<OwnedFd> = Arc::new(listener.into());
    (address, (0..threads).map(|_| Worker::start(listener.clone())).collect())
}

fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // std's backlog of 128 is too short for a burst; listening again only changes it.
    rustix::net::listen(&listener, 4096).unwrap();
    sys::net::set_nodelay(&listener, true).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}
