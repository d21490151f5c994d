//! The laws of the loop, under simulated time.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use reactor::sim::World;
use reactor::{AcceptFailure, App, Handle, Loop, Peer, Socket, Why, Woken};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two ticks of 32 ms: as late as a deadline may be.
const COARSE: Duration = ms(64);

type Serve = Box<dyn Fn(Woken<u32>) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Serves with a closure and counts what it is told.
struct Lab {
    serve: Serve,
    accepted: Rc<Cell<u32>>,
    failed: Rc<Cell<u32>>,
    /// Failed assertions inside of tasks.
    panics: RefCell<Vec<String>>,
    handle: Handle<u32>,
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
struct Stage {
    world: World,
    event_loop: Loop<Lab>,
    handle: Handle<u32>,
    lab: Lab,
}

impl Stage {
    fn new() -> Self {
        let world = World::new();
        let event_loop = Loop::with(world.poller().unwrap(), world.clock()).unwrap();
        Self::of(world, event_loop)
    }

    /// In real time, where a loop that waits for ever hangs.
    fn real() -> Self {
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

    fn serve<F: Future<Output = ()> + 'static>(&mut self, serve: impl Fn(Woken<u32>) -> F + 'static) {
        self.lab.serve = Box::new(move |woken| Box::pin(serve(woken)));
    }

    fn stop_at(&self, at: Duration) {
        let handle = self.handle.clone();
        self.world.at(at, move || handle.stop());
    }

    /// Runs until stopped. A loop that would wait for ever fails.
    fn run(self) {
        let lab = Rc::new(self.lab);
        self.event_loop.run(lab.clone()).unwrap();
        assert_eq!(*lab.panics.borrow(), [""; 0]);
    }
}

/// A socket of the loop and its other end.
fn socket(handle: &Handle<u32>) -> (Socket<u32>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Socket::new(handle, ours.into()).unwrap(), theirs)
}

/// Opened once; whoever waits is woken.
#[derive(Default)]
struct Gate {
    open: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    fn open(&self) {
        self.open.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) {
        poll_fn(|cx| {
            if self.open.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Who opens a gate.
#[derive(Clone, Debug)]
enum Opener {
    /// The task that passed that earlier gate.
    After(prop::sample::Index),
    /// The world, at a time.
    World(u64),
    /// A sleep of a task.
    Sleep(u64),
    /// Bytes for a socket.
    Socket(u64),
}

fn opener() -> impl Strategy<Value = Opener> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Opener::After),
        (0..300u64).prop_map(Opener::World),
        (0..300u64).prop_map(Opener::Sleep),
        (0..300u64).prop_map(Opener::Socket),
    ]
}

/// Sees to it that the gate is opened. An `After` that would wait for itself is opened at once.
fn open_somehow(stage: &Stage, gates: &Rc<Vec<Gate>>, i: usize, opener: Opener) {
    let (gates, handle) = (gates.clone(), stage.handle.clone());
    match opener {
        Opener::World(at) => stage.world.at(ms(at), move || gates[i].open()),
        Opener::Sleep(at) => stage.handle.spawn(async move {
            handle.sleep(ms(at)).await;
            gates[i].open();
        }),
        Opener::Socket(at) => {
            let (socket, mut peer) = socket(&handle);
            stage.world.at(ms(at), move || peer.write_all(b"x").unwrap());
            handle.spawn(async move {
                assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 1);
                gates[i].open();
            });
        }
        Opener::After(index) => handle.spawn(async move {
            if i > 0 {
                gates[index.index(i)].pass().await;
            }
            gates[i].open();
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every gate is opened by someone, so every task ends; a wake-up that got lost would leave one waiting, and the
    /// simulated poller fails when nothing can happen any more.
    #[test]
    fn no_wake_up_is_lost(openers in prop::collection::vec(opener(), 1..40)) {
        let stage = Stage::new();
        let gates: Rc<Vec<Gate>> = Rc::new(openers.iter().map(|_| Gate::default()).collect());
        let left = Rc::new(Cell::new(openers.len()));
        for (i, opener) in openers.into_iter().enumerate() {
            open_somehow(&stage, &gates, i, opener);
            let (gates, left, handle) = (gates.clone(), left.clone(), stage.handle.clone());
            stage.handle.spawn(async move {
                gates[i].pass().await;
                left.set(left.get() - 1);
                if left.get() == 0 {
                    handle.stop();
                }
            });
        }
        stage.run();
        prop_assert_eq!(left.get(), 0);
    }

    #[test]
    fn sleeps_end_in_order_and_never_early(delays in prop::collection::vec(0..500u64, 1..60), slow in 0..20u64) {
        let stage = Stage::new();
        let ended = Rc::new(RefCell::new(Vec::new()));
        for (i, delay) in delays.iter().copied().enumerate() {
            let (handle, world, ended) = (stage.handle.clone(), stage.world.clone(), ended.clone());
            stage.handle.spawn(async move {
                handle.sleep(ms(delay)).await;
                assert!(world.passed() >= ms(delay), "early");
                ended.borrow_mut().push((delay, i));
                // A slow turn makes several sleeps due at once.
                if delay > 0 {
                    world.spend(ms(slow));
                }
            });
        }
        stage.stop_at(ms(60_000));
        stage.run();
        let mut expected: Vec<_> = delays.into_iter().enumerate().map(|(i, d)| (d, i)).collect();
        expected.sort();
        prop_assert_eq!(&*ended.borrow(), &expected);
    }

    /// Deadlines set again and again on a socket that is waited for, and that may become readable first.
    #[test]
    fn waiting_ends_with_the_deadline_or_the_bytes(
        scripts in prop::collection::vec(prop::collection::vec((0..400u64, 0..400u64, 0..400u64), 1..8), 1..10),
    ) {
        let stage = Stage::new();
        let left = Rc::new(Cell::new(scripts.len()));
        for script in scripts {
            let (socket, peer) = socket(&stage.handle);
            let (world, left, handle) = (stage.world.clone(), left.clone(), stage.handle.clone());
            stage.handle.spawn(async move {
                let peer = Rc::new(peer);
                for (before, deadline, byte) in script {
                    socket.set_deadline(Some(handle.now() + ms(before)));
                    wait_with_deadline(&world, &socket, &peer, ms(deadline), ms(byte)).await;
                }
                left.set(left.get() - 1);
                if left.get() == 0 {
                    handle.stop();
                }
            });
        }
        stage.run();
        prop_assert_eq!(left.get(), 0);
    }

    /// The same at rest.
    #[test]
    fn rest_ends_with_the_deadline_or_the_bytes(rests in prop::collection::vec((0..90_000u64, 0..90_000u64), 1..40)) {
        let mut stage = Stage::new();
        let ends = Rc::new(RefCell::new(vec![None; rests.len()]));
        let (world, theirs) = (stage.world.clone(), ends.clone());
        stage.serve(move |woken| {
            let before = theirs.borrow_mut()[woken.rest as usize].replace((world.passed(), woken.why));
            assert_eq!(before, None, "woken twice");
            async {}
        });
        let mut peers = Vec::new();
        for (i, (deadline, byte)) in rests.iter().copied().enumerate() {
            let (socket, mut peer) = socket(&stage.handle);
            peers.push(peer.try_clone().unwrap());
            socket.set_deadline(Some(stage.handle.now() + ms(deadline)));
            stage.handle.rest(socket, i as u32);
            // The connection may be gone by then.
            stage.world.at(ms(byte), move || drop(peer.write_all(b"x")));
        }
        stage.stop_at(ms(100_000));
        stage.run();
        for ((deadline, byte), end) in rests.into_iter().zip(&*ends.borrow()) {
            let (at, why) = end.unwrap();
            match why {
                Why::Readable => prop_assert!(at == ms(byte) && at <= ms(deadline) + COARSE),
                _ => prop_assert!(why == Why::TimedOut && at >= ms(deadline) && at <= ms(deadline) + COARSE && at <= ms(byte)),
            }
        }
    }

    #[test]
    fn those_that_rested_longest_are_evicted_first(steps in prop::collection::vec(lru_step(), 1..60)) {
        let mut stage = Stage::new();
        let evicted = Rc::new(RefCell::new(Vec::new()));
        let theirs = evicted.clone();
        stage.serve(move |woken| {
            if woken.why == Why::Evicted {
                theirs.borrow_mut().push(woken.rest);
            }
            async move {
                if woken.why == Why::Readable {
                    assert_eq!(woken.socket.try_read(&mut [0; 8]).unwrap(), 1);
                    woken.socket.handle().clone().rest(woken.socket, woken.rest);
                }
            }
        });
        let expected = plan_lru(&stage, steps);
        stage.run();
        prop_assert_eq!(&*evicted.borrow(), &*expected.borrow());
    }
}

/// Waits for a byte that comes after `byte`, until `deadline`; both from now. Then takes the byte.
async fn wait_with_deadline(
    world: &World,
    socket: &Socket<u32>,
    peer: &Rc<UnixStream>,
    deadline: Duration,
    byte: Duration,
) {
    let start = world.passed();
    socket.set_deadline(Some(socket.handle().now() + deadline));
    let peer = peer.clone();
    world.at(start + byte, move || (&*peer).write_all(b"x").unwrap());
    let outcome = socket.readable().await;
    let took = world.passed() - start;
    match outcome {
        Ok(()) => assert!(took == byte && took <= deadline + COARSE, "{took:?}, {byte:?}, {deadline:?}"),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(
                took >= deadline && took <= deadline + COARSE && took <= byte,
                "{took:?}, {byte:?}, {deadline:?}"
            );
            assert_eq!(
                socket.read(&mut [0; 8]).await.unwrap_err().kind(),
                io::ErrorKind::TimedOut,
                "still past"
            );
        }
    }
    socket.set_deadline(None);
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 1);
}

#[derive(Clone, Debug)]
enum LruStep {
    Rest,
    Readable(prop::sample::Index),
    Evict(usize),
}

fn lru_step() -> impl Strategy<Value = LruStep> {
    prop_oneof![
        3 => Just(LruStep::Rest),
        2 => any::<prop::sample::Index>().prop_map(LruStep::Readable),
        1 => (1..4usize).prop_map(LruStep::Evict),
    ]
}

/// Plans one step per millisecond, each on the loop and on a model. Returns whom the model evicts.
fn plan_lru(stage: &Stage, steps: Vec<LruStep>) -> Rc<RefCell<Vec<u32>>> {
    let expected = Rc::new(RefCell::new(Vec::new()));
    let model: Rc<RefCell<VecDeque<(u32, UnixStream)>>> = Rc::default();
    // The other ends stay open until the end.
    let (handle, peers) = (stage.handle.clone(), model.clone());
    stage.world.at(ms(steps.len() as u64 + 1), move || {
        assert_eq!(handle.resting(), peers.borrow().len());
        handle.stop();
    });
    // Kept by a plan that never comes.
    let peers = model.clone();
    stage.world.at(ms(u32::MAX.into()), move || drop(peers));
    for (i, step) in steps.into_iter().enumerate() {
        let (handle, model, expected) = (stage.handle.clone(), model.clone(), expected.clone());
        stage.world.at(ms(i as u64), move || {
            let mut model = model.borrow_mut();
            assert_eq!(handle.resting(), model.len());
            match step {
                LruStep::Rest => {
                    let (socket, peer) = socket(&handle);
                    handle.rest(socket, i as u32);
                    model.push_back((i as u32, peer));
                }
                LruStep::Readable(index) if !model.is_empty() => {
                    let index = index.index(model.len());
                    let (name, mut peer) = model.remove(index).unwrap();
                    peer.write_all(b"x").unwrap();
                    model.push_back((name, peer));
                }
                LruStep::Readable(_) => {}
                LruStep::Evict(at_most) => {
                    let count = at_most.min(model.len());
                    assert_eq!(handle.evict(at_most), count);
                    expected.borrow_mut().extend(model.drain(..count).map(|(name, _)| name));
                }
            }
        });
    }
    expected
}

/// Tasks that are always ready must keep neither the poller waiting nor each other.
#[test]
fn busy_tasks_share_and_let_the_poller_in() {
    let mut stage = Stage::new();
    let polls: Rc<Vec<Cell<u64>>> = Rc::new((0..1000).map(|_| Cell::new(0)).collect());
    let most = Rc::new(Cell::new(0));
    let this_turn = Rc::new(Cell::new((0, 0)));
    for i in 0..polls.len() {
        let (polls, most, this_turn, world) =
            (polls.clone(), most.clone(), this_turn.clone(), stage.world.clone());
        stage.handle.spawn(poll_fn(move |cx| {
            world.spend(Duration::from_micros(10));
            if i + 1 == polls.len() && polls[i].get() == 0 {
                // All have started: from here on they are equals.
                polls.iter().for_each(|p| p.set(1));
            }
            polls[i].set(polls[i].get() + 1);
            let (turn, count) = this_turn.get();
            let count = if turn == world.waits() { count + 1 } else { 1 };
            this_turn.set((world.waits(), count));
            most.set(most.get().max(count));
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
    }
    let (socket, mut peer) = socket(&stage.handle);
    stage.handle.rest(socket, 0);
    stage.world.at(ms(500), move || peer.write_all(b"x").unwrap());
    let (handle, world) = (stage.handle.clone(), stage.world.clone());
    stage.serve(move |_| {
        // 500 spawned tasks and 500 polls more than the turn takes would be 10 ms.
        assert!(world.passed() <= ms(510), "served at {:?}", world.passed());
        handle.stop();
        async {}
    });
    stage.run();
    assert!(most.get() <= 512, "{} polls in a turn", most.get());
    let (least, largest) = (polls.iter().map(Cell::get).min(), polls.iter().map(Cell::get).max());
    assert!(largest.unwrap() - least.unwrap() <= 2, "{least:?} to {largest:?}");
}

/// A connection that is never done must not keep others from being served.
#[test]
fn a_connection_that_never_rests_lets_others_in() {
    let mut stage = Stage::new();
    let (busy, _busy_peer) = socket(&stage.handle);
    let (quiet, mut peer) = socket(&stage.handle);
    stage.handle.serve(busy, 0);
    stage.handle.rest(quiet, 1);
    stage.world.at(ms(1), move || peer.write_all(b"x").unwrap());
    let world = stage.world.clone();
    stage.serve(move |woken| {
        world.spend(Duration::from_micros(10));
        let handle = woken.socket.handle().clone();
        match woken.rest {
            0 => handle.serve(woken.socket, 0),
            _ => handle.stop(),
        }
        async {}
    });
    let world = stage.world.clone();
    stage.run();
    assert!(world.passed() < ms(10));
}

/// Opened by another thread.
#[derive(Default)]
struct Lock {
    open: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Lock {
    fn open(&self) {
        self.open.store(true, SeqCst);
        self.waker.lock().unwrap().take().into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) {
        poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            if self.open.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }
}

/// In real time, since threads are: a wake-up that got lost would hang.
#[test]
fn no_wake_up_from_another_thread_is_lost() {
    let stage = Stage::real();
    let handle = stage.event_loop.handle();
    let (send, receive) = mpsc::channel::<Arc<Lock>>();
    let opener = std::thread::spawn(move || receive.into_iter().for_each(|lock| lock.open()));
    let left = Rc::new(Cell::new(8));
    for _ in 0..8 {
        let (send, left, handle) = (send.clone(), left.clone(), handle.clone());
        handle.clone().spawn(async move {
            for _ in 0..300 {
                let lock = Arc::new(Lock::default());
                send.send(lock.clone()).unwrap();
                lock.pass().await;
            }
            left.set(left.get() - 1);
            if left.get() == 0 {
                handle.stop();
            }
        });
    }
    drop(send);
    stage.run();
    assert_eq!(left.get(), 0);
    opener.join().unwrap();
}

#[test]
fn calls_of_a_thread_run_in_their_order() {
    let stage = Stage::real();
    let remote = stage.event_loop.handle().remote();
    let calls = Arc::new(AtomicUsize::new(0));
    let theirs = calls.clone();
    let caller = std::thread::spawn(move || {
        for i in 0..300 {
            let calls = theirs.clone();
            remote.run(Box::new(move |_| assert_eq!(calls.fetch_add(1, SeqCst), i)));
        }
        remote.run(Box::new(|handle| handle.stop()));
    });
    stage.run();
    caller.join().unwrap();
    assert_eq!(calls.load(SeqCst), 300);
}

type Action = Box<dyn Fn(&Handle<u32>)>;

fn listener() -> (Arc<OwnedFd>, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (Arc::new(listener.into()), address)
}

#[test]
fn paused_listeners_leave_connections_waiting() {
    let stage = Stage::new();
    let (fd, address) = listener();
    let (handle, accepted) = (stage.handle.clone(), stage.lab.accepted.clone());
    let first = handle.listen(fd.clone(), 1).unwrap();
    let clients = Rc::new(RefCell::new(Vec::new()));
    let connect = move || clients.borrow_mut().push(TcpStream::connect(address).unwrap());
    let at = |at, action: Action, expected| {
        let (handle, accepted, connect) = (handle.clone(), accepted.clone(), connect.clone());
        stage.world.at(ms(at), move || {
            assert_eq!(accepted.get(), expected, "at {at} ms");
            action(&handle);
            connect();
        });
    };
    at(1, Box::new(|_| {}), 0);
    at(2, Box::new(|handle| handle.pause_all()), 1);
    at(3, Box::new(|handle| handle.resume_all()), 1);
    at(4, Box::new(move |handle| handle.unlisten(first)), 3);
    let theirs = fd.clone();
    // Removed ones stay removed, their names mean nothing any more, and listening anew is possible.
    at(
        5,
        Box::new(move |handle| {
            handle.resume_all();
            handle.unlisten(first);
            assert_ne!(handle.listen(theirs.clone(), 2).unwrap(), first);
        }),
        3,
    );
    at(6, Box::new(|handle| handle.stop()), 5);
    stage.run();
    assert_eq!(Arc::strong_count(&fd), 1);
}

/// What accept4 refuses for a reason that lasts is tried again after the pause the application asked for.
#[test]
fn a_failing_listener_is_paused() {
    let stage = Stage::new();
    // Always readable, and no listening socket.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    stage.handle.listen(Arc::new(ours.into()), 1).unwrap();
    stage.stop_at(ms(350));
    let (failed, world) = (stage.lab.failed.clone(), stage.world.clone());
    stage.run();
    assert_eq!(failed.get(), 4);
    assert!(world.waits() <= 10, "{} looks at the poller", world.waits());
}

#[test]
fn a_resting_connection_can_be_taken_back() {
    let mut stage = Stage::new();
    stage.serve(|_| async { panic!("nobody is to be served") });
    let (socket, mut peer) = socket(&stage.handle);
    let key = stage.handle.rest(socket, 5);
    let handle = stage.handle.clone();
    stage.world.at(ms(1), move || {
        let (socket, record) = handle.wake(key).unwrap();
        assert_eq!((record, handle.resting(), handle.sockets()), (5, 0, 1));
        assert!(handle.wake(key).is_none());
        assert!(!socket.maybe_readable());
        peer.write_all(b"x").unwrap();
        handle.clone().spawn(async move {
            assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 1);
            assert!(!socket.peer_closed());
            drop(peer);
            socket.closed().await;
            assert!(socket.peer_closed() && socket.maybe_readable());
            assert_eq!(socket.try_read(&mut [0; 8]).unwrap(), 0);
            handle.stop();
        });
    });
    stage.run();
}

/// Bytes that a read left behind wake the connection again although no edge will tell.
#[test]
fn a_connection_with_bytes_left_does_not_rest() {
    let mut stage = Stage::new();
    let (socket, mut peer) = socket(&stage.handle);
    peer.write_all(b"abcdef").unwrap();
    stage.handle.rest(socket, 0);
    stage.serve(|woken| async move {
        assert_eq!(woken.why, Why::Readable);
        let handle = woken.socket.handle().clone();
        let n = woken.socket.try_read(&mut [0; 2]);
        match n {
            Ok(n) => drop(handle.rest(woken.socket, woken.rest + n as u32)),
            Err(_) => {
                // Six bytes, by twos: only the fourth read finds nothing.
                assert_eq!(woken.rest, 6);
                handle.stop();
            }
        }
    });
    stage.run();
}

/// The end of a stream that came with the last bytes has no edge of its own.
#[test]
fn an_end_that_came_with_the_bytes_is_noticed() {
    let mut stage = Stage::new();
    let (socket, mut peer) = socket(&stage.handle);
    stage.handle.rest(socket, 0);
    stage.world.at(ms(1), move || {
        peer.write_all(b"last").unwrap();
        drop(peer);
    });
    stage.serve(|woken| async move {
        let handle = woken.socket.handle().clone();
        match woken.socket.try_read(&mut [0; 64]).unwrap() {
            0 => handle.stop(),
            _ => drop(handle.rest(woken.socket, 0)),
        }
    });
    stage.run();
}

#[test]
fn who_rests_past_the_deadline_wakes_at_once() {
    let mut stage = Stage::new();
    let (socket, _peer) = socket(&stage.handle);
    socket.set_deadline(Some(stage.handle.now() + ms(100)));
    stage.handle.rest(socket, 0);
    stage.serve(|woken| async move {
        assert_eq!(woken.why, Why::TimedOut);
        let handle = woken.socket.handle().clone();
        match woken.rest {
            3 => handle.stop(),
            n => drop(handle.rest(woken.socket, n + 1)),
        }
    });
    let world = stage.world.clone();
    stage.run();
    assert!(world.passed() <= ms(100) + COARSE);
}

/// Also when a slow turn lets many pass at once.
#[test]
fn deadlines_pass_in_their_order() {
    let mut stage = Stage::new();
    let mut peers = Vec::new();
    for i in 0..20 {
        let (socket, peer) = socket(&stage.handle);
        peers.push(peer);
        socket.set_deadline(Some(stage.handle.now() + ms(100 * (20 - i))));
        stage.handle.rest(socket, i as u32);
    }
    let order = Rc::new(RefCell::new(Vec::new()));
    let theirs = order.clone();
    stage.serve(move |woken| {
        theirs.borrow_mut().push(woken.rest);
        async {}
    });
    let world = stage.world.clone();
    stage.world.at(ms(1), move || world.spend(ms(5000)));
    stage.stop_at(ms(6000));
    stage.run();
    assert!(order.borrow().iter().copied().eq((0..20).rev()), "{order:?}");
}
