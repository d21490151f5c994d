//! One client's connection: at rest a small record in its loop's slab; awake, a conversation of requests.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use reactor::{Peer, Why};
use wire::{BadRequest, Framing, Progress, RequestParser, Version};

use crate::http::request::{Request, Stage};
use crate::http::{body, phases};
use crate::http2;
use crate::log::{Context, Level};
use crate::modules::core::Lingering;
use crate::modules::ssl::{self, Tls};
use crate::proxy_protocol::Proxied;
use crate::worker::thread::Thread;
use crate::worker::{Seat, admission};

/// A connection's socket.
pub type Socket = reactor::Socket<Rest>;
/// A loop's handle.
pub type Handle = reactor::Handle<Rest>;

/// What a connection at rest remembers.
pub struct Rest {
    /// The client's address.
    pub peer: Peer,
    /// Index of the listening socket.
    pub listener: u32,
    /// Number of the connection.
    pub id: u64,
    /// Requests served.
    pub requests: u32,
    /// When it was accepted.
    pub opened: Instant,
    /// A shutdown does not close it before so many milliseconds after that (`keepalive_min_timeout`).
    pub kept: u32,
    /// The state of encryption.
    pub tls: Option<Box<Tls>>,
    /// Who a load balancer speaks for.
    pub proxied: Option<Box<Proxied>>,
    /// Its place among the worker's connections.
    pub seat: Seat,
}

/// How a conversation ends, or pauses.
enum Ending {
    /// The next request may come for so long.
    Rest(Duration),
    /// Close now.
    Close,
    /// Close when the client has read the answer.
    Linger,
}

/// Serves a connection that woke, until it rests again or closes.
pub async fn serve(thread: Rc<Thread>, woken: reactor::Woken<Rest>) {
    if woken.why == Why::TimedOut {
        return drop_idle(&thread, woken);
    }
    if woken.why == Why::Evicted && !may_go_on(&woken) {
        let kept = woken.rest.opened + Duration::from_millis(woken.rest.kept.into());
        if kept > thread.handle.now() {
            woken.socket.set_deadline(Some(kept));
            thread.handle.rest(woken.socket, woken.rest);
        } else if (thread.draining() && woken.rest.requests == 0) || is_young(&thread, &woken.rest) {
            thread.handle.rest(woken.socket, woken.rest);
            admission::spared(&thread);
        }
        return;
    }
    let Some(generation) = thread.generation_at(woken.rest.listener) else {
        return; // nobody listens there any more
    };
    let mut request = thread.request();
    request.client.wake(woken.socket, woken.rest);
    request.generation = generation;
    let ending = match prologue(&mut request).await {
        Ok(()) if http2::begins(&mut request).await => {
            let (given, sending) = Box::pin(http2::serve(&thread, request)).await;
            request = given;
            if sending { Ending::Linger } else { Ending::Close }
        }
        Ok(()) => converse(&mut request).await,
        Err(()) => Ending::Close,
    };
    match ending {
        Ending::Rest(timeout) => request.client.rest(timeout),
        Ending::Close => request.client.close(),
        Ending::Linger => linger(&mut request).await,
    }
    thread.give_request(request);
}

/// How long a connection may take for its first byte before it has to give way to others.
const FIRST_BYTE: Duration = Duration::from_secs(1);
/// The same for a head that has begun: what comes in several packets comes within a moment.
const WHOLE_HEAD: Duration = Duration::from_millis(250);

/// Whether a connection that is to give way has sent a request meanwhile: that is answered. In a shutdown one that has
/// not sent its first yet may still do so, as with nginx: it was accepted, nobody else will answer it.
fn may_go_on(woken: &reactor::Woken<Rest>) -> bool {
    sys::net::has_bytes(woken.socket.fd())
}

/// Whether a connection that is to give way is too young for that.
fn is_young(thread: &Rc<Thread>, rest: &Rest) -> bool {
    rest.requests == 0 && thread.handle.now() < rest.opened + FIRST_BYTE
}

/// An idle connection whose time is up closes; if it never sent a request, `reset_timedout_connection` may reset it.
fn drop_idle(thread: &Rc<Thread>, mut woken: reactor::Woken<Rest>) {
    if let Some(tls) = &mut woken.rest.tls {
        tls.close(&woken.socket);
    }
    let Some(generation) = thread.generation_at(woken.rest.listener) else { return };
    let core = &generation.shared.default_plan(woken.rest.listener).core;
    if woken.rest.requests == 0 {
        let listener = generation.shared.listener(woken.rest.listener);
        let context = Context::waiting(woken.rest.id, woken.rest.peer, &listener.address);
        let action = match listener.ssl && woken.rest.tls.is_none() {
            true => "SSL handshaking",
            false => "waiting for request",
        };
        let message = format_args!("client timed out (110: Connection timed out) while {action}");
        core.error_log.write(Level::Info, &context, message);
    }
    if core.reset_timedout_connection && woken.rest.requests == 0 {
        let _ = sys::net::set_reset_on_close(woken.socket.fd());
    }
}

/// What comes before the first request: PROXY protocol, the TLS handshake.
async fn prologue(request: &mut Request) -> Result<(), ()> {
    if request.client.requests > 0 || request.client.is_encrypted() {
        return Ok(());
    }
    let generation = request.generation.clone();
    let listener = generation.shared.listener(request.client.listener);
    if listener.proxy_protocol {
        crate::proxy_protocol::receive(request).await?;
    }
    if listener.ssl {
        let opened = request.client.opened;
        request.client.set_yielding(Some(opened + FIRST_BYTE));
        ssl::handshake(request).await?;
        if request.buffer.is_empty() {
            // What ends or fails here is told by whoever reads next.
            let _ = request.receive().await;
        }
        request.client.set_yielding(None);
    }
    Ok(())
}

async fn converse(request: &mut Request) -> Ending {
    loop {
        let ending = match read_head(request).await {
            Ok(true) => one(request).await,
            Ok(false) => return Ending::Close,
            Err(bad) => refused(request, bad).await,
        };
        if !matches!(ending, Ending::Rest(_)) || request.unread == request.buffer.len() {
            return ending;
        }
        // Pipelined: the next request is here already. It belongs to the newest configuration.
        request.reset();
        let Some(newest) = request.thread.generation_at(request.client.listener) else {
            return Ending::Close;
        };
        request.generation = newest;
    }
}

/// Serves one stream of HTTP/2: a request whose head was read by others.
pub async fn serve_stream(request: &mut Request, head: &::http::request::Parts) {
    begin(request);
    choose_default_server(request);
    let received = http2::head::receive(request, head);
    if let Ok(stream) = request.client.stream() {
        stream.add_payload(request.buffer.len());
    }
    // What becomes of the connection is not for one of its streams to say.
    let _ = match received {
        Ok(()) => one(request).await,
        Err(bad) => refused(request, Refusal::Bad(bad)).await,
    };
}

/// Until the host is known, the default server's settings count.
fn choose_default_server(request: &mut Request) {
    let shared = &request.generation.shared;
    request.server = shared.listener(request.client.listener).default_server;
    request.plan = shared.server(request.server).plan;
}

/// A request whose host is not known belongs to the server that the handshake was for.
fn choose_by_handshake(request: &mut Request) {
    let name = request.client.agreed().and_then(|agreed| agreed.server_name.clone());
    let Some(name) = name.filter(|_| request.host.is_empty()) else { return };
    request.host.extend_from_slice(name.to_ascii_lowercase().as_bytes());
    choose_server(request);
    request.host.clear();
}

/// Reads the head of a request; `false` if the client closed before one began.
async fn read_head(request: &mut Request) -> Result<bool, Refusal> {
    choose_default_server(request);
    let mut parser = RequestParser::new();
    let mut deadline = None;
    loop {
        if !request.buffer.is_empty() {
            if deadline.is_none() {
                begin(request);
            }
            let Request { generation, plan, buffer, head, .. } = &mut *request;
            let core = &generation.shared.plan(*plan).core;
            if parser.parse(buffer, head, &core.limits).map_err(Refusal::Bad)? == Progress::Done {
                request.unread = request.head.length;
                if deadline.is_some() {
                    request.client.set_yielding(None);
                }
                return Ok(true);
            }
            let timeout = core.client_header_timeout;
            let until = *deadline.get_or_insert(request.thread.handle.now() + timeout);
            request.client.set_deadline(Some(until));
            request.client.set_yielding(Some(request.started + WHOLE_HEAD));
        }
        match request.receive().await {
            Ok(0) if request.buffer.is_empty() => {
                note_closed(request);
                return Ok(false);
            }
            Ok(0) => return Err(Refusal::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut && before(deadline, request) => {
                return Err(Refusal::GaveWay);
            }
            Err(error) => return broken(request, &error),
        }
    }
}

/// Whether a deadline that passed was let pass before its time.
fn before(deadline: Option<Instant>, request: &Request) -> bool {
    deadline.is_some_and(|until| request.thread.handle.now() < until)
}

fn begin(request: &mut Request) {
    if !request.client.is_stream() {
        request.client.requests += 1;
    }
    request.thread.counters.request();
    request.stage(Stage::Reading);
    request.started = request.thread.handle.now();
    request.started_unix = request.thread.handle.unix_time();
}

fn broken(request: &mut Request, error: &io::Error) -> Result<bool, Refusal> {
    match (error.kind() == io::ErrorKind::TimedOut, request.buffer.is_empty()) {
        (true, false) => return Err(Refusal::Timeout),
        (true, true) => {
            let message =
                format_args!("client timed out (110: Connection timed out) while waiting for request");
            note_waiting(request, Level::Info, message);
        }
        (false, true) => {
            let error = crate::log::Errno(error);
            note_waiting(
                request,
                Level::Info,
                format_args!("recv() failed ({error}) while waiting for request"),
            );
        }
        (false, false) => {
            log_info!(request, "recv() failed ({}) while {}", crate::log::Errno(error), reading(request));
        }
    }
    Ok(false)
}

/// What is being read of a head that is not complete.
fn reading(request: &Request) -> &'static str {
    if request.head.line.is_empty() {
        "reading client request line"
    } else {
        "reading client request headers"
    }
}

/// A client closed a connection on which nothing was under way.
fn note_closed(request: &Request) {
    let client = &request.client;
    if client.requests == 0 {
        let message = format_args!("client closed connection while waiting for request");
        return note_waiting(request, Level::Info, message);
    }
    let message = format_args!("client {} closed keepalive connection", client.address_text());
    request.core().error_log.write(Level::Info, &Context::connection(client.id), message);
}

/// Logs what befell a connection while no request was under way.
pub fn note_waiting(request: &Request, level: Level, message: std::fmt::Arguments<'_>) {
    let client = &request.client;
    let listener = request.generation.shared.listener(client.listener);
    let context = Context::waiting(client.id, client.peer, &listener.address);
    request.core().error_log.write(level, &context, message);
}

/// Why a request got no further than its head.
enum Refusal {
    /// It breaks the protocol's rules.
    Bad(BadRequest),
    /// It did not arrive within `client_header_timeout`.
    Timeout,
    /// The client closed the connection in the middle of it.
    Closed,
    /// It was slow in coming, and others need its slot.
    GaveWay,
}

/// A request that was refused while its head was read. A late one is logged as 408, one that broke off as 400; neither
/// gets an answer.
async fn refused(request: &mut Request, refusal: Refusal) -> Ending {
    request.keep_alive = false;
    request.client.set_yielding(None);
    understand_what_is_there(request);
    let bad = match refusal {
        Refusal::Bad(bad) => bad,
        Refusal::Timeout => {
            log_info!(request, "client timed out (110: Connection timed out) while {}", reading(request));
            give_up(request, 408);
            return reset(request);
        }
        Refusal::GaveWay => {
            log_info!(request, "client gave way to others while {}", reading(request));
            request.overloaded = true;
            phases::refuse(request, 503).await;
            return Ending::Close;
        }
        Refusal::Closed => {
            log_info!(request, "client prematurely closed connection while {}", reading(request));
            give_up(request, 400);
            return Ending::Close;
        }
    };
    choose_by_handshake(request);
    note_refusal(request, &bad);
    if request.head.version == wire::Version::Http09 {
        // A page is all that it can have.
        (request.method, request.head.method) = (wire::Method::Get, wire::Method::Get);
    }
    if !request.body.is_expected() {
        request.unread = request.buffer.len();
    }
    phases::refuse(request, bad.status()).await;
    Ending::Linger
}

/// What logs show of a request that is not whole.
fn understand_what_is_there(request: &mut Request) {
    request.prepare_values();
    if request.head.line.is_empty() {
        // Not known to be HTTP/0.9 either: the answer has a head.
        request.head.clear();
        request.head.version = if request.client.is_stream() { Version::Http20 } else { Version::Http10 };
        if request.buffer.starts_with(b"HEAD ") {
            request.head.method = wire::Method::Head;
        }
    }
    request.method = request.head.method;
    if request.uri.is_empty() && take_path(request).is_err() {
        // As in nginx the headers behind it were not looked at.
        request.head.headers.clear();
        return;
    }
    if request.host.is_empty() && take_host(request).is_err() {
        // The URL's host was found before the header that is wrong.
        let host = request.head.host.of(&request.buffer).to_ascii_lowercase();
        request.host.extend_from_slice(host.split(|byte| *byte == b':').next().unwrap_or_default());
    }
    if !request.host.is_empty() {
        choose_server(request);
    }
}

fn give_up(request: &mut Request, status: u16) {
    request.aborted = true;
    phases::give_up(request, status);
}

const NO_AUTHORITY: &str = "client sent neither \":authority\" nor \"Host\" header";

fn note_refusal(request: &Request, bad: &BadRequest) {
    let mut text = request.thread.buffer();
    bad.log_text(&request.buffer, &mut text);
    let action = match bad.action() {
        "reading client request line" if request.pipelined => "reading client pipelined request line",
        action => action,
    };
    let message: std::borrow::Cow<'_, str> = match bad {
        BadRequest::NoHost if request.client.is_stream() => NO_AUTHORITY.into(),
        _ => String::from_utf8_lossy(&text),
    };
    log_info!(request, "{message} while {action}");
    drop(message);
    request.thread.give_buffer(text);
}

/// One request whose head is read: finds its server, serves it, and decides what becomes of the connection.
async fn one(request: &mut Request) -> Ending {
    for line in &request.head.dropped {
        let line = String::from_utf8_lossy(request.text(*line));
        log_info!(
            request,
            "client sent invalid header line: \"{line}\" while reading client request headers"
        );
    }
    if let Err(bad) = understand(request) {
        return refused(request, Refusal::Bad(bad)).await;
    }
    if request.client.plain_on_ssl {
        ssl::refuse_plain(request).await;
        return Ending::Linger;
    }
    request.stage(Stage::Writing);
    if request.client.is_stream() && !speaks_http2(request) {
        log_info!(
            request,
            "client attempted to request the server name for which the negotiated protocol is disabled \
             while reading client request headers"
        );
        phases::refuse(request, 421).await;
        return Ending::Close;
    }
    if let Some(status) = ssl::refusal(request) {
        phases::refuse(request, status).await;
        return after(request).await;
    }
    phases::run(request).await;
    after(request).await
}

/// Whether the server that the request is for speaks HTTP/2, be it with others of its address.
fn speaks_http2(request: &Request) -> bool {
    let shared = &request.generation.shared;
    shared.server(request.server).http2.enabled || shared.listener(request.client.listener).http2
}

/// From the parsed head to host, server, path and framing.
fn understand(request: &mut Request) -> Result<(), BadRequest> {
    request.method = request.head.method;
    request.prepare_values();
    // As in nginx the request line is judged before the headers, so by the settings of the default server.
    take_path(request)?;
    take_host(request)?;
    choose_server(request);
    let mut framing = match request.head.framing(&request.buffer) {
        Err(bad @ (BadRequest::Trace | BadRequest::Connect)) => {
            request.body.begin(request.head.body(&request.buffer)?);
            return Err(bad);
        }
        framing => framing?,
    };
    if let Ok(stream) = request.client.stream()
        && framing == Framing::None
        && !stream.is_body_complete()
    {
        // Its length is known when it ends, as with chunks.
        framing = Framing::Chunked;
    }
    request.body.begin(framing);
    request.body.expects_continue = request.head.expects_continue(&request.buffer);
    // Whether the location allows it too is asked where that is found.
    request.keep_alive = request.head.keep_alive(&request.buffer);
    Ok(())
}

fn take_path(request: &mut Request) -> Result<(), BadRequest> {
    let Request { generation, plan, head, buffer, uri, args, .. } = request;
    args.clear();
    if head.has_args {
        args.extend_from_slice(head.args.of(buffer));
    }
    let path = head.path.of(buffer);
    if head.plain_path {
        uri.extend_from_slice(path);
        return Ok(());
    }
    let merge_slashes = generation.shared.plan(*plan).core.merge_slashes;
    wire::uri::normalize(path, merge_slashes, uri).inspect_err(|_| uri.clear())
}

/// The host of the request line's URL wins over the `Host` header.
fn take_host(request: &mut Request) -> Result<(), BadRequest> {
    let Request { head, buffer, host, .. } = request;
    head.push_host(buffer, host)
}

fn choose_server(request: &mut Request) {
    if request.generation.shared.listener(request.client.listener).only_one_server() {
        return;
    }
    let generation = request.generation.clone();
    let listener = generation.shared.listener(request.client.listener);
    let names = listener.names_for(request.client.local_address());
    let host = std::mem::take(&mut request.host);
    let found = names.names.find(&host, Some(request)).unwrap_or(names.default_server);
    request.host = host;
    request.server = found;
    request.plan = generation.shared.server(found).plan;
}

/// What becomes of the connection after a response.
async fn after(request: &mut Request) -> Ending {
    if request.client.is_stream() {
        return Ending::Close;
    }
    if request.response.status == 0 || request.aborted {
        // A connection that is to get nothing is not worth a farewell either.
        let ends_hard = request.client.timed_out || request.error_status == 444;
        return if ends_hard { reset(request) } else { Ending::Close };
    }
    if !request.keep_alive {
        let unread = !request.body.complete || request.head_pipelined();
        let lingers = unread || request.core().lingering_close == Lingering::Always;
        return if lingers { Ending::Linger } else { Ending::Close };
    }
    if !request.body.complete && !body::discard(request).await {
        return Ending::Close;
    }
    let (core, now) = (request.core(), request.thread.handle.now());
    let (timeout, least) = (core.keepalive_timeout, core.keepalive_min_timeout);
    if timeout.is_zero() {
        // As in nginx, also where the answer was made before a location could say so in its head.
        return Ending::Close;
    }
    request.client.keep_until(now, least.min(timeout));
    Ending::Rest(timeout)
}

fn reset(request: &Request) -> Ending {
    if let Some(fd) = request.client.fd().filter(|_| request.core().reset_timedout_connection) {
        let _ = sys::net::set_reset_on_close(fd);
    }
    Ending::Close
}

/// Closing while the client still sends would destroy the answer it has not read (RFC 9112 9.6): stop sending, and
/// read on for a while (`lingering_close`, `lingering_time`, `lingering_timeout`).
async fn linger(request: &mut Request) {
    let plan = request.plan();
    let client = request.client.take();
    if plan.core.lingering_close == Lingering::Off || client.peer_closed() {
        return;
    }
    request.client = client;
    if request.client.shut_down().is_err() {
        return drop(request.client.take());
    }
    let end = request.thread.handle.now() + plan.core.lingering_time;
    let step: Duration = plan.core.lingering_timeout;
    loop {
        let now = request.thread.handle.now();
        if now >= end {
            break;
        }
        request.client.set_deadline(Some((now + step).min(end)));
        request.buffer.clear();
        request.unread = 0;
        if !matches!(request.receive().await, Ok(1..)) {
            break;
        }
    }
    drop(request.client.take());
}
