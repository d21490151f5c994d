//! One request: whom it asks, what becomes of failures, and what is tried again.

use std::sync::Arc;
use std::time::Instant;

use wire::{Method, ResponseHead};

use super::body::UpstreamSource;
use super::cache::{self, Kept};
use super::failure::{self, Failure, Verdict};
use super::protocol::{Message, Payload, Protocol, Reader};
use super::settings::Settings;
use super::tls::Secured;
use super::written::again;
use super::{connect, http2, receive, respond, send};
use crate::http::body;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::log::Action;
use crate::upstream::{CacheStatus, Group, Held, Key, Line, Link, NoLink, NoTurn, Turn};

/// Reads the client's body, unless it is passed on while it comes: `may_stream` says whether the request's form allows it.
///
/// # Errors
/// The status to answer with.
pub async fn read_body(settings: &Settings, request: &mut Request, may_stream: bool) -> Result<(), u16> {
    let streams = may_stream && !settings.request_buffering && settings.pass_body;
    if request.body.expects_continue {
        body::send_continue(request).await?;
    }
    match !request.body.is_expected() || streams && !body::is_here(request) {
        true => Ok(()),
        false => body::read_whole(request).await,
    }
}

/// What to ask whom.
pub struct Asked {
    /// The request to send.
    pub message: Message,
    /// The servers.
    pub group: Arc<Group>,
    /// The group's number among the pools of connections.
    pub number: u32,
    /// What the cache has to do with it.
    pub kept: Option<Box<Kept>>,
    /// How the connection is encrypted, if it is.
    pub secured: Option<Box<Secured>>,
}

/// Asks; the answer becomes the request's response.
pub async fn ask(
    protocol: &dyn Protocol,
    settings: &Arc<Settings>,
    request: &mut Request,
    asked: Asked,
) -> Next {
    let Asked { message, group, number, kept, secured } = asked;
    let mut tries = Tries::new(settings, group, number, request);
    tries.kept = kept;
    tries.secured = secured;
    let next = tries.run(protocol, request, &message).await;
    if let Next::Status(_) = next {
        request.action = Action::SendingUpstream;
    }
    tries.turn.end(request);
    request.thread.give_buffer(message.head);
    next
}

/// The tries of one request.
pub(super) struct Tries<'a> {
    pub settings: &'a Arc<Settings>,
    group: Arc<Group>,
    number: u32,
    pub kept: Option<Box<Kept>>,
    secured: Option<Box<Secured>>,
    turn: Turn,
    left: u32,
    began: Instant,
    /// Some server was asked.
    asked: bool,
    /// What was sent in vain of a body that is passed on while it comes.
    again: Option<http2::Body>,
}

/// What a server has of a request when a try has failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    /// Some of it, but it says that it has not begun with it, and it can be sent anew.
    InVain,
    Request,
}

/// What `.._next_upstream` and `.._cache_use_stale` call a status.
fn status_bit(status: u16) -> Option<u32> {
    match status {
        500 => Some(again::HTTP_500),
        502 => Some(again::HTTP_502),
        503 => Some(again::HTTP_503),
        504 => Some(again::HTTP_504),
        403 => Some(again::HTTP_403),
        404 => Some(again::HTTP_404),
        429 => Some(again::HTTP_429),
        _ => None,
    }
}

fn nobody(request: &mut Request, group: &Group) -> Next {
    request.upstream.nobody(&group.name, request.thread.handle.now());
    if let Some(last) = request.upstream.last() {
        last.status = 502;
    }
    log_error!(request, "no live upstreams while connecting to upstream");
    Next::Status(502)
}

impl<'a> Tries<'a> {
    fn new(settings: &'a Arc<Settings>, group: Arc<Group>, number: u32, request: &mut Request) -> Tries<'a> {
        let all = group.tries();
        let left = match settings.next_upstream_tries {
            0 => all,
            most => all.min(most),
        };
        let turn = Turn::begin(&group, request);
        Tries {
            settings,
            group,
            number,
            kept: None,
            secured: None,
            turn,
            left,
            began: request.thread.handle.now(),
            asked: false,
            again: None,
        }
    }
    async fn run(&mut self, protocol: &dyn Protocol, request: &mut Request, message: &Message) -> Next {
        loop {
            let before = request.thread.handle.now();
            let (mut held, waited) = match self.server(request).await {
                Ok(found) => found,
                // Nobody is left to ask, or not in time.
                Err(next @ Next::Status(_)) => {
                    return self.old(protocol, request, again::ERROR, true).unwrap_or(next);
                }
                Err(next) => return next,
            };
            let now = request.thread.handle.now();
            request.upstream.ask(&held.peer().name, now);
            request.upstream.asked_as(&held.peer().server);
            if let Some(last) = request.upstream.last().filter(|_| waited) {
                last.queued = Some(now.saturating_duration_since(before));
            }
            let mut source = None;
            let mut reader = protocol.reader(message);
            let tried = match reader {
                // Boxed: what few requests do must not make every request's future larger.
                Reader::Stream => Box::pin(self.attempt_stream(request, &held, message, &mut source)).await,
                _ => self.attempt(request, &held, message, &mut reader, &mut source).await,
            };
            let failure = match tried {
                Ok(()) => match self.objection(request, message) {
                    None => {
                        request.action = Action::UpstreamHead;
                        let answer = respond::Answered { held, source, reader };
                        let status = request.upstream.head.status;
                        return match status_bit(status)
                            .and_then(|bit| self.old(protocol, request, bit, false))
                        {
                            Some(old) => old,
                            None => respond::respond(protocol, request, answer, self).await,
                        };
                    }
                    Some(failure) => failure,
                },
                Err(failure) => failure,
            };
            let reused = source.as_ref().is_some_and(UpstreamSource::is_reused);
            let sent = self.sent(source, &failure, message);
            let bit = match failure.verdict() {
                Verdict::Failed(_, bit) => bit,
                Verdict::Gone | Verdict::Refuse(_) => 0,
            };
            if let Some(next) = self.after(request, &mut held, message, failure, sent, reused) {
                return self.old(protocol, request, bit, true).unwrap_or_else(|| self.failed(request, next));
            }
        }
    }

    /// What the server has of the request; it may be had back.
    fn sent(&mut self, source: Option<UpstreamSource>, failure: &Failure, message: &Message) -> Sent {
        match (source, failure) {
            (None, _) => Sent::Nothing,
            (Some(UpstreamSource::Stream(stream)), Failure::Unprocessed(_)) => {
                self.again = stream.rewind();
                match self.again.is_some() || message.payload != Payload::Stream {
                    true => Sent::InVain,
                    false => Sent::Request,
                }
            }
            _ => Sent::Request,
        }
    }

    /// The next server to ask; the first may have to be waited for, and whether it was.
    async fn server(&mut self, request: &mut Request) -> Result<(Held, bool), Next> {
        let first = !std::mem::replace(&mut self.asked, true);
        if !(first && self.group.has_queue()) {
            let time = request.thread.handle.unix_time();
            let client = request.client.peer.ip();
            if let Some(held) = self.group.choose(&mut self.turn, time, client) {
                return Ok((held, false));
            }
        }
        let waited = match first {
            // Boxed: what few requests do must not make every request's future larger.
            true => {
                let minds_client = self.settings.minds_client();
                Box::pin(self.group.wait(&mut self.turn, request, minds_client)).await
            }
            false => None,
        };
        match waited {
            Some(Ok(held)) => Ok((held, true)),
            Some(Err(NoTurn::Gone)) => {
                request.aborted = true;
                failure::log_gone(request, " while waiting for an upstream server");
                Err(Next::Close)
            }
            Some(Err(NoTurn::Full)) => {
                log_error!(request, "upstream queue is full");
                Err(nobody(request, &self.group))
            }
            Some(Err(NoTurn::Late)) | None => Err(nobody(request, &self.group)),
        }
    }

    /// One server: connection, request, head of the answer.
    async fn attempt(
        &self,
        request: &mut Request,
        held: &Held,
        message: &Message,
        reader: &mut Reader,
        at: &mut Option<UpstreamSource>,
    ) -> Result<(), Failure> {
        let now = request.thread.handle.now();
        let pooled = self.key(held).and_then(|key| request.thread.upstreams.take(self.number, key, now));
        let mut link = match pooled {
            Some(link) => {
                request.client.spare();
                Link { reused: true, ..link }
            }
            None => self.connect(request, held, message).await?,
        };
        request.upstream.connected(request.thread.handle.now());
        link.requests += 1;
        let UpstreamSource::Link(link) = at.insert(UpstreamSource::Link(link)) else { return Ok(()) };
        if let Reader::Opened = reader {
            request.upstream.head = ResponseHead { status: 200, ..ResponseHead::default() };
            request.upstream.opened(request.thread.handle.now());
            return Ok(());
        }
        if send::send(self.settings, request, link, message).await? == send::Sent::Early {
            // The rest of the request is owed: nothing else can follow on this connection.
            link.requests = u32::MAX;
        }
        receive::head(self.settings, request, link, reader, message.method).await
    }

    /// As [`Tries::attempt`], where requests are streams of connections that may have several.
    async fn attempt_stream(
        &mut self,
        request: &mut Request,
        held: &Held,
        message: &Message,
        at: &mut Option<UpstreamSource>,
    ) -> Result<(), Failure> {
        let now = request.thread.handle.now();
        let key = self.key(held);
        let there = key.and_then(|key| request.thread.upstreams.line(self.number, key, now));
        let reused = there.is_some();
        let line = match there {
            Some(line) => {
                request.client.spare();
                line
            }
            None => {
                let link = self.connect(request, held, message).await?;
                let kept = key.and_then(|key| Some((self.number, key, self.group.keepalive?)));
                Line::begin(&request.thread, link, kept)
            }
        };
        request.upstream.connected(request.thread.handle.now());
        let (encrypted, again) = (self.secured.is_some(), self.again.take());
        let mut stream = Box::new(http2::begin(self.settings, request, &line, message, encrypted, again)?);
        stream.reused = reused;
        let UpstreamSource::Stream(stream) = at.insert(UpstreamSource::Stream(stream)) else { return Ok(()) };
        http2::head(self.settings, request, stream, message.method).await
    }

    /// A new connection.
    async fn connect(&self, request: &mut Request, held: &Held, message: &Message) -> Result<Link, Failure> {
        let last = self.left <= 1 || !self.allows(request, message, again::ERROR, Sent::Nothing);
        connect::open(self.settings, request, held, self.secured.as_deref(), last).await
    }

    fn key(&self, held: &Held) -> Option<Key> {
        let keep = self.group.keepalive.as_ref()?;
        if self.settings.bind.as_ref().is_some_and(|(address, _)| address.as_literal().is_none()) {
            return None; // the next request may have to come from elsewhere
        }
        if self.secured.as_ref().is_some_and(|secured| secured.varies()) {
            return None;
        }
        let place = if keep.local { self.settings.own_place } else { self.settings.shared_place };
        Some(Key { peer: held.peer().key, place })
    }

    /// The old answer in the cache, if it may stand for a failure of this kind. `unanswered`: there is no answer at all.
    fn old(
        &mut self,
        protocol: &dyn Protocol,
        request: &mut Request,
        bit: u32,
        unanswered: bool,
    ) -> Option<Next> {
        let (kept, cache) = (self.kept.as_mut()?, self.settings.cache.as_ref()?);
        let now = request.thread.handle.unix_time().as_secs();
        if bit == 0 || !(kept.takes_stale(cache, bit) || unanswered && kept.stale_if_error(now)) {
            return None;
        }
        let opened = kept.take_stale()?;
        request.upstream.cache.status = Some(CacheStatus::Stale);
        Some(cache::serve(protocol, self.settings, request, opened))
    }
    /// Nobody answered: the cache remembers that, where it is told to.
    fn failed(&self, request: &Request, next: Next) -> Next {
        if let (Next::Status(status), Some(kept), Some(cache)) = (next, &self.kept, &self.settings.cache) {
            kept.note_failure(cache, status, request.thread.handle.unix_time().as_secs());
        }
        next
    }

    /// Whether the answer counts as a failure, because another server may have a better one.
    fn objection(&self, request: &Request, message: &Message) -> Option<Failure> {
        let status = request.upstream.head.status;
        let bit = status_bit(status)?;
        (self.left > 1 && self.allows(request, message, bit, Sent::Request))
            .then_some(Failure::Status(status))
    }

    /// Whether the configuration lets this failure be tried again.
    fn allows(&self, request: &Request, message: &Message, bit: u32, sent: Sent) -> bool {
        let mut wanted = bit;
        // A request that was sent may have had its effect.
        if sent == Sent::Request && matches!(request.method, Method::Post | Method::Lock | Method::Patch) {
            wanted |= again::NON_IDEMPOTENT;
        }
        let streamed = sent == Sent::Request && message.payload == Payload::Stream;
        let limit = self.settings.next_upstream_timeout;
        let late =
            !limit.is_zero() && request.thread.handle.now().saturating_duration_since(self.began) >= limit;
        self.settings.next_upstream & wanted == wanted && !streamed && !late
    }

    /// Logs and counts a failure; `None`: the next server is asked.
    fn after(
        &mut self,
        request: &mut Request,
        held: &mut Held,
        message: &Message,
        failure: Failure,
        sent: Sent,
        reused: bool,
    ) -> Option<Next> {
        let now = request.thread.handle.now();
        request.upstream.end(now);
        failure::log(request, held, &failure);
        let (status, bit) = match failure.verdict() {
            Verdict::Gone => {
                held.undecided();
                request.aborted = true;
                return Some(Next::Close);
            }
            Verdict::Refuse(status) => {
                held.undecided();
                request.overloaded |= matches!(failure, Failure::NoLink(NoLink::NoDescriptor(_)));
                return Some(Next::Status(status));
            }
            Verdict::Failed(status, bit) => (status, bit),
        };
        if let Some(last) = request.upstream.last() {
            last.status = status;
        }
        // That a connection at rest is gone says nothing of its server, and costs no try.
        let stale = reused && bit == again::ERROR;
        let overloaded = matches!(failure, Failure::NoLink(NoLink::Overloaded(..)));
        if stale || overloaded || matches!(status, 403 | 404) {
            held.undecided();
        } else if held.failed(request.thread.handle.unix_time()) {
            log_warn!(request, "upstream server temporarily disabled{}", failure.during());
        }
        if stale {
            self.turn.forget(held);
        } else {
            self.left = self.left.saturating_sub(1);
        }
        if self.left > 0 && self.allows(request, message, bit, sent) {
            return None;
        }
        Some(Next::Status(status))
    }
}

impl Tries<'_> {
    /// A server answered, and its answer is taken.
    pub(super) fn answered(&self, request: &mut Request, held: &mut Held) {
        held.answered(request.thread.handle.unix_time());
        if request.thread.is_watched() {
            let took = request.upstream.last().and_then(|last| last.header_time());
            let now = request.thread.handle.unix_time();
            took.into_iter().for_each(|took| held.peer().latency.note(took, now));
        }
        if let Some(sticky) = &self.group.sticky {
            sticky.answered(request, held);
        }
    }
    /// Where the connection goes to rest after the response.
    pub(super) fn rests(&self, held: &Held) -> Option<super::body::Rests> {
        Some(super::body::Rests { number: self.number, key: self.key(held)?, keep: self.group.keepalive? })
    }
}
