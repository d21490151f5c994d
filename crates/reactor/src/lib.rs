//! The event loop: readiness, tasks, deadlines and timers on one epoll instance per thread.
//!
//! A connection at rest is an entry of a slab (descriptor, deadline, a small record of the application's); it has no
//! task and no buffer. When it becomes readable, [`App::serve`] makes a future for it, which is polled in place; a
//! future that is ready at once never touches a queue, and one that must wait stays in a pooled slot. So the usual
//! request allocates nothing and costs no system calls but its own.
//!
//! Everything on a loop belongs to its thread (`!Send`), so nothing here takes a lock in the steady state. Other
//! threads reach a loop through a [`Remote`] or by waking a task.
//!
//! # Laws
//! Tested under simulated time, see [`sim`]:
//! - a wake-up is never lost, from this thread or another;
//! - no task keeps the loop from looking at the poller for more than a bounded number of polls;
//! - sleeps end in the order of their times; a deadline is never early, and at most two ticks of 32 ms late;
//! - connections at rest are evicted in the order in which they came to rest;
//! - a wake for a future that has ended wakes nobody else.
#![forbid(unsafe_code)]

mod app;
mod blocking;
mod deadlines;
mod entries;
mod handle;
mod list;
mod listeners;
mod poller;
mod remote;
mod run;
pub mod sim;
mod slots;
mod socket;
mod timers;
mod wake;

pub use app::{AcceptFailure, App, Why, Woken};
pub use blocking::{Blocking, Failure, Working};
pub use entries::RestKey;
pub use handle::Handle;
pub use listeners::Listener;
pub use poller::{Clock, Epoll, Poller, SystemClock};
pub use remote::{Call, Remote};
pub use run::Loop;
pub use socket::Socket;
pub use sys::net::Peer;
pub use timers::Sleep;
