//! The loop as an application uses it: real sockets, real time.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reactor::{AcceptFailure, App, Blocking, Failure, Handle, Loop, Peer, Remote, Socket, Why, Woken};

/// Answers each read with the same bytes; `panic` panics, `sleep` waits, `work` asks the pool.
struct Echo {
    panics: RefCell<Vec<String>>,
    peers: Cell<usize>,
    blocking: Blocking,
}

impl App for Echo {
    type Rest = u32;

    fn accepted(&self, handle: &Handle<u32>, _tag: u32, fd: OwnedFd, peer: Peer) {
        assert!(matches!(peer, Peer::V4(_)));
        self.peers.set(self.peers.get() + 1);
        let socket = Socket::new(handle, fd).unwrap();
        socket.set_deadline(Some(handle.now() + Duration::from_secs(20)));
        handle.rest(socket, 0);
    }

    fn accept_failed(&self, _: &Handle<u32>, _: u32, _: io::Error) -> AcceptFailure {
        AcceptFailure::Pause(Duration::from_millis(10))
    }

    async fn serve(&self, woken: Woken<u32>) {
        let Woken { socket, rest, why } = woken;
        if why != Why::Readable {
            return;
        }
        let mut buffer = [0; 1024];
        let Ok(n @ 1..) = socket.read(&mut buffer).await else { return };
        match &buffer[..n] {
            b"panic" => panic!("asked to"),
            b"sleep" => socket.handle().sleep(Duration::from_millis(5)).await,
            b"work" => assert_eq!(self.blocking.run(|| 41 + 1).await, Ok(42)),
            b"big" => {
                let big = vec![7; 8 << 20];
                socket.write_all(&big).await.unwrap();
            }
            _ => {}
        }
        socket.write_all(&buffer[..n]).await.unwrap();
        let handle = socket.handle().clone();
        handle.rest(socket, rest + 1);
    }

    fn panicked(&self, text: &str) {
        self.panics.borrow_mut().push(text.to_owned());
    }

    fn turn(&self, _: &Handle<u32>) {}
}

/// How many peers came, and the panics.
type Outcome = (usize, Vec<String>);

/// A loop on a thread of its own.
fn serve() -> (SocketAddr, Remote<u32>, JoinHandle<Outcome>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let event_loop = Loop::<Echo>::new().unwrap();
        let handle = event_loop.handle();
        handle.listen(Arc::new(listener.into()), 7).unwrap();
        tell.send(handle.remote()).unwrap();
        let blocking = Blocking::new(2, 8);
        let app = Rc::new(Echo { panics: RefCell::default(), peers: Cell::default(), blocking });
        event_loop.run(app.clone()).unwrap();
        assert_eq!(handle.sockets(), 0);
        (app.peers.get(), app.panics.take())
    });
    (address, told.recv().unwrap(), thread)
}

fn exchange(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text);
}

#[test]
fn echoes_waits_works_and_survives_a_panic() {
    let (address, remote, thread) = serve();
    let mut one = TcpStream::connect(address).unwrap();
    let mut two = TcpStream::connect(address).unwrap();
    for text in [&b"hello"[..], b"sleep", b"work", b"again"] {
        exchange(&mut one, text);
        exchange(&mut two, text);
    }
    two.write_all(b"panic").unwrap();
    assert_eq!(two.read(&mut [0; 8]).unwrap(), 0, "the connection that panicked is closed");
    exchange(&mut one, b"still there");
    remote.run(Box::new(|handle| handle.stop()));
    assert_eq!(thread.join().unwrap(), (2, vec!["asked to".to_owned()]));
    assert_eq!(one.read(&mut [0; 8]).unwrap(), 0, "connections at rest are closed with the loop");
}

#[test]
fn a_slow_reader_gets_everything() {
    let (address, remote, thread) = serve();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"big").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), (8 << 20) + 3);
    remote.run(Box::new(|handle| handle.stop()));
    thread.join().unwrap();
}

#[test]
fn eviction_closes_the_idle() {
    let (address, remote, thread) = serve();
    let mut stream = TcpStream::connect(address).unwrap();
    exchange(&mut stream, b"x");
    let (tell, told) = std::sync::mpsc::channel();
    let start = Instant::now();
    // The answer may be here before the connection is at rest.
    while start.elapsed() < Duration::from_secs(10) {
        let tell = tell.clone();
        remote.run(Box::new(move |handle| tell.send(handle.evict(5)).unwrap()));
        if told.recv().unwrap() == 1 {
            break;
        }
    }
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    remote.run(Box::new(|handle| handle.stop()));
    assert_eq!(thread.join().unwrap().0, 1);
}

#[test]
fn the_pool_refuses_what_it_cannot_hold() {
    let pool = Blocking::new(1, 1);
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (tell, started) = std::sync::mpsc::channel();
    let first = pool.run(move || {
        tell.send(()).unwrap();
        wait.recv().unwrap();
    });
    started.recv().unwrap();
    let second = pool.run(|| panic!("inside"));
    let third = pool.run(|| ());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let third = std::pin::pin!(third).poll(&mut cx);
    assert_eq!(third, std::task::Poll::Ready(Err(Failure::Busy)));
    release.send(()).unwrap();
    assert_eq!(block_on(first), Ok(()));
    assert_eq!(block_on::<Result<(), _>>(second), Err(Failure::Panicked));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
