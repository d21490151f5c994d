//! A group of upstream servers, and the choice of one for each try.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::peers::{Peer, Set, State, Tried};

/// An `upstream` block, or what a `proxy_pass` to an address or a name implies.
#[derive(Debug)]
pub struct Group {
    /// The name of the block, or the host.
    pub name: Box<str>,
    /// The port in the URL of an implied group; `None` for an `upstream` block.
    pub port: Option<u16>,
    /// Servers asked first.
    pub primary: Set,
    /// Servers asked when no primary one is left.
    pub backup: Option<Set>,
    /// How a server is chosen.
    pub balancer: Balancer,
    /// Idle connections that are kept; `None`: none.
    pub keepalive: Option<KeepAlive>,
}

/// How a group chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balancer {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
    /// `least_conn`: fewest connections per weight.
    LeastConn,
    /// `ip_hash`: by the client's network.
    IpHash,
}

/// `keepalive` and its companions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Idle connections per thread.
    pub connections: usize,
    /// Not shared between locations.
    pub local: bool,
    /// Requests over one connection.
    pub requests: u32,
    /// Age at which a connection is not used any more.
    pub time: Duration,
    /// How long a connection may be idle.
    pub timeout: Duration,
}

/// One request's way through a group.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    tried: Tried,
    on_backup: bool,
    hash: Option<u32>,
    hash_tries: u32,
}

impl Turn {
    /// A peer may be asked again: that an old connection to it was gone says nothing of it.
    pub fn forget(&mut self, held: &Held) {
        self.tried.remove(held.index);
    }
}

/// A peer while it is asked; counted as its connection until dropped.
#[derive(Debug)]
pub struct Held {
    group: Arc<Group>,
    on_backup: bool,
    index: usize,
    failed: bool,
}
impl Held {
    /// The peer.
    pub fn peer(&self) -> &Peer {
        &self.group.set(self.on_backup).peers[self.index]
    }
    /// Its group.
    pub fn group(&self) -> &Group {
        &self.group
    }
    /// The peer failed; `true` if it is taken out for a while now.
    pub fn failed(&mut self, now: Duration) -> bool {
        self.failed = true;
        !self.group.is_single() && self.group.set(self.on_backup).failed(self.index, now.as_secs())
    }
    /// This try says nothing about the peer's health.
    pub fn undecided(&mut self) {
        self.failed = true;
    }
}
impl Drop for Held {
    fn drop(&mut self) {
        if self.group.keeps_state() {
            self.group.set(self.on_backup).release(self.index, !self.failed);
        }
    }
}

impl Group {
    /// A group of one set of servers, as implied by an address.
    pub fn implied(name: &str, port: u16, peers: Vec<Peer>) -> Group {
        Group {
            name: name.into(),
            port: Some(port),
            primary: Set::new(peers),
            backup: None,
            balancer: Balancer::RoundRobin,
            keepalive: None,
        }
    }
    fn set(&self, backup: bool) -> &Set {
        match &self.backup {
            Some(set) if backup => set,
            _ => &self.primary,
        }
    }
    /// A single server is never taken out: there is no other to ask.
    fn is_single(&self) -> bool {
        self.backup.is_none() && self.primary.peers.len() == 1
    }
    fn keeps_state(&self) -> bool {
        !self.is_single() || self.primary.peers[0].max_conns > 0
    }
    /// How many servers a request may try.
    pub fn tries(&self) -> u32 {
        self.primary.tries() + self.backup.as_ref().map_or(0, Set::tries)
    }
    /// The next server to try; `None`: no live one is left.
    pub fn choose(self: &Arc<Group>, turn: &mut Turn, now: Duration, client: Option<IpAddr>) -> Option<Held> {
        let held = |on_backup, index| Held { group: self.clone(), on_backup, index, failed: false };
        if !self.keeps_state() {
            return (!self.primary.peers[0].down).then(|| held(false, 0));
        }
        if !turn.on_backup {
            if let Some(index) = self.pick(&self.primary, turn, now.as_secs(), client) {
                return Some(held(false, index));
            }
            turn.on_backup = true;
            turn.tried.clear();
        }
        let set = self.backup.as_ref()?;
        Some(held(true, self.pick(set, turn, now.as_secs(), client)?))
    }
    fn pick(&self, set: &Set, turn: &mut Turn, now: u64, client: Option<IpAddr>) -> Option<usize> {
        let mut states = set.lock();
        let index = match self.balancer {
            Balancer::IpHash => by_hash(set, &states, turn, now, client),
            Balancer::RoundRobin => None,
            Balancer::LeastConn => {
                let tried = &turn.tried;
                let least = least(set, &states, tried, now);
                least.and_then(|least| {
                    let among = |i: usize, s: &State| !lighter(least, load(set, i, s));
                    set.round_robin(&mut states, tried, now, among)
                })
            }
        };
        let index = match index {
            None if self.balancer != Balancer::LeastConn => {
                set.round_robin(&mut states, &turn.tried, now, |_, _| true)?
            }
            index => index?,
        };
        // With one server there is nobody else: it may be asked again.
        if !self.is_single() {
            turn.tried.add(index);
        }
        set.take(index, &mut states[index], now);
        Some(index)
    }
}

/// Connections and weight: compared crosswise, so that nothing is rounded.
type Load = (u64, u64);
fn load(set: &Set, i: usize, state: &State) -> Load {
    (state.conns.into(), set.peers[i].weight.into())
}
fn lighter(a: Load, b: Load) -> bool {
    a.0 * b.1 < b.0 * a.1
}
fn least(set: &Set, states: &[State], tried: &Tried, now: u64) -> Option<Load> {
    let usable = (0..states.len()).filter(|i| set.usable(*i, &states[*i], tried, now));
    usable
        .map(|i| load(set, i, &states[i]))
        .reduce(|best, next| if lighter(next, best) { next } else { best })
}

/// nginx's distribution: the same client lands on the same server as behind nginx.
const HASH_START: u32 = 89;
const HASH_FACTOR: u32 = 113;
const HASH_MODULUS: u32 = 6271;
/// After so many unusable servers the hash is given up for round robin.
const HASH_TRIES: u32 = 20;

fn by_hash(set: &Set, states: &[State], turn: &mut Turn, now: u64, client: Option<IpAddr>) -> Option<usize> {
    let (bytes, length) = network(client);
    loop {
        if turn.hash_tries > HASH_TRIES || set.total_weight == 0 {
            return None;
        }
        let step = |hash: u32, byte: &u8| (hash * HASH_FACTOR + u32::from(*byte)) % HASH_MODULUS;
        let hash = bytes[..length].iter().fold(turn.hash.unwrap_or(HASH_START), step);
        turn.hash = Some(hash);
        turn.hash_tries += 1;
        let mut left = hash % set.total_weight;
        let heavier = |peer: &Peer| {
            let found = left < peer.weight;
            left = left.saturating_sub(peer.weight);
            found
        };
        let index = set.peers.iter().position(heavier)?;
        if set.usable(index, &states[index], &turn.tried, now) {
            return Some(index);
        }
    }
}

/// The first three bytes of an IPv4 address, a whole IPv6 address.
fn network(client: Option<IpAddr>) -> ([u8; 16], usize) {
    let mut bytes = [0; 16];
    match client {
        Some(IpAddr::V6(ip)) => (ip.octets(), 16),
        Some(IpAddr::V4(ip)) => {
            bytes[..4].copy_from_slice(&ip.octets());
            (bytes, 3)
        }
        None => (bytes, 3),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::program::Address;
    use proptest::prelude::*;

    fn peer(i: usize, weight: u32) -> Peer {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1000 + i as u16));
        Peer {
            address: Address::Tcp(address),
            name: i.to_string().into(),
            weight,
            max_conns: 0,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            down: false,
            key: i as u32,
        }
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
        let mut all = Group::implied("g", 80, vec![peer(0, 1)]);
        all.backup = Some(Set::new(vec![peer(7, 1)]));
        let (all, mut turn) = (Arc::new(all), Turn::default());
        assert_eq!(name(&all, &mut turn, 1).unwrap(), "0");
        assert_eq!(name(&all, &mut turn, 1).unwrap(), "7");
        assert_eq!(name(&all, &mut turn, 1), None);
    }

    #[test]
    fn least_conn_prefers_the_idle_one() {
        let group = group(&[1, 1, 1], Balancer::LeastConn);
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
            for balancer in [Balancer::RoundRobin, Balancer::LeastConn, Balancer::IpHash] {
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
}
