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
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::worker::thread::Thread;

mod ask;
mod cache;
mod wire;
mod written;

use cache::{Entry, Query};
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
    /// The name that this one stands for; nothing else is known then.
    alias: Option<String>,
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
        write!(f, "{}: {}", self.0, dns::meaning(self.0))
    }
}

impl Resolver {
    /// Looks a name up, and those that it is an alias of, for `timeout` at most; none is no end.
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
        let mut end = pin!((!timeout.is_zero()).then(|| thread.handle.sleep(timeout)));
        let mut name: Box<str> = name.into();
        for _ in 0..=dns::MOST_ALIASES {
            let known = match self.cache.find(&name, wanted, thread.handle.now()) {
                Entry::Known(known) => known,
                Entry::Asking(query) => self.wait(&query, &name, wanted, end.as_mut()).await?,
                Entry::New(query) => {
                    let asking =
                        ask::answer(self.clone(), thread.clone(), name.clone(), wanted, query.clone());
                    thread.handle.spawn(asking);
                    self.wait(&query, &name, wanted, end.as_mut()).await?
                }
            };
            match &known.alias {
                None => return Ok(known),
                Some(other) => name = other.as_str().into(),
            }
        }
        // Aliases without end lead nowhere.
        Err(Unresolved::NOT_FOUND)
    }

    /// Waits for what somebody asks.
    async fn wait(
        &self,
        query: &Arc<Query>,
        name: &str,
        wanted: Wanted,
        mut end: Pin<&mut Option<impl Future<Output = ()>>>,
    ) -> Result<Arc<Known>, Unresolved> {
        let _waiting = Waiting { cache: &self.cache, name, wanted, query };
        let answer = poll_fn(|cx| match (query.poll(cx), end.as_mut().as_pin_mut()) {
            (Poll::Pending, Some(end)) => end.poll(cx).map(|()| None),
            (outcome, _) => outcome.map(Some),
        });
        match answer.await {
            Some(outcome) => outcome,
            None => Err(Unresolved::TIMED_OUT),
        }
    }
}

/// One who waits for an answer; leaves when dropped, as the answer came, or the time is over, or the client is gone.
struct Waiting<'a> {
    cache: &'a cache::Cache,
    name: &'a str,
    wanted: Wanted,
    query: &'a Arc<Query>,
}
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.cache.leave(self.name, self.wanted, self.query);
    }
}
