//! Groups without sockets.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::program::Address;
use crate::upstream::Measure;
use proptest::prelude::*;

fn peer(i: usize, weight: u32) -> Peer {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1000 + i as u16));
    let name = i.to_string();
    Peer { name: name.as_str().into(), weight, ..Peer::new(Address::Tcp(address), &name, i as u32) }
}
fn group(weights: &[u32], balancer: Balancer) -> Arc<Group> {
    let peers = weights.iter().enumerate().map(|(i, w)| peer(i, *w)).collect();
    Arc::new(Group { balancer, ..Group::implied("g", 80, peers) })
}
fn name(group: &Arc<Group>, turn: &mut Turn, now: u64) -> Option<String> {
    let held = group.choose(turn, Duration::from_secs(now), None)?;
    Some(held.peer().name.to_string())
}

#[test]
fn round_robin_is_smooth() {
    let group = group(&[5, 1, 1], Balancer::RoundRobin);
    let order: String = (0..7).map(|_| name(&group, &mut Turn::default(), 100).unwrap()).collect();
    assert_eq!(order, "0010200");
}

#[test]
fn a_failed_server_rests_and_returns() {
    let group = group(&[1, 1], Balancer::RoundRobin);
    let now = Duration::from_secs(100);
    let mut turn = Turn::default();
    let mut held = group.choose(&mut turn, now, None).unwrap();
    assert!(held.failed(now));
    drop(held);
    assert_eq!(name(&group, &mut turn, 100).unwrap(), "1");
    assert_eq!(name(&group, &mut turn, 100), None);
    let rest: Vec<_> = (0..4).map(|_| name(&group, &mut Turn::default(), 110).unwrap()).collect();
    assert_eq!(rest, ["1", "1", "1", "1"]);
    let back: Vec<_> = (0..4).map(|_| name(&group, &mut Turn::default(), 111).unwrap()).collect();
    assert!(back.contains(&"0".to_string()));
}

#[test]
fn backups_are_asked_last() {
    let all = Group::new("g", None, vec![peer(0, 1)], vec![peer(7, 1)]);
    let (all, mut turn) = (Arc::new(all), Turn::default());
    assert_eq!(name(&all, &mut turn, 1).unwrap(), "0");
    assert_eq!(name(&all, &mut turn, 1).unwrap(), "7");
    assert_eq!(name(&all, &mut turn, 1), None);
}

#[test]
fn least_conn_prefers_the_idle_one() {
    let group = group(&[1, 1, 1], Balancer::Least(Measure::Connections));
    let now = Duration::from_secs(5);
    let a = group.choose(&mut Turn::default(), now, None).unwrap();
    let b = group.choose(&mut Turn::default(), now, None).unwrap();
    let c = group.choose(&mut Turn::default(), now, None).unwrap();
    let mut three = [&a, &b, &c].map(|h| h.peer().name.to_string());
    three.sort();
    assert_eq!(three, ["0", "1", "2"]);
    let free = b.peer().name.clone();
    drop(b);
    assert_eq!(*name(&group, &mut Turn::default(), 5).unwrap(), *free);
}

#[test]
fn ip_hash_is_steady_within_a_network() {
    let group = group(&[1, 2, 3], Balancer::IpHash);
    let ask = |ip: [u8; 4]| {
        let held = group.choose(&mut Turn::default(), Duration::ZERO, Some(ip.into())).unwrap();
        held.peer().name.to_string()
    };
    assert_eq!(ask([10, 1, 2, 3]), ask([10, 1, 2, 200]));
    let all: std::collections::HashSet<_> = (0..=255).map(|i| ask([10, i, 7, 1])).collect();
    assert_eq!(all.len(), 3);
}

proptest! {
    #[test]
    fn shares_follow_weights(weights in proptest::collection::vec(1u32..9, 1..90)) {
        let group = group(&weights, Balancer::RoundRobin);
        let total: u32 = weights.iter().sum();
        let mut got = vec![0; weights.len()];
        for _ in 0..total {
            let held = group.choose(&mut Turn::default(), Duration::from_secs(9), None).unwrap();
            got[held.peer().key as usize] += 1;
        }
        if weights.len() > 1 {
            prop_assert_eq!(got, weights);
        }
    }

    #[test]
    fn a_turn_tries_each_server_once(weights in proptest::collection::vec(1u32..4, 2..150)) {
        for balancer in [Balancer::RoundRobin, Balancer::Least(Measure::Connections), Balancer::IpHash] {
            let group = group(&weights, balancer);
            let mut turn = Turn::default();
            let mut seen = std::collections::HashSet::new();
            while let Some(held) = group.choose(&mut turn, Duration::ZERO, None) {
                prop_assert!(seen.insert(held.peer().key));
            }
            prop_assert_eq!(seen.len(), weights.len());
        }
    }
}

#[test]
fn slow_start_gives_little_at_first() {
    let mut slow = peer(1, 1);
    slow.slow_start = Duration::from_secs(100);
    let group = Arc::new(Group::new("g", None, vec![peer(0, 1), slow], Vec::new()));
    let fail = |at: u64| {
        let now = Duration::from_secs(at);
        let mut turn = Turn::default();
        while let Some(mut held) = group.choose(&mut turn, now, None) {
            match held.peer().key {
                1 => drop(held.failed(now)),
                _ => held.undecided(),
            }
        }
    };
    fail(1000);
    // Asked again when its rest is over, and well: from then on it gets more and more.
    let come_back = Duration::from_secs(1011);
    while name(&group, &mut Turn::default(), 1011).unwrap() != "1" {}
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(since > come_back);
    let share = |after: u64| {
        let now = since.as_secs() + after;
        (0..300).filter(|_| name(&group, &mut Turn::default(), now).unwrap() == "1").count()
    };
    let (early, middle, late) = (share(2), share(50), share(200));
    assert!(early < 20, "{early} of 300 at once");
    assert!((80..120).contains(&middle), "{middle} of 300 after half the time");
    assert_eq!(late, 150);
}

#[test]
fn a_drained_server_is_not_chosen() {
    let mut drained = peer(0, 1);
    drained.mode = Mode::Drain;
    let group = Arc::new(Group::new("g", None, vec![drained, peer(1, 1)], Vec::new()));
    let all: String = (0..4).map(|_| name(&group, &mut Turn::default(), 1).unwrap()).collect();
    assert_eq!(all, "1111");
}

#[test]
fn random_gives_each_its_weight() {
    for two in [None, Some(Measure::Connections)] {
        let group = group(&[1, 4], Balancer::Random { two });
        let all = (0..1000).filter(|_| name(&group, &mut Turn::default(), 1).unwrap() == "1").count();
        // One of two is drawn by weight; of two that are idle, the second drawn is taken.
        let expected = if two.is_some() { 0..1000 } else { 700..900 };
        assert!(expected.contains(&all), "{all} of 1000, two: {two:?}");
    }
}
