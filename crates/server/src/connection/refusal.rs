//! Requests that get no further than their head.

use wire::{BadRequest, Version};

use super::head::reading;
use super::understand::{choose_by_handshake, choose_server, take_host, take_path};
use super::{Ending, reset};
use crate::http::phases;
use crate::http::request::Request;
use crate::log::Action;

/// Why a request got no further than its head.
pub(super) enum Refusal {
    /// It breaks the protocol's rules.
    Bad(BadRequest),
    /// It breaks a rule of HTTP/2, in these words.
    Fields(String),
    /// It did not arrive within `client_header_timeout`.
    Timeout,
    /// The client closed the connection in the middle of it.
    Closed,
    /// The connection broke in the middle of it, which was said.
    Broken,
    /// It was slow in coming, and others need its slot.
    GaveWay,
}

/// A request that was refused while its head was read. A late one is logged as 408, one that broke off as 400; neither
/// gets an answer.
pub(super) async fn refused(request: &mut Request, refusal: Refusal) -> Ending {
    request.keep_alive = false;
    request.client.set_yielding(None);
    let of_line = understand_what_is_there(request);
    let bad = match refusal {
        // As in nginx the line was judged first.
        Refusal::Bad(bad) => of_line.unwrap_or(bad),
        Refusal::Fields(what) => {
            choose_by_handshake(request);
            log_info!(request, "{what} while reading client request headers");
            phases::refuse(request, 400).await;
            return Ending::Linger;
        }
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
        Refusal::Broken => {
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

/// What logs show of a request that is not whole; what is wrong with its line, if that is there.
fn understand_what_is_there(request: &mut Request) -> Option<BadRequest> {
    if request.head.line.is_empty() {
        // Not known to be HTTP/0.9 either: the answer has a head.
        request.head.clear();
        request.head.version = if request.client.is_stream() { Version::Http20 } else { Version::Http10 };
        if request.buffer.starts_with(b"HEAD ") {
            request.head.method = wire::Method::Head;
        }
    }
    request.method = request.head.method;
    if request.uri.is_empty()
        && let Err(bad) = take_path(request)
    {
        // As in nginx the headers behind it were not looked at.
        request.head.headers.clear();
        return (!request.head.line.is_empty()).then_some(bad);
    }
    if request.host.is_empty() && take_host(request).is_err() {
        // The URL's host was found before the header that is wrong.
        let host = request.head.host.of(&request.buffer).to_ascii_lowercase();
        request.host.extend_from_slice(host.split(|byte| *byte == b':').next().unwrap_or_default());
    }
    if !request.host.is_empty() {
        choose_server(request);
    }
    None
}

fn give_up(request: &mut Request, status: u16) {
    request.aborted = true;
    phases::give_up(request, status);
}

const NO_AUTHORITY: &str = "client sent neither \":authority\" nor \"Host\" header";

fn note_refusal(request: &mut Request, bad: &BadRequest) {
    request.action = match bad.action() {
        "reading client request line" if request.pipelined => Action::PipelinedLine,
        "reading client request line" => Action::RequestLine,
        "reading client request body" => Action::RequestBody,
        _ => Action::RequestHeaders,
    };
    let mut text = request.thread.buffer();
    bad.log_text(&request.buffer, &mut text);
    let message: std::borrow::Cow<'_, str> = match bad {
        BadRequest::NoHost if request.client.is_stream() => NO_AUTHORITY.into(),
        _ => crate::log::shown(&text),
    };
    log_info!(request, "{message}");
    drop(message);
    request.thread.give_buffer(text);
}
