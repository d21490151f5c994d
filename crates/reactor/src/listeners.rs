//! Listening sockets in the loop's own poller.
//!
//! A listener is registered level-triggered with EPOLLEXCLUSIVE, so that a connection wakes about one of the threads
//! that share it. The kernel keeps asking the same thread first, so a listener is taken out and put back every few
//! accepts: that moves this thread to the end of the queue and shares connections evenly.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::epoll::EventFlags;

use crate::poller::Poller;

/// Accepts after which this thread goes to the end of the listener's queue.
const TURN_AFTER: u32 = 16;
/// The most connections taken from one listener before everything else gets its turn.
const MOST_AT_ONCE: u32 = 4;
/// Turns in a row that bring a connection before the loop tries for a second one: an accept4 that finds nothing costs
/// nearly as much as one that does, and looking at the poller again is free while there is other work.
const CROWDED_AFTER: u32 = 4;
/// The bit that tells a listener's key from a connection's.
const LISTENER: u64 = 1 << 63;

/// Names a registered listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    index: u32,
    generation: u32,
}

struct Entry {
    generation: u32,
    tag: u32,
    fd: Option<Arc<OwnedFd>>,
    /// Accepts since it was last put into the poller.
    accepts: u32,
    /// The last turn in which connections came, and for how many turns in a row they came, as many as expected.
    last_turn: u64,
    streak: u32,
    paused_until: Option<Instant>,
    /// Paused by the application until it says otherwise.
    held: bool,
    armed: bool,
}

/// The listeners of one loop.
#[derive(Default)]
pub(crate) struct Listeners {
    entries: Vec<Entry>,
    all_paused: bool,
    /// The first end of a pause; a listener removed in the meantime may leave one too early.
    resume: Option<Instant>,
}

/// What the loop needs to accept from a listener that is ready.
pub(crate) struct Ready {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) tag: u32,
    pub(crate) at_most: u32,
}

impl Entry {
    /// How many connections to try for.
    fn expected(&self) -> u32 {
        (1 + self.streak / CROWDED_AFTER).min(MOST_AT_ONCE)
    }

    fn arm(&mut self, poller: &dyn Poller, index: u32) -> io::Result<()> {
        let Some(fd) = &self.fd else { return Ok(()) };
        if self.armed || self.held {
            return Ok(());
        }
        let key = LISTENER | u64::from(self.generation) << 32 | u64::from(index);
        poller.add(fd.as_fd(), key, EventFlags::IN | EventFlags::EXCLUSIVE)?;
        self.armed = true;
        self.accepts = 0;
        Ok(())
    }

    fn disarm(&mut self, poller: &dyn Poller) {
        if let Some(fd) = self.fd.as_ref().filter(|_| self.armed) {
            // Explicitly, because others hold the same open socket: closing ours would leave it in the poller.
            let _ = poller.delete(fd.as_fd());
            self.armed = false;
        }
    }
}

impl Listeners {
    pub(crate) fn add(&mut self, poller: &dyn Poller, fd: Arc<OwnedFd>, tag: u32) -> io::Result<Listener> {
        let index = self.free_entry();
        let all_paused = self.all_paused;
        let entry = &mut self.entries[index];
        entry.tag = tag;
        entry.fd = Some(fd);
        let listener = Listener { index: index as u32, generation: entry.generation };
        if !all_paused && let Err(error) = entry.arm(poller, listener.index) {
            entry.fd = None;
            return Err(error);
        }
        Ok(listener)
    }

    fn free_entry(&mut self) -> usize {
        if let Some(free) = self.entries.iter().position(|e| e.fd.is_none()) {
            return free;
        }
        self.entries.push(Entry {
            generation: 0,
            tag: 0,
            fd: None,
            accepts: 0,
            last_turn: 0,
            streak: 0,
            paused_until: None,
            held: false,
            armed: false,
        });
        self.entries.len() - 1
    }

    fn entry(&mut self, listener: Listener) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(listener.index as usize)?;
        (entry.generation == listener.generation && entry.fd.is_some()).then_some(entry)
    }

    pub(crate) fn remove(&mut self, poller: &dyn Poller, listener: Listener) -> Option<Arc<OwnedFd>> {
        let entry = self.entry(listener)?;
        entry.disarm(poller);
        // The bit above a connection's generation says "listener".
        entry.generation = (entry.generation + 1) & (u32::MAX >> 1);
        entry.paused_until = None;
        entry.streak = 0;
        entry.held = false;
        entry.fd.take()
    }

    /// The listener of an event's key, or `None` if the key is not a listener's.
    pub(crate) fn of_key(key: u64) -> Option<Listener> {
        let generation = ((key & !LISTENER) >> 32) as u32;
        (key & LISTENER != 0).then_some(Listener { index: key as u32, generation })
    }

    /// What to accept from, unless the listener was removed or paused since the event.
    pub(crate) fn ready(&mut self, listener: Listener) -> Option<Ready> {
        let entry = self.entry(listener).filter(|e| e.armed)?;
        Some(Ready { fd: entry.fd.clone()?, tag: entry.tag, at_most: entry.expected() })
    }

    /// Takes note of how many connections came in a turn, and whether there may be more.
    pub(crate) fn accepted(
        &mut self,
        poller: &dyn Poller,
        listener: Listener,
        turn: u64,
        count: u32,
        more: bool,
    ) {
        let Some(entry) = self.entry(listener) else { return };
        let in_a_row = more && turn == entry.last_turn + 1;
        entry.streak = if in_a_row { entry.streak + 1 } else { 0 };
        entry.last_turn = turn;
        entry.accepts += count;
        if entry.accepts >= TURN_AFTER && entry.armed {
            entry.disarm(poller);
            self.arm_or_retry(poller, listener);
        }
    }

    /// Puts a listener back; if the kernel has no memory for it now, tries again soon.
    fn arm_or_retry(&mut self, poller: &dyn Poller, listener: Listener) {
        let Some(entry) = self.entry(listener) else { return };
        if entry.arm(poller, listener.index).is_err() {
            let soon = Instant::now() + std::time::Duration::from_millis(100);
            entry.paused_until = Some(soon);
            self.note_resume(soon);
        }
    }

    fn note_resume(&mut self, at: Instant) {
        self.resume = Some(self.resume.map_or(at, |r| r.min(at)));
    }

    /// Takes a listener out of the poller until a time.
    pub(crate) fn pause(&mut self, poller: &dyn Poller, listener: Listener, until: Instant) {
        let Some(entry) = self.entry(listener) else { return };
        entry.disarm(poller);
        entry.paused_until = Some(until);
        self.note_resume(until);
    }

    /// Takes a listener out of the poller until [`Self::release`].
    pub(crate) fn hold(&mut self, poller: &dyn Poller, listener: Listener) {
        let Some(entry) = self.entry(listener) else { return };
        entry.disarm(poller);
        entry.held = true;
    }

    pub(crate) fn release(&mut self, poller: &dyn Poller, listener: Listener) {
        let all_paused = self.all_paused;
        let Some(entry) = self.entry(listener) else { return };
        entry.held = false;
        if !all_paused && entry.paused_until.is_none() {
            self.arm_or_retry(poller, listener);
        }
    }

    pub(crate) fn pause_all(&mut self, poller: &dyn Poller) {
        self.all_paused = true;
        self.entries.iter_mut().for_each(|e| e.disarm(poller));
    }

    pub(crate) fn resume_all(&mut self, poller: &dyn Poller) {
        self.all_paused = false;
        self.arm_where(poller, |e| e.paused_until.is_none());
    }

    /// Removes all listeners.
    pub(crate) fn clear(&mut self, poller: &dyn Poller) {
        self.entries.iter_mut().for_each(|e| e.disarm(poller));
        self.entries.clear();
    }

    /// When a pause ends, if one does.
    pub(crate) fn next_resume(&self) -> Option<Instant> {
        self.resume.filter(|_| !self.all_paused)
    }

    /// Ends the pauses that are over.
    pub(crate) fn resume_due(&mut self, poller: &dyn Poller, now: Instant) {
        if self.next_resume().is_none_or(|at| at > now) {
            return;
        }
        for entry in &mut self.entries {
            entry.paused_until = entry.paused_until.filter(|at| *at > now);
        }
        self.resume = self.entries.iter().filter_map(|e| e.paused_until).min();
        self.arm_where(poller, |e| e.paused_until.is_none());
    }

    fn arm_where(&mut self, poller: &dyn Poller, which: impl Fn(&Entry) -> bool) {
        let chosen = |(i, e): (usize, &Entry)| {
            let listener = Listener { index: i as u32, generation: e.generation };
            (e.fd.is_some() && which(e)).then_some(listener)
        };
        let chosen: Vec<_> = self.entries.iter().enumerate().filter_map(chosen).collect();
        chosen.into_iter().for_each(|listener| self.arm_or_retry(poller, listener));
    }
}
