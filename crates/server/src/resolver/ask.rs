//! One question: which server, how often, what its answer means.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use dns::{Found, Kind, Question, Reply};

use super::cache::Query;
use super::{Known, Resolver, Unresolved, Wanted, wire};
use crate::log::{Errno, Level};
use crate::worker::thread::Thread;

/// How long each try waits for its answer; then the next server is asked.
const WAITS: [Duration; 8] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
];
/// Who does not even take the question is not asked again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks, and tells all who wait.
pub(super) async fn answer(
    resolver: Arc<Resolver>,
    thread: Rc<Thread>,
    name: Box<str>,
    wanted: Wanted,
    query: Arc<Query>,
) {
    let mut telling = Telling { resolver: &resolver, name: &name, wanted, query: &query, result: None };
    let asking = Asking { resolver: &resolver, thread: &thread, query: &query };
    telling.result = Some(
        match wanted {
            Wanted::Addresses => asking.addresses(&name).await,
            Wanted::Services => asking.follow(&name, Kind::Srv).await,
        }
        .map(|found| {
            let ttl = Duration::from_secs(found.ttl.into());
            let until = thread.handle.now() + resolver.valid.unwrap_or(ttl);
            Arc::new(Known { addresses: found.addresses, services: found.services, until })
        }),
    );
}

/// Tells the outcome when it is dropped: also when the thread that asks ends before.
struct Telling<'a> {
    resolver: &'a Resolver,
    name: &'a str,
    wanted: Wanted,
    query: &'a Query,
    result: Option<Result<Arc<Known>, Unresolved>>,
}
impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or(Err(Unresolved::SERVER));
        self.resolver.cache.finish(self.name, self.wanted, self.query, result);
    }
}

struct Asking<'a> {
    resolver: &'a Resolver,
    thread: &'a Rc<Thread>,
    query: &'a Arc<Query>,
}

impl Asking<'_> {
    /// Addresses of both kinds, asked for at once.
    async fn addresses(&self, name: &str) -> Result<Found, Unresolved> {
        let one = async |wanted: bool, kind| match wanted {
            true => self.follow(name, kind).await,
            false => Err(Unresolved::NOT_FOUND),
        };
        let (v4, v6) = both(one(self.resolver.ipv4, Kind::A), one(self.resolver.ipv6, Kind::Aaaa)).await;
        match (v4, v6) {
            (Ok(mut v4), Ok(v6)) => {
                v4.addresses.extend(v6.addresses);
                Ok(Found { ttl: v4.ttl.min(v6.ttl), ..v4 })
            }
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
            // That one kind is missing explains less than why the other could not be asked for.
            (Err(Unresolved::NOT_FOUND), Err(why)) | (Err(why), Err(_)) => Err(why),
        }
    }

    /// Follows aliases from server to server.
    async fn follow(&self, name: &str, kind: Kind) -> Result<Found, Unresolved> {
        let (mut name, mut least) = (name.to_owned(), u32::MAX);
        for _ in 0..dns::MOST_ALIASES {
            match self.ask(&name, kind).await? {
                Reply::Found(found) => return Ok(Found { ttl: found.ttl.min(least), ..found }),
                Reply::Alias { name: other, ttl } => (name, least) = (other, least.min(ttl)),
                Reply::Failed(code) => return Err(Unresolved(code)),
                Reply::Truncated => return Err(Unresolved::SERVER),
            }
        }
        // Aliases without end lead nowhere.
        Err(Unresolved::NOT_FOUND)
    }

    async fn ask(&self, name: &str, kind: Kind) -> Result<Reply, Unresolved> {
        let servers = &self.resolver.servers;
        let first = self.resolver.next.fetch_add(1, Relaxed);
        for (n, wait) in WAITS.into_iter().enumerate() {
            let Some(server) = servers.get((first + n) % servers.len().max(1)) else { break };
            let id = crate::random::number() as u16;
            let question = Question::new(id, name, kind).ok_or(Unresolved::NOT_FOUND)?;
            match self.exchange(*server, &question, wait).await {
                // Another server may be in better health.
                Some(Reply::Failed(2 | 5)) if n + 1 < servers.len() => {}
                Some(reply) => return Ok(reply),
                None => {}
            }
            // The cache and this task: nobody waits any more.
            if Arc::strong_count(self.query) <= 2 {
                break;
            }
        }
        Err(Unresolved::TIMED_OUT)
    }

    /// One server; `None` if it gives no answer.
    async fn exchange(&self, server: SocketAddr, question: &Question, wait: Duration) -> Option<Reply> {
        let until = self.thread.handle.now() + wait;
        let reply = match wire::datagram(self.thread, server, question, until).await {
            Ok(Reply::Truncated) => wire::stream(self.thread, server, question, until).await,
            other => other,
        };
        match reply {
            Ok(reply) => Some(reply),
            Err(failure) if failure.error.kind() == std::io::ErrorKind::TimedOut => None,
            Err(failure) => {
                let (call, error) = (failure.call, Errno(&failure.error));
                self.thread.process.log(
                    Level::Error,
                    format_args!("{call} failed ({error}) while resolving, resolver: {server}"),
                );
                self.thread.handle.sleep(PAUSE).await;
                None
            }
        }
    }
}

/// Runs two futures at once.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(done) = a.as_mut().poll(cx)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = b.as_mut().poll(cx)
        {
            second = Some(done);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (one, other) => {
                (first, second) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}
