//! HTTP/2 with clients: one conversation for each connection, in which every stream becomes a [`Request`] of its own.
//!
//! The `h2` crate knows frames, HPACK and flow control. What it writes is gathered ([`io::Wire`]) and sent once a turn;
//! what it reads becomes the same head that an HTTP/1 request has ([`head`]), so that phases and modules know nothing
//! of the protocol. A stream is served by a task of its own on the connection's thread.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};

use crate::connection;
use crate::http::client::Client;
use crate::http::request::Request;
use crate::log::{self, Level};
use crate::modules::http2::Http2;
use crate::worker::thread::{LocalGeneration, Thread};

mod conversation;
pub mod deadline;
pub mod head;
pub mod io;
pub mod stream;

use self::conversation::Conversation;
use self::io::Wire;
use self::stream::Stream;

/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The protocol's name in ALPN.
pub const ALPN: &[u8] = b"h2";
/// So much of a stream's answer waits for the client beyond what its window allows.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a client may take to leave after it was told to.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long a connection may take for its first stream before it has to give way to others.
const FIRST_STREAM: Duration = Duration::from_secs(1);
/// Streams that a client cancelled, beyond those it let end, before it is taken for an attacker.
const MOST_CANCELED: u32 = 1000;

/// Whether a connection that was just opened speaks HTTP/2: by ALPN, or in the clear by its first bytes.
pub async fn begins(request: &mut Request) -> bool {
    if request.client.requests > 0 || request.client.plain_on_ssl {
        return false;
    }
    let generation = request.generation.clone();
    let listener = generation.shared.listener(request.client.listener);
    if listener.ssl {
        return request.client.speaks_http2();
    }
    let server = generation.shared.server(listener.default_server);
    if !server.http2.enabled && !listener.http2 {
        return false;
    }
    loop {
        let there = request.buffer.len().min(PREFACE.len());
        if request.buffer[..there] != PREFACE[..there] {
            return false;
        }
        if there == PREFACE.len() {
            return true;
        }
        // What ends or fails here is told by whoever reads next.
        if !matches!(request.receive().await, Ok(1..)) {
            return false;
        }
    }
}

/// Serves a connection until it is to close. The request is given back meanwhile, and another one holds the client
/// afterwards. `true`: the client may still be sending.
pub async fn serve(thread: &Rc<Thread>, mut request: Box<Request>) -> (Box<Request>, bool) {
    // Each stream claims what it needs itself.
    request.client.spare();
    let first = request.buffer.split_off(0);
    let client = request.client.take();
    let generation = request.generation.clone();
    let _serving = thread.serving();
    thread.give_request(request);
    let conversation = Conversation::new(thread.clone(), client, first);
    let mut speaker = Box::new(Speaker::new(conversation.clone(), &generation));
    std::future::poll_fn(|cx| speaker.poll(cx)).await;
    let sending = speaker.sending;
    drop(speaker);
    let mut request = thread.request();
    request.use_client(conversation.take_client(), generation);
    (request, sending)
}

/// How far a connection is.
enum State {
    /// The client's preface is still to come.
    Greeting(Handshake<Wire<Conversation>, Bytes>),
    /// Streams come and go.
    Open(Connection<Wire<Conversation>, Bytes>),
}

/// Drives one connection.
struct Speaker {
    conversation: Rc<Conversation>,
    state: State,
    /// The bounds of the address's default server.
    bounds: Http2,
    /// The client was told that no more streams are served.
    leaving: bool,
    /// The conversation ends although the client may still be sending.
    sending: bool,
    /// What is waited for has changed since the deadline was set.
    waiting: Option<Waiting>,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The client takes no more bytes.
    Sending,
    /// Nothing is under way.
    Idle,
    /// Its streams, which have deadlines of their own.
    Streams,
}

impl Speaker {
    fn new(conversation: Rc<Conversation>, generation: &Rc<LocalGeneration>) -> Speaker {
        let listener = generation.shared.listener(conversation.listener());
        let server = generation.shared.server(listener.default_server);
        let (bounds, limits) = (server.http2, &generation.shared.plan(server.plan).core.limits);
        let streams = bounds.max_concurrent_streams;
        let window = u64::from(bounds.preread.max(1 << 16)) * u64::from(streams.clamp(16, 1 << 15));
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(streams)
            .initial_window_size(bounds.preread)
            .initial_connection_window_size(window.min((1 << 31) - 1) as u32)
            // Twice what is served: longer heads are refused here with the words and status of the directive.
            .max_header_list_size(u32::try_from(limits.longest_head().saturating_mul(2)).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER)
            .max_local_error_reset_streams(Some(streams.max(100) as usize))
            .max_pending_accept_reset_streams(streams.max(20) as usize);
        let greeting = builder.handshake(Wire(conversation.clone()));
        let state = State::Greeting(greeting);
        Speaker { conversation, state, bounds, leaving: false, sending: false, waiting: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.conversation.begin_turn(cx);
        loop {
            match self.listen(cx) {
                Poll::Ready(()) => return self.end(cx),
                Poll::Pending => {}
            }
            if self.conversation.is_flooding() && !self.sending {
                self.conversation.note(Level::Info, format_args!("http2 flood detected"));
                self.sending = true;
                self.close(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            self.leave_in_time();
            let flushed = match self.conversation.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            if !self.conversation.take_timed_out() {
                self.set_deadline(flushed);
                return Poll::Pending;
            }
            if !flushed {
                self.conversation
                    .note(Level::Info, format_args!("client timed out (110: Connection timed out)"));
            }
            if !flushed || self.leaving {
                return Poll::Ready(());
            }
            self.close(Reason::NO_ERROR);
        }
    }

    /// Takes in what the client sent, and sets out what it is answered.
    fn listen(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.state {
                State::Greeting(greeting) => match Pin::new(greeting).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(connection)) => self.state = State::Open(connection),
                    Poll::Ready(Err(error)) => {
                        self.broke(&error);
                        return Poll::Ready(());
                    }
                },
                State::Open(connection) => match connection.poll_accept(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Ready(Some(Ok((head, answer)))) => self.begin_stream(head, answer),
                    Poll::Ready(Some(Err(error))) => {
                        self.broke(&error);
                        return Poll::Ready(());
                    }
                },
            }
        }
    }

    fn begin_stream(&mut self, head: http::Request<RecvStream>, mut answer: SendResponse<Bytes>) {
        let conversation = &self.conversation;
        // Streams that were reset count no more for the protocol, but their requests may still be under way.
        let most = self.bounds.max_concurrent_streams.saturating_mul(2);
        let Some(generation) = conversation.thread.generation_at(conversation.listener()) else {
            return answer.send_reset(Reason::REFUSED_STREAM);
        };
        if conversation.live() >= most {
            let live = conversation.live();
            conversation.note(Level::Info, format_args!("concurrent streams exceeded {live}"));
            return answer.send_reset(Reason::REFUSED_STREAM);
        }
        let (head, body) = head.into_parts();
        let client = conversation.stream_client(|conversation| Stream::new(conversation, body, answer));
        let core = &generation.shared.default_plan(conversation.listener()).core;
        let worn = core.keepalive_timeout.is_zero()
            || client.requests >= core.keepalive_requests
            || conversation.age() > core.keepalive_time;
        let thread = conversation.thread.clone();
        conversation.thread.handle.spawn(one(thread, client, head, generation));
        if worn {
            self.say_goodbye();
        }
    }

    /// Ends the conversation where the worker leaves, and where the client only opens streams to cancel them.
    fn leave_in_time(&mut self) {
        let conversation = &self.conversation;
        if conversation.canceled() > MOST_CANCELED.max(self.bounds.max_concurrent_streams.saturating_mul(4)) {
            conversation.note(Level::Info, format_args!("client sent too many refused streams"));
            conversation.forgive();
            self.sending = true;
            return self.close(Reason::ENHANCE_YOUR_CALM);
        }
        if !self.leaving && conversation.thread.is_leaving(conversation.listener()) {
            self.say_goodbye();
        }
    }

    /// Streams that are under way end as usual; others are not begun.
    fn say_goodbye(&mut self) {
        if let State::Open(connection) = &mut self.state
            && !std::mem::replace(&mut self.leaving, true)
        {
            connection.graceful_shutdown();
            self.waiting = None;
            self.conversation.wake();
        }
    }
    fn close(&mut self, reason: Reason) {
        self.leaving = true;
        self.waiting = None;
        if let State::Open(connection) = &mut self.state {
            connection.abrupt_shutdown(reason);
        }
        self.conversation.wake();
    }

    fn set_deadline(&mut self, flushed: bool) {
        let conversation = &self.conversation;
        let waiting = match flushed {
            false => Waiting::Sending,
            true if conversation.live() == 0 => Waiting::Idle,
            true => Waiting::Streams,
        };
        if self.waiting == Some(waiting) && !(waiting == Waiting::Sending && conversation.take_progress()) {
            return;
        }
        self.waiting = Some(waiting);
        let Some(generation) = conversation.thread.generation_at(conversation.listener()) else { return };
        let core = &generation.shared.default_plan(conversation.listener()).core;
        let timeout = match waiting {
            Waiting::Sending => Some(core.send_timeout),
            Waiting::Streams => None,
            Waiting::Idle if self.leaving => Some(FAREWELL),
            Waiting::Idle if conversation.requests() == 0 => Some(core.client_header_timeout),
            Waiting::Idle => Some(core.keepalive_timeout),
        };
        conversation.set_deadline(timeout);
        let idle = || {
            conversation.opened() + if conversation.requests() == 0 { FIRST_STREAM } else { Duration::ZERO }
        };
        conversation.set_yielding((waiting == Waiting::Idle).then(idle));
    }

    /// Everything is said; what is still to be sent goes out as far as the client takes it at once.
    fn end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = self.conversation.poll_flush(cx);
        Poll::Ready(())
    }

    fn broke(&mut self, error: &h2::Error) {
        let conversation = &self.conversation;
        match error.get_io() {
            Some(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Some(error) => {
                conversation.note(Level::Info, format_args!("recv() failed ({})", log::Errno(error)));
            }
            None if error.is_remote() => {}
            None => {
                conversation.note(Level::Info, format_args!("client broke the protocol: {error}"));
                self.sending = true;
            }
        }
        if conversation.live() > 0 {
            conversation.note(Level::Info, format_args!("client prematurely closed connection"));
        }
    }
}

/// One stream: a request from its head to its log line.
async fn one(
    thread: Rc<Thread>,
    client: Client,
    head: http::request::Parts,
    generation: Rc<LocalGeneration>,
) {
    let mut request = thread.request();
    request.use_client(client, generation);
    connection::serve_stream(&mut request, &head).await;
    drop(request.client.take());
    thread.give_request(request);
}

/// The log's context of a connection that is between requests.
fn note(client: &Client, thread: &Thread, level: Level, message: std::fmt::Arguments<'_>) {
    let Some(generation) = thread.generation_at(client.listener) else { return };
    let listener = generation.shared.listener(client.listener);
    let context = log::Context::waiting(client.id, client.peer, &listener.address);
    let core = &generation.shared.default_plan(client.listener).core;
    let message = format_args!("{message} while processing HTTP/2 connection");
    core.error_log.write(level, &context, message);
}
