//! One server of a group and its state: what it is configured to be, how it fares, what part it has in a choice.

use std::sync::Arc;
use std::time::Duration;

use md5::{Digest, Md5};

use super::health::Health;
use super::latency::Latencies;
use super::ranks::Rank;
use crate::program::Address;

/// One address of an upstream group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens.
    pub address: Address,
    /// The address as text: `$upstream_addr`, log lines.
    pub name: Box<str>,
    /// The server as the configuration writes it.
    pub server: Arc<str>,
    /// Its share of requests.
    pub weight: u32,
    /// Connections at once; 0 for no limit.
    pub max_conns: u32,
    /// Failures within `fail_timeout` that take it out for `fail_timeout`; 0: never.
    pub max_fails: u32,
    /// See `max_fails`.
    pub fail_timeout: Duration,
    /// How long its share grows after it comes back.
    pub slow_start: Duration,
    /// Whether it is asked at all.
    pub mode: Mode,
    /// What binds a client to it (`sticky`): `route=`, or a hash of its name. Empty where nothing does.
    pub bond: Arc<str>,
    /// Which idle connections lead here: equal for equal addresses of a group, over all generations.
    pub key: u32,
    /// How long it took for its answers.
    pub latency: Latencies,
}

/// What a server is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Any request.
    #[default]
    Up,
    /// Only requests that are bound to it.
    Drain,
    /// None.
    Down,
}

impl Peer {
    /// A server with nginx's defaults.
    pub fn new(address: Address, server: &str, key: u32) -> Peer {
        Peer {
            name: address.to_string().into(),
            address,
            server: server.into(),
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            slow_start: Duration::ZERO,
            mode: Mode::Up,
            bond: Arc::default(),
            key,
            latency: Latencies::default(),
        }
    }
    /// The server as one that clients may be bound to.
    #[must_use]
    pub fn bound(self) -> Peer {
        if !self.bond.is_empty() {
            return self;
        }
        let hash = Md5::digest(self.name.as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Peer { bond: hex.into(), ..self }
    }
}

/// What changes about a peer. Times are wall-clock time; failures count whole seconds, as in nginx.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub current_weight: i64,
    pub effective_weight: i64,
    pub conns: u32,
    pub fails: u32,
    /// When it failed last.
    pub accessed: u64,
    /// When its failures began to count.
    pub checked: u64,
    /// Averages, in milliseconds: until the head came, until all had come.
    pub header_time: u64,
    pub response_time: u64,
    /// Requests that are not over, for `least_time .. inflight`.
    pub flight: Flight,
    /// What checks found out.
    pub health: Health,
    /// It came back then, and its share grows (`slow_start`).
    back_since: Option<Duration>,
}

/// How long requests under way have taken so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flight {
    /// How many.
    pub count: u64,
    /// What they had taken in all at `changed`, in milliseconds.
    pub taken: u64,
    /// When `count` last changed.
    pub changed: Duration,
    /// The average of looks at them.
    pub average: u64,
}

impl Flight {
    /// One more.
    pub fn begin(&mut self, now: Duration) {
        self.pass(now);
        self.count += 1;
    }
    /// One is over that took so long.
    pub fn land(&mut self, took: u64, now: Duration) {
        self.pass(now);
        self.count = self.count.saturating_sub(1);
        self.taken = if self.count == 0 { 0 } else { self.taken.saturating_sub(took) };
    }
    fn pass(&mut self, now: Duration) {
        self.taken += now.saturating_sub(self.changed).as_millis() as u64 * self.count;
        self.changed = now;
    }
}

/// A running average, as nginx takes it: the first value as it is, then five per cent of each.
pub(super) fn average(average: &mut u64, value: u64) {
    *average = if *average == 0 { value } else { (*average * 95 + value * 5 + 50) / 100 };
}

/// A peer with its state.
#[derive(Debug)]
pub(super) struct Slot {
    /// Never used twice within a set.
    pub id: u32,
    /// The number of the server whose name it was found by.
    pub found_by: Option<u32>,
    pub peer: Arc<Peer>,
    pub state: State,
    pub rank: Rank,
}

impl Slot {
    /// Whether it is up and not full.
    pub(super) fn has_room(&self) -> bool {
        let Peer { mode, max_conns, .. } = *self.peer;
        mode == Mode::Up && !self.state.health.out && (max_conns == 0 || self.state.conns < max_conns)
    }
    /// Whether it failed so often that it rests now and then.
    pub(super) fn is_out_of_luck(&self) -> bool {
        let Slot { peer, state, .. } = self;
        state.fails > 0 && peer.max_fails > 0 && state.fails >= peer.max_fails
    }
    /// Whether it may be asked at all.
    pub(super) fn available(&self, now: Duration) -> bool {
        let Slot { peer, state, .. } = self;
        let failing = self.is_out_of_luck()
            && now.as_secs().saturating_sub(state.checked) <= peer.fail_timeout.as_secs();
        peer.mode != Mode::Down
            && !failing
            && !state.health.out
            && (peer.max_conns == 0 || state.conns < peer.max_conns)
    }
    /// Its part in one choice; the share by which its current weight grew.
    pub(super) fn grow(&mut self, now: Duration, units: i64) -> i64 {
        let Slot { peer, state, .. } = self;
        let share = state.share(peer, now, units);
        state.current_weight += share;
        if state.effective_weight < peer.weight.into() {
            state.effective_weight += 1;
        }
        share
    }
}

impl State {
    /// Of a server that is well.
    pub(super) fn new(peer: &Peer) -> State {
        State { effective_weight: peer.weight.into(), ..State::default() }
    }
    /// It was out for a while, and is asked again from now on.
    pub(super) fn come_back(&mut self, peer: &Peer, now: Duration) {
        self.back_since = (!peer.slow_start.is_zero()).then_some(now);
    }
    /// Whether its share still grows.
    pub(super) fn grows(&self) -> bool {
        self.back_since.is_some()
    }
    /// The effective weight in `units`, less while the peer's share still grows.
    fn share(&mut self, peer: &Peer, now: Duration, units: i64) -> i64 {
        let whole = self.effective_weight * units;
        match self.back_since {
            None => whole,
            Some(since) => self.growing_share(peer, now, whole, since),
        }
    }
    #[cold]
    fn growing_share(&mut self, peer: &Peer, now: Duration, whole: i64, since: Duration) -> i64 {
        let passed = now.saturating_sub(since).as_millis() as i64;
        let wanted = peer.slow_start.as_millis() as i64;
        if passed >= wanted {
            self.back_since = None;
            return whole;
        }
        (whole * passed / wanted).max(1)
    }
}

/// The time as it is: for what is seldom, and known where there is no loop at hand.
pub(super) fn unix_time() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// One choice among these slots, of which those that are not up do not count.
pub(super) fn smooth<'a>(
    slots: impl Iterator<Item = (usize, &'a mut Slot)>,
    now: Duration,
    units: i64,
) -> Option<usize> {
    let mut best: Option<(usize, &mut Slot)> = None;
    let mut total = 0;
    for (i, slot) in slots {
        if slot.peer.mode != Mode::Up || !slot.available(now) {
            continue;
        }
        total += slot.grow(now, units);
        if best.as_ref().is_none_or(|(_, best)| slot.state.current_weight > best.state.current_weight) {
            best = Some((i, slot));
        }
    }
    let (i, slot) = best?;
    slot.state.current_weight -= total;
    Some(i)
}
