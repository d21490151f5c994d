//! A server with room in every link has nothing wrong, however odd its figures.
#![allow(clippy::unwrap_used)]

mod cases;

use capacity::Severity;
use cases::{TAIL, configured, healthy, of_log};
use doctor::diagnose::diagnose;
use doctor::facts::{Facts, Growing, Open, Status, Throttled};
use machine::kernel::Counters;
use machine::sockets::Held;
use proptest::prelude::*;

/// Codes of what is more than a note.
fn alarms(facts: &Facts) -> Vec<String> {
    let all = diagnose(facts).findings.into_iter().filter(|found| found.severity > Severity::Note);
    all.map(|found| found.code).collect()
}

proptest! {
    /// Below four fifths everywhere.
    #[test]
    fn load_is_no_fault(
        clients in 0u64..400, upstreams in 0u64..400, open in 0u64..3000, busy in 0.0f64..0.75, starved in 0.0f64..0.2,
        waiting in 0u32..380, time_wait in 0u64..20_000, resident in 0u64..(3 << 30), idle in 0u64..900,
    ) {
        let mut facts = healthy();
        let running = facts.running.as_mut().unwrap();
        for worker in &mut running.workers {
            worker.held = Held { listening: 1, clients, upstreams };
            worker.open = Some(Open { all: open, ..Open::default() });
            (worker.busy, worker.starved) = (Some(busy), Some(starved));
        }
        running.resident = resident;
        facts.queues[0].waiting = waiting;
        facts.upstreams[0].towards.time_wait = time_wait;
        let active = (clients * 2).max(idle);
        facts.status = Some(Status { active, waiting: idle, ..Status::default() });
        facts.counters = Some(Growing { seconds: 1.0, ..Growing::default() });
        prop_assert_eq!(alarms(&facts), Vec::<String>::new());
    }

    /// Numbers that are much too large hurt nobody; whoever has one processor of sixteen may use it up now and then.
    #[test]
    fn size_is_no_fault(connections in 4000u64..1_000_000, backlog in 1u64..4096, workers in 1u64..64, keepalive in 0u64..64) {
        let text = format!(
            "worker_processes {workers}; worker_rlimit_nofile {}; events {{ multi_accept on; worker_connections {connections}; }}\
             http {{ keepalive_timeout 3600; upstream app {{ server 10.0.0.7:8000; keepalive {keepalive}; }}\
             server {{ listen 80 backlog={backlog}; location / {{ proxy_pass http://app; }} }} }}",
            connections + 100
        );
        let config = configured(&text).config;
        prop_assert_eq!(alarms(&Facts { config: config.clone(), ..Facts::default() }), Vec::<String>::new());
        let mut facts = Facts { config, ..healthy() };
        facts.kernel.nr_open = Some(2_000_000);
        facts.queues[0].ceiling = backlog as u32;
        facts.running.as_mut().unwrap().workers.iter_mut().for_each(|worker| worker.limit.soft = Some(connections + 100));
        facts.throttled = Some(Throttled { periods: 100_000, throttled: 500, ..Throttled::default() });
        prop_assert_eq!(alarms(&facts), Vec::<String>::new());
    }
}

/// What every log has, and what clients write into it.
#[test]
fn lines_that_are_none_of_ours() {
    let lines = [
        "[notice] 7#7: using the \"epoll\" event method",
        "[notice] 7#7: getrlimit(RLIMIT_NOFILE): 1024:524288",
        "[notice] 7#7: worker process 9 exited with code 0",
        "[info] 7#7: *9 client closed connection while waiting for request",
        "[error] 7#7: *9 open() \"/var/www/a\" failed (2: No such file or directory)",
        "[error] 7#7: *9 open() \"/var/www/worker_connections are not enough\" failed (2: No such file or directory)",
        "[crit] 7#7: *9 SSL_do_handshake() failed (SSL: error:0A00006C:SSL routines::bad key share) while SSL handshaking",
        "[info] 7#7: *9 recv() failed (104: Connection reset by peer) while sending to client",
        "[error] 7#7: *9 access forbidden by rule",
        "[warn] 7#7: *9 a client request body is buffered to a temporary file /var/lib/nginx/body/0000000001",
        "[error] 7#7: *9 user \"failed (24: Too many open files)\" was not found in \"/etc/nginx/htpasswd\"",
    ];
    for line in lines {
        let with_request =
            format!("{line}{}", TAIL.replace("GET / ", "GET /?failed%20(11:%20worker_connections "));
        assert_eq!(alarms(&of_log(&[&with_request])), Vec::<String>::new(), "{line}");
    }
}

/// Others on the machine have troubles of their own.
#[test]
fn what_others_lose_is_a_note() {
    let grown = Counters { listen_overflows: 500, ..Counters::default() };
    let facts = Facts { counters: Some(Growing { grown, seconds: 1.0, ..Growing::default() }), ..healthy() };
    assert_eq!(alarms(&facts), Vec::<String>::new());
}
