//! Threads that share a listener: a connection wakes about one of them, and all get their share. Counts, not times.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::{Worker, serve};

/// Opens connections one by one, each as soon as the one before was accepted, so that every one finds all threads
/// asleep: the case in which a careless loop wakes them all.
fn connect_one_by_one(address: SocketAddr, workers: &[Worker], count: u64) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for n in 1..=count {
        streams.push(TcpStream::connect(address).unwrap());
        let start = Instant::now();
        while workers.iter().map(Worker::accepted).sum::<u64>() < n {
            assert!(start.elapsed() < Duration::from_secs(10), "connection {n} was not accepted");
            std::thread::yield_now();
        }
    }
    streams
}

fn wakes_and_largest_share(threads: usize, count: u64) -> (f64, f64) {
    let (address, workers) = serve(threads);
    let before: u64 = workers.iter().map(Worker::switches).sum();
    let streams = connect_one_by_one(address, &workers, count);
    let wakes: u64 = workers.iter().map(Worker::switches).sum::<u64>() - before;
    let largest = workers.iter().map(Worker::accepted).max().unwrap();
    drop(workers);
    drop(streams);
    (wakes as f64 / count as f64, largest as f64 * threads as f64 / count as f64)
}

fn check(threads: usize, count: u64) {
    let (wakes, share) = wakes_and_largest_share(threads, count);
    assert!(wakes <= 1.2, "{wakes:.2} wake-ups per connection on {threads} threads");
    assert!(share <= 2.0, "one of {threads} threads took {share:.2} times its share");
}

#[test]
fn one_thread() {
    check(1, 300);
}

#[test]
fn four_threads() {
    check(4, 640);
}

#[test]
fn sixteen_threads() {
    check(16, 1280);
}
