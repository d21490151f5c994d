//! HTTP/2 with clients: one conversation for each connection, in which every stream becomes a [`Request`] of its own.
//!
//! What a client sends is taken frame by frame ([`intake`]); a head becomes the text that an HTTP/1 request has
//! ([`gather`]), so that phases and modules know nothing of the protocol. A stream is served by a task of its own on the
//! connection's thread; what streams set out is gathered ([`conversation`]) and sent once a turn. A connection that has
//! nothing to do has no buffers.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use frames::{Kind, code, setting};

use crate::http::client::Client;
use crate::http::request::Request;
use crate::log::openssl::ReadFailed;
use crate::log::{self, Level};
use crate::modules::http2::Http2;
use crate::worker::admission;
use crate::worker::local::LocalGeneration;
use crate::worker::thread::Thread;

mod conversation;
pub mod deadline;
mod flow;
pub mod gather;
pub mod head;
mod intake;
pub mod stream;
pub mod workers;

use self::conversation::{Conversation, FIRST_WINDOW, MOST_WINDOW};
use self::intake::{Ended, Intake, Opened};
use self::workers::Job;

/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The protocol's name in ALPN.
pub const ALPN: &[u8] = b"h2";
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
/// afterwards, if that may still be sending.
pub async fn serve(thread: &Rc<Thread>, mut request: Box<Request>) -> Option<Box<Request>> {
    // Each stream claims what it needs itself.
    request.client.spare();
    let first = request.buffer.split_off(0);
    let client = request.client.take();
    let generation = request.generation.clone();
    thread.give_request(request);
    let conversation = Conversation::new(thread.clone(), client);
    let mut speaker = Speaker::new(conversation.clone(), first, &generation);
    drop(generation);
    std::future::poll_fn(|cx| speaker.poll(cx)).await;
    let sending = speaker.sending;
    conversation.end();
    drop(speaker);
    let mut client = conversation.take_client();
    // What follows is as the configuration in force has it; where nobody listens any more, nothing does.
    let Some(generation) = thread.generation_at(client.listener).filter(|_| sending) else {
        client.close();
        return None;
    };
    let default_server = generation.shared.listener(client.listener).default_server;
    let mut request = thread.request();
    request.plan = generation.shared.server(default_server).plan;
    request.use_client(client, generation);
    Some(request)
}

/// Drives one connection.
struct Speaker {
    conversation: Rc<Conversation>,
    intake: Intake,
    /// The bounds of the address's default server.
    bounds: Http2,
    /// Everything is said: what is set out is sent, and then it ends.
    closing: bool,
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
    fn new(conversation: Rc<Conversation>, first: Vec<u8>, generation: &Rc<LocalGeneration>) -> Speaker {
        let listener = generation.shared.listener(conversation.listener());
        let bounds = generation.shared.server(listener.default_server).http2;
        let set = [
            (setting::MAX_CONCURRENT_STREAMS, bounds.max_concurrent_streams),
            (setting::INITIAL_WINDOW_SIZE, bounds.preread),
        ];
        let pair = |(id, value): (u16, u32)| {
            let ([a, b], [c, d, e, f]) = (id.to_be_bytes(), value.to_be_bytes());
            [a, b, c, d, e, f]
        };
        conversation.put_control(Kind::Settings, 0, 0, set.map(pair).as_flattened());
        let wider = (MOST_WINDOW - FIRST_WINDOW) as u32;
        conversation.put_control(Kind::WindowUpdate, 0, 0, &wider.to_be_bytes());
        let intake = Intake::new(first, bounds);
        Speaker { conversation, intake, bounds, closing: false, sending: false, waiting: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.conversation.begin_turn(cx);
        self.intake.begin_turn();
        loop {
            self.listen(cx);
            self.leave_in_time();
            let full = self.conversation.is_full();
            let flushed = match self.conversation.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            if flushed && self.closing {
                return Poll::Ready(());
            }
            if self.conversation.take_timed_out() {
                if !flushed {
                    let what = format_args!("client timed out (110: Connection timed out)");
                    self.conversation.note(Level::Info, what);
                    return Poll::Ready(());
                }
                // A stream that began at this moment is answered.
                self.say_goodbye();
            } else if !(flushed && full) {
                self.set_deadline(flushed);
                self.conversation.end_turn();
                return Poll::Pending;
            }
        }
    }

    /// Takes in what the client sent, and lets its streams begin.
    fn listen(&mut self, cx: &mut Context<'_>) {
        while !self.closing {
            match self.intake.poll(cx, &self.conversation) {
                Poll::Pending => break,
                Poll::Ready(Ok(opened)) => self.begin_stream(opened),
                Poll::Ready(Err(ended)) => self.ended(&ended),
            }
        }
        if self.conversation.is_flooding() && !self.closing {
            self.conversation.note(Level::Info, format_args!("http2 flood detected"));
            self.close(code::ENHANCE_YOUR_CALM);
        }
    }

    fn begin_stream(&mut self, opened: Opened) {
        let conversation = &self.conversation;
        let Opened { flow, head } = opened;
        let Some(generation) = conversation.thread.generation_at(conversation.listener()) else {
            return conversation.terminate(&flow, code::REFUSED_STREAM);
        };
        let client = conversation.stream_client(flow);
        let core = &generation.shared.default_plan(conversation.listener()).core;
        // Who has no slot may find one over a new connection.
        let worn = client.is_refused()
            || core.keep_alive.timeout.is_zero()
            || client.requests >= core.keep_alive.requests
            || conversation.age() > core.keep_alive.time;
        let thread = &conversation.thread;
        // Where others wait for its seat, the client may come again.
        let worn =
            worn || thread.process.is_pressed() && admission::had_its_turn(thread, conversation.opened());
        thread.streams.serve(thread, Job(client, head, generation));
        if worn {
            self.say_goodbye();
        }
    }

    /// Ends the conversation where the worker leaves, where its last stream ended, and where the client only opens
    /// streams to cancel them.
    fn leave_in_time(&mut self) {
        let conversation = self.conversation.clone();
        if conversation.canceled() > MOST_CANCELED.max(self.bounds.max_concurrent_streams.saturating_mul(4)) {
            conversation.note(Level::Info, format_args!("client sent too many refused streams"));
            conversation.forgive();
            self.close(code::ENHANCE_YOUR_CALM);
        }
        if conversation.thread.is_leaving(conversation.listener()) {
            self.say_goodbye();
        }
        if self.intake.leaving && conversation.live() == 0 {
            self.closing = true;
            self.sending = true;
        }
    }

    /// Streams that are under way end as usual; others are not begun.
    fn say_goodbye(&mut self) {
        if !std::mem::replace(&mut self.intake.leaving, true) {
            self.conversation.put_goodbye(self.intake.last, code::NO_ERROR);
            self.waiting = None;
        }
    }
    /// Says why, and ends.
    fn close(&mut self, code: u32) {
        if !std::mem::replace(&mut self.closing, true) {
            self.conversation.put_goodbye(self.intake.last, code);
            self.sending = true;
            self.waiting = None;
        }
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
            Waiting::Idle if conversation.requests() == 0 => Some(core.client_header.timeout),
            Waiting::Idle => Some(core.keep_alive.timeout),
        };
        conversation.set_deadline(timeout);
        let idle = || {
            conversation.opened() + if conversation.requests() == 0 { FIRST_STREAM } else { Duration::ZERO }
        };
        conversation.set_yielding((waiting == Waiting::Idle).then(idle));
    }

    fn ended(&mut self, ended: &Ended) {
        let conversation = &self.conversation;
        self.closing = true;
        match ended {
            Ended::Closed => {}
            Ended::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Ended::Io(error) => {
                conversation.note(Level::Info, format_args!("{}", ReadFailed(error)));
            }
            Ended::Breach(code, what) => {
                conversation.note(Level::Info, format_args!("{what}"));
                conversation.put_goodbye(self.intake.last, *code);
                self.sending = true;
                return;
            }
        }
        if conversation.live() > 0 {
            conversation.note(Level::Info, format_args!("client prematurely closed connection"));
        }
    }
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
