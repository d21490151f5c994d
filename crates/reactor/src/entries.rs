//! The slab of one loop: an entry for each registered descriptor, at rest or being served.
//!
//! Entries live in pages that are never moved, so that growing to 100,000 connections copies nothing. An entry at rest
//! holds the descriptor and the application's record; one being served holds only who waits for it, since the
//! descriptor is in the `Socket` then. Both share the same bytes.

use std::os::fd::OwnedFd;
use std::task::Waker;

use rustix::event::epoll::EventFlags;

use crate::Why;
use crate::deadlines::{Due, Dues, Tick, Wheel};
use crate::list::{Link, Links, List, NONE};

const PAGE_BITS: u32 = 8;
const PAGE: u32 = 1 << PAGE_BITS;

/// What is known about a descriptor without asking the kernel.
#[derive(Clone, Copy)]
pub(crate) struct State(u8);

impl State {
    /// A read may find something.
    pub(crate) const READ: State = State(1);
    /// A write may find room.
    pub(crate) const WRITE: State = State(2);
    /// The peer closed its side, or the connection broke.
    pub(crate) const CLOSED: State = State(4);
    /// The poller watches for room to write. Left out until a write first blocks: most connections never need it, and a
    /// unix socket would wake us each time its peer reads.
    pub(crate) const WATCHES_WRITE: State = State(8);
    /// It may be asked to give way while it is being served.
    const YIELDS: State = State(16);

    pub(crate) fn has(self, bits: State) -> bool {
        self.0 & bits.0 != 0
    }

    pub(crate) fn set(&mut self, bits: State) {
        self.0 |= bits.0;
    }

    pub(crate) fn clear(&mut self, bits: State) {
        self.0 &= !bits.0;
    }

    fn of_event(flags: EventFlags) -> State {
        let mut state = State(0);
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            state.set(State::READ);
        }
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            state.set(State::WRITE);
        }
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            state.set(State::CLOSED);
        }
        state
    }
}

/// Who waits for a descriptor that is being served.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) read: Option<Waker>,
    pub(crate) write: Option<Waker>,
    pub(crate) closed: Option<Waker>,
    /// From when on the connection may be asked to give way, if it may at all.
    yields_from: Tick,
}

/// So many of those that may give way are looked at: the first ones may not have had their time yet.
const LOOKED_AT: usize = 64;

enum Body<R> {
    Free {
        next: u32,
    },
    Serving(Waiting),
    /// Since the tick `since`.
    Resting {
        fd: OwnedFd,
        since: Tick,
        rest: R,
    },
}

/// One registered descriptor.
pub(crate) struct Entry<R> {
    generation: u32,
    due: Due,
    lru: Link,
    pub(crate) state: State,
    body: Body<R>,
}

/// Names a connection at rest, for [`crate::Handle::wake`]. Stays harmless when the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RestKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What an event or a passed deadline means for an entry.
pub(crate) enum Stir<R> {
    /// Nobody has to do anything.
    Nothing,
    /// The tasks that wait for it, to be woken by the caller.
    Wake(Waiting),
    /// It was at rest and is not any more.
    Rose(OwnedFd, R),
}

struct Pages<R>(Vec<Box<[Entry<R>]>>);

impl<R> Pages<R> {
    fn at(&mut self, index: u32) -> &mut Entry<R> {
        &mut self.0[(index >> PAGE_BITS) as usize][(index & (PAGE - 1)) as usize]
    }
}

impl<R> Links for Pages<R> {
    fn link(&mut self, index: u32) -> &mut Link {
        &mut self.at(index).due.link
    }
}

impl<R> Dues for Pages<R> {
    fn due(&mut self, index: u32) -> &mut Due {
        &mut self.at(index).due
    }
}

/// The same entries seen as the members of the list of connections at rest, or of those that may be asked to give way.
struct Rested<'a, R>(&'a mut Pages<R>);

impl<R> Links for Rested<'_, R> {
    fn link(&mut self, index: u32) -> &mut Link {
        &mut self.0.at(index).lru
    }
}

/// All entries of a loop.
pub(crate) struct Entries<R> {
    pages: Pages<R>,
    free: u32,
    /// Connections at rest, the longest first.
    lru: List,
    /// Connections that are being served and may be asked to give way, the longest first.
    yielding: List,
    resting: usize,
    used: usize,
    wheel: Wheel,
    expired: Vec<u32>,
}

impl<R> Entries<R> {
    pub(crate) fn new() -> Self {
        Entries {
            pages: Pages(Vec::new()),
            free: NONE,
            lru: List::EMPTY,
            yielding: List::EMPTY,
            resting: 0,
            used: 0,
            wheel: Wheel::new(),
            expired: Vec::new(),
        }
    }

    pub(crate) fn resting(&self) -> usize {
        self.resting
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// An entry for a descriptor that is about to be registered, and its generation.
    pub(crate) fn insert(&mut self, state: State) -> RestKey {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let entry = self.pages.at(index);
        if let Body::Free { next } = entry.body {
            self.free = next;
        }
        entry.state = state;
        entry.due = Due::NEVER;
        entry.body = Body::Serving(Waiting::default());
        self.used += 1;
        RestKey { index, generation: entry.generation }
    }

    fn grow(&mut self) {
        let first = self.pages.0.len() as u32 * PAGE;
        let free = |i| Entry {
            generation: 0,
            due: Due::NEVER,
            lru: Link::OUT,
            state: State(0),
            body: Body::Free { next: if i + 1 == PAGE { NONE } else { first + i + 1 } },
        };
        self.pages.0.push((0..PAGE).map(free).collect());
        self.free = first;
    }

    /// Frees the entry of a socket that was dropped. What waited for it is returned, to be dropped outside.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Waiting> {
        self.wheel.unlink(&mut self.pages, index);
        self.set_yielding(index, None);
        let free = Body::Free { next: self.free };
        let entry = self.pages.at(index);
        // The top bit of a key says that it is not a connection's.
        entry.generation = (entry.generation + 1) & (u32::MAX >> 1);
        let body = std::mem::replace(&mut entry.body, free);
        self.free = index;
        self.used -= 1;
        match body {
            Body::Serving(waiting) => Some(waiting),
            _ => None,
        }
    }

    pub(crate) fn key(&mut self, index: u32) -> RestKey {
        RestKey { index, generation: self.pages.at(index).generation }
    }

    /// The entry of a socket that is being served.
    pub(crate) fn state(&mut self, index: u32) -> &mut State {
        &mut self.pages.at(index).state
    }

    /// Why a connection that is about to rest would wake at once, if it would.
    pub(crate) fn restless(&mut self, index: u32, now: Tick) -> Option<Why> {
        let entry = self.pages.at(index);
        if entry.state.has(State::READ) {
            return Some(Why::Readable);
        }
        entry.due.past(now).then_some(Why::TimedOut)
    }

    /// State, whether the deadline has passed, and who waits, of a socket that is being served.
    pub(crate) fn serving(&mut self, index: u32, now: Tick) -> Option<(State, bool, &mut Waiting)> {
        let entry = self.pages.at(index);
        match &mut entry.body {
            Body::Serving(waiting) => Some((entry.state, entry.due.past(now), waiting)),
            _ => None,
        }
    }

    /// Sets or clears (0) a deadline.
    pub(crate) fn set_deadline(&mut self, index: u32, due: Tick) {
        self.wheel.set(&mut self.pages, index, due);
    }

    /// Says from when on a connection that is being served may be asked to give way; `None`: it may not.
    pub(crate) fn set_yielding(&mut self, index: u32, from: Option<Tick>) {
        let entry = self.pages.at(index);
        if let (Some(from), Body::Serving(waiting)) = (from, &mut entry.body) {
            waiting.yields_from = from;
        }
        match (entry.state.has(State::YIELDS), from.is_some()) {
            (false, true) => {
                entry.state.set(State::YIELDS);
                self.yielding.push_back(&mut Rested(&mut self.pages), index);
            }
            (true, false) => {
                entry.state.clear(State::YIELDS);
                self.yielding.remove(&mut Rested(&mut self.pages), index);
            }
            _ => {}
        }
    }

    /// Lets the deadline pass of the connection that may give way for longest. Returns who waits for it, to be woken by the
    /// caller; `None` if there is none.
    pub(crate) fn hurry(&mut self, now: Tick) -> Option<Waiting> {
        let mut at = self.yielding.first();
        for _ in 0..LOOKED_AT {
            let index = at?;
            let entry = self.pages.at(index);
            at = entry.lru.next();
            let Body::Serving(waiting) = &mut entry.body else { continue };
            if waiting.yields_from > now {
                continue;
            }
            let waiting = std::mem::take(waiting);
            self.set_yielding(index, None);
            self.wheel.pass(&mut self.pages, index);
            return Some(waiting);
        }
        None
    }

    /// When the deadlines have to be looked at next.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.wheel.next()
    }

    /// Puts a connection to rest. Returns its key, and what waited for it, to be dropped outside.
    pub(crate) fn rest(
        &mut self,
        index: u32,
        fd: OwnedFd,
        since: Tick,
        rest: R,
    ) -> (RestKey, Option<Waiting>) {
        self.set_yielding(index, None);
        let entry = self.pages.at(index);
        let key = RestKey { index, generation: entry.generation };
        let body = std::mem::replace(&mut entry.body, Body::Resting { fd, since, rest });
        self.lru.push_back(&mut Rested(&mut self.pages), index);
        self.resting += 1;
        match body {
            Body::Serving(waiting) => (key, Some(waiting)),
            _ => (key, None),
        }
    }

    /// Ends a connection's rest, if it is at rest.
    fn rise(&mut self, index: u32) -> Option<(OwnedFd, R)> {
        let entry = self.pages.at(index);
        if !matches!(entry.body, Body::Resting { .. }) {
            return None;
        }
        let body = std::mem::replace(&mut entry.body, Body::Serving(Waiting::default()));
        self.lru.remove(&mut Rested(&mut self.pages), index);
        self.resting -= 1;
        match body {
            Body::Resting { fd, rest, .. } => Some((fd, rest)),
            _ => None,
        }
    }

    /// Ends the rest of the connection named `key`, if it still is at rest.
    pub(crate) fn rise_by_key(&mut self, key: RestKey) -> Option<(OwnedFd, R)> {
        let known = key.index < self.pages.0.len() as u32 * PAGE;
        if !known || self.pages.at(key.index).generation != key.generation {
            return None;
        }
        self.rise(key.index)
    }

    /// Ends the rest of the connection that has rested longest, if that is since `latest` or earlier.
    pub(crate) fn rise_oldest(&mut self, latest: Tick) -> Option<(u32, OwnedFd, R)> {
        let index = self.lru.first()?;
        let since = match &self.pages.at(index).body {
            Body::Resting { since, .. } => *since,
            _ => Tick::MAX,
        };
        if since > latest {
            return None;
        }
        self.rise(index).map(|(fd, rest)| (index, fd, rest))
    }

    /// Takes note of an event. Events of an entry that was freed in the meantime mean nothing.
    pub(crate) fn event(&mut self, key: RestKey, flags: EventFlags) -> Stir<R> {
        let news = State::of_event(flags);
        let entry = self.pages.at(key.index);
        if entry.generation != key.generation {
            return Stir::Nothing;
        }
        entry.state.set(news);
        match &mut entry.body {
            Body::Free { .. } => Stir::Nothing,
            Body::Serving(waiting) => Stir::Wake(waiting.take(news)),
            Body::Resting { .. } if news.has(State::READ) => self.stir_resting(key.index),
            Body::Resting { .. } => Stir::Nothing,
        }
    }

    fn stir_resting(&mut self, index: u32) -> Stir<R> {
        self.rise(index).map_or(Stir::Nothing, |(fd, rest)| Stir::Rose(fd, rest))
    }

    /// Moves time on and collects the entries whose deadline passed, for [`Self::next_expired`]; whether there are any.
    pub(crate) fn sweep(&mut self, now: Tick) -> bool {
        self.wheel.sweep(&mut self.pages, now, &mut self.expired);
        self.expired.reverse();
        !self.expired.is_empty()
    }

    /// The next entry whose deadline passed. An entry that was freed, or got a new deadline, since the sweep is left out.
    pub(crate) fn next_expired(&mut self, now: Tick) -> Option<(u32, Stir<R>)> {
        while let Some(index) = self.expired.pop() {
            let entry = self.pages.at(index);
            if !entry.due.past(now) {
                continue;
            }
            let stir = match &mut entry.body {
                Body::Free { .. } => continue,
                Body::Serving(waiting) => Stir::Wake(std::mem::take(waiting)),
                Body::Resting { .. } => self.stir_resting(index),
            };
            return Some((index, stir));
        }
        None
    }
}

impl Waiting {
    /// Those whom the news concerns.
    fn take(&mut self, news: State) -> Waiting {
        let take = |waker: &mut Option<Waker>, bits| if news.has(bits) { waker.take() } else { None };
        Waiting {
            read: take(&mut self.read, State::READ),
            write: take(&mut self.write, State::WRITE),
            closed: take(&mut self.closed, State::CLOSED),
            yields_from: 0,
        }
    }

    /// Wakes all of them.
    pub(crate) fn wake(self) {
        let Waiting { read, write, closed, .. } = self;
        // One by one: an array of them would be built, walked and dropped for each event.
        let wake = |waker: Option<Waker>| {
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        wake(read);
        wake(write);
        wake(closed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fd() -> OwnedFd {
        rustix::pipe::pipe().unwrap().0
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Entry<[u64; 6]>>() <= 96, "{} bytes", size_of::<Entry<[u64; 6]>>());
    }

    #[test]
    fn an_event_for_a_former_tenant_means_nothing() {
        let mut entries = Entries::<u32>::new();
        let old = entries.insert(State::WRITE);
        entries.remove(old.index);
        let new = entries.insert(State::WRITE);
        assert_eq!(new.index, old.index);
        entries.rest(new.index, fd(), 1, 1);
        assert!(matches!(entries.event(old, EventFlags::IN), Stir::Nothing));
        assert!(entries.rise_by_key(old).is_none());
        assert_eq!(entries.resting(), 1);
        assert!(matches!(entries.event(new, EventFlags::IN), Stir::Rose(_, 1)));
    }

    #[test]
    fn the_oldest_has_rested_long_enough_or_nobody_has() {
        let mut entries = Entries::<u32>::new();
        let first = entries.insert(State::WRITE);
        let second = entries.insert(State::WRITE);
        entries.rest(first.index, fd(), 3, 1);
        entries.rest(second.index, fd(), 5, 2);
        assert!(entries.rise_oldest(2).is_none());
        assert!(matches!(entries.rise_oldest(3), Some((_, _, 1))));
        assert!(entries.rise_oldest(4).is_none() && entries.resting() == 1);
    }

    #[test]
    fn room_to_write_does_not_disturb_the_rest() {
        let mut entries = Entries::<u32>::new();
        let key = entries.insert(State::WRITE);
        entries.rest(key.index, fd(), 1, 1);
        assert!(matches!(entries.event(key, EventFlags::OUT), Stir::Nothing));
        assert!(matches!(entries.event(key, EventFlags::HUP), Stir::Rose(..)));
    }

    #[test]
    fn those_that_may_give_way_are_asked_in_turn() {
        let mut entries = Entries::<u32>::new();
        let keys: Vec<_> = (0..4).map(|_| entries.insert(State::WRITE).index).collect();
        let late = 32;
        // The first is too young, the third not asked at all.
        [(0, late), (1, 1), (3, 1)].iter().for_each(|(i, from)| entries.set_yielding(keys[*i], Some(*from)));
        let past = |entries: &mut Entries<u32>| {
            keys.iter().map(|k| entries.serving(*k, 1).unwrap().1).collect::<Vec<_>>()
        };
        assert!(entries.hurry(1).is_some());
        assert_eq!(past(&mut entries), [false, true, false, false]);
        entries.remove(keys[3]);
        assert!(entries.hurry(1).is_none());
        assert!(entries.hurry(late).is_some() && entries.hurry(late).is_none());
    }

    #[test]
    fn pages_grow_and_places_are_used_again() {
        let mut entries = Entries::<u32>::new();
        let keys: Vec<_> = (0..PAGE * 2 + 1).map(|_| entries.insert(State::WRITE)).collect();
        assert_eq!((entries.pages.0.len(), entries.used()), (3, keys.len()));
        keys.iter().for_each(|key| drop(entries.remove(key.index)));
        (0..PAGE * 3).for_each(|_| _ = entries.insert(State::WRITE));
        assert_eq!(entries.pages.0.len(), 3);
    }
}
