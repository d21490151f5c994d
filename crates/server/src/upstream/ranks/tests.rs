//! The same sequence of servers with ranks and without.
#![allow(clippy::unwrap_used)]
use std::time::Duration;

use proptest::prelude::*;

use super::super::peers::Set;
use super::super::slot::{Mode, Peer};
use super::super::tried::Tried;
use crate::program::Address;

/// Something that happens to a group.
#[derive(Clone, Debug)]
enum Event {
    /// A request tries so many servers, the last of which answers or stays busy.
    Request { tries: usize, stays: bool },
    /// Two requests that failed with the first of their servers, and go on in turn.
    Pair,
    /// A busy server is done, well or not.
    Done { which: usize, well: bool },
    /// Time passes.
    Later(u64),
    /// A check finds a server ill, or well again.
    Health { which: usize, out: bool },
    /// A server comes back slowly.
    Back(usize),
    /// An operator changes how a server may be asked.
    Mode { which: usize, mode: Mode },
    /// An operator takes a server out of the group.
    Gone(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let mode = prop_oneof![Just(Mode::Up), Just(Mode::Drain), Just(Mode::Down)];
    prop_oneof![
        20 => (1usize..4, any::<bool>()).prop_map(|(tries, stays)| Event::Request { tries, stays }),
        1 => (1usize..60).prop_map(|tries| Event::Request { tries, stays: false }),
        2 => Just(Event::Pair),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(which, well)| Event::Done { which, well }),
        2 => (0u64..8).prop_map(Event::Later),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, out)| Event::Health { which, out }),
        1 => any::<usize>().prop_map(Event::Back),
        1 => (any::<usize>(), mode).prop_map(|(which, mode)| Event::Mode { which, mode }),
        1 => any::<usize>().prop_map(Event::Gone),
    ]
}

fn peer() -> impl Strategy<Value = Peer> {
    let weight = prop_oneof![4 => Just(2u32), 1 => 1u32..6];
    let limits = (prop_oneof![3 => Just(0u32), 1 => 1u32..3], 0u32..4);
    let slow = prop_oneof![9 => Just(0u64), 1 => Just(20u64)];
    (weight, limits, slow).prop_map(|(weight, (max_conns, max_fails), slow)| {
        let address = Address::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 80)));
        let slow_start = Duration::from_secs(slow);
        Peer { weight, max_conns, max_fails, slow_start, ..Peer::new(address, "s", 0) }
    })
}

/// A group, and the numbers of its servers that are busy.
struct Group {
    set: Set,
    ranked: bool,
    now: u64,
    busy: Vec<u32>,
}

impl Group {
    fn now(&self) -> Duration {
        Duration::from_secs(self.now)
    }
    /// The next server of a request, and its number.
    fn choose(&self, tried: &mut Tried) -> Option<u32> {
        let mut members = self.set.lock();
        let place = match self.ranked {
            true => members.round_robin(tried, self.now()),
            false => members.round_robin_among(tried, self.now(), |_| true),
        }?;
        tried.add(place);
        members.take(place, self.now());
        Some(members.slots[place].id)
    }
    fn fail(&self, id: u32) {
        self.set.failed(id, self.now());
        self.set.release(id, false);
    }
    fn request(&mut self, tries: usize, stays: bool) -> Vec<Option<u32>> {
        let mut tried = Tried::default();
        let chosen: Vec<_> = (0..tries).map(|_| self.choose(&mut tried)).collect();
        for (i, id) in chosen.iter().enumerate() {
            match id {
                Some(id) if i + 1 < tries => self.fail(*id),
                Some(id) if stays => self.busy.push(*id),
                Some(id) => self.set.release(*id, true),
                None => {}
            }
        }
        chosen
    }
    fn pair(&mut self) -> Vec<Option<u32>> {
        let mut tried = [Tried::default(), Tried::default()];
        let mut all = Vec::new();
        for turn in [0, 1, 0, 1] {
            let id = self.choose(&mut tried[turn]);
            id.into_iter().for_each(|id| self.fail(id));
            all.push(id);
        }
        all
    }
    fn place(&self, which: usize) -> usize {
        which % self.set.lock().slots.len()
    }
    /// What was chosen meanwhile.
    fn play(&mut self, event: &Event) -> Vec<Option<u32>> {
        match *event {
            Event::Request { tries, stays } => return self.request(tries, stays),
            Event::Pair => return self.pair(),
            Event::Done { which, well } if !self.busy.is_empty() => {
                let id = self.busy.swap_remove(which % self.busy.len());
                if well { self.set.release(id, true) } else { self.fail(id) }
            }
            Event::Done { .. } => {}
            Event::Later(seconds) => self.now += seconds,
            Event::Health { which, out } => {
                let place = self.place(which);
                let id = self.set.lock().slots[place].id;
                self.set.note(id, |state| state.health.out = out);
            }
            Event::Back(which) => {
                let place = self.place(which);
                let (id, peer) = {
                    let members = self.set.lock();
                    (members.slots[place].id, members.slots[place].peer.clone())
                };
                let now = self.now();
                self.set.note(id, |state| state.come_back(&peer, now));
            }
            Event::Mode { which, mode } => {
                let place = self.place(which);
                let mut members = self.set.lock();
                let peer = Peer { mode, ..(*members.slots[place].peer).clone() };
                members.slots[place].peer = peer.into();
                members.changed();
            }
            Event::Gone(which) => {
                let place = self.place(which);
                let mut members = self.set.lock();
                if members.slots.len() > super::FEW {
                    members.slots.remove(place);
                    members.changed();
                }
            }
        }
        Vec::new()
    }
    /// The current weights, without ranks.
    fn weights(&self) -> Vec<(i64, i64)> {
        let mut members = self.set.lock();
        members.unrank();
        let weights = |slot: &super::Slot| (slot.state.current_weight, slot.state.effective_weight);
        members.slots.iter().map(weights).collect()
    }
}

proptest! {
    #[test]
    fn the_order_is_that_of_looking_at_all(
        peers in proptest::collection::vec(peer(), 16..80),
        even in any::<bool>(),
        events in proptest::collection::vec(event(), 1..150),
    ) {
        let plain = |peer: Peer| Peer { weight: 1, slow_start: Duration::ZERO, ..peer };
        let peers = || peers.iter().cloned().map(|peer| if even { plain(peer) } else { peer }).collect();
        let group = |ranked| Group { set: Set::new(peers()), ranked, now: 1000, busy: Vec::new() };
        let (mut quick, mut slow) = (group(true), group(false));
        for event in &events {
            prop_assert_eq!(quick.play(event), slow.play(event), "{:?}", event);
        }
        prop_assert_eq!(quick.weights(), slow.weights());
    }
}
