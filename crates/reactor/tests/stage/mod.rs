//! A loop in simulated time whose application is a closure.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

use std::cell::{Cell, RefCell};
use std::io::{self};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::World;
use reactor::{AcceptFailure, App, Handle, Loop, Peer, Socket, Woken};

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two ticks of 32 ms: as late as a deadline may be.
pub const COARSE: Duration = ms(64);

pub type Serve = Box<dyn Fn(Woken<u32>) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Serves with a closure and counts what it is told.
pub struct Lab {
    pub serve: Serve,
    pub accepted: Rc<Cell<u32>>,
    pub failed: Rc<Cell<u32>>,
    /// Failed assertions inside of tasks.
    pub panics: RefCell<Vec<String>>,
    pub handle: Handle<u32>,
}

impl App for Lab {
    type Rest = u32;
    fn accepted(&self, handle: &Handle<u32>, tag: u32, fd: OwnedFd, _: Peer) {
        self.accepted.set(self.accepted.get() + 1);
        handle.rest(Socket::new(handle, fd).unwrap(), tag);
    }
    fn accept_failed(&self, _: &Handle<u32>, _: u32, _: io::Error) -> AcceptFailure {
        self.failed.set(self.failed.get() + 1);
        AcceptFailure::Pause(ms(100))
    }
    fn serve(&self, woken: Woken<u32>) -> impl Future<Output = ()> {
        (self.serve)(woken)
    }
    fn panicked(&self, text: &str) {
        self.panics.borrow_mut().push(text.to_owned());
        self.handle.stop();
    }
    fn turn(&self, _: &Handle<u32>) {}
}

/// A loop in a world, before it runs.
pub struct Stage {
    pub world: World,
    pub event_loop: Loop<Lab>,
    pub handle: Handle<u32>,
    pub lab: Lab,
}

impl Stage {
    pub fn new() -> Self {
        let world = World::new();
        let event_loop = Loop::with(world.poller().unwrap(), world.clock()).unwrap();
        Self::of(world, event_loop)
    }

    /// In real time, where a loop that waits for ever hangs.
    pub fn real() -> Self {
        Self::of(World::new(), Loop::new().unwrap())
    }

    fn of(world: World, event_loop: Loop<Lab>) -> Self {
        let handle = event_loop.handle();
        let lab = Lab {
            serve: Box::new(|_| Box::pin(async {})),
            accepted: Rc::default(),
            failed: Rc::default(),
            panics: RefCell::default(),
            handle: handle.clone(),
        };
        Stage { world, event_loop, handle, lab }
    }

    pub fn serve<F: Future<Output = ()> + 'static>(&mut self, serve: impl Fn(Woken<u32>) -> F + 'static) {
        self.lab.serve = Box::new(move |woken| Box::pin(serve(woken)));
    }

    pub fn stop_at(&self, at: Duration) {
        let handle = self.handle.clone();
        self.world.at(at, move || handle.stop());
    }

    /// Runs until stopped. A loop that would wait for ever fails.
    pub fn run(self) {
        let lab = Rc::new(self.lab);
        self.event_loop.run(lab.clone()).unwrap();
        assert_eq!(*lab.panics.borrow(), [""; 0]);
    }
}

/// A socket of the loop and its other end.
pub fn socket(handle: &Handle<u32>) -> (Socket<u32>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Socket::new(handle, ours.into()).unwrap(), theirs)
}
