//! Every interleaving of small stories about seats: nothing is lost, nothing exceeds the ceiling, nobody waits in vain.
//! Run with `--features loom`.
#![cfg(feature = "loom")]

use std::sync::Arc;

use capacity::Seats;
use loom::thread;

/// Fewer switches than there could be, so that it ends; what two threads can do to each other is all there.
fn model(story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(story);
}

#[test]
fn the_ceiling_holds() {
    model(|| {
        let seats = Arc::new(Seats::new(3, 0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let seats = seats.clone();
                thread::spawn(move || {
                    let claimed = seats.claim(0, 2);
                    assert!(seats.taken() <= 3);
                    if claimed {
                        seats.give(0, 2);
                    }
                    claimed
                })
            })
            .collect();
        let claimed: Vec<bool> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(claimed.contains(&true), "one of two always finds a place");
        assert_eq!((seats.taken(), seats.waiting()), (0, 0));
    });
}

/// Two of all seats, which are taken, come back one by one while somebody waits for both; `lane` is the waiter's.
fn two_come_back(seats: &Arc<Seats>, all: usize, lane: usize) {
    assert!(seats.claim(0, all));
    let theirs = seats.clone();
    let giver = thread::spawn(move || {
        theirs.give(0, 1);
        theirs.give(0, 1);
    });
    let mut ticket = seats.wait(2);
    giver.join().unwrap();
    assert!(ticket.redeem(), "all was given back, to whichever lane");
    assert_eq!((seats.taken(), seats.waiting()), (all, 0));
    drop(ticket);
    seats.give(lane, all);
    assert_eq!(seats.taken(), 0);
}

#[test]
fn what_is_given_back_reaches_who_waits() {
    model(|| two_come_back(&Arc::new(Seats::new(2, 0)), 2, 0));
}

#[test]
fn who_gives_up_loses_no_seat() {
    model(|| {
        let seats = Arc::new(Seats::new(1, 0));
        assert!(seats.claim(0, 1));
        let impatient = seats.wait(1);
        let theirs = seats.clone();
        let giver = thread::spawn(move || theirs.give(0, 1));
        drop(impatient);
        giver.join().unwrap();
        assert_eq!((seats.taken(), seats.waiting()), (0, 0));
        assert!(seats.claim(0, 1));
    });
}

#[test]
fn nobody_overtakes() {
    model(|| {
        let seats = Arc::new(Seats::new(1, 0));
        assert!(seats.claim(0, 1));
        let mut first = seats.wait(1);
        let theirs = seats.clone();
        let late = thread::spawn(move || theirs.claim(0, 1));
        seats.give(0, 1);
        assert!(!late.join().unwrap(), "the first in the queue has it");
        assert!(first.redeem());
    });
}

/// Sixteen seats and two lanes: one seat at once beside what is claimed.
fn with_lanes() -> Arc<Seats> {
    Arc::new(Seats::new(16, 2))
}

#[test]
fn lanes_give_back_before_anybody_is_refused() {
    model(|| {
        let seats = with_lanes();
        assert!(seats.claim(0, 1), "and one to spare");
        let theirs = seats.clone();
        let other = thread::spawn(move || {
            let claimed = theirs.claim(1, 14);
            assert!(theirs.taken() <= 16);
            claimed
        });
        let claimed = seats.claim(0, 1);
        let other = other.join().unwrap();
        assert!(claimed && other, "sixteen are there for sixteen");
        assert_eq!(seats.taken(), 16);
        assert!(!seats.claim(0, 1) && !seats.claim(1, 1));
    });
}

#[test]
fn what_comes_back_to_a_lane_reaches_who_waits_elsewhere() {
    model(|| two_come_back(&with_lanes(), 16, 1));
}

#[test]
fn who_waits_is_not_passed_by_a_lane() {
    model(|| {
        let seats = with_lanes();
        assert!(seats.claim(0, 14));
        let mut ticket = seats.wait(3);
        let theirs = seats.clone();
        let late = thread::spawn(move || theirs.claim(0, 1));
        seats.give(1, 1);
        assert!(!late.join().unwrap());
        assert!(ticket.redeem());
    });
}
