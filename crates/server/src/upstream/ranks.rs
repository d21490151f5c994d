//! Smooth weighted round robin over many servers without a look at each of them.
//!
//! At each choice the current weight of a server that may be asked grows by its share, the greatest is taken and loses
//! the sum of all shares. Servers of equal shares keep their order but for the one that is taken, so each share has a
//! heap, and what all of them gained is kept once, as the number of choices. A server whose share or fitness depends on
//! the time, as it failed or just came back, is looked at each time, and one that cannot be asked until something
//! happens to it is left out. The order is that of looking at all, to the request.

use std::cmp::Reverse;
use std::time::Duration;

use super::slot::{Mode, Slot};

/// With fewer servers it is quicker to look at all.
pub(super) const FEW: usize = 16;
/// After so many choices the ranks are made anew, long before numbers could overflow.
const MOST_ROUNDS: i64 = 1 << 20;

/// Where a slot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rank {
    /// Nowhere: it cannot be asked, or there are no ranks.
    #[default]
    Out,
    /// In the heap of a share, at this place. Its current weight lacks what the share gained since the ranks were made.
    Even { class: u32, at: u32 },
    /// Among those that are looked at each time, at this place.
    Odd { at: u32 },
}

/// Servers of equal shares.
#[derive(Debug)]
struct Class {
    share: i64,
    /// Places of slots; before each is one that is chosen before it.
    heap: Vec<u32>,
}

/// The order among the slots of a set.
#[derive(Debug)]
pub(super) struct Ranks {
    classes: Vec<Class>,
    odd: Vec<u32>,
    /// Choices since they were made.
    rounds: i64,
    /// Units of a weight.
    units: i64,
}

/// What is chosen first: the greater weight, of equal ones the place before.
fn order(slots: &[Slot], place: u32) -> (i64, Reverse<u32>) {
    (slots[place as usize].state.current_weight, Reverse(place))
}

impl Ranks {
    /// The order of these slots, none of which has a rank.
    pub fn new(slots: &mut [Slot], units: i64) -> Ranks {
        let mut ranks = Ranks { classes: Vec::new(), odd: Vec::new(), rounds: 0, units };
        (0..slots.len()).for_each(|place| ranks.settle(slots, place));
        ranks
    }
    /// The slots as they would be without ranks; they may have come and gone since.
    pub fn dissolve(self, slots: &mut [Slot]) {
        for slot in slots {
            if let Rank::Even { class, .. } = std::mem::take(&mut slot.rank) {
                slot.state.current_weight += self.classes[class as usize].share * self.rounds;
            }
        }
    }
    /// Whether they are to be made anew.
    pub fn are_old(&self) -> bool {
        self.rounds >= MOST_ROUNDS
    }
    /// Something happened to a slot: it may belong elsewhere.
    pub fn settle(&mut self, slots: &mut [Slot], place: usize) {
        let slot = &slots[place];
        match (slot.rank, slot.regularity()) {
            (Rank::Even { .. }, Regularity::Even)
            | (Rank::Odd { .. }, Regularity::Odd)
            | (Rank::Out, Regularity::Out) => {}
            (_, regularity) => {
                self.remove(slots, place);
                self.put(slots, place, regularity);
            }
        }
    }
    fn put(&mut self, slots: &mut [Slot], place: usize, regularity: Regularity) {
        let slot = &mut slots[place];
        match regularity {
            Regularity::Out => {}
            Regularity::Odd => {
                slot.rank = Rank::Odd { at: self.odd.len() as u32 };
                self.odd.push(place as u32);
            }
            Regularity::Even => {
                let share = i64::from(slot.peer.weight) * self.units;
                slot.state.current_weight -= share * self.rounds;
                let class = self.classes.iter().position(|class| class.share == share);
                let class = class.unwrap_or_else(|| {
                    self.classes.push(Class { share, heap: Vec::new() });
                    self.classes.len() - 1
                });
                let heap = &mut self.classes[class].heap;
                let at = heap.len();
                heap.push(place as u32);
                slot.rank = Rank::Even { class: class as u32, at: at as u32 };
                rise(heap, slots, at);
            }
        }
    }
    /// Takes a slot out of its place.
    pub fn remove(&mut self, slots: &mut [Slot], place: usize) {
        match std::mem::take(&mut slots[place].rank) {
            Rank::Out => {}
            Rank::Odd { at } => {
                self.odd.swap_remove(at as usize);
                if let Some(moved) = self.odd.get(at as usize) {
                    slots[*moved as usize].rank = Rank::Odd { at };
                }
            }
            Rank::Even { class, at } => {
                let Class { share, heap } = &mut self.classes[class as usize];
                slots[place].state.current_weight += *share * self.rounds;
                heap.swap_remove(at as usize);
                if let Some(moved) = heap.get(at as usize).copied() {
                    slots[moved as usize].rank = Rank::Even { class, at };
                    let at = rise(heap, slots, at as usize);
                    sink(heap, slots, at);
                }
            }
        }
    }
    /// The next one, whose weights are as after the choice.
    pub fn choose(&mut self, slots: &mut [Slot], now: Duration) -> Option<usize> {
        self.rounds += 1;
        let (mut best, mut total) = (None, 0);
        for class in &self.classes {
            let Some(first) = class.heap.first() else { continue };
            let (weight, place) = order(slots, *first);
            best = best.max(Some((weight + class.share * self.rounds, place)));
            total += class.share * class.heap.len() as i64;
        }
        for place in &self.odd {
            let slot = &mut slots[*place as usize];
            if slot.available(now) {
                total += slot.grow(now, self.units);
                best = best.max(Some(order(slots, *place)));
            }
        }
        let (_, Reverse(best)) = best?;
        let slot = &mut slots[best as usize];
        slot.state.current_weight -= total;
        if let Rank::Even { class, at } = slot.rank {
            sink(&mut self.classes[class as usize].heap, slots, at as usize);
        }
        self.settle_odd(slots);
        Some(best as usize)
    }
    /// Those that have recovered are looked at no more.
    fn settle_odd(&mut self, slots: &mut [Slot]) {
        for at in (0..self.odd.len()).rev() {
            let place = self.odd[at] as usize;
            self.settle(slots, place);
        }
    }
}

/// The one at `at` moves up until the one before it is chosen before it; where it is then.
fn rise(heap: &mut [u32], slots: &mut [Slot], mut at: usize) -> usize {
    while at > 0 {
        let above = (at - 1) / 2;
        if order(slots, heap[above]) > order(slots, heap[at]) {
            break;
        }
        swap(heap, slots, at, above);
        at = above;
    }
    at
}

/// The one at `at` moves down while one below it is chosen before it.
fn sink(heap: &mut [u32], slots: &mut [Slot], mut at: usize) {
    loop {
        let below = 2 * at + 1;
        let Some(pair) = heap.get(below..(below + 2).min(heap.len())) else { return };
        let Some((i, first)) =
            pair.iter().map(|place| order(slots, *place)).enumerate().max_by_key(|(_, key)| *key)
        else {
            return;
        };
        if order(slots, heap[at]) > first {
            return;
        }
        swap(heap, slots, at, below + i);
        at = below + i;
    }
}

fn swap(heap: &mut [u32], slots: &mut [Slot], a: usize, b: usize) {
    heap.swap(a, b);
    for at in [a, b] {
        if let Rank::Even { at: place, .. } = &mut slots[heap[at] as usize].rank {
            *place = at as u32;
        }
    }
}

/// How a slot is to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Regularity {
    /// It can be asked, with its whole weight, until something happens to it.
    Even,
    /// That depends on the time.
    Odd,
    /// It cannot be asked until something happens to it.
    Out,
}

impl Slot {
    fn regularity(&self) -> Regularity {
        let Slot { peer, state, .. } = self;
        let whole = state.effective_weight == i64::from(peer.weight);
        if peer.mode != Mode::Up || !self.has_room() {
            Regularity::Out
        } else if self.is_out_of_luck() || !whole || state.grows() {
            Regularity::Odd
        } else {
            Regularity::Even
        }
    }
}

#[cfg(test)]
mod tests;
