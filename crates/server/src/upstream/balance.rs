//! How a group chooses among its servers. Each gives the place of one that is usable, or nothing; where a way of choosing
//! gives up, round robin takes over, as in nginx.

use std::net::IpAddr;
use std::time::Duration;

use super::group::Turn;
use super::peers::Members;
use super::ring;
use super::slot::{Slot, average};
use super::tried::Tried;
use crate::http::variables::Template;

/// How a group chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balancer {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
    /// `least_conn`, `least_time`: the least of something per weight.
    Least(Measure),
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
        /// The better of two, by this.
        two: Option<Measure>,
    },
}

/// What is little for a server that has little to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Connections.
    Connections,
    /// The time that what it has to do will take.
    Time {
        /// Until the whole answer has come, not only its head.
        last_byte: bool,
        /// Requests under way tell of it, too.
        inflight: bool,
    },
}

impl Balancer {
    /// Whether nginx's method of this name allows `backup` and `slow_start`.
    pub fn has_backups(&self) -> bool {
        matches!(self, Balancer::RoundRobin | Balancer::Least(_))
    }
    /// Whether requests under way are counted, and what ends them.
    pub(super) fn inflight(&self) -> Option<bool> {
        match self {
            Balancer::Least(Measure::Time { last_byte, inflight: true }) => Some(*last_byte),
            _ => None,
        }
    }
    /// Whether it goes by how long servers take.
    pub(super) fn takes_time(&self) -> bool {
        let time = |measure: &Measure| *measure != Measure::Connections;
        match self {
            Balancer::Least(measure) => time(measure),
            Balancer::Random { two } => two.as_ref().is_some_and(time),
            _ => false,
        }
    }
}

/// After so many unusable servers round robin chooses.
const MOST_TRIES: u32 = 20;

impl Members {
    /// The next server to ask.
    pub(super) fn choose(&mut self, how: &Balancer, turn: &mut Turn, now: Duration) -> Option<usize> {
        let found = match how {
            Balancer::RoundRobin => None,
            Balancer::Least(measure) => return self.least(*measure, &turn.tried, now),
            Balancer::IpHash => self.by_network(turn, now),
            Balancer::Hash { consistent: false, .. } => self.by_hash(turn, now),
            Balancer::Hash { consistent: true, .. } => self.by_ring(turn, now),
            Balancer::Random { two } => self.random(*two, turn, now),
        };
        found.or_else(|| self.round_robin(&turn.tried, now))
    }

    fn least(&mut self, measure: Measure, tried: &Tried, now: Duration) -> Option<usize> {
        if let Measure::Time { inflight: true, .. } = measure {
            self.slots.iter_mut().for_each(|slot| slot.look_at_flight(now));
        }
        let load = |slot: &Slot| load(slot, measure, now);
        let usable = (0..self.slots.len()).filter(|i| self.usable(*i, tried, now));
        let least = usable
            .map(|i| load(&self.slots[i]))
            .reduce(|best, next| if lighter(next, best) { next } else { best })?;
        self.round_robin_among(tried, now, |slot| !lighter(least, load(slot)))
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
            let found = self.round_robin_at(point, &turn.tried, now);
            if found.is_some() {
                return found;
            }
            turn.hash = Some(point.wrapping_add(1));
            turn.hash_tries += 1;
        }
        None
    }

    fn random(&self, two: Option<Measure>, turn: &mut Turn, now: Duration) -> Option<usize> {
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
            let Some(measure) = two else { return Some(i) };
            let load = |i: usize| load(&self.slots[i], measure, now);
            match first {
                None => first = Some(i),
                Some(other) if lighter(load(other), load(i)) => return Some(other),
                Some(_) => return Some(i),
            }
        }
        None
    }

    /// Where a number falls among the weights laid out in order.
    fn at_weight(&self, number: u32) -> Option<usize> {
        let left = number.checked_rem(*self.sums.last()?)?;
        Some(self.sums.partition_point(|sum| *sum <= left))
    }
}

/// A measure and a weight: compared crosswise, so that nothing is rounded.
type Load = (u64, u64);
fn load(slot: &Slot, measure: Measure, now: Duration) -> Load {
    let measured = match measure {
        Measure::Connections => slot.state.conns.into(),
        Measure::Time { last_byte, inflight } => slot.time_needed(last_byte, inflight, now),
    };
    (measured, slot.peer.weight.into())
}

/// Servers slower than this are equally bad.
const SLOW: u64 = 5000;
/// Times are compared in steps, so that servers that are nearly as fast take turns.
const STEP: u64 = 20;

impl Slot {
    fn look_at_flight(&mut self, now: Duration) {
        let flight = &mut self.state.flight;
        if let Some(each) = flight.taken.checked_div(flight.count) {
            let since = now.saturating_sub(flight.changed).as_millis() as u64;
            average(&mut flight.average, each + since);
        }
    }
    /// What it needs to do what it has to do and one request more, in milliseconds: as nginx estimates it.
    fn time_needed(&self, last_byte: bool, inflight: bool, now: Duration) -> u64 {
        let state = &self.state;
        let mut time = if last_byte { state.response_time } else { state.header_time };
        let rest = self.peer.fail_timeout.as_secs();
        let unasked = now.as_secs().saturating_sub(state.checked);
        if unasked > rest {
            // A server that was slow once must be given a chance.
            time = time.checked_shr((unasked / (rest + 1)).min(64) as u32).unwrap_or(0);
        }
        if inflight && state.flight.count > 0 {
            time = time.max(state.flight.average);
        }
        let time = if time > SLOW { SLOW } else { time + STEP - time % STEP };
        time * (1 + u64::from(state.conns))
    }
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
