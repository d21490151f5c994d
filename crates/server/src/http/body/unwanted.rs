//! A body that nobody wants: it is answered without it, and what comes of it is thrown away.

use std::io;

use wire::Framing;

use super::read::{send_continue, take_buffered};
use crate::http::request::Request;

/// Before an answer that does not need the body: lets the client send it, and looks at what came of it.
///
/// # Errors
/// 400 if its framing is broken.
pub async fn disregard(request: &mut Request) -> Result<(), u16> {
    send_continue(request).await?;
    drop_buffered(request)
}

/// Drops what was read of a body that nobody wants.
///
/// # Errors
/// 400 if its framing is broken.
pub fn drop_buffered(request: &mut Request) -> Result<(), u16> {
    if request.client.is_stream() {
        return Ok(());
    }
    request.body.limit = 0;
    if request.body.complete {
        return Ok(());
    }
    let (consumed, read) = (request.body.consumed, request.body.read);
    let result = take_buffered(request, None);
    // As in nginx, `$request_length` has only what somebody read, and so has `$content_length` of chunks.
    request.body.consumed = consumed;
    if request.body.framing == Framing::Chunked {
        request.body.read = read;
    }
    result
}

/// Reads and drops what is left of the body, so that the next request can be read; `false`: the connection must close.
pub async fn discard(request: &mut Request) -> bool {
    let plan = request.plan();
    let end = request.thread.handle.now() + plan.core.lingering.time;
    loop {
        match drop_buffered(request) {
            Err(_) => return false,
            Ok(()) if request.body.complete => return true,
            Ok(()) => {}
        }
        let now = request.thread.handle.now();
        if now >= end {
            return false;
        }
        request.client.set_deadline(Some((now + plan.core.lingering.timeout).min(end)));
        request.compact();
        // Nobody is told of one who leaves or falls silent: he has his answer.
        let read = request.receive().await;
        if !matches!(read, Ok(1..)) {
            request.client.timed_out = read.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
            return false;
        }
    }
}
