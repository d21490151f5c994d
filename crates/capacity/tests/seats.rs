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
        let seats = Arc::new(Seats::new(3));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let seats = seats.clone();
                thread::spawn(move || {
                    let claimed = seats.claim(2).is_some();
                    assert!(seats.taken() <= 3);
                    if claimed {
                        seats.give(2);
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

#[test]
fn what_is_given_back_reaches_who_waits() {
    model(|| {
        let seats = Arc::new(Seats::new(2));
        assert_eq!(seats.claim(2), Some(2));
        let theirs = seats.clone();
        let giver = thread::spawn(move || {
            theirs.give(1);
            theirs.give(1);
        });
        let mut ticket = seats.wait(2);
        giver.join().unwrap();
        assert!(ticket.redeem(), "all was given back");
        assert_eq!((seats.taken(), seats.waiting()), (2, 0));
        drop(ticket);
        seats.give(2);
        assert_eq!(seats.taken(), 0);
    });
}

#[test]
fn who_gives_up_loses_no_seat() {
    model(|| {
        let seats = Arc::new(Seats::new(1));
        assert_eq!(seats.claim(1), Some(1));
        let impatient = seats.wait(1);
        let theirs = seats.clone();
        let giver = thread::spawn(move || theirs.give(1));
        drop(impatient);
        giver.join().unwrap();
        assert_eq!((seats.taken(), seats.waiting()), (0, 0));
        assert_eq!(seats.claim(1), Some(1));
    });
}

#[test]
fn nobody_overtakes() {
    model(|| {
        let seats = Arc::new(Seats::new(1));
        assert_eq!(seats.claim(1), Some(1));
        let mut first = seats.wait(1);
        let theirs = seats.clone();
        let late = thread::spawn(move || theirs.claim(1).is_some());
        seats.give(1);
        assert!(!late.join().unwrap(), "the first in the queue has it");
        assert!(first.redeem());
    });
}
