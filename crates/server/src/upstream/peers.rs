//! The servers of a group and their shared state: who is next, who failed, who is full.
//!
//! Smooth weighted round robin: a peer's current weight grows by its effective weight at each choice, the heaviest is
//! taken and loses the sum of all. A failure lowers the effective weight, each later choice restores a bit of it. The
//! state is one small mutex per set of peers, because a choice needs all of it; a group with a single server and no
//! limits takes no lock at all.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::program::Address;

/// One address of an upstream group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens.
    pub address: Address,
    /// The address as text: `$upstream_addr`, log lines.
    pub name: Box<str>,
    /// Its share of requests.
    pub weight: u32,
    /// Connections at once; 0 for no limit.
    pub max_conns: u32,
    /// Failures within `fail_timeout` that take it out for `fail_timeout`; 0: never.
    pub max_fails: u32,
    /// See `max_fails`.
    pub fail_timeout: Duration,
    /// Marked `down`.
    pub down: bool,
    /// Which idle connections lead here: equal for equal addresses of a group, over all generations.
    pub key: u32,
}

/// What changes about a peer. Times are whole seconds of wall-clock time, as in nginx.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub current_weight: i64,
    pub effective_weight: i64,
    pub conns: u32,
    pub fails: u32,
    /// When it failed last.
    accessed: u64,
    /// When its failures began to count.
    checked: u64,
}

/// Primary or backup servers.
#[derive(Debug, Default)]
pub struct Set {
    /// The servers.
    pub peers: Vec<Peer>,
    states: Mutex<Vec<State>>,
    /// The sum of the weights.
    pub(super) total_weight: u32,
}

/// Which peers this request has tried already: a bit each.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    few: u64,
    many: Vec<u64>,
}
impl Tried {
    pub(super) fn has(&self, i: usize) -> bool {
        match i.checked_sub(64) {
            None => self.few & (1 << i) != 0,
            Some(i) => self.many.get(i / 64).is_some_and(|word| word & (1 << (i % 64)) != 0),
        }
    }
    pub(super) fn add(&mut self, i: usize) {
        let Some(i) = i.checked_sub(64) else { return self.few |= 1 << i };
        if self.many.len() <= i / 64 {
            self.many.resize(i / 64 + 1, 0);
        }
        self.many[i / 64] |= 1 << (i % 64);
    }
    pub(super) fn remove(&mut self, i: usize) {
        match i.checked_sub(64) {
            None => self.few &= !(1 << i),
            Some(i) => self.many.get_mut(i / 64).into_iter().for_each(|word| *word &= !(1 << (i % 64))),
        }
    }
    pub(super) fn clear(&mut self) {
        self.few = 0;
        self.many.clear();
    }
}

impl Set {
    /// Servers that are all well.
    pub fn new(peers: Vec<Peer>) -> Set {
        let well = |p: &Peer| State { effective_weight: p.weight.into(), ..State::default() };
        let states = peers.iter().map(well).collect();
        let total_weight = peers.iter().map(|p| p.weight).sum();
        Set { peers, states: Mutex::new(states), total_weight }
    }
    /// How many may be tried: those that are not `down`.
    pub fn tries(&self) -> u32 {
        self.peers.iter().filter(|p| !p.down).count() as u32
    }
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether peer `i` may be asked at all.
    pub(super) fn usable(&self, i: usize, state: &State, tried: &Tried, now: u64) -> bool {
        let peer = &self.peers[i];
        let failing = peer.max_fails > 0
            && state.fails >= peer.max_fails
            && now.saturating_sub(state.checked) <= peer.fail_timeout.as_secs();
        !tried.has(i) && !peer.down && !failing && (peer.max_conns == 0 || state.conns < peer.max_conns)
    }
    /// Smooth weighted round robin among those of `among` that are usable.
    pub(super) fn round_robin(
        &self,
        states: &mut [State],
        tried: &Tried,
        now: u64,
        among: impl Fn(usize, &State) -> bool,
    ) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut total = 0;
        for i in 0..self.peers.len() {
            if !self.usable(i, &states[i], tried, now) || !among(i, &states[i]) {
                continue;
            }
            let state = &mut states[i];
            state.current_weight += state.effective_weight;
            total += state.effective_weight;
            if state.effective_weight < self.peers[i].weight.into() {
                state.effective_weight += 1;
            }
            if best.is_none_or(|b| states[i].current_weight > states[b].current_weight) {
                best = Some(i);
            }
        }
        states[best?].current_weight -= total;
        best
    }
    /// Peer `i` was chosen.
    pub(super) fn take(&self, i: usize, state: &mut State, now: u64) {
        state.conns += 1;
        if now.saturating_sub(state.checked) > self.peers[i].fail_timeout.as_secs() {
            state.checked = now;
        }
    }
    /// The connection to peer `i` is not counted any more; `well`: it did not fail.
    pub(super) fn release(&self, i: usize, well: bool) {
        let state = &mut self.lock()[i];
        state.conns = state.conns.saturating_sub(1);
        if well && state.accessed < state.checked {
            state.fails = 0;
        }
    }
    /// Peer `i` failed; `true` if it is taken out for a while now.
    pub(super) fn failed(&self, i: usize, now: u64) -> bool {
        let peer = &self.peers[i];
        let state = &mut self.lock()[i];
        state.fails += 1;
        state.accessed = now;
        state.checked = now;
        if peer.max_fails == 0 {
            return false;
        }
        let loss = i64::from(peer.weight / peer.max_fails);
        state.effective_weight = (state.effective_weight - loss).max(0);
        state.fails >= peer.max_fails
    }
}
