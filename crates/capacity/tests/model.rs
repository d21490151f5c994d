//! Laws of the model, whatever the figures.

use capacity::{Chain, Kind, Link, Listening, Mix, Server, Setup, Why};
use proptest::prelude::*;

fn mix() -> impl Strategy<Value = Mix> {
    (0.0..10.0f64, 0.0..10.0f64, 0.0..10.0f64, 0.0..50.0f64)
        .prop_map(|(proxied, files, answered, idle)| Mix { proxied, files, answered, idle })
}
fn link() -> impl Strategy<Value = Link> {
    let ceiling = proptest::option::weighted(0.9, prop_oneof![0..100u64, 0..1_000_000u64, Just(u64::MAX)]);
    (0..7usize, ceiling, 0..50u64, 0..2_000_000u64, proptest::option::of(0..100_000u64), "[a-c]{0,2}")
        .prop_map(|(kind, ceiling, fixed, used, each, of)| Link {
            each,
            ..Link::new(Kind::ALL[kind], ceiling, "").of(of).fixed(fixed).used(used)
        })
}
fn chain() -> impl Strategy<Value = Chain> {
    (proptest::collection::vec(link(), 0..10), mix()).prop_map(|(links, mix)| Chain::new(links, mix))
}
fn setup() -> impl Strategy<Value = Setup> {
    let limits = (proptest::option::of(1..200_000u64), 0..100_000u64, proptest::option::of(1..300_000u64));
    (any::<bool>(), 1..64u64, 1..100_000u64, limits, mix(), any::<bool>(), 0..5u64).prop_map(
        |(nginx, workers, connections, (soft, more, rlimit_nofile), mix, privileged, listens)| Setup {
            server: if nginx { Server::Nginx } else { Server::Plimsoll },
            workers,
            connections,
            soft,
            hard: soft.map(|soft| soft + more),
            rlimit_nofile,
            privileged,
            somaxconn: Some(more),
            listens: (0..listens)
                .map(|i| Listening {
                    address: i.to_string(),
                    backlog: (i > 1).then_some(i * 1000),
                    ..Listening::default()
                })
                .collect(),
            mix,
            memory: Some(more * 1_000_000),
            ..Setup::default()
        },
    )
}

proptest! {
    #[test]
    fn a_chain_promises_no_more_than_any_of_its_links(chain in chain()) {
        for link in &chain.links {
            if let Some(alone) = link.requests(&chain.mix) {
                prop_assert!(chain.requests().unwrap() <= alone);
            }
            if let Some(alone) = link.headroom() {
                prop_assert!(chain.headroom().unwrap() <= alone);
            }
        }
    }

    #[test]
    fn what_is_promised_fits(link in link(), mix in mix()) {
        if let (Some(n), Some(cost), Some(room)) = (link.requests(&mix), link.cost(&mix), link.room()) {
            // As exactly as numbers of this size are kept.
            prop_assert!(n as f64 * cost <= room as f64 * (1.0 + 1e-9));
        }
    }

    #[test]
    fn order_says_nothing(chain in chain(), by in 0..10usize) {
        let mut turned = chain.clone();
        let len = turned.links.len().max(1);
        turned.links.rotate_left(by % len);
        turned.links.reverse();
        prop_assert_eq!(chain.requests(), turned.requests());
        prop_assert_eq!(chain.headroom(), turned.headroom());
        let kind = |c: &Chain| c.binding().map(|b| (b.link.kind, b.link.of.clone()));
        prop_assert_eq!(kind(&chain), kind(&turned));
    }

    #[test]
    fn a_higher_ceiling_never_lets_fewer_through(chain in chain(), i in 0..10usize, more in 0..1_000_000u64) {
        let mut raised = chain.clone();
        let len = raised.links.len().max(1);
        if let Some(link) = raised.links.get_mut(i % len) {
            link.ceiling = link.ceiling.map(|c| c.saturating_add(more));
        }
        prop_assert!(raised.requests() >= chain.requests());
    }

    #[test]
    fn more_use_never_leaves_more_room(link in link(), more in 0..1_000_000u64) {
        let before = link.headroom().unwrap_or(f64::INFINITY);
        let after = Link { used: link.used + more, ..link }.headroom().unwrap_or(f64::INFINITY);
        prop_assert!(after <= before);
    }

    #[test]
    fn another_link_never_helps(chain in chain(), link in link()) {
        let mut longer = chain.clone();
        longer.links.push(link);
        prop_assert!(longer.requests().unwrap_or(u64::MAX) <= chain.requests().unwrap_or(u64::MAX));
    }

    #[test]
    fn a_full_link_binds(chain in chain()) {
        let full = |link: &Link| link.used > 0 && link.fullness() >= capacity::FULL;
        if chain.links.iter().any(full) {
            let binding = chain.binding().unwrap();
            prop_assert_eq!(binding.why, Why::Full);
            prop_assert!(chain.links.iter().filter(|l| full(l)).all(|l| l.kind <= binding.link.kind));
        }
    }

    #[test]
    fn the_advice_for_descriptors_is_enough(setup in setup()) {
        let short = |s: &Setup| s.findings().iter().any(|f| f.code == "descriptors_short");
        if short(&setup) {
            // The limit that is advised, granted.
            let each = setup.needed_descriptors().next_power_of_two();
            let mended = Setup { rlimit_nofile: Some(each), privileged: true, ..setup };
            prop_assert!(!short(&mended));
        }
    }

    #[test]
    fn no_figures_break_it(setup in setup()) {
        let chain = setup.chain();
        let _ = (chain.sentence(), setup.findings());
        for link in &chain.links {
            prop_assert!(!capacity::not_this(link.kind).is_empty());
            let changes = capacity::raise(link, &setup);
            prop_assert!(link.kind == Kind::Descriptors || !changes.is_empty());
        }
    }
}

#[test]
fn two_slots_for_each_proxied_request() {
    let listens = vec![Listening { address: "0.0.0.0:80".into(), ..Listening::default() }];
    let setup = Setup { server: Server::Nginx, workers: 2, connections: 768, listens, ..Setup::default() };
    assert_eq!(setup.slots(), 2 * 766);
    assert_eq!(setup.chain().requests(), Some(766));
}

#[test]
fn nginx_counts_descriptors_for_each_worker_and_keeps_the_soft_limit() {
    let nginx = Setup {
        server: Server::Nginx,
        workers: 2,
        connections: 4096,
        soft: Some(1024),
        hard: Some(524_288),
        others: 10,
        ..Setup::default()
    };
    let chain = nginx.chain();
    assert_eq!(chain.requests(), Some(1014), "2 x 1024 descriptors less 2 x 10, 2 a request");
    assert_eq!(chain.binding().unwrap().link.kind, Kind::Descriptors);
    let codes: Vec<_> = nginx.findings().into_iter().map(|f| f.code).collect();
    assert_eq!(codes, ["descriptors_short"]);
    let link = chain.binding().unwrap().link;
    assert_eq!(capacity::raise(link, &nginx)[0].setting, "worker_rlimit_nofile 8192;");
    // The same file: the soft limit is raised, and slots bind.
    let ours = Setup { server: Server::Plimsoll, ..nginx };
    assert_eq!(ours.chain().binding().unwrap().link.kind, Kind::Slots);
    assert_eq!(ours.findings(), []);
}

#[test]
fn the_last_full_link_is_the_cause() {
    let full = |kind, n| Link::new(kind, Some(n), "").used(n);
    let chain = Chain::new(
        vec![full(Kind::UpstreamQueue, 128), full(Kind::Slots, 1536), full(Kind::AcceptQueue, 511)],
        Mix::PROXIED,
    );
    assert_eq!(chain.binding().unwrap().link.kind, Kind::UpstreamQueue);
    assert_eq!(chain.sentence(), "No room left: upstream queue is full (128 of 128).");
}

#[test]
fn who_refused_somebody_lately_binds_though_it_has_room_again() {
    let slots = Link::new(Kind::Slots, Some(1000), "").used(400);
    let queue = Link::new(Kind::AcceptQueue, Some(16), "");
    let of = |links: &[&Link]| Chain::new(links.iter().map(|link| (*link).clone()).collect(), Mix::PROXIED);
    let chain = of(&[&slots, &queue.clone().lately(7)]);
    assert_eq!(chain.binding().unwrap().why, Why::Refused(7));
    assert_eq!(chain.sentence(), "Too little room: 7 found none lately; accept queue is full at times.");
    // It was full because of what comes behind it.
    let full = slots.clone().used(1000);
    assert_eq!(of(&[&full, &queue.lately(7)]).binding().unwrap().link.kind, Kind::Slots);
}

#[test]
fn headroom_is_said_in_one_sentence() {
    let links = vec![
        Link::new(Kind::Slots, Some(1000), "").used(400),
        Link::new(Kind::Descriptors, Some(65_536), "").fixed(30).used(430),
        Link::new(Kind::AcceptQueue, Some(511), "").used(3),
        Link::new(Kind::EventLoop, Some(2000), "").used(100),
    ];
    let chain = Chain::new(links, Mix::PROXIED);
    assert_eq!(chain.sentence(), "Room for 2.5x the present load; slots would bind first.");
}

#[test]
fn what_nginx_is_silent_about() {
    let listens =
        vec![Listening { address: "0.0.0.0:80".into(), backlog: Some(4096), ..Listening::default() }];
    let setup = Setup {
        server: Server::Nginx,
        workers: 8,
        quota: Some(2.0),
        online: 8,
        somaxconn: Some(128),
        connections: 64,
        idle_upstream: 32,
        listens,
        loops: vec![("127.0.0.1:80".into(), capacity::Place { file: "a.conf".into(), line: 7 })],
        service: "nginx.service".into(),
        soft: Some(1024),
        shell_soft: Some(1_048_576),
        ..Setup::default()
    };
    let findings = setup.findings();
    let codes: Vec<_> = findings.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(
        codes,
        ["proxy_loop", "backlog_clamped", "workers_over_quota", "idle_upstream", "limit_of_shell"]
    );
    assert_eq!(findings[0].evidence, ["a.conf:7"]);
    assert!(findings[1].not_this.iter().any(|wrong| wrong.contains("reload")));
}

#[test]
fn what_the_workers_share_is_not_refused_because_nginx_would_want_it_for_each() {
    let said = |rlimit_nofile, server, privileged, hard| {
        let setup = Setup {
            server,
            workers: 5,
            connections: 4096,
            rlimit_nofile: Some(rlimit_nofile),
            nr_open: Some(1_048_576),
            privileged,
            hard,
            ..Setup::default()
        };
        let all = setup.findings();
        all.into_iter().find(|finding| finding.code.starts_with("rlimit")).map(|finding| finding.title)
    };
    assert_eq!(said(256_000, Server::Plimsoll, true, None), None);
    assert_eq!(said(256_000, Server::Nginx, true, None), None);
    let more = "worker_rlimit_nofile 2000000 is more than fs.nr_open 1048576 allows";
    assert_eq!(said(2_000_000, Server::Plimsoll, true, None).as_deref(), Some(more));
    assert_eq!(said(2_000_000, Server::Nginx, true, None).as_deref(), Some(more));
    let hard = "worker_rlimit_nofile 256000 for each of 5 workers is more than the hard limit 524288 allows";
    assert_eq!(said(256_000, Server::Plimsoll, false, Some(524_288)).as_deref(), Some(hard));
}
