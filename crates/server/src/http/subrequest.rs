//! Requests within a request: another path of the same server is asked on behalf of a client's request.
//!
//! There are three kinds. [`ask`] is waited for: it goes through the phases in the request's own place, which is put
//! aside meanwhile, so that head, client and variables are shared without a copy. [`background`] is not waited for: it
//! is a request of its own, beside the client's, and lives on when that is over. Its answer is of no interest; what
//! counts is what its location does with it (a mirror's upstream hears of the request; a cache takes up the new
//! answer). [`super::included`] is beside it as well, and its answer becomes a part of the other's body.
//!
//! None of them reads from the client or sends to it, nor is logged unless `log_subrequest` says so. Of the phases they
//! have none before the server's rewrite phase, and no access phase: who may come here was decided for the client's
//! request.

use std::io;

use wire::{Method, Version};

use super::body::RequestBody;
use super::phases;
use super::plan::PlanId;
use super::regex::Captures;
use super::request::{Pass, Request};
use super::response::Response;
use crate::log::Action;
use crate::modules;

/// How deep requests may be within one another, as in nginx.
const DEEPEST: u8 = 51;

/// What became of a request within another.
pub struct Answer {
    /// Its status, also if the location gave no answer (444); 0 if its upstream answered without a head.
    pub status: u16,
    /// All of it; nobody has read the body yet.
    pub response: Response,
}

/// Asks another path with GET and without a body, and waits for the head of the answer. `see` is called while variables
/// still mean that request (`$upstream_status`).
pub async fn ask(
    request: &mut Request,
    uri: &[u8],
    args: &[u8],
    see: impl AsyncFnOnce(&mut Request),
) -> Answer {
    if !is_room(request, uri) {
        return Answer { status: 500, response: Response::default() };
    }
    let mut aside = Aside::of(request);
    request.uri.extend_from_slice(uri);
    request.args.extend_from_slice(args);
    request.depth += 1;
    phases::within(request).await;
    let status = if aside.finds_head(request) { request.response.status } else { 0 };
    if request.action == Action::UpstreamHead {
        request.action = Action::SendingUpstream;
    }
    see(request).await;
    request.depth -= 1;
    settle(request).await;
    phases::log_within(request);
    let status = request.silenced().unwrap_or(status);
    aside.swap(request);
    Answer { status, response: aside.response }
}

/// Whether one more may be within this request; else it is logged.
pub fn is_room(request: &Request, uri: &[u8]) -> bool {
    let room = request.depth < DEEPEST;
    if !room {
        let uri = crate::log::shown(uri);
        log_error!(request, "subrequests cycle while processing \"{uri}\"");
    }
    room
}

/// Asks what answers in this very location once more, with GET: no phase before the content is gone through again.
pub async fn ask_again(request: &mut Request) -> Answer {
    let mut aside = Aside::of(request);
    request.uri.extend_from_slice(&aside.uri);
    request.args.extend_from_slice(&aside.args);
    request.args_emptied = aside.args_emptied;
    request.location_prefix = aside.location_prefix;
    request.location_left = aside.location_left;
    request.unmodified_uri = aside.unmodified_uri;
    std::mem::swap(&mut request.captures, &mut aside.captures);
    request.depth += 1;
    phases::again(request).await;
    request.depth -= 1;
    let status = if aside.finds_head(request) { request.response.status } else { 0 };
    phases::log_within(request);
    std::mem::swap(&mut request.captures, &mut aside.captures);
    aside.swap(request);
    Answer { status, response: aside.response }
}

/// An answer without a body is over, and its upstream's connection free.
pub async fn settle(request: &mut Request) {
    let empty = request.response.content_length == Some(0);
    if let Some(upstream) = request.response.body.upstream_mut()
        && empty
    {
        let _ = std::future::poll_fn(|cx| upstream.poll_next(cx)).await;
    }
}

/// The state of a request while another is in its place.
#[derive(Default)]
struct Aside {
    uri: Vec<u8>,
    args: Vec<u8>,
    args_emptied: bool,
    method: Option<Method>,
    version: Version,
    body: RequestBody,
    plan: Option<PlanId>,
    location_prefix: usize,
    internal: bool,
    redirects: u8,
    error_status: u16,
    in_error_page: bool,
    uri_changed: bool,
    location_left: bool,
    restarted: bool,
    unmodified_uri: bool,
    response: Response,
    keep_alive: bool,
    limit_rate: Option<u64>,
    upstream: crate::upstream::Record,
    captures: Captures,
    pass: Pass,
}

impl Aside {
    /// Puts a request aside: its place is as of a new one.
    fn of(request: &mut Request) -> Aside {
        let (method, plan) = (Some(Method::Get), Some(request.plan));
        let mut aside = Aside { method, plan, version: request.head.version, ..Aside::default() };
        aside.swap(request);
        request.head.version = aside.version.max(Version::Http10);
        aside
    }
    /// Whether the answer has a head. One without makes of its request one of HTTP/0.9, but not of the client's.
    fn finds_head(&self, request: &mut Request) -> bool {
        std::mem::replace(&mut request.head.version, self.version) != Version::Http09
    }
    fn swap(&mut self, request: &mut Request) {
        use std::mem::swap;
        swap(&mut self.uri, &mut request.uri);
        swap(&mut self.args, &mut request.args);
        swap(&mut self.args_emptied, &mut request.args_emptied);
        self.method = self.method.map(|method| std::mem::replace(&mut request.method, method));
        swap(&mut self.body, &mut request.body);
        self.plan = self.plan.map(|plan| std::mem::replace(&mut request.plan, plan));
        swap(&mut self.location_prefix, &mut request.location_prefix);
        swap(&mut self.internal, &mut request.internal);
        swap(&mut self.redirects, &mut request.redirects);
        swap(&mut self.error_status, &mut request.error_status);
        swap(&mut self.in_error_page, &mut request.in_error_page);
        swap(&mut self.uri_changed, &mut request.uri_changed);
        swap(&mut self.location_left, &mut request.location_left);
        swap(&mut self.restarted, &mut request.restarted);
        swap(&mut self.unmodified_uri, &mut request.unmodified_uri);
        swap(&mut self.response, &mut request.response);
        swap(&mut self.keep_alive, &mut request.keep_alive);
        swap(&mut self.limit_rate, &mut request.limit_rate);
        swap(&mut self.upstream, &mut request.upstream);
        swap(&mut self.captures, &mut request.captures);
        swap(&mut self.pass, &mut request.pass);
    }
}

/// What a request in the background takes of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Method and head, and the body as far as it was read.
    Body,
    /// Method and head.
    Head,
    /// The head; it is asked with GET.
    Nothing,
}

/// A request for another path, beside the client's.
///
/// # Errors
/// When the file with the body cannot be held open a second time.
pub fn beside(request: &mut Request, uri: &[u8], args: &[u8], takes: Takes) -> io::Result<Box<Request>> {
    let body = match takes {
        Takes::Body => request.body.twin()?,
        Takes::Head | Takes::Nothing => RequestBody::default(),
    };
    let mut other = request.thread.request();
    other.use_client(request.client.shadow(), request.generation.clone());
    let head = request.head.length.min(request.buffer.len());
    other.buffer.clear();
    other.buffer.extend_from_slice(&request.buffer[..head]);
    other.unread = other.buffer.len();
    other.head = request.head.clone();
    other.body = body;
    other.method = if takes == Takes::Nothing { Method::Get } else { request.method };
    other.host.extend_from_slice(&request.host);
    other.server = request.server;
    other.plan = request.plan;
    (other.started, other.started_unix) = (request.started, request.started_unix);
    other.values = request.values.clone();
    other.uri.extend_from_slice(uri);
    other.args.extend_from_slice(args);
    // What the client asked for is another path than this one, but where the same is fetched anew.
    other.unmodified_uri = request.unmodified_uri && uri == request.uri;
    other.depth = request.depth + 1;
    modules::descend(request, &mut other);
    Ok(other)
}

/// Asks another path beside the request; nobody waits for it.
///
/// # Errors
/// When the file with the body cannot be held open a second time.
pub fn background(request: &mut Request, uri: &[u8], args: &[u8], takes: Takes) -> io::Result<()> {
    let mut other = beside(request, uri, args, takes)?;
    let thread = request.thread.clone();
    let serving = thread.serving();
    thread.handle.spawn(async move {
        phases::within(&mut other).await;
        settle(&mut other).await;
        phases::log_within(&mut other);
        other.thread.clone().give_request(other);
        drop(serving);
    });
    Ok(())
}
