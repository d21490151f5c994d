//! Facts in, findings out: a case for each rule.
#![allow(clippy::unwrap_used)]

mod cases;

use capacity::{Kind, Link, Severity};
use cases::{TAIL, configured, healthy, of_log};
use doctor::diagnose::{Diagnosis, diagnose};
use doctor::facts::{
    Application, Facts, Growing, Killed, Open, Status, Throttled, Upstream, Worker, Written,
};
use doctor::logs::Concurrency;
use doctor::logs::access::Access;
use machine::sockets::{Held, Queue};
use machine::unit::Unit;

#[track_caller]
fn first(facts: &Facts, code: &str) -> Diagnosis {
    let diagnosis = diagnose(facts);
    let codes: Vec<_> = diagnosis.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes.first(), Some(&code), "{codes:?}");
    diagnosis
}

#[test]
fn each_line_of_the_family_has_its_finding() {
    let table = [
        ("[alert] 7#7: 1024 worker_connections are not enough", "slots_full", Severity::Critical),
        (
            "[alert] 7#7: *9 768 worker_connections are not enough while connecting to upstream",
            "slots_full",
            Severity::Critical,
        ),
        (
            "[warn] 7#7: 512 worker_connections are not enough, reusing connections",
            "slots_low",
            Severity::Warning,
        ),
        (
            "[emerg] 7#7: 1 worker_connections are not enough for 2 listening sockets",
            "slots_for_listeners",
            Severity::Critical,
        ),
        (
            "[warn] 7#7: 4096 worker_connections exceed open file resource limit: 1024",
            "descriptors_short",
            Severity::Warning,
        ),
        (
            "[alert] 7#7: setrlimit(RLIMIT_NOFILE, 65536) failed (1: Operation not permitted)",
            "rlimit_refused",
            Severity::Warning,
        ),
        ("[crit] 7#7: accept4() failed (24: Too many open files)", "descriptors_full", Severity::Critical),
        (
            "[crit] 7#7: accept4() failed (23: Too many open files in system)",
            "descriptors_machine",
            Severity::Critical,
        ),
        (
            "[alert] 7#7: *9 socket() failed (24: Too many open files) while connecting to upstream",
            "descriptors_full",
            Severity::Critical,
        ),
        (
            "[crit] 7#7: *9 open() \"/a\" failed (24: Too many open files)",
            "descriptors_full",
            Severity::Critical,
        ),
        (
            "[emerg] 7#7: open() \"/a.log\" failed (24: Too many open files)",
            "descriptors_master",
            Severity::Critical,
        ),
        (
            "[error] 7#7: *9 connect() to unix:/a failed (11: Resource temporarily unavailable) while connecting to upstream",
            "upstream_queue_full",
            Severity::Critical,
        ),
        (
            "[error] 7#7: *9 upstream timed out (110: Connection timed out) while connecting to upstream",
            "upstream_queue_full",
            Severity::Critical,
        ),
        (
            "[error] 7#7: *9 upstream timed out (110: Connection timed out) while reading response header from upstream",
            "upstream_slow",
            Severity::Warning,
        ),
        (
            "[error] 7#7: *9 connect() failed (111: Connection refused) while connecting to upstream",
            "upstream_down",
            Severity::Warning,
        ),
        (
            "[crit] 7#7: *9 connect() to 10.0.0.7:8000 failed (99: Cannot assign requested address) while connecting to upstream",
            "ports_exhausted",
            Severity::Critical,
        ),
        (
            "[crit] 7#7: *9 bind(10.0.0.1:5000) failed (98: Address already in use) while connecting to upstream",
            "fixed_port",
            Severity::Critical,
        ),
        (
            "[alert] 7#7: *9 socket() failed (105: No buffer space available) while connecting to upstream",
            "kernel_memory",
            Severity::Critical,
        ),
        (
            "[error] 7#7: *9 no live upstreams while connecting to upstream",
            "no_live_upstreams",
            Severity::Critical,
        ),
        ("[error] 7#7: *9 limiting connections by zone \"a\"", "limited", Severity::Note),
        ("[error] 7#7: *9 limiting requests, excess: 5.0 by zone \"a\"", "limited", Severity::Note),
        ("[alert] 7#7: worker process 9 exited on signal 9", "worker_killed", Severity::Critical),
        (
            "*** uWSGI listen queue of socket \"a\" (fd: 3) full !!! (101/100) ***",
            "application_busy",
            Severity::Critical,
        ),
        (
            "WARNING: [pool www] server reached pm.max_children setting (5)",
            "application_busy",
            Severity::Critical,
        ),
    ];
    for (line, code, severity) in table {
        let line = if line.contains("while") { format!("{line}{TAIL}") } else { line.to_owned() };
        let diagnosis = first(&of_log(&[&line]), code);
        assert_eq!(diagnosis.findings[0].severity, severity, "{line}");
        assert!(diagnosis.findings[0].evidence[0].starts_with("1 x, first at error.log:1"), "{line}");
        assert!(
            !diagnosis.findings[0].means.is_empty() || !diagnosis.findings[0].changes.is_empty(),
            "{line}"
        );
    }
}

#[test]
fn the_first_cause_comes_before_its_consequences() {
    let queue =
        format!("[error] 7#7: *9 connect() to unix:/a failed (11: x) while connecting to upstream{TAIL}");
    let live = format!("[error] 7#7: *9 no live upstreams while connecting to upstream{TAIL}");
    let slots = "[alert] 7#7: 768 worker_connections are not enough";
    let facts = of_log(&[&queue, &live, slots]);
    let diagnosis = first(&facts, "upstream_queue_full");
    assert_eq!(diagnosis.exit_code(&facts), 2);
    let last = diagnosis.findings.iter().find(|finding| finding.code == "no_live_upstreams").unwrap();
    assert!(last.severity == Severity::Warning && last.means.contains("failed (11"), "{last:?}");
    // Nothing before it: then it is the first thing known.
    let facts = of_log(&[&live, &queue]);
    let last =
        diagnose(&facts).findings.into_iter().find(|finding| finding.code == "no_live_upstreams").unwrap();
    assert_eq!(last.severity, Severity::Critical);
}

#[test]
fn slots_of_a_line_give_the_number_to_write() {
    let diagnosis = first(&of_log(&["[alert] 7#7: 768 worker_connections are not enough"]), "slots_full");
    assert_eq!(diagnosis.findings[0].changes[0].setting, "worker_connections 2048;");
    assert!(diagnosis.findings[0].not_this.iter().any(|wrong| wrong.contains("multi_accept")));
}

#[test]
fn a_healthy_server_has_no_findings() {
    let facts = healthy();
    let diagnosis = diagnose(&facts);
    assert_eq!(diagnosis.findings, []);
    assert_eq!((diagnosis.exit_code(&facts), Diagnosis::default().exit_code(&Facts::default())), (0, 3));
}

#[test]
fn live_links() {
    let worker = |facts: &mut Facts, change: &dyn Fn(&mut Worker)| {
        facts.running.as_mut().unwrap().workers.iter_mut().for_each(change);
    };
    let changed = |change: &dyn Fn(&mut Facts)| {
        let mut facts = healthy();
        change(&mut facts);
        facts
    };
    let slots = changed(&|facts| {
        worker(facts, &|worker| worker.held = Held { listening: 1, clients: 700, upstreams: 322 })
    });
    let diagnosis = first(&slots, "slots_full");
    assert!(diagnosis.findings[0].means.contains("most to 10.0.0.7:8000"), "{:?}", diagnosis.findings[0]);
    assert_eq!(diagnosis.chain.binding().unwrap().link.kind, Kind::Slots);
    let one = changed(&|facts| facts.running.as_mut().unwrap().workers[0].held.clients = 1010);
    assert!(first(&one, "slots_full").findings[0].title.contains("One worker"));
    let files =
        changed(&|facts| worker(facts, &|worker| worker.open = Some(Open { all: 4090, ..Open::default() })));
    first(&files, "descriptors_full");
    let busy = changed(&|facts| worker(facts, &|worker| worker.busy = Some(0.99)));
    first(&busy, "event_loop_busy");
    let uneven = changed(&|facts| facts.running.as_mut().unwrap().workers[0].busy = Some(0.99));
    first(&uneven, "uneven_workers");
    let starved = changed(&|facts| {
        facts.running.as_mut().unwrap().workers[1].starved = Some(0.6);
        facts.counters = Some(Growing { seconds: 1.0, ..Growing::default() });
    });
    first(&starved, "processors_taken");
    let throttled = |grown: u64| {
        Some(Throttled { periods: 900, throttled: 90, periods_grown: 10, throttled_grown: grown, micros: 5 })
    };
    let quota = changed(&|facts| facts.throttled = throttled(6));
    assert_eq!(first(&quota, "quota_used_up").exit_code(&quota), 2);
    let quota = changed(&|facts| facts.throttled = throttled(0));
    assert_eq!(first(&quota, "quota_used_up").exit_code(&quota), 1);
    // Loops without time left are what a used up quota causes, however seldom it was used up meanwhile.
    let both = changed(&|facts| {
        worker(facts, &|worker| worker.busy = Some(0.99));
        facts.throttled = throttled(1);
    });
    first(&both, "quota_used_up");
    let peak = changed(&|facts| {
        let found = Concurrency { peak: 900, ..Concurrency::default() };
        facts.access = Some(Access { requests: 9, concurrency: Some(found), ..Access::default() });
    });
    assert!(first(&peak, "peak_near_ceiling").findings[0].title.contains("900"));
    let left = |count: u64| {
        changed(&|facts| {
            let statuses = [(200, 1000 - count), (499, count)].into();
            facts.access = Some(Access { requests: 1000, statuses, ..Access::default() });
        })
    };
    assert!(first(&left(330), "clients_gave_up").findings[0].title.starts_with("33%"));
    assert!(diagnose(&left(49)).findings.is_empty());
    let own = changed(&|facts| {
        let link = Link::new(Kind::Slots, Some(1000), "").peak(1000);
        facts.own = vec![Link { refused: 7, ..link }];
    });
    assert!(first(&own, "slots_full").findings[0].evidence[0].contains("7 found no place"));
    let queue = changed(&|facts| facts.queues[0].waiting = 512);
    first(&queue, "accept_queue_full");
    let drops = changed(&|facts| facts.queues[0].drops_grown = 3);
    first(&drops, "accept_queue_overflows");
    let before = changed(&|facts| facts.queues[0].drops = 3);
    first(&before, "accept_queue_overflowed");
    let elsewhere = changed(&|facts| {
        let grown = machine::kernel::Counters { listen_overflows: 2, ..Default::default() };
        facts.counters = Some(Growing { grown, seconds: 1.0, ..Growing::default() });
    });
    first(&elsewhere, "machine_overflows");
    let upstream = changed(&|facts| {
        let queue = Queue { address: "10.0.0.7:8000".into(), waiting: 129, ceiling: 128, ..Queue::default() };
        facts.upstreams[0].queue = Some(queue);
    });
    first(&upstream, "upstream_queue_full");
    let ports = changed(&|facts| facts.upstreams[0].towards.time_wait = 28_200);
    first(&ports, "ports_exhausted");
    let memory = changed(&|facts| facts.running.as_mut().unwrap().resident = 4 << 30);
    first(&memory, "memory_full");
    let idle =
        changed(&|facts| facts.status = Some(Status { active: 1500, waiting: 1400, ..Status::default() }));
    assert!(diagnose(&idle).findings.iter().any(|finding| finding.code == "idle_clients"));
    let old = changed(&|facts| facts.running.as_mut().unwrap().leaving = 9);
    first(&old, "old_workers");
}

#[test]
fn what_is_configured_and_not_in_force() {
    let mut shorter = healthy();
    shorter.queues[0].ceiling = 128;
    first(&shorter, "queue_shorter");
    let mut limit = healthy();
    limit.running.as_mut().unwrap().workers[0].limit.soft = Some(1024);
    let diagnosis = first(&limit, "limit_not_landed");
    assert!(diagnosis.findings[0].evidence[0].contains("/etc/nginx/nginx.conf:1: 4096; worker 11 has 1024"));
}

#[test]
fn proxy_loops() {
    let back = "events { } http { server { listen 80; location / { proxy_pass http://127.0.0.1:80; } } }";
    first(&configured(back), "proxy_loop");
    // Another server of the same port answers.
    let two = "events { } http { server { listen 80; location / { proxy_pass http://127.0.0.1; } }\
               server { listen 80; server_name b; } }";
    assert_eq!(diagnose(&configured(two)).findings, []);
    // Unless the log shows it.
    let line = "[alert] 7#7: *9 512 worker_connections are not enough while connecting to upstream, client: 127.0.0.1, \
                server: , request: \"GET /\", upstream: \"http://127.0.0.1:80/\"";
    let facts = Facts { events: of_log(&[line]).events, ..configured(two) };
    first(&facts, "proxy_loop");
}

#[test]
fn wrong_fixes_that_were_tried_are_seen() {
    let text = "events { multi_accept on; worker_connections 65535; } http { server { listen 80; } }";
    let tried = |line: &str, code: &str| {
        let events = of_log(&[&format!("{line}{TAIL}")]).events;
        first(&Facts { events, ..configured(text) }, code).findings[0].evidence.join("\n")
    };
    let seen = tried(
        "[alert] 7#7: *1 65535 worker_connections are not enough while connecting to upstream",
        "slots_full",
    );
    assert!(
        seen.contains("multi_accept is on (/etc/nginx/nginx.conf:1): tried already, and no help"),
        "{seen}"
    );
    assert!(!seen.contains("worker_connections 65535 ("), "{seen}");
    let seen = tried(
        "[error] 7#7: *9 connect() to unix:/a failed (11: x) while connecting to upstream",
        "upstream_queue_full",
    );
    assert!(
        seen.contains("multi_accept is on (")
            && seen.contains("worker_connections 65535 (/etc/nginx/nginx.conf:1)"),
        "{seen}"
    );
}

#[test]
fn reports_are_80_columns_wide_and_say_what_json_says() {
    let mut facts = healthy();
    facts.upstreams[0].address = format!("unix:/{}", "long/".repeat(30));
    facts.upstreams[0].queue = Some(Queue { waiting: 9, ceiling: 8, ..Queue::default() });
    facts.events =
        of_log(&["[alert] 7#7: 1024 worker_connections are not enough\x1b[31m while connecting to upstream"])
            .events;
    let diagnosis = diagnose(&facts);
    let text = doctor::report::text::text(&facts, &diagnosis, doctor::report::text::Colour(false));
    assert!(!text.contains('\x1b'), "a log must not command the terminal");
    let long: Vec<_> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert_eq!(long, Vec::<&str>::new(), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&doctor::report::json::json(&facts, &diagnosis)).unwrap();
    assert_eq!((json["schema"].as_u64(), json["exit"].as_u64()), (Some(1), Some(2)));
    assert_eq!(json["findings"].as_array().map(Vec::len), Some(diagnosis.findings.len()));
    let again: Facts = serde_json::from_value(json["facts"].clone()).unwrap();
    assert_eq!(diagnose(&again), diagnosis);
}

/// The places of all numbers and texts.
fn leaves(value: &serde_json::Value, place: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(all) => {
            all.iter().enumerate().for_each(|(n, value)| leaves(value, &format!("{place}/{n}"), found));
        }
        serde_json::Value::Object(all) => {
            all.iter().for_each(|(name, value)| leaves(value, &format!("{place}/{name}"), found));
        }
        _ => found.push(place.to_owned()),
    }
}

/// Some of the numbers and texts of what was saved are others, as far as it can still be read.
fn twisted(facts: &Facts, dice: &[u64]) -> Facts {
    let mut saved = serde_json::to_value(facts).unwrap();
    let mut places = Vec::new();
    leaves(&saved, "", &mut places);
    for (place, dice) in places.iter().zip(dice.iter().cycle()).filter(|(_, dice)| **dice % 3 == 0) {
        let before = saved.pointer(place).cloned().unwrap();
        let other = match &before {
            serde_json::Value::String(text) => format!("{text}\u{1b}[31m<b> unix:/x | \n").into(),
            _ if dice % 2 == 0 => (*dice).into(),
            _ => (dice % 65_000).into(),
        };
        *saved.pointer_mut(place).unwrap() = other;
        if serde_json::from_value::<Facts>(saved.clone()).is_err() {
            *saved.pointer_mut(place).unwrap() = before;
        }
    }
    serde_json::from_value(saved).unwrap()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_was_saved_is_judged(dice in proptest::collection::vec(proptest::prelude::any::<u64>(), 3..50)) {
        let mut facts = healthy();
        facts.counters = Some(Growing { seconds: 1.0, ..Growing::default() });
        facts.throttled = Some(Throttled::default());
        facts.events = of_log(&["[alert] 7#7: 1024 worker_connections are not enough"]).events;
        facts.own = vec![Link::new(Kind::Slots, Some(7), "x").used(3)];
        let facts = twisted(&facts, &dice);
        let diagnosis = diagnose(&facts);
        let text = doctor::report::text::text(&facts, &diagnosis, doctor::report::text::Colour(false));
        proptest::prop_assert!(text.lines().all(|line| line.chars().count() <= 80), "{}", text);
        proptest::prop_assert!(!text.contains('\x1b'));
        let page = doctor::report::html::html(&facts, &diagnosis);
        proptest::prop_assert!(!page.contains("<b> unix"));
        doctor::report::markdown::markdown(&facts, &diagnosis);
        doctor::report::metrics::metrics(&facts, &diagnosis);
    }
}

#[test]
fn what_nobody_may_see_is_not_none() {
    let mut facts = healthy();
    facts.running.as_mut().unwrap().workers.iter_mut().for_each(|worker| worker.open = None);
    let kinds = |facts: &Facts| diagnose(facts).chain.links.iter().map(|link| link.kind).collect::<Vec<_>>();
    let seen = kinds(&facts);
    assert!(!seen.contains(&Kind::Descriptors), "{seen:?}");
    facts.status = None;
    assert!(!kinds(&facts).contains(&Kind::Slots));
}

#[test]
fn a_unit_that_was_changed_after_the_start() {
    let mut facts = healthy();
    let running = facts.running.as_mut().unwrap();
    running.service = "nginx.service".into();
    running.unit = Some(Unit {
        descriptors: Some((None, None)),
        file: "/etc/systemd/system/nginx.service.d/limits.conf".into(),
        ..Unit::default()
    });
    let found = diagnose(&facts);
    let finding = found.findings.iter().find(|finding| finding.code == "limit_not_landed").unwrap();
    assert!(finding.title.contains("of nginx.service is not in force"), "{finding:?}");
    assert!(finding.evidence[0].contains("limits.conf"), "{finding:?}");
    // All that the kernel gives to anybody: nothing is missing.
    facts.kernel.nr_open = facts.running.as_ref().unwrap().limit.hard;
    assert!(diagnose(&facts).findings.is_empty());
    facts.kernel.nr_open = None;
    facts.running.as_mut().unwrap().limit.hard = None;
    assert!(diagnose(&facts).findings.is_empty());
}

#[test]
fn refusals_of_long_ago_are_no_alarm() {
    let mut facts = healthy();
    facts.queues = vec![Queue { address: "0.0.0.0:80".into(), ceiling: 511, drops: 3, ..Queue::default() }];
    let severity = |facts: &Facts| diagnose(facts).findings[0].severity;
    assert_eq!(severity(&facts), Severity::Warning);
    facts.running.as_mut().unwrap().seconds = 86_400;
    assert_eq!(severity(&facts), Severity::Note);
    facts.queues[0].drops_grown = 1;
    assert_eq!(severity(&facts), Severity::Critical);

    let mut facts = healthy();
    facts.own = vec![Link { refused: 3, ..Link::new(Kind::AcceptQueue, Some(5), "").of("0.0.0.0:80") }];
    let severity = |facts: &Facts| diagnose(facts).findings[0].severity;
    assert_eq!(severity(&facts), Severity::Warning);
    facts.own_grown = vec![2];
    assert_eq!(severity(&facts), Severity::Critical);
}

#[test]
fn changes_start_from_what_the_application_says() {
    let mut facts = of_log(&[&format!(
        "[error] 7#7: *9 connect() to unix:/run/a.sock failed (11: x) while connecting to upstream{}",
        TAIL.replace("http://10.0.0.7:8000/", "http://unix:/run/a.sock:/")
    )]);
    let written = Written { name: "workers".into(), value: "40".into(), place: "gunicorn.conf.py".into() };
    let application = Application { kind: "gunicorn".into(), pid: 9, workers: 40, settings: vec![written] };
    facts.running = healthy().running;
    facts.upstreams = vec![Upstream {
        address: "unix:/run/a.sock".into(),
        application: Some(application),
        ..Upstream::default()
    }];
    let finding = diagnose(&facts).findings.remove(0);
    assert_eq!(finding.changes[0].setting, "gunicorn --workers 80");
    assert!(finding.evidence.iter().any(|line| line.contains("gunicorn.conf.py: workers 40")), "{finding:?}");
}

#[test]
fn processes_killed_for_memory() {
    let mut facts = healthy();
    facts.killed = Some(Killed::default());
    assert!(diagnose(&facts).findings.is_empty());
    facts.killed = Some(Killed { total: 2, grown: 0 });
    assert_eq!(diagnose(&facts).findings[0].severity, Severity::Note);
    facts.killed = Some(Killed { total: 3, grown: 1 });
    let found = first(&facts, "worker_killed");
    assert_eq!(found.findings[0].severity, Severity::Critical);
}
