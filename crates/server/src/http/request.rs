//! One request, from its first byte to its log line.
//!
//! Requests are pooled by their thread ([`crate::worker::thread::Thread`]): the vectors keep their capacity,
//! so a request costs no allocation in the steady state. What modules attach has two lifetimes: the request
//! ([`Request::keep`]) and one pass through a location ([`Pass`], cleared by an internal redirect).

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use wire::{Known, Method, RequestHead, Span};

use super::body::RequestBody;
use super::client::Client;
use super::error_page::closes_silently;
use super::notes::Notes;
use super::plan::{Plan, PlanId, PlanRef};
use super::regex::Captures;
use super::response::Response;
use super::router::ServerId;
use super::variables::Values;
use crate::flow::Flow;
use crate::log::{Action, Context, Level};
use crate::modules::core::Core;
use crate::modules::headers_more;
use crate::worker::local::LocalGeneration;
use crate::worker::thread::Thread;

/// One request of one client, and the answer it is getting.
pub struct Request {
    /// The thread it lives on.
    pub thread: Rc<Thread>,
    /// The configuration it started with and keeps.
    pub generation: Rc<LocalGeneration>,
    /// The connection it came by.
    pub client: Client,

    stage: Stage,
    /// What was read: the head, and behind it whatever came along (body, pipelined requests).
    pub buffer: Vec<u8>,
    /// Where in `buffer` the bytes begin that nobody used yet: behind the head, behind the body read so far.
    pub unread: usize,
    /// The head, as places in `buffer`.
    pub head: RequestHead,
    /// Whether it was there already when the request before it was over (`$pipe`).
    pub pipelined: bool,
    /// When its first byte was read.
    pub started: Instant,
    /// As `started`, in time since 1970.
    pub started_unix: Duration,

    /// The normalised path, as locations see it; rewritten by `rewrite`, `try_files`, `index` ..
    pub uri: Vec<u8>,
    /// The query string, without `?`.
    pub args: Vec<u8>,
    /// Something made the query string empty: `$args` has a value then, which is none otherwise.
    pub args_emptied: bool,
    /// The request's host: lower case, without port; empty if it gave none.
    pub host: Vec<u8>,
    /// The method in force; internal redirects by `error_page` make it GET.
    pub method: Method,
    /// The request's body.
    pub body: RequestBody,
    /// Bytes of head and body read so far (`$request_length`).
    pub received: u64,

    /// The virtual server.
    pub server: ServerId,
    /// What the location in force does.
    pub plan: PlanId,
    /// Path within which `proxy_pass` replaces: the length of the location's prefix; 0 for none.
    pub location_prefix: usize,
    /// Set by internal redirects: `internal` locations may be used.
    pub internal: bool,
    /// How many requests it is within (`auth_request`, `mirror`); 0 for a client's own.
    pub depth: u8,
    /// How many internal redirects and rewrites there were; at most 10, as in nginx.
    pub redirects: u8,
    /// The status being handled by `error_page`, 0 while none is.
    pub error_status: u16,
    /// Set while the body of `error_page` is made: an error in it is answered with the plain page.
    pub in_error_page: bool,
    /// Whether rewriting changed `uri` since the last location was found.
    pub uri_changed: bool,
    /// `rewrite .. break` changed the path within its location: the location's name is no longer its prefix.
    pub location_left: bool,
    /// Set by internal redirects: the server's rewrite phase runs again before the location is found.
    pub restarted: bool,
    /// The path went as the client sent it, unnormalised and unrewritten (`proxy_pass` without URI passes it so).
    pub unmodified_uri: bool,

    /// The answer.
    pub response: Response,
    /// Whether the connection may serve another request afterwards.
    pub keep_alive: bool,
    /// Bytes a second that this answer may take, where the request was given a rate of its own (`$limit_rate`).
    pub limit_rate: Option<u64>,
    /// Bytes sent to the client, head included (`$bytes_sent`).
    pub sent: u64,
    /// How many of them are the head's.
    pub head_length: u64,
    /// Whether the response's head went out already.
    pub head_sent: bool,
    /// What is being done, for the error log.
    pub action: Action,
    /// The answer is over and its log line is being written.
    pub logging: bool,
    /// It is refused for want of a seat: the client is told when to try again.
    pub overloaded: bool,
    /// Whether the client closed or broke before the response was complete (logged as 499 where no status was sent).
    pub aborted: bool,
    /// The answer's source broke, while the client was there.
    pub broken: bool,

    /// What is known of the upstreams that were asked.
    pub upstream: crate::upstream::Record,
    /// Variables assigned and remembered.
    pub values: Values,
    /// What the last regular expression captured: the text, and the groups in it.
    pub captures: Captures,
    /// The steps of the rewrite phase that `if` blocks moved into.
    pub pass: Pass,
    notes: Notes,
    /// `$request_id`, once asked for.
    random_id: Option<[u8; 16]>,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.stage(Stage::Idle);
    }
}

/// How far a request is, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not begun, or over.
    Idle,
    /// Its head is being read.
    Reading,
    /// It is being answered.
    Writing,
}

/// What modules attach for one pass through a location; an internal redirect clears it.
#[derive(Default)]
pub struct Pass {
    notes: Notes,
    /// `try_files` found the path behind an `alias` that is not one location's prefix replaced (`location ~ ..`).
    pub behind_alias: bool,
}

impl Pass {
    fn clear(&mut self) {
        self.notes.clear();
        self.behind_alias = false;
    }
}

/// How a client is asked who it is.
pub struct Challenge {
    /// The status of the answer that asks.
    pub status: u16,
    /// The header of that answer.
    pub name: &'static [u8],
    /// The header of the request that tells.
    pub credentials: Known,
}

impl Request {
    /// A fresh one, for the thread's pool.
    pub fn new(thread: &Rc<Thread>) -> Request {
        let now = thread.handle.now();
        Request {
            thread: thread.clone(),
            generation: thread.generation(),
            client: Client::none(now),
            stage: Stage::Idle,
            buffer: Vec::new(),
            unread: 0,
            head: RequestHead::default(),
            pipelined: false,
            started: now,
            started_unix: thread.handle.unix_time(),
            uri: Vec::new(),
            args: Vec::new(),
            args_emptied: false,
            host: Vec::new(),
            method: Method::Get,
            body: RequestBody::default(),
            received: 0,
            server: ServerId(0),
            plan: PlanId(0),
            location_prefix: 0,
            internal: false,
            depth: 0,
            redirects: 0,
            error_status: 0,
            in_error_page: false,
            uri_changed: false,
            location_left: false,
            restarted: false,
            unmodified_uri: true,
            response: Response::default(),
            overloaded: false,
            keep_alive: false,
            limit_rate: None,
            sent: 0,
            head_length: 0,
            head_sent: false,
            action: Action::None,
            logging: false,
            aborted: false,
            broken: false,
            upstream: crate::upstream::Record::default(),
            values: Values::default(),
            captures: Captures::default(),
            pass: Pass::default(),
            notes: Notes::default(),
            random_id: None,
        }
    }

    /// Reads what the client sent, behind `buffer`; waits until there is something. 0 at the end.
    pub async fn receive(&mut self) -> std::io::Result<usize> {
        let Request { thread, client, buffer, received, .. } = self;
        let n = std::future::poll_fn(|cx| {
            let mut scratch = thread.scratch();
            let read = client.poll_read(cx, &mut scratch);
            if let std::task::Poll::Ready(Ok(n)) = read {
                buffer.extend_from_slice(&scratch[..n]);
            }
            read
        })
        .await?;
        *received += n as u64;
        Ok(n)
    }
    /// Drops the bytes between the head and what nobody used yet: the head's places stay true.
    pub fn compact(&mut self) {
        let end = self.head.length;
        if self.unread > end {
            self.buffer.drain(end..self.unread);
            self.unread = end;
        }
    }
    /// Drops everything but what was read behind this request: the next one begins with it.
    fn keep_unread(&mut self) {
        match self.unread == self.buffer.len() {
            true => self.buffer.clear(),
            false => drop(self.buffer.drain(..self.unread)),
        }
        self.unread = 0;
    }

    /// Prepares for the next request on the same connection; `buffer` keeps what was read behind the last one.
    pub fn reset(&mut self) {
        self.client.speak_for_itself();
        self.keep_unread();
        self.pipelined = !self.buffer.is_empty();
        self.head.clear();
        self.uri.clear();
        self.args.clear();
        self.args_emptied = false;
        self.host.clear();
        self.method = Method::Get;
        self.body.reset();
        self.received = 0;
        self.location_prefix = 0;
        self.internal = false;
        self.depth = 0;
        self.redirects = 0;
        self.error_status = 0;
        self.in_error_page = false;
        self.uri_changed = false;
        self.location_left = false;
        self.restarted = false;
        self.unmodified_uri = true;
        self.response.reset();
        self.overloaded = false;
        self.keep_alive = false;
        self.limit_rate = None;
        self.sent = 0;
        self.head_length = 0;
        self.head_sent = false;
        self.logging = false;
        self.aborted = false;
        self.broken = false;
        self.upstream.reset();
        self.captures.clear();
        self.pass.clear();
        self.notes.clear();
        self.random_id = None;
    }

    /// Back to the thread's pool: holds on to nothing but capacity.
    pub fn rest(&mut self) {
        self.stage(Stage::Idle);
        self.unread = self.buffer.len();
        self.reset();
    }
    /// Counts the request as being read or answered (`stub_status`).
    pub fn stage(&mut self, stage: Stage) {
        let counters = &self.thread.counters;
        for (stage, change) in [(std::mem::replace(&mut self.stage, stage), -1), (stage, 1)] {
            match stage {
                Stage::Idle => {}
                Stage::Reading => counters.read(change),
                Stage::Writing => counters.write(change),
            }
        }
    }
    /// Bytes of head and body read so far, in the client's encoding; 0 until the head is complete (`$request_length`).
    pub fn length(&self) -> u64 {
        if self.client.is_stream() {
            return self.received;
        }
        // Empty lines before the request do not count.
        let added = self.kept::<headers_more::input::Added>().map_or(0, |added| added.0);
        (self.head.length - added - self.head.line.start as usize) as u64 + self.body.consumed
    }
    /// Bytes of the body sent (`$body_bytes_sent`).
    pub fn body_sent(&self) -> u64 {
        if self.head_sent { self.sent.saturating_sub(self.head_length) } else { 0 }
    }
    /// The request line without its end; as far as it came, if it is not complete or none (`$request`).
    pub fn line(&self) -> &[u8] {
        if !self.head.line.is_empty() {
            return self.text(self.head.line);
        }
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = self.buffer.iter().take_while(|byte| is_end(byte)).count();
        let line = &self.buffer[start..];
        &line[..line.iter().position(is_end).unwrap_or(line.len())]
    }
    /// 128 random bits, the same for the whole request (`$request_id`).
    pub fn random_id(&mut self) -> [u8; 16] {
        *self.random_id.get_or_insert_with(crate::random::bits)
    }

    /// Has the same random bits as another.
    pub fn share_id(&mut self, other: &mut Request) {
        self.random_id = Some(other.random_id());
    }

    /// What the location in force does, to be looked at.
    pub fn location(&self) -> &Plan {
        self.generation.shared.plan(self.plan)
    }
    /// The core module's settings in the location in force.
    pub fn core(&self) -> &Core {
        &self.location().core
    }
    /// What the location in force does, held while the request changes.
    pub fn plan(&self) -> PlanRef {
        PlanRef::new(self.generation.clone(), self.plan)
    }
    /// The target of the request line, as the client wrote it.
    pub fn target(&self) -> &[u8] {
        self.text(self.head.target)
    }
    /// A place in the head as bytes.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.buffer)
    }
    /// The first header of a known name.
    pub fn header(&self, known: Known) -> Option<&[u8]> {
        self.head.headers.value(known, &self.buffer)
    }
    /// What asks for credentials, and where they are: who wants a tunnel speaks to a proxy (RFC 9110, section 11.7).
    pub fn challenge(&self) -> Challenge {
        match self.method {
            Method::Connect => {
                Challenge { status: 407, name: b"Proxy-Authenticate", credentials: Known::ProxyAuthorization }
            }
            _ => Challenge { status: 401, name: b"WWW-Authenticate", credentials: Known::Authorization },
        }
    }
    /// Whether the request has conditions or ranges: the response may be another than the whole.
    pub fn has_conditions(&self) -> bool {
        use Known::{IfMatch, IfModifiedSince, IfNoneMatch, IfUnmodifiedSince, Range};
        [IfModifiedSince, IfNoneMatch, Range, IfMatch, IfUnmodifiedSince]
            .iter()
            .any(|k| self.head.headers.has(*k))
    }
    /// Whether the client asked for the head only.
    pub fn is_head(&self) -> bool {
        self.method == Method::Head
    }
    /// Attaches something that lives until the request ends.
    pub fn keep<T: Any>(&mut self, note: T) {
        self.notes.keep(note);
    }
    /// What was attached with [`Request::keep`].
    pub fn kept<T: Any>(&self) -> Option<&T> {
        self.notes.kept()
    }
    /// As [`Request::kept`], to change it.
    pub fn kept_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.notes.kept_mut()
    }
    /// Drops what was attached with [`Request::keep`].
    pub fn forget<T: Any>(&mut self) {
        self.notes.forget::<T>();
    }
    /// Attaches something that lives until the request leaves this location.
    pub fn keep_in_pass<T: Any>(&mut self, note: T) {
        self.pass.notes.keep(note);
    }
    /// What was attached with [`Request::keep_in_pass`].
    pub fn kept_in_pass<T: Any>(&self) -> Option<&T> {
        self.pass.notes.kept()
    }
    /// As [`Request::kept_in_pass`], to change it.
    pub fn kept_in_pass_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.pass.notes.kept_mut()
    }
    /// Appends what group `n` of the last regular expression captured.
    pub fn capture(&self, n: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(self.captures.group(n as usize).unwrap_or_default());
    }
    /// The same, escaped again as for arguments if the client's path was escaped.
    pub fn capture_escaped(&self, n: u8, out: &mut Vec<u8>) {
        if memchr::memchr2(b'%', b'+', self.text(self.head.path)).is_none() {
            return self.capture(n, out);
        }
        if let Some(text) = self.captures.group(n.into()) {
            wire::uri::escape_args(text, out);
        }
    }

    /// The status with which it was answered with nothing at all (444 ..), if it was.
    pub fn silenced(&self) -> Option<u16> {
        Some(self.error_status).filter(|status| self.response.status == 0 && closes_silently(*status))
    }

    /// Writes to the error log in force, with this request as context.
    pub fn note(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.core().error_log.write(level, &Context::request(self), message);
    }
    /// Makes `other` a request for the same, of no client and without a body.
    pub fn copy_to(&self, other: &mut Request) {
        other.generation = self.generation.clone();
        other.client = Client::none(self.thread.handle.now());
        other.client.id = self.client.id;
        other.client.peer = self.client.peer;
        other.client.listener = self.client.listener;
        other.buffer.clear();
        other.buffer.extend_from_slice(&self.buffer[..self.head.length]);
        other.unread = other.buffer.len();
        other.head.clone_from(&self.head);
        other.started = self.started;
        other.started_unix = self.started_unix;
        other.uri.extend_from_slice(&self.uri);
        other.args.extend_from_slice(&self.args);
        other.args_emptied = self.args_emptied;
        other.host.extend_from_slice(&self.host);
        other.method = self.method;
        other.server = self.server;
        other.plan = self.plan;
        other.location_prefix = self.location_prefix;
        other.internal = self.internal;
        other.location_left = self.location_left;
        other.unmodified_uri = self.unmodified_uri;
        other.prepare_values();
    }
    /// Takes up service of a connection with the configuration that is in force for it.
    pub fn use_client(&mut self, client: Client, generation: Rc<LocalGeneration>) {
        self.client = client;
        self.generation = generation;
    }
    /// Only its log line is left to be written: of its configuration it keeps what that needs, and the rest may go.
    pub fn let_configuration_go(&mut self) {
        if self.core().post_action.is_some() {
            return;
        }
        let residue = self.generation.residue(self.server, self.plan, self.client.listener);
        if let Some(residue) = residue {
            (self.generation, self.server, self.plan) = (residue, ServerId(0), PlanId(0));
        }
    }
    /// Whether it is being answered, and its log line not yet written.
    pub fn is_under_way(&self) -> bool {
        self.stage == Stage::Writing && !self.logging
    }
    /// Room for the variables of the request's configuration.
    pub fn prepare_values(&mut self) {
        let size = self.generation.shared.variables.len();
        self.values.reset(size);
    }
    /// Whether bytes behind the request are there already.
    pub fn head_pipelined(&self) -> bool {
        self.unread < self.buffer.len()
    }

    /// Goes to another path of the same server, as `error_page`, `try_files`, `index` and X-Accel-Redirect do.
    /// The phases begin again, the server's rewrite phase included.
    pub fn redirect_to(&mut self, uri: &[u8], args: Query<'_>) {
        self.uri.clear();
        self.uri.extend_from_slice(uri);
        match args {
            Query::Kept => {}
            Query::None => {
                self.args.clear();
                self.args_emptied = false;
            }
            Query::These(args) => self.set_args(args),
        }
        self.internal = true;
        self.unmodified_uri = false;
        self.location_left = false;
        self.restarted = true;
        self.redirects += 1;
        self.leave_location();
    }
    /// Makes this the query string.
    pub fn set_args(&mut self, args: &[u8]) {
        self.args.clear();
        self.args.extend_from_slice(args);
        self.args_emptied = args.is_empty();
    }
    /// Drops what belonged to the pass through the last location.
    pub fn leave_location(&mut self) {
        self.pass.clear();
        self.uri_changed = false;
    }
}

/// The query string behind an internal redirect.
#[derive(Clone, Copy)]
pub enum Query<'a> {
    /// As it was.
    Kept,
    /// There is none any more.
    None,
    /// Another, which may be empty.
    These(&'a [u8]),
}
impl<'a> From<Option<&'a [u8]>> for Query<'a> {
    /// What stands behind the `?` of a target, if there is one.
    fn from(args: Option<&'a [u8]>) -> Query<'a> {
        args.map_or(Query::None, Query::These)
    }
}

impl Flow for Request {
    fn client_ip(&self) -> Option<IpAddr> {
        self.client.peer.ip()
    }
    fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.note(level, message);
    }
}
