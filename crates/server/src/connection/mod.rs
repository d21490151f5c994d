//! One client's connection: at rest a small record in its loop's slab; awake, a conversation of requests.
//!
//! | file | does |
//! |---|---|
//! | `head.rs` | reads a request's head |
//! | `understand.rs` | from the head to host, server, path and framing |
//! | `refusal.rs` | requests that get no further |

mod head;
mod refusal;
mod understand;

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use reactor::{Peer, Why};

pub use self::head::note_waiting;
pub(crate) use self::head::read_to_host;
use self::head::{begin, read_head};
use self::refusal::{Refusal, refused};
use self::understand::{choose_default_server, understand};
use crate::http::request::{Request, Stage};
use crate::http::{body, phases};
use crate::http2;
use crate::http2::head::Wrong;
use crate::log::{Action, Context, Level};
use crate::modules::core::lingering::Close;
use crate::modules::ssl::{self, Tls};
use crate::proxy_protocol::Proxied;
use crate::worker::over::unless_over;
use crate::worker::thread::{Serving, Thread};
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
            // A task of its own: this one has room for a request, which a conversation does not need.
            return thread.handle.clone().spawn(speak_http2(thread.serving(), thread, request));
        }
        Ok(()) => converse(&thread, &mut request).await,
        Err(()) => Ending::Close,
    };
    match ending {
        Ending::Rest(timeout) => request.client.rest(timeout),
        Ending::Close => request.client.close(),
        Ending::Linger => linger(&mut request).await,
    }
    thread.give_request(request);
}

async fn speak_http2(serving: Serving, thread: Rc<Thread>, request: Box<Request>) {
    let lingering = http2::serve(&thread, request).await;
    drop(serving);
    if let Some(mut request) = lingering {
        Box::pin(linger(&mut request)).await;
        thread.give_request(request);
    }
}

/// How long a connection may take for its first byte before it has to give way to others.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Whether a connection that is to give way has sent a request meanwhile: that is answered. In a shutdown one that has
/// not sent its first yet may still do so, as with nginx: it was accepted, nobody else will answer it.
fn may_go_on(woken: &reactor::Woken<Rest>) -> bool {
    sys::net::has_bytes(woken.socket.fd())
}

/// Whether a connection that is to give way is too young for that.
fn is_young(thread: &Rc<Thread>, rest: &Rest) -> bool {
    rest.requests == 0 && thread.handle.now() < rest.opened + FIRST_BYTE
}

/// An idle connection whose time is up closes; it is no failure of a client's, so it is never reset.
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

async fn converse(thread: &Thread, request: &mut Request) -> Ending {
    loop {
        let number = request.generation.number;
        let Some(ending) = unless_over(thread, number, pin!(next(request))).await else {
            phases::cut_off(request);
            return Ending::Close;
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

/// The next request, from its first byte.
async fn next(request: &mut Request) -> Ending {
    match read_head(request).await {
        Ok(true) => one(request).await,
        Ok(false) => Ending::Close,
        Err(bad) => refused(request, bad).await,
    }
}

/// Serves one stream of HTTP/2: a request whose head was read by others.
pub async fn serve_stream(thread: &Thread, request: &mut Request, head: http2::gather::Head) {
    let number = request.generation.number;
    if unless_over(thread, number, pin!(stream(request, head))).await.is_none() {
        phases::cut_off(request);
    }
}

async fn stream(request: &mut Request, head: http2::gather::Head) {
    begin(request);
    let by_name = choose_default_server(request);
    let received = http2::head::receive(request, head, by_name);
    if let Ok(stream) = request.client.stream() {
        stream.add_payload(request.buffer.len());
    }
    // What becomes of the connection is not for one of its streams to say.
    let _ = match received {
        Ok(()) => one(request).await,
        Err(Wrong::Head(bad)) => refused(request, Refusal::Bad(bad)).await,
        Err(Wrong::Fields(what)) => refused(request, Refusal::Fields(what)).await,
    };
}

/// One request whose head is read: finds its server, serves it, and decides what becomes of the connection.
async fn one(request: &mut Request) -> Ending {
    request.action = Action::RequestHeaders;
    for line in &request.head.dropped {
        let line = crate::log::shown(request.text(*line));
        match line.split_once(": ").filter(|_| request.client.is_stream()) {
            Some((name, _)) => log_info!(request, "client sent invalid header: \"{name}\""),
            None => log_info!(request, "client sent invalid header line: \"{line}\""),
        }
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
            "client attempted to request the server name for which the negotiated protocol is disabled"
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

/// What becomes of the connection after a response.
async fn after(request: &mut Request) -> Ending {
    if let Ok(stream) = request.client.stream() {
        if request.error_status == 444 {
            stream.end_hard();
        }
        return Ending::Close;
    }
    if request.response.status == 0 || request.aborted {
        // A connection that is to get nothing is not worth a farewell either.
        let ends_hard = request.client.timed_out || request.error_status == 444;
        return if ends_hard { reset(request) } else { Ending::Close };
    }
    if !request.keep_alive {
        let unread = !request.body.complete
            || request.body.refused
            || request.head_pipelined()
            || request.client.is_handshaking();
        let lingers = unread || request.core().lingering.close == Close::Always;
        return if lingers { Ending::Linger } else { Ending::Close };
    }
    if !request.body.complete && !body::discard(request).await {
        return if request.client.timed_out { reset(request) } else { Ending::Close };
    }
    let (core, now) = (request.core(), request.thread.handle.now());
    let (timeout, least) = (core.keep_alive.timeout, core.keep_alive.min_timeout);
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

/// So long at least is read on, whoever waits for a seat.
const FAREWELL: Duration = Duration::from_millis(100);

/// Closing while the client still sends would destroy the answer it has not read (RFC 9112 9.6): stop sending, and
/// read on for a while (`lingering_close`, `lingering_time`, `lingering_timeout`).
async fn linger(request: &mut Request) {
    let plan = request.plan();
    let client = request.client.take();
    if plan.core.lingering.close == Close::Off || client.peer_closed() {
        return;
    }
    request.client = client;
    if request.client.shut_down().is_err() {
        return drop(request.client.take());
    }
    let begun = request.thread.handle.now();
    // All is said: where slots are short, others are in need of its seat.
    request.client.set_yielding(Some(begun + FAREWELL));
    let end = begun + plan.core.lingering.time;
    let step: Duration = plan.core.lingering.timeout;
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
