//! Servers that speak HTTP/2: one try of a request.
//!
//! | file | does |
//! |---|---|
//! | `head.rs` | heads of requests, from HTTP/1's text to compressed fields |
//! | `upload.rs` | the request's body |
//! | `stream.rs` | request and answer, side by side |

mod head;
mod stream;
mod upload;

use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use wire::{Method, Progress, ResponseParser, Span};

use super::failure::{During, Failure};
use super::hints;
use super::protocol::{BadHead, Message};
use super::settings::Settings;
use crate::http::body;
use crate::http::request::Request;
use crate::http2::deadline::Deadline;
use crate::upstream::Line;

pub use stream::Stream;
use upload::{Source, Upload};

/// A request's body: where it comes from, and what is there of it.
pub type Body = (Source, Bytes);

/// Sends a request's head over a line; its body follows while the answer is read: `again`, if it was
/// sent in vain before.
///
/// # Errors
/// When the head is none that can be sent, or the line is closed.
pub(super) fn begin(
    settings: &Settings,
    request: &mut Request,
    line: &Rc<Line>,
    message: &Message,
    encrypted: bool,
    again: Option<Body>,
) -> Result<Stream, Failure> {
    if !line.can_ask() {
        return Err(Failure::Closed);
    }
    let mut block = request.thread.buffer();
    let given = head::request(&message.head, encrypted, &mut block).map_err(|what| {
        log_error!(request, "{what}");
        Failure::Client(500)
    })?;
    let (source, part) = match again {
        Some(body) => body,
        None => Source::of(request, message, given).map_err(Failure::Send)?,
    };
    let ends = part.is_empty() && source.is_empty();
    let place = line.request(&block, ends, settings.buffer_size);
    request.thread.give_buffer(block);
    let place = place.ok_or(Failure::Closed)?;
    let thread = &request.thread;
    let upload = Upload::new(thread, ends, (source, part), settings.send_timeout);
    let deadline = Deadline::new(thread.handle.clone());
    let head = (message.head.len() - given.len()) as u64;
    if let Some(last) = request.upstream.last() {
        last.sent = head;
    }
    Ok(Stream::new(upload, (deadline, settings.read_timeout), place))
}

/// Passes on what a client of HTTP/1 sends of its body, until that ends or the answer begins: then its head.
async fn feed(request: &mut Request, stream: &mut Stream) -> Result<Option<Vec<u8>>, Failure> {
    let mut head = Vec::new();
    loop {
        let begins = std::future::poll_fn(|cx| match stream.poll_head(cx, &mut head) {
            Poll::Ready(begun) => Poll::Ready(begun.map(|_| true)),
            Poll::Pending if stream.upload().is_hungry() => Poll::Ready(Ok(false)),
            // All of it is here, or some of it waits for the server's windows.
            Poll::Pending if !stream.upload().is_fed() => Poll::Ready(Ok(true)),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        if begins {
            return Ok((!head.is_empty()).then_some(head));
        }
        let mut part = Vec::new();
        let read = {
            let mut read = std::pin::pin!(body::read_some(request, &mut part));
            std::future::poll_fn(|cx| match stream.poll_head(cx, &mut head) {
                Poll::Ready(begun) => Poll::Ready(begun.map(|_| None)),
                Poll::Pending => read.as_mut().poll(cx).map(|read| Ok(Some(read))),
            })
            .await?
        };
        match read {
            None => return Ok(Some(head)),
            Some(more) => {
                let ended = !more.map_err(Failure::Client)?;
                stream.upload().feed(part, ended);
            }
        }
    }
}

/// The answer began before a client of HTTP/1 has sent its whole body: the rest is gathered, as such a client may read
/// nothing before it has sent everything, and goes on while the answer comes.
async fn gather_rest(request: &mut Request, stream: &mut Stream) -> Result<(), Failure> {
    if !stream.upload().is_fed() || stream.is_end() {
        return Ok(());
    }
    body::read_whole(request).await.map_err(Failure::Client)?;
    stream.upload().feed_rest(request).map_err(Failure::Send)
}

/// Waits for a head, which goes into the request's record as HTTP/1 has it; `false`: another one follows. `before` was sent
/// before this stream.
async fn next_head(
    settings: &Settings,
    request: &mut Request,
    stream: &mut Stream,
    before: u64,
) -> Result<bool, Failure> {
    let early = if stream.upload().is_fed() { feed(request, stream).await } else { Ok(None) };
    note_sent(request, before, stream);
    if let Some(text) = early? {
        request.upstream.buffer.extend_from_slice(&text);
    }
    let found = std::future::poll_fn(|cx| {
        let Request { client, upstream, .. } = &mut *request;
        if !upstream.buffer.is_empty() {
            return Poll::Ready(Ok(stream.has_head()));
        }
        let minds = !settings.ignore_client_abort && !upstream.cache.keeps;
        if minds && client.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(Failure::ClientGone(During::Sending)));
        }
        stream.poll_head(cx, &mut upstream.buffer)
    })
    .await;
    note_sent(request, before, stream);
    let is_final = found?;
    let record = &mut request.upstream;
    let parsed = ResponseParser::new().parse(&record.buffer, &mut record.head, usize::MAX);
    match parsed.map_err(|bad| Failure::Invalid(BadHead::Lines(bad)))? {
        Progress::Done => Ok(is_final),
        _ => Err(Failure::Invalid(BadHead::Framing("upstream sent invalid header".into()))),
    }
}

fn note_sent(request: &mut Request, before: u64, stream: &Stream) {
    if let Some(last) = request.upstream.last() {
        last.sent = before + stream.sent();
    }
}

/// Waits for the answer's head, which goes into the request's record as HTTP/1 has it.
pub(super) async fn head(
    settings: &Settings,
    request: &mut Request,
    stream: &mut Stream,
    method: Method,
) -> Result<(), Failure> {
    let mut hints = 0;
    let before = request.upstream.last().map_or(0, |last| last.sent);
    while !next_head(settings, request, stream, before).await? {
        if request.upstream.head.status == 103 {
            hints::pass_on(settings, request, &mut hints).await;
        }
        request.upstream.forget_response();
    }
    let record = &mut request.upstream;
    // There is no text beside the status.
    record.head.status_line_text = Span::default();
    let length = record.head.content_length(&record.buffer);
    let length = length.map_err(|bad| Failure::Invalid(BadHead::Lines(bad)))?;
    let none = method == Method::Head || matches!(record.head.status, 204 | 304);
    stream.expect(if none { Some(0) } else { length });
    gather_rest(request, stream).await?;
    let record = &mut request.upstream;
    let length = record.buffer.len() as u64;
    if let Some(last) = record.last() {
        last.received = length;
    }
    record.answered(request.thread.handle.now());
    Ok(())
}
