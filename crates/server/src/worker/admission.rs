//! Who is let in when seats are short: idle connections give way, those whose head or handshake drips in behind them;
//! new ones wait at the door, the rest is told so.
//!
//! A client that finds no seat is held, and its thread stops listening: the others wait in the accept queue. At the end of
//! each turn of the loop, while anybody is held, those are let in whom there is room for by then. Where clients have waited
//! for `overload_wait` without a pause, who has itself waited for half of it is answered with 503 from seats beside the
//! pool, but only so many a second.
//!
//! A new connection costs several times what a request does. So who is between two requests is not idle, and a client
//! that keeps asking has a turn before its connection ends with an answer: where the processor binds, what is spent on
//! those who come and go is a few hundredths.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use reactor::Peer;

use super::ledger::{Class, Line};
use super::thread::{Thread, with_current};
use super::{Process, Seat};
use crate::chain::Cause;
use crate::http::request::Request;
use crate::listener;
use crate::log::Level;

/// Clients let in at the end of one turn.
const AT_ONCE: usize = 32;
/// Refusals of one thread are so far apart.
const REFUSALS_APART: Duration = Duration::from_millis(5);
/// Seats may become free on other threads: looked for so often.
const LOOK: Duration = Duration::from_millis(5);
/// Those that wait for a seat upstream look for who became idle so often.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A connection that rested for less is between two requests: cut off, its client would be back at once.
const IDLE: Duration = Duration::from_millis(32);
/// For so long may a client keep asking while others wait.
const TURN: Duration = Duration::from_millis(250);
/// On one thread turns end so far apart, in the middle.
const ENDS_APART: Duration = Duration::from_millis(2);
/// So many may end at once.
const ENDS_TOGETHER: u32 = 16;
/// Clients accepted from one queue before another queue's turn.
const IN_A_ROW: u32 = 16;

/// A thread's door.
#[derive(Default)]
pub struct Door {
    held: RefCell<VecDeque<Held>>,
    /// Since when clients wait.
    since: Cell<Option<Instant>>,
    refused: Cell<Option<Instant>>,
    /// When other threads were asked last for idle connections.
    asked: Cell<Option<Instant>>,
    /// From when on a client's turn may end.
    next_end: Cell<Option<Instant>>,
    /// Clients accepted from the queue whose turn it is.
    in_a_row: Cell<u32>,
    /// Clients let in during this turn that will find an upstream connection at rest.
    on_credit: Cell<usize>,
}

/// A connection that was accepted and has no seat yet.
struct Held {
    tag: u32,
    fd: OwnedFd,
    peer: Peer,
    /// Since when it waits, once somebody asked.
    since: Option<Instant>,
    _line: Line,
}

impl Held {
    fn new(tag: u32, fd: OwnedFd, peer: Peer) -> Held {
        Held { tag, fd, peer, since: None, _line: Line::new(Class::Waiting) }
    }
    /// Since when it waits, in the accept queue or here; where the kernel does not know, as long as anybody does.
    fn waits_since(&mut self, now: Instant, door: Instant) -> Instant {
        let in_the_queue = || sys::net::tcp_information(&self.fd).ok().map(|tcp| tcp.heard);
        *self.since.get_or_insert_with(|| {
            in_the_queue().map_or(door, |waited| now.checked_sub(waited).unwrap_or(door))
        })
    }
}

/// A connection came in: it gets a seat, or waits at the door.
pub fn arrived(thread: &Rc<Thread>, tag: u32, fd: OwnedFd, peer: Peer) {
    match seat(thread, tag) {
        Some(seat) => listener::enter(thread, tag, fd, peer, seat),
        None => {
            thread.door.held.borrow_mut().push_back(Held::new(tag, fd, peer));
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
    let row = &thread.door.in_a_row;
    row.set((row.get() + 1) % IN_A_ROW);
    let (tag, fd, peer) = thread.accept_one(row.get() == 0)?;
    thread.process.accepted.fetch_add(1, Relaxed);
    Some(Held::new(tag, fd, peer))
}

/// There is no room for this one.
fn full(thread: &Rc<Thread>, mut next: Held, since: Instant) {
    let now = thread.handle.now();
    reclaim(thread, 2);
    let wait = thread.overload_wait(next.tag);
    let lately = thread.door.refused.get().is_some_and(|at| now < at + REFUSALS_APART);
    // In a loop each of a chain of requests begins to wait anew: all of them must end in time.
    let late = now.saturating_duration_since(since) >= wait
        && now.saturating_duration_since(next.waits_since(now, since)) >= wait / 2;
    let seat = match late && !lately {
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
    let now = thread.handle.now();
    let asked = &thread.door.asked;
    if leave(thread, count) == 0 && asked.get().is_none_or(|at| now >= at + LOOK) {
        asked.set(Some(now));
        thread.process.reclaim_elsewhere(thread.number, count);
    }
}

fn leave(thread: &Thread, count: usize) -> usize {
    let mut gone = thread.handle.evict_rested(count, IDLE);
    while gone < count && thread.upstreams.evict_rested(thread.handle.now(), IDLE) {
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

/// A connection that was to give way is too young for that: another one may, unless it is only the end that is waited for.
pub fn spared(thread: &Thread) {
    if thread.draining() {
        return;
    }
    let instead = thread.handle.hurry(1);
    thread.process.meter.reclaimed(instead as u64);
}

/// Whether a connection that was opened then is to end with the answer at hand, because others wait for its seat and it
/// had its turn. Asked only while [`Process::is_pressed`].
pub fn had_its_turn(thread: &Thread, opened: Instant) -> bool {
    let now = thread.handle.now();
    if now.saturating_duration_since(opened) < TURN {
        return false;
    }
    let next = thread.door.next_end.get().unwrap_or(now);
    if next > now + ENDS_APART * ENDS_TOGETHER {
        return false;
    }
    thread.door.next_end.set(Some(next.max(now) + ENDS_APART));
    true
}

/// Idle connections of the calling thread make room.
pub fn give_way(count: usize) {
    with_current(|thread| _ = leave(thread, count));
}

/// A seat for a request's upstream connection: the one kept for it, or a free one, or the first that becomes free within
/// `overload_wait`.
pub async fn upstream(request: &mut Request) -> Option<Seat> {
    if let Some(seat) = request.client.take_extra() {
        return Some(seat);
    }
    let thread = request.thread.clone();
    let process = &thread.process;
    if let Some(seat) = thread.bank.upstream() {
        return Some(seat);
    }
    if wait_for_one(&thread, request.plan().core.overload_wait).await {
        return Some(thread.bank.granted());
    }
    process.meter.refused(Cause::SlotsForUpstream);
    request.overloaded = true;
    // Others wait for its own seat, too.
    request.keep_alive = false;
    None
}

/// Waits in the queue for a seat, at most so long; meanwhile whoever becomes idle gives way, and those that keep asking
/// have turns. Whether it was granted.
async fn wait_for_one(thread: &Rc<Thread>, at_most: Duration) -> bool {
    let _pressing = Pressing::new(&thread.process);
    let mut ticket = pin!(thread.process.seats.wait(1));
    let until = thread.handle.now() + at_most;
    loop {
        if !thread.upstreams.evict() {
            reclaim(thread, 1);
        }
        let mut sleep = pin!(thread.handle.sleep_until(until.min(thread.handle.now() + LOOK_AGAIN)));
        let granted = std::future::poll_fn(|cx| match ticket.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => sleep.as_mut().poll(cx).map(|_| false),
        });
        if granted.await {
            return true;
        }
        if thread.handle.now() >= until {
            return false;
        }
    }
}

/// Somebody waits for a seat, for as long as this lives.
struct Pressing<'a>(&'a AtomicUsize);

impl Pressing<'_> {
    fn new(process: &Process) -> Pressing<'_> {
        process.pressed.fetch_add(1, Relaxed);
        Pressing(&process.pressed)
    }
}
impl Drop for Pressing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Says, at most once a second, that seats are short, in nginx's words, and what binds. Where idle connections give way and
/// that is enough, it is a warning.
fn report(thread: &Rc<Thread>) {
    let process = &thread.process;
    let Some(lately) = process.meter.due(thread.handle.now()) else { return };
    let most = process.seats();
    let taken = process.seats_taken();
    let (level, reusing) = match lately.met {
        true => (Level::Warn, ", reusing connections"),
        false => (Level::Alert, ""),
    };
    process.log(
        level,
        format_args!(
            "{most} worker_connections are not enough{reusing} ({} bind: {taken} of {most}, \
             {} idle reclaimed, {} refused in the last second){}",
            if lately.by_descriptors { "descriptors" } else { "slots" },
            lately.reclaimed,
            lately.refused,
            lately.advice
        ),
    );
}
