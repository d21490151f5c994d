//! Variables of the response.

use super::headers::{is_named, join};
use super::{found, number};
use crate::http::phases::CutOff;
use crate::http::request::Request;
use crate::http::response::Response;

/// Three digits at least. The error being answered comes first: a response to it will have its status.
pub fn status(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let status = match (request.error_status, request.response.status) {
        (0, _) if is_headless(request) => 9,
        // The client left before there was an answer.
        (0, 0) if request.aborted && request.kept::<CutOff>().is_none() => 499,
        (0, status) | (status, _) => status,
    };
    out.extend([100, 10, 1].map(|place| b'0' + (status / place % 10) as u8));
    true
}
/// Whether it is an upstream's answer without a head, HTTP/0.9.
fn is_headless(request: &Request) -> bool {
    let old = request.head.version == wire::Version::Http09;
    old && request.response.theirs && request.upstream.head.length == 0
}
pub fn bytes_sent(request: &mut Request, out: &mut Vec<u8>) -> bool {
    number(request.sent, out)
}
pub fn body_bytes_sent(request: &mut Request, out: &mut Vec<u8>) -> bool {
    number(request.body_sent(), out)
}
/// `OK`, or empty if the client did not get all that there was.
pub fn request_completion(request: &mut Request, out: &mut Vec<u8>) -> bool {
    if request.head_sent && (request.broken || !request.aborted) {
        out.extend_from_slice(b"OK");
    }
    true
}

/// Bytes a second; 0 until the answer goes out or `set` gave it one.
pub fn limit_rate(request: &mut Request, out: &mut Vec<u8>) -> bool {
    number(request.limit_rate.unwrap_or(0), out)
}
pub fn set_limit_rate(request: &mut Request, value: &[u8]) {
    match conf::size(value) {
        Some(rate) => request.limit_rate = Some(rate),
        None => log_error!(request, "invalid $limit_rate \"{}\"", crate::log::shown(value)),
    }
}

/// `$sent_http_name`: headers as they go out. `Server` and `Date` are no headers to nginx unless an upstream's are passed.
pub fn header(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let response = &request.response;
    let text = &response.text;
    match name {
        b"content_type" => super::not_empty(response.content_type.of(text), out),
        b"content_length" => response.content_length.is_some_and(|length| number(length, out)),
        b"last_modified" => last_modified(request, out),
        b"location" => location(request, out),
        b"connection" => connection(request, out),
        b"keep_alive" => keep_alive(request, out),
        b"transfer_encoding" => found(response.chunked.then_some(b"chunked"), out),
        b"server" if response.server.is_some_and(|span| !span.is_empty()) => {
            found(response.server.map(|span| span.of(text)), out)
        }
        b"date" if response.date.is_some_and(|span| !span.is_empty()) => {
            found(response.date.map(|span| span.of(text)), out)
        }
        _ => among_headers(response, name, out),
    }
}

/// `$sent_trailer_name`: known when the body is complete.
pub fn trailer(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let response = &request.response;
    let text = &response.text;
    let fields = response.trailers.iter().filter(|field| is_named(field.name.of(text), name));
    join(fields.map(|field| field.value.of(text)), b", ", out)
}

fn among_headers(response: &Response, name: &[u8], out: &mut Vec<u8>) -> bool {
    let text = &response.text;
    let fields = response.headers.iter().filter(|field| is_named(field.name.of(text), name));
    join(fields.map(|field| field.value.of(text)), b", ", out)
}

fn last_modified(request: &Request, out: &mut Vec<u8>) -> bool {
    let response = &request.response;
    if let Some(span) = response.last_modified_text {
        if span.is_empty() {
            return among_headers(response, b"last_modified", out);
        }
        return found(Some(span.of(&response.text)), out);
    }
    response.last_modified.map(|seconds| out.extend_from_slice(&wire::date::format(seconds))).is_some()
}

fn location(request: &Request, out: &mut Vec<u8>) -> bool {
    let Some(span) = request.response.location else {
        return among_headers(&request.response, b"location", out);
    };
    match request.head_sent {
        true => crate::http::output::absolute_location(request, span.of(&request.response.text), out),
        false => out.extend_from_slice(span.of(&request.response.text)),
    }
    true
}

fn connection(request: &Request, out: &mut Vec<u8>) -> bool {
    let value: &[u8] = match (request.response.status == 101, request.keep_alive) {
        (true, _) => b"upgrade",
        (false, true) => b"keep-alive",
        (false, false) => b"close",
    };
    found(Some(value), out)
}

fn keep_alive(request: &Request, out: &mut Vec<u8>) -> bool {
    let plan = request.plan();
    let Some(timeout) =
        plan.core.keep_alive.header.filter(|_| request.keep_alive && !request.response.upgrade)
    else {
        return false;
    };
    out.extend_from_slice(b"timeout=");
    number(timeout, out)
}
