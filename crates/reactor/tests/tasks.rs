//! Laws of tasks: no wake-up is lost, and nobody keeps the others waiting.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod stage;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use stage::{Stage, ms, socket};

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

/// Nothing else happens: a loop that slept on would hang.
#[test]
fn a_task_that_waits_without_a_sign_is_polled_when_all_are() {
    let stage = Stage::real();
    let handle = stage.event_loop.handle();
    let over = Rc::new(Cell::new(false));
    let (seen, waiting) = (over.clone(), handle.clone());
    handle.spawn(async move {
        poll_fn(|_| if seen.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        waiting.stop();
    });
    let waking = handle.clone();
    handle.spawn(async move {
        waking.sleep(ms(1)).await;
        over.set(true);
        waking.wake_all();
    });
    stage.run();
}
