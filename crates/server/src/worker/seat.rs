//! A place among the worker's connections, as whoever has it sees it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Counters, Process, thread};

/// Clients at once that are told that there is no room: each does it in a moment.
const MOST_REFUSING: usize = 16;
/// Connections that listeners with a reserve of their own may have beside the pool.
pub const OPERATORS: usize = 16;

/// Who holds a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's connection.
    Client,
    /// A connection to an upstream.
    Upstream,
    /// A client that is told that there is no room: beside the pool.
    Refused,
    /// A client of a `listen .. capacity_reserve`: beside the pool.
    Operator,
}

/// A thread's way to the seats: it has a lane of the pool, and counts for itself.
pub struct Bank {
    process: Arc<Process>,
    counters: Arc<Counters>,
    lane: usize,
}

/// One place among the worker's connections; given back when dropped.
pub struct Seat {
    // Counted by its thread alone.
    bank: Rc<Bank>,
    kind: Kind,
    /// Seats beside its own, kept for the upstream connection that the client's request may need.
    extra: u8,
    /// The listener that the connection came through, once it did.
    listener: Option<u32>,
}

impl Bank {
    /// Of thread `lane`.
    pub fn new(process: Arc<Process>, counters: Arc<Counters>, lane: usize) -> Rc<Bank> {
        Rc::new(Bank { process, counters, lane })
    }
    /// A place for an upstream's connection, if one is free and nobody waits for it.
    pub fn upstream(self: &Rc<Self>) -> Option<Seat> {
        self.process.seats.claim(self.lane, 1).then(|| self.seat(Kind::Upstream, 0))
    }
    /// A place for an upstream's connection that was waited for.
    pub fn granted(self: &Rc<Self>) -> Seat {
        self.seat(Kind::Upstream, 0)
    }
    /// A place for a client, with what its request may need upstream: whole or not at all. Where the pool is smaller than
    /// that, all of it.
    pub fn admit(self: &Rc<Self>, need: u8) -> Option<Seat> {
        let seats = &self.process.seats;
        let extra = usize::from(need).min(seats.most().saturating_sub(1));
        seats.claim(self.lane, 1 + extra).then(|| self.seat(Kind::Client, extra as u8))
    }
    /// A place beside the pool, for a client that is told that there is no room.
    pub fn refusal(self: &Rc<Self>) -> Option<Seat> {
        beside(&self.process.refusing, MOST_REFUSING).then(|| self.seat(Kind::Refused, 0))
    }
    /// A place beside the pool, for the operator.
    pub fn operator(self: &Rc<Self>) -> Option<Seat> {
        beside(&self.process.operators, OPERATORS).then(|| self.seat(Kind::Operator, 0))
    }
    fn seat(self: &Rc<Self>, kind: Kind, extra: u8) -> Seat {
        if matches!(kind, Kind::Client | Kind::Operator) {
            self.counters.add_client();
        }
        Seat { bank: self.clone(), kind, extra, listener: None }
    }
}

fn beside(count: &AtomicUsize, most: usize) -> bool {
    let room = |count: usize| (count < most).then_some(count + 1);
    count.fetch_update(Relaxed, Relaxed, room).is_ok()
}

impl Seat {
    /// Its connection came through this listener of the thread.
    pub fn through(mut self, thread: &thread::Thread, listener: u32) -> Seat {
        thread.opened(listener);
        self.listener = Some(listener);
        self
    }
    /// Who holds it.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// One of the seats kept for an upstream connection.
    pub fn take_extra(&mut self) -> Option<Seat> {
        self.extra = self.extra.checked_sub(1)?;
        Some(self.bank.granted())
    }
    /// No upstream connection is needed: others may have the seats kept for it.
    pub fn spare(&mut self) {
        if self.extra > 0 {
            self.bank.process.seats.give(self.bank.lane, std::mem::take(&mut self.extra).into());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Bank { process, counters, lane } = &*self.bank;
        match self.kind {
            Kind::Upstream => process.seats.give(*lane, 1),
            Kind::Client => {
                counters.remove_client();
                process.seats.give(*lane, 1 + usize::from(self.extra));
            }
            Kind::Refused => _ = process.refusing.fetch_sub(1, Relaxed),
            Kind::Operator => {
                counters.remove_client();
                process.operators.fetch_sub(1, Relaxed);
            }
        }
        if let Some(listener) = self.listener {
            thread::closed(listener);
        }
    }
}
