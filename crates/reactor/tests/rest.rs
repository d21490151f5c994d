//! Laws of rest: who wakes, who is evicted, and who is let in.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod stage;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use reactor::{Handle, Why};

use stage::{Stage, ms, socket};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

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
    at(4, Box::new(move |handle| handle.pause(first)), 3);
    // Each pause is ended by its own counterpart only.
    at(5, Box::new(|handle| handle.resume_all()), 3);
    at(6, Box::new(|handle| handle.pause_all()), 3);
    at(7, Box::new(move |handle| handle.resume(first)), 3);
    at(8, Box::new(|handle| handle.resume_all()), 3);
    at(9, Box::new(move |handle| handle.unlisten(first)), 8);
    let theirs = fd.clone();
    // Removed ones stay removed, their names mean nothing any more, and listening anew is possible.
    at(
        10,
        Box::new(move |handle| {
            handle.resume_all();
            handle.resume(first);
            handle.unlisten(first);
            assert_ne!(handle.listen(theirs.clone(), 2).unwrap(), first);
        }),
        8,
    );
    at(11, Box::new(|handle| handle.stop()), 10);
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
