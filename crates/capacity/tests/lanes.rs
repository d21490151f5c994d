//! Threads that come and go within what their lane holds do not meet.
#![cfg(not(feature = "loom"))]

use std::sync::Barrier;

use capacity::Seats;

/// Connections that come and go on one thread.
const ROUNDS: usize = 10_000;

#[test]
fn threads_do_not_meet_for_what_comes_and_goes() {
    let (threads, seats) = (4, Seats::new(1024, 4));
    let together = Barrier::new(threads);
    std::thread::scope(|scope| {
        for lane in 0..threads {
            let (seats, together) = (&seats, &together);
            scope.spawn(move || {
                together.wait();
                for i in 0..ROUNDS {
                    let need = 1 + i % 2;
                    assert!(seats.claim(lane, need));
                    seats.give(lane, need);
                }
            });
        }
    });
    assert_eq!(seats.taken(), 0);
    // The first one, and nobody was refused, so nothing was called back.
    assert_eq!(seats.meetings(), threads);
}

#[test]
fn few_seats_are_all_in_the_pool() {
    let seats = Seats::new(4, 2);
    assert!((0..4).all(|i| seats.claim(i % 2, 1)));
    assert!(!seats.claim(0, 1) && !seats.claim(1, 1));
    assert_eq!((seats.taken(), seats.peak()), (4, 4));
    (0..4).for_each(|i| seats.give(i % 2, 1));
    assert_eq!((seats.taken(), seats.peak()), (0, 4));
}

#[test]
fn a_lane_keeps_no_more_than_its_part() {
    let seats = Seats::new(1024, 2);
    (0..512).for_each(|_| assert!(seats.claim(0, 1)));
    (0..512).for_each(|_| seats.give(0, 1));
    // What one lane holds does not keep another from anything.
    assert!(seats.claim(1, 1024 - 64) && seats.taken() == 1024 - 64);
    seats.resize(16);
    seats.give(1, 1024 - 64);
    assert!(seats.claim(0, 16) && !seats.claim(1, 1), "what was held back is free with the rest");
}
