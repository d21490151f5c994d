//! Names looked up while requests run: `resolver`. No loop ever waits: a request that needs a name becomes one of those
//! who wait for its answer, whichever thread asks for it.
//!
//! | file | does |
//! |---|---|
//! | `written.rs` | the directives as written, and the same resolver for the same words over reloads |
//! | `cache.rs` | what is known, and what is being asked |
//! | `ask.rs` | one question: which server, how often, UDP or TCP |
//! | `wire.rs` | the sockets |

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crate::worker::thread::Thread;

mod ask;
mod cache;
mod wire;
mod written;

pub use written::{Conf, Names};

/// Name servers, and what they said.
#[derive(Debug)]
pub struct Resolver {
    servers: Box<[SocketAddr]>,
    /// How long answers hold, whatever they say themselves.
    valid: Option<Duration>,
    ipv4: bool,
    ipv6: bool,
    /// Whose turn it is.
    next: AtomicUsize,
    cache: cache::Cache,
}

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A host's addresses.
    Addresses,
    /// The hosts of a service.
    Services,
}

/// What is known of a name.
#[derive(Debug)]
pub struct Known {
    /// For [`Wanted::Addresses`].
    pub addresses: Vec<IpAddr>,
    /// For [`Wanted::Services`].
    pub services: Vec<dns::Service>,
    /// Holds until then.
    pub until: Instant,
}

/// Why there is no answer: the name server's code, or nginx's for a time-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unresolved(u8);

impl Unresolved {
    const SERVER: Unresolved = Unresolved(2);
    /// There is no such name, or nothing is known of it.
    pub const NOT_FOUND: Unresolved = Unresolved(dns::NO_SUCH_NAME);
    const TIMED_OUT: Unresolved = Unresolved(110);
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            1 => "Format error",
            2 => "Server failure",
            3 => "Host not found",
            4 => "Unimplemented",
            5 => "Operation refused",
            110 => "Operation timed out",
            _ => "Unknown error",
        };
        write!(f, "{}: {text}", self.0)
    }
}

impl Resolver {
    /// Looks a name up, for `timeout` at most.
    ///
    /// # Errors
    /// Where nobody gives an answer.
    pub async fn look_up(
        self: &Arc<Resolver>,
        thread: &Rc<Thread>,
        name: &str,
        wanted: Wanted,
        timeout: Duration,
    ) -> Result<Arc<Known>, Unresolved> {
        let entry = match self.cache.find(name, wanted, thread.handle.now()) {
            cache::Entry::Known(known) => return Ok(known),
            cache::Entry::Asking(query) => query,
            cache::Entry::New(query) => {
                let asking = ask::answer(self.clone(), thread.clone(), name.into(), wanted, query.clone());
                thread.handle.spawn(asking);
                query
            }
        };
        let mut sleep = std::pin::pin!(thread.handle.sleep(timeout));
        std::future::poll_fn(|cx| match entry.poll(cx) {
            std::task::Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Unresolved::TIMED_OUT)),
            ready => ready,
        })
        .await
    }
}
