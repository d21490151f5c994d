//! How a group chooses among its servers. Each gives the place of one that is usable, or nothing; where a way of choosing
//! gives up, round robin takes over, as in nginx.

use std::net::IpAddr;
use std::time::Duration;

use super::group::Turn;
use super::peers::{Members, Slot, Tried};
use super::ring;
use crate::http::variables::Template;

/// How a group chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balancer {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
    /// `least_conn`: fewest connections per weight.
    LeastConn,
    /// `ip_hash`: by the client's network.
    IpHash,
    /// `hash`: by a text.
    Hash {
        /// The text.
        key: Template,
        /// By a ring of points, so that a server more or less moves few keys.
        consistent: bool,
    },
    /// `random`
    Random {
        /// The better of two.
        two: bool,
    },
}

impl Balancer {
    /// Whether nginx's method of this name allows `backup` and `slow_start`.
    pub fn has_backups(&self) -> bool {
        matches!(self, Balancer::RoundRobin | Balancer::LeastConn)
    }
}

/// After so many unusable servers round robin chooses.
const MOST_TRIES: u32 = 20;

impl Members {
    /// The next server to ask.
    pub(super) fn choose(&mut self, how: &Balancer, turn: &mut Turn, now: Duration) -> Option<usize> {
        let found = match how {
            Balancer::RoundRobin => None,
            Balancer::LeastConn => return self.least(&turn.tried, now),
            Balancer::IpHash => self.by_network(turn, now),
            Balancer::Hash { consistent: false, .. } => self.by_hash(turn, now),
            Balancer::Hash { consistent: true, .. } => self.by_ring(turn, now),
            Balancer::Random { two } => self.random(*two, turn, now),
        };
        found.or_else(|| self.round_robin(&turn.tried, now, |_| true))
    }

    fn least(&mut self, tried: &Tried, now: Duration) -> Option<usize> {
        let usable = (0..self.slots.len()).filter(|i| self.usable(*i, tried, now));
        let least = usable
            .map(|i| load(&self.slots[i]))
            .reduce(|best, next| if lighter(next, best) { next } else { best })?;
        self.round_robin(tried, now, |slot| !lighter(least, load(slot)))
    }

    /// nginx's distribution: the same client lands on the same server as behind nginx.
    fn by_network(&self, turn: &mut Turn, now: Duration) -> Option<usize> {
        const START: u32 = 89;
        const FACTOR: u32 = 113;
        const MODULUS: u32 = 6271;
        let (bytes, length) = network(turn.client);
        while turn.hash_tries <= MOST_TRIES {
            let step = |hash: u32, byte: &u8| (hash * FACTOR + u32::from(*byte)) % MODULUS;
            let hash = bytes[..length].iter().fold(turn.hash.unwrap_or(START), step);
            turn.hash = Some(hash);
            turn.hash_tries += 1;
            let i = self.at_weight(hash)?;
            if self.usable(i, &turn.tried, now) {
                return Some(i);
            }
        }
        None
    }

    fn by_hash(&self, turn: &mut Turn, now: Duration) -> Option<usize> {
        if self.slots.len() < 2 || turn.key.is_empty() {
            return None;
        }
        while turn.hash_tries <= MOST_TRIES {
            let more = ring::memcached(&turn.key, turn.rehash);
            let hash = turn.hash.unwrap_or(0).wrapping_add(more);
            (turn.hash, turn.rehash) = (Some(hash), turn.rehash + 1);
            let i = self.at_weight(hash)?;
            if self.usable(i, &turn.tried, now) {
                return Some(i);
            }
            turn.hash_tries += 1;
        }
        None
    }

    fn by_ring(&mut self, turn: &mut Turn, now: Duration) -> Option<usize> {
        if self.slots.len() < 2 || turn.key.is_empty() {
            return None;
        }
        while turn.hash_tries <= MOST_TRIES {
            let point = turn.hash.unwrap_or_else(|| self.ring().find(ring::crc32(&turn.key)));
            turn.hash = Some(point);
            let server = self.ring().server(point)?.clone();
            // Several addresses of one server share its points.
            let found = self.round_robin(&turn.tried, now, |slot| slot.peer.server == server);
            if found.is_some() {
                return found;
            }
            turn.hash = Some(point.wrapping_add(1));
            turn.hash_tries += 1;
        }
        None
    }

    fn random(&self, two: bool, turn: &mut Turn, now: Duration) -> Option<usize> {
        if self.slots.len() < 2 {
            return None;
        }
        let mut first = None;
        while turn.hash_tries <= MOST_TRIES {
            let i = self.at_weight(crate::random::number())?;
            if first == Some(i) || !self.usable(i, &turn.tried, now) {
                turn.hash_tries += 1;
                continue;
            }
            match first {
                None if two => first = Some(i),
                Some(other) if lighter(load(&self.slots[other]), load(&self.slots[i])) => return Some(other),
                _ => return Some(i),
            }
        }
        None
    }

    /// Where a number falls among the weights laid out in order.
    fn at_weight(&self, number: u32) -> Option<usize> {
        let mut left = number.checked_rem(self.total_weight)?;
        self.slots.iter().position(|slot| {
            let found = left < slot.peer.weight;
            left = left.saturating_sub(slot.peer.weight);
            found
        })
    }
}

/// Connections and weight: compared crosswise, so that nothing is rounded.
type Load = (u64, u64);
fn load(slot: &Slot) -> Load {
    (slot.state.conns.into(), slot.peer.weight.into())
}
fn lighter(a: Load, b: Load) -> bool {
    a.0 * b.1 < b.0 * a.1
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
