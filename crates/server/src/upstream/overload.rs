//! A unix-domain server whose accept queue is full says so at once (EAGAIN), where one over TCP would let the kernel
//! wait. Here the request waits, too, for as long as `overload_wait` says: a queue that is full now may have room in a
//! moment, and the server is well.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use conf::{Args, Error, Inherit, Scope, Setting};
use sys::sock_diag::{self, States};

use super::connect::{NoLink, Options, begin};
use super::pool::Link;
use super::slot::Peer;
use crate::http::request::Request;
use crate::program::Address;
use crate::worker::thread::Thread;
use crate::worker::{Seat, descriptors};

/// `overload_wait` as written.
#[derive(Default)]
pub struct OverloadWait(Setting<u64>);
impl Inherit for OverloadWait {
    fn inherit(&mut self, outer: &OverloadWait) {
        self.0.inherit(&outer.0);
    }
}
impl OverloadWait {
    /// `overload_wait time`
    ///
    /// # Errors
    /// nginx's.
    pub fn read(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
        at.own::<OverloadWait>().0.set(a.msec(0)?)
    }
    /// What is in force in a block.
    pub fn of(scope: &Scope) -> Duration {
        const DEFAULT: u64 = 1000;
        Duration::from_millis(scope.conf::<OverloadWait>().map_or(DEFAULT, |wait| wait.0.or(DEFAULT)))
    }
}

/// A listening socket's queue, and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// Connections in it.
    pub length: u32,
    /// As many as it takes.
    pub ceiling: u32,
}

/// The first pause between two looks, the longest, and that of those who have waited for long.
const PAUSES: [Duration; 3] = [Duration::from_millis(2), Duration::from_millis(64), Duration::from_millis(8)];
/// Who has waited for so long looks twice as often as who has just come, and so on: first come, first served, about.
const SENIOR: u32 = 125;
/// The kernel is asked for queues no more often.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a server did not take a connection because its accept queue is full.
pub fn is_overload(peer: &Peer, failure: &NoLink) -> bool {
    let again = |e: &io::Error| e.raw_os_error() == Some(rustix::io::Errno::AGAIN.raw_os_error());
    matches!(peer.address, Address::Unix(_)) && matches!(failure, NoLink::Refused(error) if again(error))
}

/// Whether no descriptor is left for the connection.
pub fn no_descriptor(failure: &NoLink) -> bool {
    matches!(failure, NoLink::Refused(error) if descriptors::are_out(error))
}

/// Whether a connection may be possible in a moment.
pub fn may_pass(peer: &Peer, failure: &NoLink) -> bool {
    is_overload(peer, failure) || no_descriptor(failure)
}

/// Tries again and again, until there is room or the time is up; `None`: the client left.
///
/// # Errors
/// As [`begin`].
pub async fn wait_for_room(
    request: &Request,
    peer: &Peer,
    options: Options,
    seat: &mut Option<Seat>,
    wait: Duration,
    minds_client: bool,
) -> Option<Result<(Link, bool), NoLink>> {
    let thread = &request.thread;
    let began = thread.handle.now();
    let until = began + wait;
    let [mut pause, longest, shortest] = PAUSES;
    loop {
        // Those who wait for one server must not come all at once.
        let part =
            Duration::from_micros(u64::from(crate::random::number() % 1000) * pause.as_millis() as u64);
        let end = (thread.handle.now() + pause / 2 + part / 2).min(until);
        let mut sleep = std::pin::pin!(thread.handle.sleep_until(end));
        let left = std::future::poll_fn(|cx| {
            if minds_client && request.client.poll_closed(cx).is_ready() {
                return Poll::Ready(true);
            }
            sleep.as_mut().poll(cx).map(|()| false)
        })
        .await;
        if left {
            return None;
        }
        match begin(thread, peer, options, seat) {
            Err(failure) if may_pass(peer, &failure) && thread.handle.now() < until => {
                if no_descriptor(&failure) {
                    descriptors::make_room(thread);
                }
            }
            done => return Some(done),
        }
        let waited = thread.handle.now().saturating_duration_since(began).as_millis();
        let seniority = 1 + u32::try_from(waited).unwrap_or(u32::MAX) / SENIOR;
        pause = (longest / seniority).max(shortest);
    }
}

/// The accept queue of a server, if the kernel tells, and has not been asked a moment ago.
pub async fn queue_of(thread: &Rc<Thread>, peer: &Peer) -> Option<AcceptQueue> {
    static NEXT: Mutex<Option<Instant>> = Mutex::new(None);
    let Address::Unix(path) = &peer.address else { return None };
    {
        let now = thread.handle.now();
        let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| now < next) {
            return None;
        }
        *next = Some(now + LOOK);
    }
    let path = path.clone();
    thread.process.blocking.run(move || look_up(&path)).await.ok()?
}

fn look_up(path: &PathBuf) -> Option<AcceptQueue> {
    let mut found = None;
    let each = |socket: sock_diag::Unix| {
        if socket.listening && Path::new(&socket.path) == path {
            found = Some(AcceptQueue { length: socket.receive, ceiling: socket.send });
        }
    };
    sock_diag::unix(States::LISTENING, each).ok()?;
    found
}
