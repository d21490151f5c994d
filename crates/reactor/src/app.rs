//! What runs on a loop, as the loop sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sys::net::Peer;

use crate::{Handle, Socket};

/// What runs on a loop. One value per thread.
pub trait App: 'static {
    /// What a connection at rest remembers; moved into the slab entry, so every byte is paid by every idle connection.
    type Rest: 'static;

    /// A connection came in on the listener registered with `tag`. Usually makes a [`Socket`] and rests or serves it;
    /// dropping `fd` refuses the connection.
    fn accepted(&self, handle: &Handle<Self::Rest>, tag: u32, fd: OwnedFd, peer: Peer);

    /// accept4 failed (EMFILE, ENFILE, ECONNABORTED ..). Says what the loop does with that listener. With
    /// [`AcceptFailure::Continue`] a failure that lasts is reported once per turn.
    fn accept_failed(&self, handle: &Handle<Self::Rest>, tag: u32, error: io::Error) -> AcceptFailure;

    /// A resting connection woke, or [`Handle::serve`] handed one over: the future that serves it until it rests again
    /// or closes. Polled at once, in place.
    fn serve(&self, woken: Woken<Self::Rest>) -> impl Future<Output = ()>;

    /// Something of this application panicked; the loop caught it and dropped that one future or connection. `text` is
    /// the panic's payload.
    fn panicked(&self, text: &str);

    /// Once per turn, after all events and tasks and before waiting again: flush logs, refresh what is derived from
    /// the clock.
    fn turn(&self, handle: &Handle<Self::Rest>);
}

/// What the loop does with a listener on which accept4 failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// Try again when the poller says so (which is at once while connections are waiting).
    Continue,
    /// Look at this listener again only after this long.
    Pause(Duration),
}

/// A connection that is to be served.
pub struct Woken<R> {
    /// The connection.
    pub socket: Socket<R>,
    /// What it remembered while at rest.
    pub rest: R,
    /// What ended the rest.
    pub why: Why,
}

/// What ended a connection's rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There are bytes, or the peer closed.
    Readable,
    /// The deadline set with [`Socket::set_deadline`] passed.
    TimedOut,
    /// [`Handle::evict`] asked for its place.
    Evicted,
    /// [`Handle::serve`] handed it over; it did not rest.
    Handed,
}
