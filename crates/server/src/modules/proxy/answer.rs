//! One request: whom it asks, what becomes of failures, and what is tried again.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use wire::{BadResponse, Method};

use super::create::{self, Message, Payload, Place};
use super::pass::{self, Target};
use super::settings::Settings;
use super::written::again;
use super::{receive, respond, send};
use crate::http::body;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::log::Errno;
use crate::program::Address;
use crate::upstream::{self, Group, Held, Key, Link, NoLink, Turn};

/// A location that passes its requests on.
pub struct Proxy {
    pub(super) settings: Arc<Settings>,
    pub(super) target: Target,
}

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no connection.
    NoLink(NoLink),
    /// Writing failed, or waited too long.
    Send(io::Error),
    SendTimeout,
    /// Reading failed, waited too long, or found the end.
    Receive(io::Error),
    ReceiveTimeout,
    Closed,
    /// What was read is no answer.
    Invalid(BadResponse),
    /// It answered 101, which nobody asked for.
    Upgrade,
    /// It answered with a status that counts as failure.
    Status(u16),
    /// The client left, while this was being done.
    ClientGone(During),
    /// The client's body cannot be had: what to answer.
    Client(u16),
}

/// How far a try came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    /// There is no connection yet.
    Connecting,
    /// No byte of an answer has come.
    Sending,
    /// The head has begun.
    Receiving,
}

/// The tries of one request.
pub(super) struct Tries<'a> {
    settings: &'a Settings,
    group: Arc<Group>,
    number: u32,
    turn: Turn,
    left: u32,
    began: Instant,
}

impl Proxy {
    pub(super) fn new(settings: Arc<Settings>, target: Target) -> Proxy {
        Proxy { settings, target }
    }

    /// Asks the upstream; the answer becomes the request's response.
    pub async fn answer(&self, request: &mut Request) -> Next {
        if !request.body.complete
            && !self.streams(request)
            && let Err(status) = body::read_whole(request).await
        {
            return Next::Status(status);
        }
        request.upstream.begin();
        let found = match &self.target {
            Target::Fixed(_) => None,
            Target::Variable(template) => match pass::find(template, request) {
                Ok(found) => Some(found),
                Err(status) => return Next::Status(status),
            },
        };
        let (message, group, number) = match (&self.target, found) {
            (Target::Fixed(fixed), _) => {
                let place = Place { host: &fixed.host, uri: fixed.uri.as_deref(), whole: false };
                (self.message(request, &place), fixed.group.clone(), fixed.number)
            }
            (_, Some(found)) => {
                let host = std::mem::take(&mut request.upstream.host);
                let place = Place { host: &host, uri: found.uri.as_deref(), whole: true };
                let message = self.message(request, &place);
                request.upstream.host = host;
                (message, found.group, found.number)
            }
            (Target::Variable(_), None) => return Next::Status(500),
        };
        let next = self.ask(request, &message, Tries::new(&self.settings, group, number, request)).await;
        request.thread.give_buffer(message.head);
        next
    }

    /// Whether the body is passed on while it comes.
    fn streams(&self, request: &Request) -> bool {
        let s = &self.settings;
        let chunked = request.body.framing == wire::Framing::Chunked;
        !s.request_buffering && s.set_body.is_none() && s.pass_body && (s.http_11 || !chunked)
    }

    fn message(&self, request: &mut Request, place: &Place<'_>) -> Message {
        let payload = create::payload(&self.settings, request);
        let head = request.thread.buffer();
        create::create(&self.settings, request, place, payload, head)
    }

    async fn ask(&self, request: &mut Request, message: &Message, mut tries: Tries<'_>) -> Next {
        loop {
            let now = request.thread.handle.now();
            let time = request.thread.handle.unix_time();
            let client = request.client.peer.ip();
            let Some(mut held) = tries.group.choose(&mut tries.turn, time, client) else {
                return nobody(request, &tries.group);
            };
            request.upstream.ask(&held.peer().name, now);
            let mut link = None;
            let failure = match self.attempt(request, &tries, &held, message, &mut link).await {
                Ok(()) => match tries.objection(request, message) {
                    None => return respond::respond(self, request, message, held, link, &tries).await,
                    Some(failure) => failure,
                },
                Err(failure) => failure,
            };
            let sent = link.is_some();
            let reused = link.is_some_and(|link| link.reused);
            if let Some(next) = tries.after(request, &mut held, message, failure, sent, reused) {
                return next;
            }
        }
    }

    /// One server: connection, request, head of the answer.
    async fn attempt(
        &self,
        request: &mut Request,
        tries: &Tries<'_>,
        held: &Held,
        message: &Message,
        at: &mut Option<Link>,
    ) -> Result<(), Failure> {
        let now = request.thread.handle.now();
        let pooled = tries.key(held).and_then(|key| request.thread.upstreams.take(tries.number, key, now));
        let mut link = match pooled {
            Some(link) => Link { reused: true, ..link },
            None => self.connect(request, held).await?,
        };
        request.upstream.connected(request.thread.handle.now());
        link.requests += 1;
        let link = at.insert(link);
        if send::send(&self.settings, request, link, message).await? == send::Sent::Early {
            // The rest of the request is owed: nothing else can follow on this connection.
            link.requests = u32::MAX;
        }
        receive::head(&self.settings, request, link, message.method).await
    }

    async fn connect(&self, request: &mut Request, held: &Held) -> Result<Link, Failure> {
        let settings = &self.settings;
        let (link, stands) =
            upstream::begin(&request.thread, held.peer(), settings.options).map_err(Failure::NoLink)?;
        if stands {
            return Ok(link);
        }
        link.socket.set_deadline(Some(request.thread.handle.now() + settings.connect_timeout));
        std::future::poll_fn(|cx| {
            if !settings.ignore_client_abort && request.client.poll_closed(cx).is_ready() {
                return Poll::Ready(Err(Failure::ClientGone(During::Connecting)));
            }
            link.socket.poll_writable(cx).map_err(|e| Failure::NoLink(NoLink::Failed(e)))
        })
        .await?;
        upstream::finish(&link).map_err(Failure::NoLink)?;
        Ok(link)
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
    fn new(settings: &'a Settings, group: Arc<Group>, number: u32, request: &Request) -> Tries<'a> {
        let all = group.tries();
        let left = match settings.next_upstream_tries {
            0 => all,
            most => all.min(most),
        };
        Tries { settings, group, number, turn: Turn::default(), left, began: request.thread.handle.now() }
    }
    fn key(&self, held: &Held) -> Option<Key> {
        let keep = self.group.keepalive.as_ref()?;
        let place = if keep.local { self.settings.own_place } else { self.settings.shared_place };
        Some(Key { peer: held.peer().key, place })
    }

    /// Whether the answer counts as a failure, because another server may have a better one.
    fn objection(&self, request: &Request, message: &Message) -> Option<Failure> {
        let status = request.upstream.head.status;
        let bit = match status {
            500 => again::HTTP_500,
            502 => again::HTTP_502,
            503 => again::HTTP_503,
            504 => again::HTTP_504,
            403 => again::HTTP_403,
            404 => again::HTTP_404,
            429 => again::HTTP_429,
            _ => return None,
        };
        (self.left > 1 && self.allows(request, message, bit, true)).then_some(Failure::Status(status))
    }

    /// Whether the configuration lets this failure be tried again.
    fn allows(&self, request: &Request, message: &Message, bit: u32, sent: bool) -> bool {
        let mut wanted = bit;
        // A request that was sent may have had its effect.
        if sent && matches!(request.method, Method::Post | Method::Lock | Method::Patch) {
            wanted |= again::NON_IDEMPOTENT;
        }
        let streamed = sent && matches!(message.payload, Payload::Stream { .. });
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
        sent: bool,
        reused: bool,
    ) -> Option<Next> {
        let now = request.thread.handle.now();
        request.upstream.end(now);
        log(request, held, &failure);
        let (status, bit) = match failure.verdict() {
            Verdict::Gone => {
                held.undecided();
                request.aborted = true;
                return Some(Next::Close);
            }
            Verdict::Refuse(status) => {
                held.undecided();
                return Some(Next::Status(status));
            }
            Verdict::Failed(status, bit) => (status, bit),
        };
        if let Some(last) = request.upstream.last() {
            last.status = status;
        }
        // That a connection at rest is gone says nothing of its server, and costs no try.
        let stale = reused && bit == again::ERROR;
        if stale || matches!(status, 403 | 404) {
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

/// What a failure leads to.
enum Verdict {
    /// The client left: nobody wants an answer.
    Gone,
    /// This answer.
    Refuse(u16),
    /// This answer, unless another server has a better one.
    Failed(u16, u32),
}

impl Failure {
    fn verdict(&self) -> Verdict {
        match self {
            Failure::ClientGone(_) => Verdict::Gone,
            Failure::Client(status) => Verdict::Refuse(*status),
            Failure::NoLink(NoLink::Full) => Verdict::Refuse(500),
            Failure::NoLink(NoLink::Failed(e)) if e.kind() == io::ErrorKind::TimedOut => {
                Verdict::Failed(504, again::TIMEOUT)
            }
            Failure::NoLink(_) | Failure::Send(_) | Failure::Receive(_) | Failure::Closed => {
                Verdict::Failed(502, again::ERROR)
            }
            Failure::SendTimeout | Failure::ReceiveTimeout => Verdict::Failed(504, again::TIMEOUT),
            Failure::Invalid(_) | Failure::Upgrade => Verdict::Failed(502, again::INVALID_HEADER),
            Failure::Status(status) => Verdict::Failed(*status, 0),
        }
    }
    /// nginx's words for what was being done.
    fn during(&self) -> &'static str {
        match self {
            Failure::NoLink(_) => " while connecting to upstream",
            Failure::Send(_) | Failure::SendTimeout | Failure::Client(_) => {
                " while sending request to upstream"
            }
            Failure::ClientGone(During::Connecting) => " while connecting to upstream",
            Failure::ClientGone(During::Sending) => " while sending request to upstream",
            _ => " while reading response header from upstream",
        }
    }
}

/// Failures of the network that nginx logs as `error`; others are `crit`.
fn is_common(error: &io::Error) -> bool {
    const COMMON: [rustix::io::Errno; 7] = [
        rustix::io::Errno::CONNREFUSED,
        rustix::io::Errno::AGAIN,
        rustix::io::Errno::CONNRESET,
        rustix::io::Errno::NETDOWN,
        rustix::io::Errno::NETUNREACH,
        rustix::io::Errno::HOSTDOWN,
        rustix::io::Errno::HOSTUNREACH,
    ];
    let code = error.raw_os_error();
    COMMON.iter().any(|errno| Some(errno.raw_os_error()) == code)
}

fn log(request: &Request, held: &Held, failure: &Failure) {
    let during = failure.during();
    match failure {
        Failure::NoLink(NoLink::Full) => {
            log_alert!(
                request,
                "{} worker_connections are not enough{during}",
                request.thread.process.seats()
            );
        }
        Failure::NoLink(NoLink::Refused(error)) => {
            let colon = if matches!(held.peer().address, Address::Unix(_)) { "unix:" } else { "" };
            let name = held.peer().name.strip_prefix("unix:").unwrap_or(&held.peer().name);
            let level = if is_common(error) { crate::log::Level::Error } else { crate::log::Level::Crit };
            request.note(level, format_args!("connect() to {colon}{name} failed ({}){during}", Errno(error)));
        }
        Failure::NoLink(NoLink::Failed(error)) if error.kind() == io::ErrorKind::TimedOut => {
            timed_out(request, during)
        }
        Failure::NoLink(NoLink::Failed(error)) => {
            log_error!(request, "connect() failed ({}){during}", Errno(error))
        }
        Failure::Send(error) => log_error!(request, "writev() failed ({}){during}", Errno(error)),
        Failure::Receive(error) => log_error!(request, "recv() failed ({}){during}", Errno(error)),
        Failure::SendTimeout | Failure::ReceiveTimeout => timed_out(request, during),
        Failure::Closed => log_error!(request, "upstream prematurely closed connection{during}"),
        Failure::Upgrade => {
            log_error!(request, "upstream sent unexpected \"101 Switching Protocols\"{during}")
        }
        Failure::Invalid(bad) => {
            let mut text = Vec::new();
            bad.log_text(&request.upstream.buffer, &mut text);
            log_error!(request, "{}{during}", String::from_utf8_lossy(&text));
        }
        Failure::ClientGone(_) => log_info!(
            request,
            "epoll_wait() reported that client prematurely closed connection, \
            so upstream connection is closed too{during}"
        ),
        Failure::Status(_) | Failure::Client(_) => {}
    }
}

fn timed_out(request: &Request, during: &str) {
    log_error!(request, "upstream timed out (110: Connection timed out){during}");
}

impl Tries<'_> {
    /// Where the connection goes to rest after the response.
    pub(super) fn rests(&self, held: &Held) -> Option<super::body::Rests> {
        Some(super::body::Rests { number: self.number, key: self.key(held)?, keep: self.group.keepalive? })
    }
}
