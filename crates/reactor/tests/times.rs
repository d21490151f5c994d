//! Laws of time: sleeps end in order, deadlines are never early and hardly late.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod stage;

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use reactor::sim::World;
use reactor::{Socket, Why};

use stage::{COARSE, Stage, ms, socket};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

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
