//! Sends a response: the head as text, the body from its source through the filters to the client.
//!
//! The small case is one buffer and one write. The general case pulls chunks from the source, through the
//! filters, into a short queue, and writes the queue; it pulls again only when the client took what came before.

mod file;
mod head;
mod stream;

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use wire::{Method, Span, Version};

pub use head::{absolute_location, around_location, becomes_absolute};

use self::file::Truncated;
use super::filters::Unfit;
use super::included::Silence;
use super::pace::Pace;
use super::request::Request;
use super::response::Body;
use crate::http2;

/// Bodies up to this size travel with the head in one write.
const SMALL: u64 = 16 * 1024;

/// Sends `request.response`. Errors end the connection and are remembered in the request.
pub async fn send(request: &mut Request) {
    if request.response.status == 0 {
        return;
    }
    let bodiless = prepare(request);
    if !request.core().tcp_nodelay
        && let Some(fd) = request.client.fd()
    {
        let _ = sys::net::set_nodelay(fd, false);
    }
    let result = match request.client.is_stream() {
        true => send_frames(request, bodiless).await,
        false => send_text(request, bodiless).await,
    };
    let result = match result {
        Ok(()) if request.client.is_encrypted() => flush(request).await,
        other => other,
    };
    if let Err(error) = result {
        failed(request, &error);
    }
    note_upstream(request);
}

/// Over HTTP/1: the head is text before the body.
async fn send_text(request: &mut Request, bodiless: bool) -> io::Result<()> {
    let mut head = request.thread.buffer();
    head::write(request, &mut head);
    request.head_sent = true;
    // Interim heads count among the body's bytes, as in nginx.
    request.head_length = head.len() as u64;
    let pace = if bodiless { None } else { Pace::of(request) };
    if bodiless || (pace.is_none() && fits_head(request, &mut head)) {
        write_all(request, head).await
    } else {
        stream::send(request, head, pace).await
    }
}

/// Over HTTP/2: the head is a frame, the body others.
async fn send_frames(request: &mut Request, bodiless: bool) -> io::Result<()> {
    let chunk = request.location().http2_chunk;
    let pace = if bodiless { None } else { Pace::of(request) };
    let trails = request.response.expects_trailers && !bodiless;
    let mut body = request.thread.buffer();
    let whole = bodiless || (pace.is_none() && !trails && fits_head(request, &mut body));
    let length = match whole {
        true => Some(body.len() as u64),
        false => request.response.content_length.filter(|_| !trails),
    };
    let mut head = request.thread.buffer();
    http2::head::answer(request, &mut head);
    let sent = request.client.stream()?.send_head(&head, length == Some(0), length, chunk);
    request.thread.give_buffer(head);
    request.sent += sent? as u64;
    request.head_length = request.sent;
    request.head_sent = true;
    match whole {
        true => write_all(request, body).await?,
        false => stream::send(request, body, pace).await?,
    }
    if request.response.trailers.is_empty() {
        return request.client.stream()?.finish(None);
    }
    let mut trailers = request.thread.buffer();
    http2::head::trailers(request, &mut trailers);
    let finished = request.client.stream()?.finish(Some(&trailers));
    request.thread.give_buffer(trailers);
    finished
}

/// What happened to an upstream's body on its way is logged here: it has no request to log with.
fn note_upstream(request: &mut Request) {
    if matches!(request.response.body, Body::Empty | Body::Memory(_) | Body::Static(_) | Body::File(_)) {
        return;
    }
    let mut body = std::mem::take(&mut request.response.body);
    if let Some(upstream) = body.upstream_at_turn() {
        upstream.log(request);
    }
    request.response.body = body;
}

/// Ciphertext may still be waiting.
async fn flush(request: &mut Request) -> io::Result<()> {
    let until = request.thread.handle.now() + request.core().send_timeout;
    request.client.set_deadline(Some(until));
    std::future::poll_fn(|cx| request.client.poll_flush(cx)).await
}

fn failed(request: &mut Request, error: &io::Error) {
    request.keep_alive = false;
    request.aborted = true;
    request.broken = request.response.body.upstream_at_turn().is_some_and(|upstream| upstream.is_broken());
    let doing = if request.response.theirs { "sending to client" } else { "sending response to client" };
    if error.kind() == io::ErrorKind::TimedOut {
        request.client.timed_out = true;
        log_info!(request, "client timed out (110: Connection timed out) while {doing}");
    } else if let Some(text) = request.client.cancellation() {
        log_info!(request, "{text} while {doing}");
    } else if let Some(status) = Silence::of(error) {
        request.error_status = status;
    } else if let Some(why) = Unfit::of(error) {
        log_error!(request, "{why} while sending to client");
    } else if let Some(truncated) = Truncated::of(error) {
        log_alert!(request, "{truncated} while {doing}");
    } else if error.kind() != io::ErrorKind::ConnectionAborted {
        log_info!(request, "send() failed ({}) while {doing}", crate::log::Errno(error));
    }
}

/// Decides how the body is delimited; says whether there is none to send.
fn prepare(request: &mut Request) -> bool {
    if request.thread.is_leaving(request.client.listener) {
        request.keep_alive = false;
    }
    let status = request.response.status;
    if !matches!(status, 200 | 206 | 304) {
        request.response.last_modified = None;
    }
    // As in nginx, an upstream may say of what type nothing is.
    let theirs = request.response.theirs;
    if status == 204 && !theirs {
        request.response.content_type = Span::default();
    }
    // As in nginx, what stands behind a status that is none goes on; what follows an upgrade is no body.
    let early = status < 200 && request.client.is_stream();
    let none = early || status == 204 || status == 304 || request.response.upgrade;
    let bodiless = none || request.method == Method::Head || request.head.method == Method::Head;
    if none {
        if status != 304 && !(theirs && status == 204 && request.response.content_length == Some(0)) {
            request.response.content_length = None;
        }
        return true;
    }
    let unknown = request.response.content_length.is_none();
    if (unknown || request.response.expects_trailers) && !bodiless {
        let plan = request.plan();
        if request.head.version == Version::Http20 {
            return bodiless;
        }
        if request.head.version >= Version::Http11 && plan.core.chunked_transfer_encoding && status >= 200 {
            request.response.chunked = true;
            request.response.content_length = None;
        } else if !unknown {
            request.response.expects_trailers = false;
        } else {
            request.keep_alive = false;
        }
    }
    bodiless
}

/// Appends a small body to the head. What does not fit, or waits, is left where it is.
fn fits_head(request: &mut Request, head: &mut Vec<u8>) -> bool {
    if !request.response.filters.is_empty() || request.response.chunked {
        return false;
    }
    match &mut request.response.body {
        Body::Empty => true,
        Body::Memory(text) if text.len() as u64 <= SMALL => {
            head.extend_from_slice(text);
            request.thread.give_buffer(std::mem::take(text).into_buffer());
            true
        }
        Body::Static(text) if text.len() as u64 <= SMALL => {
            head.extend_from_slice(text);
            true
        }
        Body::File(part) if part.end - part.offset <= SMALL => file::read_small(part, head),
        _ => false,
    }
}

/// Writes a buffer of the thread's pool, and gives it back.
pub(crate) async fn write_all(request: &mut Request, buffer: Vec<u8>) -> io::Result<()> {
    let mut at = 0;
    let result = loop {
        if at == buffer.len() {
            break Ok(());
        }
        let slices = [IoSlice::new(&buffer[at..])];
        let written = std::future::poll_fn(|cx| poll_write(request, cx, &slices, false)).await;
        match written {
            Ok(n) => at += n,
            Err(error) => break Err(error),
        }
    };
    request.thread.give_buffer(buffer);
    result
}

/// One write; each that has to wait waits `send_timeout` at most.
fn poll_write(
    request: &mut Request,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
    more: bool,
) -> Poll<io::Result<usize>> {
    let mut written = request.client.poll_write(cx, slices, more);
    if late(request, &written) {
        written = request.client.poll_write(cx, slices, more);
    }
    sent(request, written)
}
/// Whether a write failed for a deadline that is not its own (what came before, the head say, had it): it has a new one
/// now, and is to be tried again.
fn late(request: &mut Request, written: &Poll<io::Result<usize>>) -> bool {
    let late = !request.client.waiting_to_send
        && matches!(written, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut);
    if late {
        wait_to_send(request);
    }
    late
}
fn wait_to_send(request: &mut Request) {
    request.client.waiting_to_send = true;
    let until = request.thread.handle.now() + request.core().send_timeout;
    request.client.set_deadline(Some(until));
}
fn sent(request: &mut Request, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match &written {
        Poll::Ready(Ok(n)) => {
            request.sent += *n as u64;
            request.client.waiting_to_send = false;
        }
        Poll::Ready(Err(_)) => {}
        Poll::Pending if request.client.waiting_to_send => {}
        Poll::Pending => wait_to_send(request),
    }
    written
}
