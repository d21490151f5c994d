//! Who is let in when seats are short: idle connections give way, those whose head or handshake drips in behind them;
//! new ones wait at the door, the rest is told so.
//!
//! A client that finds no seat is held, and its thread stops listening: the others wait in the accept queue. At the end of
//! each turn of the loop, while anybody is held, those are let in whom there is room for by then. Where that took longer
//! than `overload_wait`, clients are answered with 503 from seats beside the pool, but only so many a second.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use reactor::Peer;

use super::Seat;
use super::thread::{Thread, with_current};
use crate::chain::Cause;
use crate::listener;
use crate::log::Level;

/// Clients let in at the end of one turn.
const AT_ONCE: usize = 32;
/// Refusals of one thread are so far apart.
const REFUSALS_APART: Duration = Duration::from_millis(5);
/// Seats may become free on other threads: looked for so often.
const LOOK: Duration = Duration::from_millis(5);

/// A thread's door.
#[derive(Default)]
pub struct Door {
    held: RefCell<VecDeque<Held>>,
    /// Since when clients wait.
    since: Cell<Option<Instant>>,
    refused: Cell<Option<Instant>>,
    /// Clients let in during this turn that will find an upstream connection at rest.
    on_credit: Cell<usize>,
}

/// A connection that was accepted and has no seat yet.
struct Held {
    tag: u32,
    fd: OwnedFd,
    peer: Peer,
}

/// A connection came in: it gets a seat, or waits at the door.
pub fn arrived(thread: &Rc<Thread>, tag: u32, fd: OwnedFd, peer: Peer) {
    match seat(thread, tag) {
        Some(seat) => listener::enter(thread, tag, fd, peer, seat),
        None => {
            thread.door.held.borrow_mut().push_back(Held { tag, fd, peer });
            close(thread);
        }
    }
}

fn seat(thread: &Rc<Thread>, tag: u32) -> Option<Seat> {
    let bank = &thread.bank;
    let generation = thread.generation_at(tag);
    let listener = generation.as_ref().and_then(|generation| generation.shared.find_listener(tag));
    let (need, reserve) = listener.map_or((0, false), |listener| (listener.need, listener.reserve));
    let beside = reserve.then(|| bank.operator()).flatten();
    beside.or_else(|| bank.admit(need)).or_else(|| {
        // An upstream connection at rest here has a seat already.
        let credit = thread.door.on_credit.get();
        let found = need > 0 && thread.upstreams.resting() > credit;
        let seat = found.then(|| bank.admit(need - 1)).flatten();
        thread.door.on_credit.set(credit + usize::from(seat.is_some()));
        seat
    })
}

/// Nobody else is accepted for now.
fn close(thread: &Rc<Thread>) {
    thread.pause_listeners();
    if thread.door.since.get().is_some() {
        return;
    }
    thread.door.since.set(Some(thread.handle.now()));
    thread.process.pressed.fetch_add(1, Relaxed);
    reclaim(thread, 2);
    let looking = thread.clone();
    thread.handle.spawn(async move {
        while looking.door.since.get().is_some() {
            looking.handle.sleep(LOOK).await;
        }
    });
}

/// Everybody who waits has been let in.
fn open(thread: &Rc<Thread>) {
    if thread.door.since.take().is_some() {
        thread.process.pressed.fetch_sub(1, Relaxed);
    }
    thread.resume_listeners();
}

/// Whether clients wait at this thread's door.
pub fn somebody_waits(thread: &Thread) -> bool {
    !thread.door.held.borrow().is_empty()
}

/// At the end of a turn.
pub fn turn(thread: &Rc<Thread>) {
    if thread.door.on_credit.get() > 0 {
        thread.door.on_credit.set(0);
    }
    let Some(since) = thread.door.since.get() else { return };
    for _ in 0..AT_ONCE {
        let held = thread.door.held.borrow_mut().pop_front();
        let Some(next) = held.or_else(|| from_the_queue(thread)) else { return open(thread) };
        match seat(thread, next.tag) {
            Some(seat) => listener::enter(thread, next.tag, next.fd, next.peer, seat),
            None => return full(thread, next, since),
        }
    }
}

/// The next of those that wait in the accept queues.
fn from_the_queue(thread: &Rc<Thread>) -> Option<Held> {
    let (tag, fd, peer) = thread.accept_one()?;
    thread.process.accepted.fetch_add(1, Relaxed);
    Some(Held { tag, fd, peer })
}

/// There is no room for this one.
fn full(thread: &Rc<Thread>, next: Held, since: Instant) {
    let now = thread.handle.now();
    reclaim(thread, 2);
    let wait = thread.overload_wait(next.tag);
    let lately = thread.door.refused.get().is_some_and(|at| now < at + REFUSALS_APART);
    let seat = match now.saturating_duration_since(since) >= wait && !lately {
        true => thread.bank.refusal(),
        false => None,
    };
    match seat {
        None => thread.door.held.borrow_mut().push_front(next),
        Some(seat) => {
            thread.door.refused.set(Some(now));
            thread.process.meter.refused(Cause::SlotsOnAccept);
            listener::enter(thread, next.tag, next.fd, next.peer, seat);
        }
    }
    report(thread);
}

/// Connections make room for `count` others: idle clients first, then idle upstreams, then clients that take long over
/// their head; here or on another thread.
fn reclaim(thread: &Rc<Thread>, count: usize) {
    let gone = leave(thread, count);
    if gone == 0 {
        thread.process.reclaim_elsewhere(thread.number, count);
    }
}

fn leave(thread: &Thread, count: usize) -> usize {
    let mut gone = thread.handle.evict(count);
    while gone < count && thread.upstreams.evict() {
        gone += 1;
    }
    gone += thread.handle.hurry(count - gone);
    thread.process.meter.reclaimed(gone as u64);
    gone
}

/// Idle connections of this thread make room for another one.
pub fn give_way_here(thread: &Thread) {
    leave(thread, 1);
}

/// A connection that was to give way is too young for that: another one may.
pub fn spared(thread: &Thread) {
    let instead = thread.handle.hurry(1);
    thread.process.meter.reclaimed(instead as u64);
}

/// Idle connections of the calling thread make room.
pub fn give_way(count: usize) {
    with_current(|thread| _ = leave(thread, count));
}

/// A seat for a request's upstream connection: the one kept for it, or a free one, or the first that becomes free within
/// `overload_wait`.
pub async fn upstream(request: &mut crate::http::request::Request) -> Option<Seat> {
    if let Some(seat) = request.client.take_extra() {
        return Some(seat);
    }
    let thread = request.thread.clone();
    let process = &thread.process;
    if let Some(seat) = thread.bank.upstream() {
        return Some(seat);
    }
    let ticket = process.seats.wait(1);
    reclaim(&thread, 1);
    let wait = request.plan().core.overload_wait;
    let sleep = thread.handle.sleep(wait);
    let granted = {
        let (mut ticket, mut sleep) = (std::pin::pin!(ticket), std::pin::pin!(sleep));
        std::future::poll_fn(|cx| {
            if ticket.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(true);
            }
            sleep.as_mut().poll(cx).map(|_| false)
        })
        .await
    };
    if granted {
        return Some(thread.bank.granted());
    }
    process.meter.refused(Cause::SlotsForUpstream);
    request.overloaded = true;
    None
}

/// Says, at most once a second, that seats are short, in nginx's words, and what binds.
fn report(thread: &Rc<Thread>) {
    let process = &thread.process;
    let Some(lately) = process.meter.due(thread.handle.now()) else { return };
    let most = process.seats();
    let taken = process.seats_taken();
    process.log(
        Level::Alert,
        format_args!(
            "{most} worker_connections are not enough ({} bind: {taken} of {most}, {} idle reclaimed, \
             {} refused in the last second){}",
            if lately.by_descriptors { "descriptors" } else { "slots" },
            lately.reclaimed,
            lately.refused,
            lately.advice
        ),
    );
}
