//! A group of upstream servers, and the choice of one for each try.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use super::balance::Balancer;
use super::health::Check;
use super::peers::{PeerState, Set};
use super::queue::{NoTurn, Patience, Queue};
use super::refresh::Followed;
use super::slot::{Mode, Peer, average};
use super::sticky::Sticky;
use super::tried::Tried;
use crate::http::request::Request;

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
    pub backup: Set,
    /// How a server is chosen.
    pub balancer: Balancer,
    /// Idle connections that are kept; `None`: none.
    pub keepalive: Option<KeepAlive>,
    /// Clients are bound to servers.
    pub sticky: Option<Sticky>,
    /// Requests may wait for a server.
    pub patience: Option<Patience>,
    /// The file that keeps the servers (`state`).
    pub state: Option<PathBuf>,
    pub(super) queue: Queue,
    /// Active checks of its servers.
    checks: Mutex<Vec<Arc<Check>>>,
    /// The one server of a group that has no state worth keeping, and takes no lock.
    only: Option<Arc<Peer>>,
    /// Servers whose addresses are looked up at run time.
    pub followed: Vec<Followed>,
    /// Somebody does.
    pub(super) follow_once: Once,
    /// So many of them are not known yet.
    pub(super) unknown: AtomicUsize,
    /// The servers may be others than at first, or have to be counted: `only` holds no more.
    counted: AtomicBool,
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
    pub(super) tried: Tried,
    /// The servers that `tried` speaks of.
    version: u32,
    on_backup: bool,
    /// Who is asked once more before anybody else is.
    again: Option<usize>,
    pub(super) client: Option<IpAddr>,
    /// The server that the client is bound to.
    pub(super) bond: Vec<u8>,
    /// What `hash` is about.
    pub(super) key: Vec<u8>,
    pub(super) hash: Option<u32>,
    pub(super) hash_tries: u32,
    pub(super) rehash: u32,
}

impl Turn {
    /// Begins the way of a request: what the group's choice depends on is looked up.
    pub fn begin(group: &Group, request: &mut Request) -> Turn {
        let mut turn = Turn::default();
        if let Balancer::Hash { key, .. } = &group.balancer {
            turn.key = request.thread.buffer();
            key.render(request, &mut turn.key);
        }
        if let Some(sticky) = &group.sticky {
            turn.bond = request.thread.buffer();
            sticky.begin(request, &mut turn);
        }
        turn
    }
    /// From the beginning: servers may have come back.
    pub(super) fn restart(&mut self) {
        self.tried.clear();
        self.on_backup = false;
        self.hash_tries = 0;
    }
    /// The way is over.
    pub fn end(&mut self, request: &Request) {
        for buffer in [&mut self.key, &mut self.bond] {
            if buffer.capacity() > 0 {
                request.thread.give_buffer(std::mem::take(buffer));
            }
        }
    }
    /// A peer is asked again, out of turn: that an old connection to it was gone says nothing of it.
    pub fn forget(&mut self, held: &Held) {
        if let Some(place) = held.slot.and_then(|id| held.set().lock().place(id)) {
            self.tried.remove(place);
            self.again = Some(place);
        }
    }
}

/// A peer while it is asked; counted as its connection until dropped.
#[derive(Debug)]
pub struct Held {
    group: Arc<Group>,
    /// `None`: the group's only one, which no other thread need hear of.
    peer: Option<Arc<Peer>>,
    /// The number of its slot; `None` where nothing is counted.
    slot: Option<u32>,
    on_backup: bool,
    /// A single server is never taken out: there is no other to ask.
    alone: bool,
    failed: bool,
    /// It is counted among the requests under way (`least_time .. inflight`).
    flies: bool,
    began: Duration,
}
impl Held {
    /// The peer.
    pub fn peer(&self) -> &Peer {
        match &self.peer {
            Some(peer) => peer,
            None => self.group.only.as_deref().expect("only a group with one server lends it uncounted"),
        }
    }
    /// Its group.
    pub fn group(&self) -> &Group {
        &self.group
    }
    fn set(&self) -> &Set {
        self.group.set(self.on_backup)
    }
    /// The peer failed; `true` if it is taken out for a while now.
    pub fn failed(&mut self, now: Duration) -> bool {
        self.failed = true;
        !self.alone && self.slot.is_some_and(|id| self.set().failed(id, now))
    }
    /// The head of its answer came.
    pub fn answered(&mut self, now: Duration) {
        if !self.group.balancer.takes_time() {
            return;
        }
        let took = now.saturating_sub(self.began).as_millis() as u64;
        let lands = self.flies && self.group.balancer.inflight() == Some(false);
        self.flies &= !lands;
        if let Some(id) = self.slot {
            self.set().note(id, |state| {
                average(&mut state.header_time, took);
                if lands {
                    state.flight.land(took, now);
                }
            });
        }
    }
    /// The whole answer came, or the rest of it is not wanted.
    pub fn finished(&mut self, now: Duration) {
        if !self.group.balancer.takes_time() || self.failed {
            return;
        }
        let took = now.saturating_sub(self.began).as_millis() as u64;
        let lands = std::mem::take(&mut self.flies);
        if let Some(id) = self.slot {
            self.set().note(id, |state| {
                average(&mut state.response_time, took);
                if lands {
                    state.flight.land(took, now);
                }
            });
        }
    }
    /// This try says nothing about the peer's health.
    pub fn undecided(&mut self) {
        self.failed = true;
    }
}
impl Drop for Held {
    fn drop(&mut self) {
        if let Some(id) = self.slot {
            self.set().release(id, !self.failed);
            if self.flies {
                let now = super::slot::unix_time();
                let took = now.saturating_sub(self.began).as_millis() as u64;
                self.set().note(id, |state| state.flight.land(took, now));
            }
            self.group.queue.wake_first();
        }
    }
}

impl Group {
    /// A group of these servers, with nginx's defaults for everything else.
    pub fn new(name: &str, port: Option<u16>, primary: Vec<Peer>, backup: Vec<Peer>) -> Group {
        let stateless = |one: &Peer| one.max_conns == 0 && one.mode == Mode::Up;
        let alone = matches!((&*primary, &*backup), ([one], []) if stateless(one));
        let primary = Set::new(primary);
        let only = if alone { primary.peers().pop() } else { None };
        Group {
            name: name.into(),
            port,
            primary,
            backup: Set::new(backup),
            balancer: Balancer::RoundRobin,
            keepalive: None,
            sticky: None,
            patience: None,
            state: None,
            queue: Queue::default(),
            checks: Mutex::default(),
            only,
            followed: Vec::new(),
            follow_once: Once::new(),
            unknown: AtomicUsize::new(0),
            counted: AtomicBool::new(false),
        }
    }
    /// A group of one set of servers, as implied by an address.
    pub fn implied(name: &str, port: u16, peers: Vec<Peer>) -> Group {
        Group::new(name, Some(port), peers, Vec::new())
    }
    /// From now on every server is counted, also a single one: somebody wants to know, or they may change.
    pub fn count(&self) {
        self.counted.store(true, Relaxed);
    }
    /// The addresses of the name of server `i` are these now.
    pub(super) fn replace(&self, i: u32, (primary, backup): (Vec<Peer>, Vec<Peer>)) {
        self.primary.replace(i, primary);
        self.backup.replace(i, backup);
        self.queue.wake_first();
    }
    /// The servers as this group's clients may be bound to them.
    pub(super) fn bind(&self, peers: Vec<Peer>) -> Vec<Peer> {
        match self.sticky {
            Some(_) => peers.into_iter().map(Peer::bound).collect(),
            None => peers,
        }
    }
    /// The first word about the name of a server has come.
    pub(super) fn heard(&self) {
        self.unknown.fetch_sub(1, Relaxed);
        self.queue.wake_first();
    }
    /// Its servers are to be checked.
    pub fn check(&self, check: Check) {
        self.count();
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(check));
    }
    /// How its servers are checked.
    pub(super) fn checks(&self) -> Vec<Arc<Check>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Primary or backup servers.
    pub(super) fn set(&self, backup: bool) -> &Set {
        if backup { &self.backup } else { &self.primary }
    }
    fn only(&self) -> Option<&Peer> {
        self.only.as_deref().filter(|_| self.followed.is_empty() && !self.counted.load(Relaxed))
    }
    /// All servers, primary and backup.
    pub fn peers(&self) -> Vec<std::sync::Arc<Peer>> {
        let mut peers = self.primary.peers();
        peers.extend(self.backup.peers());
        peers
    }
    /// All servers, as they are now.
    pub fn states(&self) -> Vec<PeerState> {
        let mut states = self.primary.states(false);
        states.extend(self.backup.states(true));
        states
    }
    /// How many servers a request may try.
    pub fn tries(&self) -> u32 {
        match self.only() {
            Some(_) => 1,
            None => self.primary.tries() + self.backup.tries(),
        }
    }
    /// The next server to try; `None`: no live one is left.
    pub fn choose(self: &Arc<Group>, turn: &mut Turn, now: Duration, client: Option<IpAddr>) -> Option<Held> {
        if self.only().is_some() {
            return Some(self.held(None, None, false, true, now));
        }
        turn.client = client;
        if !turn.on_backup {
            if let Some(held) = self.pick(turn, now) {
                return Some(held);
            }
            turn.on_backup = true;
            turn.tried.clear();
        }
        self.pick(turn, now)
    }
    fn pick(self: &Arc<Group>, turn: &mut Turn, now: Duration) -> Option<Held> {
        let on_backup = turn.on_backup;
        let mut members = self.set(on_backup).lock();
        if turn.version != members.version {
            // Other servers: what was tried of the former ones is no guide.
            turn.tried.clear();
            turn.again = None;
            turn.version = members.version;
        }
        let alone = !on_backup && members.slots.len() == 1 && self.backup.lock().slots.is_empty();
        let i = match alone {
            true => members.slots[0].has_room().then_some(0)?,
            false => {
                let again = turn.again.take().filter(|i| members.usable(*i, &turn.tried, now));
                match again.or_else(|| members.bound(&turn.bond, &turn.tried, now)) {
                    Some(i) => i,
                    None => members.choose(&self.balancer, turn, now)?,
                }
            }
        };
        // With one server there is nobody else: it may be asked again.
        if !alone {
            turn.tried.add(i);
        }
        members.take(i, now);
        let flies = self.balancer.inflight().is_some();
        if flies {
            members.slots[i].state.flight.begin(now);
        }
        let (peer, slot) = (members.slots[i].peer.clone(), Some(members.slots[i].id));
        drop(members);
        let mut held = self.held(Some(peer), slot, on_backup, alone, now);
        held.flies = flies;
        Some(held)
    }
    fn held(
        self: &Arc<Group>,
        peer: Option<Arc<Peer>>,
        slot: Option<u32>,
        on_backup: bool,
        alone: bool,
        began: Duration,
    ) -> Held {
        let group = self.clone();
        Held { group, peer, slot, on_backup, alone, failed: false, flies: false, began }
    }
    /// How long a request may wait for a server, if at all.
    pub(super) fn patience(&self) -> Option<Patience> {
        self.patience.or_else(|| {
            let unknown = self.unknown.load(Relaxed) > 0;
            let longest = self.followed.iter().map(|followed| followed.timeout).max();
            longest.filter(|_| unknown).map(|timeout| Patience { most: usize::MAX, timeout })
        })
    }
    /// Waits for a server that may be asked; `None`: there is nothing to wait for.
    pub async fn wait(
        self: &Arc<Group>,
        turn: &mut Turn,
        request: &Request,
        minds_client: bool,
    ) -> Option<Result<Held, NoTurn>> {
        let patience = self.patience()?;
        Some(super::queue::wait(self, turn, request, patience, minds_client).await)
    }
    /// Whether others wait already.
    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests;
