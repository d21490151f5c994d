//! The processes under constant load: reloads, and what is left of them afterwards.
//!
//! `PLIMSOLL_SOAK=60 cargo test -p plimsoll --test soak -- --ignored --nocapture` runs the long forms, for so many
//! seconds, and prints figures.
#![allow(clippy::unwrap_used)]

mod deaths;
mod generations;
mod load;
mod parts;
mod stage;
mod talk;
mod upgrade;

use std::time::{Duration, Instant};

use testkit::{Server, eventually};

use self::load::{CLIENTS, FRESH, Load, TLS};
use self::stage::{Conf, application, descriptors, memory, reload, start, worker};

fn long() -> Option<u64> {
    std::env::var("PLIMSOLL_SOAK").ok()?.parse().ok()
}

fn with_tls() -> bool {
    testkit::peers::require("openssl").is_some()
}

#[test]
fn reloads_under_load_lose_nothing() {
    // Too short for the load's own growth to end, which alone takes this.
    soak(0, 10, 8, |_| 1 << 20);
}

#[test]
#[ignore = "up to three minutes of load: set PLIMSOLL_SOAK to the seconds with reloads"]
fn fifty_reloads_under_load_lose_nothing() {
    let seconds = long().unwrap_or(60);
    // A twentieth, and the gaps that the first dozen of generations leaves between what lasts: they level off, at half a megabyte
    // of four. Fifty copies of anything worth keeping would be more.
    soak(120, seconds, 50, |first| first / 20 + (700 << 10));
}

/// Under load the buffers of all threads grow to what it needs, for `warm` seconds at most; then `reloads` in `seconds`,
/// which may add `allowance` bytes to the worker's memory.
fn soak(warm: u64, seconds: u64, reloads: usize, allowance: impl Fn(u64) -> u64) {
    let tls = with_tls();
    let applications = [application(), application()];
    let conf = |number: usize| {
        let application = &applications[number % 2];
        // Threads stay once they are there: the first reload has as many as there will be.
        let conf = Conf { number, threads: 1 + (number + 2) % 3, application, tls, main: String::new() };
        conf.text()
    };
    let server = start(&conf(1));
    let pids = (server.pid(), worker(&server));
    reload(&server, &conf(0));
    assert_eq!(server.get("/").text(), "g0");
    let rest = (descriptors(pids.0), descriptors(pids.1));

    let load = Load::start(&server, tls);
    load.go_on();
    let warming = Instant::now();
    settle(pids.1, warm);
    let begun = Instant::now();
    let pause = Duration::from_secs(seconds) / (reloads as u32 + 1);
    let mut held = Vec::new();
    for i in 1..=reloads {
        // The load is what takes time here; a reload falls due when its time has come.
        std::thread::sleep((begun + pause * i as u32).saturating_duration_since(Instant::now()));
        reload(&server, &conf(i));
        held.push(memory(pids.1));
        assert_eq!(server.get("/").text(), format!("g{i}"));
        if i % 4 == 0 {
            broken_reload(&server);
            assert_eq!(server.get("/").text(), format!("g{i}"));
        }
        if i % 2 == 1 {
            assert_eq!(server.client_on(1).get("/").text(), format!("g{i}"));
        }
    }
    std::thread::sleep((begun + Duration::from_secs(seconds)).saturating_duration_since(Instant::now()));
    let (first, last) = (least(&held[..FEW]), least(&held[reloads - FEW..]));
    let tally = load.finish(warming);
    assert!(last > 0);
    eprintln!("{:?}", held.iter().map(|bytes| bytes / 1024).collect::<Vec<_>>());
    let change = last as f64 / first as f64 - 1.0;
    eprintln!(
        "{reloads} reloads in {seconds} s, {:.1} s of load\n{tally}\nworker: {} KiB after the first reload, {} KiB in the end ({:+.1} %)",
        tally.seconds,
        first / 1024,
        last / 1024,
        change * 100.0
    );
    assert!(tally.lost.is_empty(), "{:#?}", tally.lost);
    for kind in (0..CLIENTS.len()).filter(|kind| *kind != FRESH && (tls || *kind != TLS)) {
        assert_eq!(tally.connected[kind], CLIENTS[kind] as u64, "every connection goes on");
    }
    assert_eq!((server.pid(), worker(&server)), pids);
    assert!(last <= first + allowance(first), "the worker grew by {:.1} %", change * 100.0);
    reload(&server, &conf(6));
    drop(applications);
    // A descriptor at rest may have been that of a connection about to close.
    let left = || (descriptors(pids.0), descriptors(pids.1));
    if testkit::within(|| (left().0.len() <= rest.0.len() && left().1.len() <= rest.1.len()).then_some(()))
        .is_none()
    {
        panic!("descriptors are left: {:#?}, before: {rest:#?}", left());
    }
}

/// So many reloads are taken together: what is under way at the moment of one is many times more than what may be left by it.
const FEW: usize = 5;

/// The least of some measurements.
fn least(held: &[u64]) -> u64 {
    held.iter().min().copied().unwrap_or_default()
}

/// Waits until the worker's memory has stayed the same for a while.
fn settle(pid: i32, most: u64) {
    let (mut steady, mut before) = (0, 0);
    for _ in 0..most {
        let now = memory(pid);
        steady = if now <= before { steady + 1 } else { 0 };
        before = now.max(before);
        if steady == 20 {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Tells the server to take a configuration it cannot, and waits until it has said so.
fn broken_reload(server: &Server) {
    let count = || server.error_log().lines().iter().filter(|line| line.contains("[emerg]")).count();
    let before = count();
    server.reload("location / { retrun 200; }");
    eventually("the refusal", || count() > before);
}
