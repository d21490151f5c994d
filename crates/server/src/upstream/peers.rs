//! The servers of a group and their shared state: who is next, who failed, who is full.
//!
//! Smooth weighted round robin: a peer's current weight grows by its effective weight at each choice, the heaviest is
//! taken and loses the sum of all. A failure lowers the effective weight, each later choice restores a bit of it. The
//! state is one small mutex per set of peers, because a choice needs all of it. Peers come and go while requests use
//! them (names that are resolved again, changes by an operator), so a request holds the peer itself, and finds its
//! state by a number that is never used twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::latency::Latency;
use super::ranks::{FEW, Rank, Ranks};
use super::ring::Ring;
use super::slot::{Mode, Peer, Slot, State, smooth, unix_time};
use super::tried::Tried;

/// A server as it is now, for whoever shows it.
#[derive(Clone, Debug, Serialize)]
pub struct PeerState {
    /// Its address.
    pub name: String,
    /// Asked only when no primary one is left.
    pub backup: bool,
    /// Marked up, and not found unhealthy: it may be asked.
    pub up: bool,
    /// Requests under way; a group of one server without limits does not count them.
    pub connections: u32,
    /// Failures that count against it.
    pub fails: u32,
    /// How long it took for its answers lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// Primary or backup servers.
#[derive(Debug, Default)]
pub struct Set(Mutex<Members>);

/// What is in a [`Set`].
#[derive(Debug, Default)]
pub(super) struct Members {
    pub slots: Vec<Slot>,
    /// The sums of the weights of each slot and those before it.
    pub sums: Vec<u32>,
    /// How many are not `down`.
    tries: u32,
    /// Grows when servers come, go or change.
    pub version: u32,
    next_id: u32,
    /// Some server has `slow_start`: weights are counted in finer units.
    fine: bool,
    /// For `hash .. consistent`, made when it is first needed.
    ring: Option<(u32, Ring)>,
    /// For round robin among many, made when it is needed.
    ranks: Option<Ranks>,
}

/// Units of a weight while some server has `slow_start`.
const FINE: i64 = 1000;
/// A request that has tried more than so many of a group is served by a look at each.
const MANY_TRIED: usize = 64;

impl Set {
    /// Servers that are all well.
    pub fn new(peers: Vec<Peer>) -> Set {
        let mut members = Members::default();
        for peer in peers {
            members.push(peer, None);
        }
        members.changed();
        Set(Mutex::new(members))
    }
    pub(super) fn lock(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The servers as they are now.
    pub fn states(&self, backup: bool) -> Vec<PeerState> {
        let now = unix_time();
        let state = |slot: &Slot| PeerState {
            name: slot.peer.name.to_string(),
            backup,
            up: slot.peer.mode == Mode::Up && !slot.state.health.out,
            connections: slot.state.conns,
            fails: slot.state.fails,
            latency: slot.peer.latency.lately(now),
        };
        self.lock().slots.iter().map(state).collect()
    }
    /// The servers.
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        self.lock().slots.iter().map(|slot| slot.peer.clone()).collect()
    }
    /// The servers that were found by the name of server `i`.
    pub(super) fn found_by(&self, i: u32) -> Vec<Arc<Peer>> {
        let members = self.lock();
        let found = members.slots.iter().filter(|slot| slot.found_by == Some(i));
        found.map(|slot| slot.peer.clone()).collect()
    }
    /// The servers that are found by the name of server `i` are these now; those that were known stay as they are.
    pub(super) fn replace(&self, i: u32, mut found: Vec<Peer>) {
        let mut members = self.lock();
        let before = members.slots.len();
        members.slots.retain(|slot| {
            if slot.found_by != Some(i) {
                return true;
            }
            let same = |peer: &Peer| {
                (&peer.address, &peer.server, peer.weight)
                    == (&slot.peer.address, &slot.peer.server, slot.peer.weight)
            };
            let known = found.iter().position(same);
            known.map(|known| found.remove(known)).is_some()
        });
        if members.slots.len() < before || !found.is_empty() {
            for peer in found {
                members.push(peer, Some(i));
            }
            members.changed();
        }
    }
    /// How many may be tried: those that are not `down`.
    pub fn tries(&self) -> u32 {
        self.lock().tries
    }
    /// The connection to a peer is not counted any more; `well`: it did not fail.
    pub(super) fn release(&self, id: u32, well: bool) {
        self.lock().alter(id, |slot| {
            let out_of_luck = slot.is_out_of_luck();
            let state = &mut slot.state;
            state.conns = state.conns.saturating_sub(1);
            if well && state.accessed < state.checked {
                if out_of_luck {
                    state.come_back(&slot.peer, unix_time());
                }
                state.fails = 0;
            }
        });
    }
    /// Something became known about a peer that is being asked.
    pub(super) fn note(&self, id: u32, change: impl FnOnce(&mut State)) {
        self.lock().alter(id, |slot| change(&mut slot.state));
    }
    /// A peer failed; `true` if it is taken out for a while now.
    pub(super) fn failed(&self, id: u32, now: Duration) -> bool {
        let failed = self.lock().alter(id, |slot| {
            let (peer, state) = (&slot.peer, &mut slot.state);
            state.fails += 1;
            state.accessed = now.as_secs();
            state.checked = now.as_secs();
            if peer.max_fails == 0 {
                return false;
            }
            let loss = i64::from(peer.weight / peer.max_fails);
            state.effective_weight = (state.effective_weight - loss).max(0);
            state.fails >= peer.max_fails
        });
        failed.unwrap_or(false)
    }
}

impl Members {
    /// One server more; its number.
    pub(super) fn add(&mut self, peer: Peer) -> u32 {
        let id = self.push(peer, None);
        self.changed();
        id
    }
    /// As [`Members::add`]; the change is still to be told.
    fn push(&mut self, peer: Peer, found_by: Option<u32>) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let state = State::new(&peer);
        self.slots.push(Slot { id, found_by, peer: Arc::new(peer), state, rank: Rank::Out });
        id
    }
    /// To be called after any change of the servers.
    pub(super) fn changed(&mut self) {
        self.unrank();
        self.sums.clear();
        self.sums.extend(self.slots.iter().scan(0, |sum: &mut u32, slot| {
            *sum = sum.saturating_add(slot.peer.weight);
            Some(*sum)
        }));
        self.fine = self.slots.iter().any(|slot| !slot.peer.slow_start.is_zero());
        self.tries = self.slots.iter().filter(|slot| slot.peer.mode != Mode::Down).count() as u32;
        self.version = self.version.wrapping_add(1);
    }
    /// Changes the state of the slot of a number.
    fn alter<T>(&mut self, id: u32, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let i = self.place(id)?;
        let outcome = change(&mut self.slots[i]);
        self.settle(i);
        Some(outcome)
    }
    fn settle(&mut self, i: usize) {
        if let Some(ranks) = &mut self.ranks {
            ranks.settle(&mut self.slots, i);
        }
    }
    /// From now on any state may be changed without a word.
    pub(super) fn unrank(&mut self) {
        if let Some(ranks) = self.ranks.take() {
            ranks.dissolve(&mut self.slots);
        }
    }
    /// Where the slot of a number is.
    pub(super) fn place(&self, id: u32) -> Option<usize> {
        match self.slots.get(id as usize) {
            Some(slot) if slot.id == id => Some(id as usize),
            _ => self.slots.iter().position(|slot| slot.id == id),
        }
    }
    /// Whether peer `i` may be asked something that is not bound to it.
    pub(super) fn usable(&self, i: usize, tried: &Tried, now: Duration) -> bool {
        self.slots[i].peer.mode == Mode::Up && self.available(i, tried, now)
    }
    /// Whether peer `i` may be asked at all.
    pub(super) fn available(&self, i: usize, tried: &Tried, now: Duration) -> bool {
        !tried.has(i) && self.slots[i].available(now)
    }
    /// The place of the server that a client is bound to, if it may be asked.
    pub(super) fn bound(&self, bond: &[u8], tried: &Tried, now: Duration) -> Option<usize> {
        if bond.is_empty() {
            return None;
        }
        let i = self.slots.iter().position(|slot| slot.peer.bond.as_bytes() == bond)?;
        self.available(i, tried, now).then_some(i)
    }
    fn units(&self) -> i64 {
        if self.fine { FINE } else { 1 }
    }
    /// Smooth weighted round robin among those that are usable.
    pub(super) fn round_robin(&mut self, tried: &Tried, now: Duration) -> Option<usize> {
        if self.slots.len() < FEW || tried.len() > MANY_TRIED {
            return self.round_robin_among(tried, now, |_| true);
        }
        if self.ranks.as_ref().is_some_and(Ranks::are_old) {
            self.unrank();
        }
        let units = self.units();
        let slots = &mut self.slots;
        let ranks = self.ranks.get_or_insert_with(|| Ranks::new(slots, units));
        tried.places().for_each(|i| ranks.remove(slots, i));
        let chosen = ranks.choose(slots, now);
        tried.places().for_each(|i| ranks.settle(slots, i));
        chosen
    }
    /// The same among those of `among`, with a look at each.
    pub(super) fn round_robin_among(
        &mut self,
        tried: &Tried,
        now: Duration,
        among: impl Fn(&Slot) -> bool,
    ) -> Option<usize> {
        self.unrank();
        let units = self.units();
        let slots = self.slots.iter_mut().enumerate();
        smooth(slots.filter(|(i, slot)| !tried.has(*i) && among(slot)), now, units)
    }
    /// The same among the servers that have a point of the ring.
    pub(super) fn round_robin_at(&mut self, point: u32, tried: &Tried, now: Duration) -> Option<usize> {
        self.unrank();
        self.ring();
        let units = self.units();
        let places = self.ring.as_ref()?.1.places(point);
        if let [place] = places {
            let slot = self.slots.get_mut(*place as usize)?;
            let one = std::iter::once((*place as usize, slot));
            return smooth(one.filter(|(i, _)| !tried.has(*i)), now, units);
        }
        let slots = self.slots.iter_mut().enumerate();
        let here = |i: &usize| places.binary_search(&(*i as u32)).is_ok() && !tried.has(*i);
        smooth(slots.filter(|(i, _)| here(i)), now, units)
    }
    /// Peer `i` was chosen.
    pub(super) fn take(&mut self, i: usize, now: Duration) {
        let Slot { peer, state, .. } = &mut self.slots[i];
        state.conns += 1;
        let now = now.as_secs();
        if now.saturating_sub(state.checked) > peer.fail_timeout.as_secs() {
            state.checked = now;
        }
        self.settle(i);
    }
    /// The ring of the servers as they are now.
    pub(super) fn ring(&mut self) -> &Ring {
        let current = |ring: &(u32, Ring)| ring.0 == self.version;
        if !self.ring.as_ref().is_some_and(current) {
            let servers = self.slots.iter().map(|slot| (&*slot.peer.server, slot.peer.weight));
            self.ring = Some((self.version, Ring::new(servers)));
        }
        let empty = || (self.version, Ring::default());
        &self.ring.get_or_insert_with(empty).1
    }
}
