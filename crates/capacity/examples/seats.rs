//! What a seat costs, claimed and given back, where threads share one pool and where each has a lane:
//! `cargo run --release -p capacity --example seats`.

use std::sync::Barrier;
use std::time::Instant;

use capacity::Seats;

const ROUNDS: u32 = 2_000_000;

fn main() {
    println!("ns for a claim and its return, by threads     one pool    lanes   meetings");
    for threads in [1, 2, 4] {
        let (pool, _) = cost(threads, 0);
        let (lanes, meetings) = cost(threads, threads);
        println!("{threads:>45}{pool:>13.1}{lanes:>9.1}{meetings:>11}");
    }
}

/// Nanoseconds of one thread for one round, and how often threads met.
fn cost(threads: usize, lanes: usize) -> (f64, usize) {
    let seats = Seats::new(4096, lanes);
    let together = Barrier::new(threads);
    let each = std::thread::scope(|scope| {
        let one = |lane| {
            let (seats, together) = (&seats, &together);
            scope.spawn(move || {
                together.wait();
                let begun = Instant::now();
                for _ in 0..ROUNDS {
                    assert!(seats.claim(lane, 2));
                    seats.give(lane, 2);
                }
                begun.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
            })
        };
        let all: Vec<_> = (0..threads).map(one).collect();
        let costs: Vec<f64> = all.into_iter().filter_map(|thread| thread.join().ok()).collect();
        costs.iter().sum::<f64>() / costs.len() as f64
    });
    (each, seats.meetings())
}
