//! A worker dies under load.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Server, eventually};

use crate::load::{CLIENTS, Load};
use crate::stage::{Conf, application, is_alive, start, worker};

/// A worker that dies is replaced, and accepts, within this.
const BACK_AGAIN: Duration = Duration::from_millis(200);

fn signal(pid: i32, signal: Signal) {
    // It may be gone already.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

#[test]
fn a_dead_worker_costs_what_was_in_flight() {
    let tls = crate::with_tls();
    let application = application();
    let conf = Conf { number: 0, threads: 2, application: &application, tls, main: String::new() };
    let server = start(&conf.text());
    let load = Load::start(&server, tls);
    load.go_on();
    let mut pauses = Vec::new();
    for with in [Signal::KILL, Signal::SEGV] {
        assert_eq!(load.take_lost().len(), 0, "nothing is lost without need");
        let begun = end(&server, with);
        assert_eq!(server.get("/").text(), "g0");
        pauses.push(begun.elapsed());
        load.go_on();
        let lost = load.take_lost();
        assert!(!lost.iter().any(|lost| lost.refused), "somebody always listens: {lost:#?}");
        for (kind, clients) in CLIENTS.iter().enumerate() {
            // Each client has one connection, and one request under way, at a time.
            assert!(lost.iter().filter(|lost| lost.kind == kind).count() <= *clients, "{lost:#?}");
        }
    }
    let check = (0..3).map(|_| check(&server)).min().unwrap();
    let most = BACK_AGAIN.max(check * 3);
    eprintln!("serving again after {pauses:?}, at most {most:?}");
    assert!(pauses.iter().any(|pause| *pause <= most), "{pauses:?}, at most {most:?}");
}

/// How long the machine takes now to start the program and have it check its configuration: the larger part of a new
/// worker's work, and as slow as that where other things keep the machine busy.
fn check(server: &Server) -> Duration {
    let begun = Instant::now();
    assert!(server.again(&["-t", "-q"]).success());
    begun.elapsed()
}

/// Ends the worker; when it was told so.
fn end(server: &Server, with: Signal) -> Instant {
    let pid = worker(server);
    loop {
        let begun = Instant::now();
        signal(pid, with);
        // A SEGV that no instruction raised ends a Rust program only at the second time.
        let patience = begun + Duration::from_millis(20);
        while Instant::now() < patience {
            if !is_alive(pid) {
                return begun;
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_crash_loop_backs_off() {
    let server = testkit::serve("location / { return 200 one; }");
    let begun = Instant::now();
    for _ in 0..5 {
        let pid = worker(&server);
        signal(pid, Signal::KILL);
        eventually("another worker", || server.workers().iter().any(|new| *new != pid));
    }
    // Two at once, then pauses that double.
    assert!(begun.elapsed() >= Duration::from_millis(100 + 200 + 400));
    assert_eq!(server.get("/").text(), "one");
}
