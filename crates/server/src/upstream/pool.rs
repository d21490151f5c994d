//! Connections to upstream servers, and those at rest between requests, per thread.
//!
//! A connection at rest stays registered with its loop: that its server closed it is known from its event, without a
//! system call. Those that aged or were closed are dropped by a sweep once a second, which runs only while there are any.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::group::KeepAlive;
use super::line::Line;
use super::secure::Secure;
use crate::connection::Socket;
use crate::worker::thread::Thread;
use crate::worker::{Seat, ledger};

/// A connection to an upstream server.
pub struct Link {
    /// Its socket.
    pub socket: Socket,
    /// Its place among the worker's connections.
    pub seat: Option<Seat>,
    /// Requests sent over it.
    pub requests: u32,
    /// When it was made.
    pub opened: Instant,
    /// It served another request before.
    pub reused: bool,
    /// TCP_NODELAY is set, or it is no TCP connection.
    pub nodelay: bool,
    /// Its descriptor is written down.
    pub line: ledger::Line,
    /// The state of its encryption, if it is encrypted.
    pub tls: Option<Box<RefCell<Secure>>>,
}

/// Which connections may serve a request: the peer's address within its group, and the location where those are kept
/// apart (`keepalive .. local`); the sockets' settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// [`super::Peer::key`]
    pub peer: u32,
    /// Number of the location and its settings.
    pub place: u32,
}

struct Idle {
    link: Link,
    key: Key,
    since: Instant,
    until: Instant,
}

/// What a thread keeps of upstreams.
#[derive(Default)]
pub struct ThreadState {
    /// By number of group; the connection used last is at the back.
    pools: RefCell<Vec<VecDeque<Idle>>>,
    resting: Cell<usize>,
    /// Those that serve several requests at once, resting or not.
    lines: RefCell<Vec<Rc<Line>>>,
    sweeping: Cell<bool>,
}

/// How often connections at rest are looked through.
const SWEEP: Duration = Duration::from_secs(1);

impl ThreadState {
    /// A connection at rest that leads there; the one used last.
    pub fn take(&self, group: u32, key: Key, now: Instant) -> Option<Link> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.get_mut(group as usize)?;
        loop {
            let i = pool.iter().rposition(|idle| idle.key == key)?;
            let idle = pool.remove(i)?;
            self.resting.set(self.resting.get() - 1);
            if idle.until > now && !idle.link.maybe_readable() && !idle.link.socket.peer_closed() {
                return Some(idle.link);
            }
        }
    }
    /// A connection that leads there and has room for one request more.
    pub fn line(&self, group: u32, key: Key, now: Instant) -> Option<Rc<Line>> {
        self.lines.borrow().iter().find(|line| line.takes(group, key, now)).cloned()
    }
    pub(super) fn lines(&self) -> RefMut<'_, Vec<Rc<Line>>> {
        self.lines.borrow_mut()
    }
    /// How many of a group's lines are at rest.
    pub(super) fn resting_lines(&self, group: u32) -> usize {
        self.lines.borrow().iter().filter(|line| line.rests() && line.group() == Some(group)).count()
    }
    /// How many connections are at rest.
    pub fn resting(&self) -> usize {
        self.resting.get()
    }
    pub(super) fn count_resting_line(&self, one_more: bool) {
        let resting = self.resting.get();
        self.resting.set(if one_more { resting + 1 } else { resting.saturating_sub(1) });
    }
    /// Closes the connection that rested longest; `false` if there is none.
    pub fn evict(&self) -> bool {
        self.evict_since(|_| true)
    }
    /// The same, if it has rested for `time`.
    pub fn evict_rested(&self, now: Instant, time: Duration) -> bool {
        self.evict_since(|idle| now >= idle.since + time)
    }
    fn evict_since(&self, may_go: impl Fn(&Idle) -> bool) -> bool {
        let mut pools = self.pools.borrow_mut();
        let since = |pool: &VecDeque<Idle>| pool.front().map(|idle| idle.since);
        let oldest = pools.iter_mut().filter(|pool| !pool.is_empty()).min_by_key(|pool| since(pool));
        let evicted = oldest.filter(|pool| pool.front().is_some_and(may_go)).and_then(VecDeque::pop_front);
        drop(pools);
        self.resting.set(self.resting.get() - usize::from(evicted.is_some()));
        evicted.is_some() || self.evict_line()
    }
    fn evict_line(&self) -> bool {
        let mut lines = self.lines.borrow_mut();
        let at = lines.iter().position(|line| line.rests());
        let line = at.map(|at| lines.swap_remove(at));
        line.inspect(|line| line.close()).is_some()
    }
    /// Closes all that rest.
    pub fn clear(&self) {
        while self.evict_line() {}
        self.pools.borrow_mut().clear();
        self.resting.set(0);
    }
    fn sweep(&self, now: Instant) {
        let mut resting = self.lines.borrow().iter().filter(|line| line.rests()).count();
        for pool in self.pools.borrow_mut().iter_mut() {
            pool.retain(|idle| {
                idle.until > now && !idle.link.maybe_readable() && !idle.link.socket.peer_closed()
            });
            resting += pool.len();
        }
        self.resting.set(resting);
    }
}

/// Puts a connection to rest, if it may serve again.
pub fn rest(thread: &Rc<Thread>, group: u32, key: Key, keep: &KeepAlive, link: Link) {
    let now = thread.handle.now();
    if thread.draining()
        || keep.connections == 0
        || link.requests >= keep.requests
        || link.opened.checked_add(keep.time).is_some_and(|end| now >= end)
        || link.socket.peer_closed()
        || has_more(&link)
    {
        return;
    }
    link.socket.set_deadline(None);
    let state = &thread.upstreams;
    let mut pools = state.pools.borrow_mut();
    if pools.len() <= group as usize {
        pools.resize_with(group as usize + 1, VecDeque::new);
    }
    let pool = &mut pools[group as usize];
    if pool.len() < keep.connections {
        state.resting.set(state.resting.get() + 1);
    } else {
        pool.pop_front();
    }
    pool.push_back(Idle { link, key, since: now, until: now + keep.timeout });
    drop(pools);
    begin_sweeping(thread);
}

/// From now on there is a connection at rest.
pub(super) fn begin_sweeping(thread: &Rc<Thread>) {
    if !thread.upstreams.sweeping.replace(true) {
        thread.handle.spawn(sweep(thread.clone()));
    }
}

/// Whether there is anything behind the response. The poller's word may be older than a read that took all there was, if
/// that happened to fill its buffer.
fn has_more(link: &Link) -> bool {
    let nothing = |e: std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock;
    link.maybe_readable() && !link.try_read(&mut [0]).is_err_and(nothing)
}

/// Runs while connections rest.
async fn sweep(thread: Rc<Thread>) {
    while thread.upstreams.resting() > 0 {
        thread.handle.sleep(SWEEP).await;
        match thread.draining() {
            true => thread.upstreams.clear(),
            false => thread.upstreams.sweep(thread.handle.now()),
        }
    }
    thread.upstreams.sweeping.set(false);
}
