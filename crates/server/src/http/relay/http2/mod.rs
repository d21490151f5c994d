//! Servers that speak HTTP/2: one try of a request.
//!
//! | file | does |
//! |---|---|
//! | `head.rs` | heads in the form of HTTP/1, and as fields |
//! | `upload.rs` | the request's body |
//! | `stream.rs` | request and answer, side by side |

mod head;
mod stream;
mod upload;

use std::rc::Rc;
use std::task::Poll;

use wire::{Progress, ResponseParser};

use super::failure::{During, Failure};
use super::hints;
use super::protocol::{BadHead, Message};
use super::settings::Settings;
use crate::http::request::Request;
use crate::http2::deadline::Deadline;
use crate::upstream::Line;

pub use stream::{Stream, failure};
use upload::{Source, Upload};

/// Sends a request's head over a line; its body follows while the answer is read.
///
/// # Errors
/// When the head is none that can be sent, or the line is closed.
pub(super) fn begin(
    settings: &Settings,
    request: &mut Request,
    line: &Rc<Line>,
    message: &Message,
    encrypted: bool,
) -> Result<Stream, Failure> {
    let (fields, given) = head::request(&message.head, encrypted).map_err(|what| {
        log_error!(request, "{what}");
        Failure::Client(500)
    })?;
    let (source, part) = Source::of(request, message, given).map_err(Failure::Send)?;
    let end = part.is_empty() && source.is_empty();
    let (place, answer, to) = line.request(fields, end).map_err(failure)?;
    let thread = &request.thread;
    let upload = Upload::new(thread, (!end).then_some(to), (source, part), settings.send_timeout);
    let deadline = Deadline::new(thread.handle.clone());
    let head = (message.head.len() - given.len()) as u64;
    if let Some(last) = request.upstream.last() {
        last.sent = head;
    }
    Ok(Stream::new(upload, answer, (deadline, settings.read_timeout), place))
}

/// Waits for the answer's head, which goes into the request's record as HTTP/1 has it.
pub(super) async fn head(
    settings: &Settings,
    request: &mut Request,
    stream: &mut Stream,
) -> Result<(), Failure> {
    let mut hints = 0;
    let head = request.upstream.last().map_or(0, |last| last.sent);
    loop {
        let found = std::future::poll_fn(|cx| {
            let Request { client, upstream, .. } = &mut *request;
            let minds = !settings.ignore_client_abort && !upstream.cache.keeps;
            if minds && client.poll_closed(cx).is_ready() {
                return Poll::Ready(Err(Failure::ClientGone(During::Sending)));
            }
            stream.poll_head(cx, &mut upstream.buffer)
        })
        .await;
        if let Some(last) = request.upstream.last() {
            last.sent = head + stream.sent();
        }
        let is_final = found?;
        let record = &mut request.upstream;
        let parsed = ResponseParser::new().parse(&record.buffer, &mut record.head, settings.buffer_size);
        let progress = parsed.map_err(|bad| Failure::Invalid(BadHead::Lines(bad)))?;
        if progress != Progress::Done {
            return Err(Failure::Invalid(BadHead::Framing("upstream sent invalid header".into())));
        }
        if is_final {
            break;
        }
        if record.head.status == 103 {
            hints::pass_on(settings, request, &mut hints).await;
        }
        request.upstream.forget_response();
    }
    let record = &mut request.upstream;
    let length = record.buffer.len() as u64;
    if let Some(last) = record.last() {
        last.received = length;
    }
    record.answered(request.thread.handle.now());
    Ok(())
}
