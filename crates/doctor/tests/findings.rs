//! Every finding is whole: whatever its code, it says where it looked, what that means, what to change, how to see that
//! it helped, and what will not help.
#![allow(clippy::unwrap_used)]

mod cases;

use std::collections::BTreeSet;

use capacity::{Confidence, Effect, Finding, Kind, Link, Setup};
use cases::{TAIL, configured, healthy, of_log};
use doctor::diagnose::diagnose;
use doctor::facts::{Facts, Growing, Open, Running, Status, Throttled, Worker};
use doctor::logs::Concurrency;
use doctor::logs::access::Access;
use machine::kernel::Counters;
use machine::sockets::{Held, Queue};

/// A line of each kind that logs have.
fn lines() -> Vec<String> {
    let with_tail = |line: &&str| format!("{line}{TAIL}");
    let of_requests = [
        "[alert] 7#7: *9 768 worker_connections are not enough while connecting to upstream",
        "[alert] 7#7: *9 socket() failed (24: Too many open files) while connecting to upstream",
        "[error] 7#7: *9 connect() to unix:/a failed (11: Resource temporarily unavailable) while connecting to upstream",
        "[error] 7#7: *9 upstream timed out (110: Connection timed out) while connecting to upstream",
        "[error] 7#7: *9 upstream timed out (110: Connection timed out) while reading response header from upstream",
        "[error] 7#7: *9 connect() failed (111: Connection refused) while connecting to upstream",
        "[crit] 7#7: *9 connect() to 10.0.0.7:8000 failed (99: Cannot assign requested address) while connecting to upstream",
        "[crit] 7#7: *9 bind(10.0.0.1:5000) failed (98: Address already in use) while connecting to upstream",
        "[alert] 7#7: *9 socket() failed (105: No buffer space available) while connecting to upstream",
        "[error] 7#7: *9 no live upstreams while connecting to upstream",
    ];
    let others = [
        "[alert] 7#7: 1024 worker_connections are not enough",
        "[warn] 7#7: 512 worker_connections are not enough, reusing connections",
        "[emerg] 7#7: 1 worker_connections are not enough for 2 listening sockets",
        "[warn] 7#7: 4096 worker_connections exceed open file resource limit: 1024",
        "[alert] 7#7: setrlimit(RLIMIT_NOFILE, 65536) failed (1: Operation not permitted)",
        "[crit] 7#7: accept4() failed (24: Too many open files)",
        "[crit] 7#7: accept4() failed (23: Too many open files in system)",
        "[crit] 7#7: *9 open() \"/a\" failed (24: Too many open files)",
        "[emerg] 7#7: open() \"/a.log\" failed (24: Too many open files)",
        "[error] 7#7: *9 limiting requests, excess: 5.0 by zone \"a\"",
        "[alert] 7#7: worker process 9 exited on signal 9",
        "*** uWSGI listen queue of socket \"a\" (fd: 3) full !!! (101/100) ***",
        "WARNING: [pool www] server reached pm.max_children setting (5)",
        "[2026-06-27 12:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)",
    ];
    of_requests.iter().map(with_tail).chain(others.iter().map(|line| (*line).to_owned())).collect()
}

/// A running server with one thing wrong.
fn live() -> Vec<Facts> {
    let changed = |change: &dyn Fn(&mut Facts, &mut Running)| {
        let mut facts = healthy();
        let mut running = facts.running.take().unwrap();
        change(&mut facts, &mut running);
        Facts { running: Some(running), ..facts }
    };
    let worker =
        |change: &dyn Fn(&mut Worker)| changed(&|_, running| running.workers.iter_mut().for_each(change));
    let queue = |change: &dyn Fn(&mut Queue)| changed(&|facts, _| change(&mut facts.queues[0]));
    vec![
        worker(&|worker| worker.held = Held { listening: 1, clients: 700, upstreams: 322 }),
        changed(&|_, running| running.workers[0].held.clients = 1010),
        worker(&|worker| worker.open = Some(Open { all: 4090, ..Open::default() })),
        worker(&|worker| worker.busy = Some(0.99)),
        changed(&|_, running| running.workers[0].busy = Some(0.99)),
        changed(&|facts, running| {
            running.workers[1].starved = Some(0.6);
            facts.counters = Some(Growing { seconds: 1.0, ..Growing::default() });
        }),
        changed(&|facts, running| {
            running.quota = Some(0.5);
            facts.throttled =
                Some(Throttled { periods_grown: 10, throttled_grown: 6, ..Throttled::default() });
        }),
        changed(&|facts, _| {
            let found = Concurrency { peak: 900, ..Concurrency::default() };
            facts.access = Some(Access { requests: 9, concurrency: Some(found), ..Access::default() });
        }),
        changed(&|facts, _| {
            facts.access = Some(Access { requests: 90, statuses: [(499, 30)].into(), ..Access::default() });
        }),
        changed(&|facts, _| {
            facts.own = vec![Link { refused: 7, ..Link::new(Kind::Slots, Some(1000), "").peak(1000) }];
        }),
        queue(&|queue| queue.waiting = 512),
        queue(&|queue| queue.drops_grown = 3),
        queue(&|queue| queue.drops = 3),
        queue(&|queue| queue.ceiling = 128),
        changed(&|facts, _| {
            let grown = Counters { listen_overflows: 2, ..Counters::default() };
            facts.counters = Some(Growing { grown, seconds: 1.0, ..Growing::default() });
        }),
        changed(&|facts, _| {
            let queue =
                Queue { address: "10.0.0.7:8000".into(), waiting: 129, ceiling: 128, ..Queue::default() };
            facts.upstreams[0].queue = Some(queue);
        }),
        changed(&|facts, _| facts.upstreams[0].towards.time_wait = 28_200),
        changed(&|_, running| running.resident = 4 << 30),
        changed(&|_, running| running.memory = Some(32 << 20)),
        changed(&|facts, _| facts.status = Some(Status { active: 1500, waiting: 1400, ..Status::default() })),
        changed(&|_, running| running.leaving = 9),
        changed(&|_, running| running.workers[0].limit.soft = Some(1024)),
    ]
}

/// Configurations that will not do.
fn setups() -> Vec<Facts> {
    let on_this_machine = |text: &str| Facts { config: configured(text).config, ..healthy() };
    let rest = "http { server { listen 80; location / { proxy_pass http://10.0.0.7:8000; } } }";
    let mut broken = configured("events { }");
    broken.config.as_mut().unwrap().error = Some("unexpected \"}\" in /etc/nginx/nginx.conf:3".into());
    vec![
        broken,
        on_this_machine("events { } http { server { listen 80 backlog=9999; } }"),
        on_this_machine(
            "events { } http { server { listen 80; location / { proxy_pass http://127.0.0.1:80; } } }",
        ),
        on_this_machine(&format!("worker_rlimit_nofile 2000000; events {{ }} {rest}")),
        on_this_machine(&format!("worker_rlimit_nofile 512; events {{ worker_connections 40000; }} {rest}")),
        on_this_machine(
            "events { } http { upstream a { server 10.0.0.7:80; keepalive 400; } server { listen 80; } }",
        ),
    ]
}

/// What only `-t` can see.
fn of_setup() -> Vec<Finding> {
    let shell = Setup {
        shell_soft: Some(1024),
        soft: Some(4096),
        service: "nginx.service".into(),
        rlimit_nofile: Some(9999),
        hard: Some(4096),
        ..Setup::default()
    };
    shell.findings()
}

fn all() -> Vec<Finding> {
    let of_logs = lines().into_iter().map(|line| of_log(&[&line]));
    let facts = of_logs.chain(live()).chain(setups());
    facts.flat_map(|facts| diagnose(&facts).findings).chain(of_setup()).collect()
}

#[test]
fn every_code_occurs_here() {
    let found: BTreeSet<String> = all().into_iter().map(|finding| finding.code).collect();
    let missing: Vec<_> = doctor::explain::codes().filter(|code| !found.contains(*code)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// Findings that are about no link of the chain.
const WITHOUT_A_LINK: [&str; 6] = [
    "clients_gave_up",
    "configuration_broken",
    "limited",
    "no_live_upstreams",
    "upstream_down",
    "upstream_slow",
];

#[test]
fn every_finding_is_whole() {
    for found in all() {
        let code = found.code.as_str();
        assert_eq!(found.link.is_none(), WITHOUT_A_LINK.contains(&code), "{code}");
        assert!(found.evidence.iter().any(|seen| !seen.is_empty()), "{code}: no evidence {found:#?}");
        assert!(!found.means.is_empty(), "{code}: no consequence {found:#?}");
        assert!(!found.not_this.is_empty(), "{code}: nothing will not help {found:#?}");
        assert!(!found.changes.is_empty(), "{code}: nothing to change {found:#?}");
        for change in &found.changes {
            assert!(!change.setting.is_empty() && !change.place.is_empty(), "{code}: {change:?}");
        }
    }
}

/// Numbers and lines stand with what they were read from.
#[test]
fn evidence_names_its_source() {
    const SOURCES: [&str; 22] = [
        "live: ",
        "error.log:",
        "nginx.conf:",
        "worker ",
        "cpu.stat",
        "stub_status",
        "capacity_status",
        "access log",
        "TcpExt",
        "backlog=",
        "dropped in all",
        "/proc",
        "cgroup",
        "net.",
        "fs.",
        "keepalive",
        "slots, ",
        "LimitNOFILE",
        "hard limit",
        "worker_rlimit_nofile",
        "soft limit",
        "nginx.service",
    ];
    for found in all() {
        let named = |seen: &String| SOURCES.iter().any(|source| seen.contains(source));
        assert!(found.evidence.iter().any(named), "{}: {:?}", found.code, found.evidence);
    }
}

#[test]
fn every_finding_of_the_doctor_says_how_to_verify() {
    for facts in live().into_iter().chain(setups()) {
        for found in diagnose(&facts).findings {
            assert!(!found.verify.is_empty(), "{}", found.code);
        }
    }
}

/// Where a link bounds requests, the finding says how many.
#[test]
fn consequences_are_in_concurrent_requests() {
    let bounded = [Kind::AcceptQueue, Kind::Slots, Kind::Descriptors, Kind::Ports, Kind::Memory];
    for facts in live() {
        for found in diagnose(&facts).findings {
            if found.link.is_some_and(|link| bounded.contains(&link)) {
                assert!(found.requests.is_some(), "{found:#?}");
                assert!(found.consequence().contains("at once"), "{}", found.consequence());
            }
        }
    }
    let line =
        format!("[alert] 7#7: *9 768 worker_connections are not enough while connecting to upstream{TAIL}");
    assert_eq!(diagnose(&of_log(&[&line])).findings[0].requests, Some(384));
}

#[test]
fn what_is_guessed_is_said_to_be() {
    let sure = |line: &str| diagnose(&of_log(&[&format!("{line}{TAIL}")])).findings[0].confidence;
    assert_eq!(
        sure("[error] 7#7: *9 connect() to unix:/a failed (11: x) while connecting to upstream"),
        Confidence::Certain
    );
    let timeout = "[error] 7#7: *9 upstream timed out (110: x) while connecting to upstream";
    assert_eq!(sure(timeout), Confidence::Likely);
    assert_eq!(sure("[error] 7#7: *9 no live upstreams while connecting to upstream"), Confidence::Possible);
    assert_eq!(sure("[alert] 7#7: worker process 9 exited on signal 9"), Confidence::Likely);
    // With the queue itself in sight there is nothing to guess.
    let mut facts = of_log(&[&format!("{timeout}{TAIL}")]);
    facts.upstreams = healthy().upstreams;
    let queue = Queue { address: "10.0.0.7:8000".into(), waiting: 129, ceiling: 128, ..Queue::default() };
    facts.upstreams[0].queue = Some(queue);
    assert_eq!(diagnose(&facts).findings[0].confidence, Confidence::Certain);
}

/// What a reload does not do is not said of it.
#[test]
fn effects_are_true() {
    for change in all().iter().flat_map(|found| &found.changes) {
        let setting = change.setting.as_str();
        let wanted = match () {
            () if setting.starts_with("worker_")
                || (setting.starts_with("listen ") && setting.ends_with(';')) =>
            {
                Some(vec![Effect::Reload])
            }
            () if setting.starts_with("LimitNOFILE") => Some(vec![Effect::Restart]),
            () if setting.starts_with("net.core.somaxconn") => {
                Some(vec![Effect::Restart, Effect::RestartUpstream])
            }
            () => None,
        };
        assert!(wanted.is_none_or(|wanted| wanted.contains(&change.effect)), "{change:?}");
    }
}
