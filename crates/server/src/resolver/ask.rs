//! One question: which server, how often, what its answer means.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

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
/// Who does not even take the question is not asked again at once; another server is asked so soon.
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
    let reply = match wanted {
        Wanted::Addresses => asking.addresses(&name).await,
        Wanted::Services => asking.ask(&name, Kind::Srv).await,
    };
    telling.result = Some(match reply {
        Err(why) => Err(why),
        Ok(Reply::Useless) => asking.nothing().await,
        Ok(reply) => known(reply, thread.handle.now(), resolver.valid),
    });
}

/// What a reply tells, and until when.
fn known(reply: Reply, now: Instant, valid: Option<Duration>) -> Result<Arc<Known>, Unresolved> {
    let (found, alias) = match reply {
        Reply::Found(found) => (found, None),
        Reply::Alias { name, ttl } => (Found { ttl, ..Found::default() }, Some(name)),
        Reply::Failed(code) => return Err(Unresolved(code)),
        Reply::Empty | Reply::Useless | Reply::Truncated => return Err(Unresolved::NOT_FOUND),
    };
    let until = now + valid.unwrap_or(Duration::from_secs(found.ttl.into()));
    Ok(Arc::new(Known { addresses: found.addresses, services: found.services, alias, until }))
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
    async fn addresses(&self, name: &str) -> Result<Reply, Unresolved> {
        match (self.resolver.ipv4, self.resolver.ipv6) {
            (true, true) => {
                let (v4, v6) = both(self.ask(name, Kind::A), self.ask(name, Kind::Aaaa)).await;
                Ok(joined(v4?, v6?))
            }
            (true, false) => self.ask(name, Kind::A).await,
            (false, _) => self.ask(name, Kind::Aaaa).await,
        }
    }

    /// Nothing will come of this question: those who wait for it wait to their end.
    async fn nothing(&self) -> Result<Arc<Known>, Unresolved> {
        while self.is_wanted() {
            self.thread.handle.sleep(PAUSE).await;
        }
        Err(Unresolved::TIMED_OUT)
    }

    fn is_wanted(&self) -> bool {
        // The cache and this task.
        Arc::strong_count(self.query) > 2
    }

    async fn ask(&self, name: &str, kind: Kind) -> Result<Reply, Unresolved> {
        let servers = &self.resolver.servers;
        let first = self.resolver.next.fetch_add(1, Relaxed);
        for (n, wait) in WAITS.into_iter().enumerate() {
            let Some(server) = servers.get((first + n) % servers.len().max(1)) else { break };
            let id = crate::random::number() as u16;
            let question = Question::new(id, name, kind).ok_or(Unresolved::NOT_FOUND)?;
            let until = self.thread.handle.now() + wait;
            let others = n + 1 < servers.len();
            match self.exchange(*server, &question, until).await {
                // Another server may be in better health.
                Ok(Reply::Failed(2 | 5)) if others => {}
                Ok(reply) => return Ok(reply),
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(_) => {
                    let rest = until.saturating_duration_since(self.thread.handle.now());
                    self.thread.handle.sleep(if others { rest.min(PAUSE) } else { rest }).await;
                }
            }
            if !self.is_wanted() {
                break;
            }
        }
        Err(Unresolved::TIMED_OUT)
    }

    /// One server. What keeps it from answering is in the log, unless it took the question and says nothing.
    async fn exchange(&self, server: SocketAddr, question: &Question, until: Instant) -> io::Result<Reply> {
        let reply = match wire::datagram(self.thread, server, question, until).await {
            Ok(Reply::Truncated) => wire::stream(self.thread, server, question, until).await,
            other => other,
        };
        reply.map_err(|failure| {
            // Over TCP it closed the connection.
            let silent = matches!(failure.error.kind(), ErrorKind::TimedOut | ErrorKind::UnexpectedEof);
            if !silent {
                let (call, error) = (failure.call, Errno(&failure.error));
                self.thread.process.log(
                    Level::Error,
                    format_args!("{call} failed ({error}) while resolving, resolver: {server}"),
                );
            }
            failure.error
        })
    }
}

/// What the answers for both kinds of addresses say together: one failure fails both, one address is enough, an alias is
/// followed where there is none.
fn joined(v4: Reply, v6: Reply) -> Reply {
    match (v4, v6) {
        (Reply::Found(mut v4), Reply::Found(v6)) => {
            v4.addresses.extend(v6.addresses);
            Reply::Found(Found { ttl: v4.ttl.min(v6.ttl), ..v4 })
        }
        (failed @ Reply::Failed(_), _) | (_, failed @ Reply::Failed(_)) => failed,
        (found @ Reply::Found(_), _) | (_, found @ Reply::Found(_)) => found,
        (alias @ Reply::Alias { .. }, _) | (_, alias @ Reply::Alias { .. }) => alias,
        (Reply::Useless, Reply::Useless) => Reply::Useless,
        _ => Reply::Empty,
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
