//! Heads: a stream's fields as the text of an HTTP/1 head, and an answer's head as fields.

use frames::{put_field, put_known, put_status};
use wire::{BadRequest, Progress, RequestParser, Span, Version};

use super::gather::Head;
use crate::connection::read_to_host;
use crate::http::output;
use crate::http::request::Request;
use crate::http::response::{Field, Response};

/// What stands in the request line while the parser reads it, and afterwards; both are as long.
pub const PARSED: &[u8] = b"HTTP/1.1";
const SHOWN: &[u8] = b"HTTP/2.0";

/// Why a head is refused.
pub enum Wrong {
    /// As it would be over HTTP/1.
    Head(BadRequest),
    /// A rule of HTTP/2, in nginx's words.
    Fields(String),
}

/// Puts the head into the request's buffer and reads it there, within the limits of `large_client_header_buffers`: `by_name`,
/// those of the server that it names.
///
/// # Errors
/// As for a request over HTTP/1, and what HTTP/2 has no place for.
pub fn receive(request: &mut Request, head: Head, by_name: bool) -> Result<(), Wrong> {
    let Head { text, length, version, wrong } = head;
    request.thread.give_buffer(std::mem::replace(&mut request.buffer, text));
    let parsed = match request.buffer.is_empty() {
        true => Ok(Progress::Partial),
        false => parse(request, by_name),
    };
    if let Some(place) = request.buffer.get_mut(version..version + SHOWN.len()) {
        place.copy_from_slice(SHOWN);
    }
    request.head.version = Version::Http20;
    request.unread = request.buffer.len();
    request.received = length as u64;
    if let Some(what) = wrong {
        return Err(Wrong::Fields(what));
    }
    match parsed.map_err(Wrong::Head)? {
        Progress::Done => Ok(()),
        // What was written ends with an empty line: it is a head, or refused.
        Progress::Partial => Err(Wrong::Head(BadRequest::InvalidRequest)),
    }
}

fn parse(request: &mut Request, by_name: bool) -> Result<Progress, BadRequest> {
    let mut parser = RequestParser::new();
    if by_name {
        read_to_host(request, &mut parser)?;
    }
    let limits = request.plan().core.client_header.limits;
    parser.parse(&request.buffer, &mut request.head, &limits)
}

/// Names by their numbers in HPACK's table.
const CONTENT_LENGTH: usize = 28;
const CONTENT_TYPE: usize = 31;
const DATE: usize = 33;
const LAST_MODIFIED: usize = 44;
const LOCATION: usize = 46;
const SERVER: usize = 54;
const VARY: usize = 59;

/// Appends the head of the request's answer.
pub fn answer(request: &Request, out: &mut Vec<u8>) {
    let response = &request.response;
    let text = &response.text;
    put_status(response.status, out);
    match response.server {
        Some(span) => known(SERVER, span, text, out),
        None => {
            let line = request.plan().core.server_header;
            let value = line.strip_prefix(b"Server: ").and_then(|rest| rest.strip_suffix(b"\r\n"));
            put_known(SERVER, value.unwrap_or_default(), out);
        }
    }
    match response.date {
        Some(span) => known(DATE, span, text, out),
        None => put_known(DATE, &request.thread.clock.http_date.get(), out),
    }
    known(CONTENT_TYPE, response.content_type, text, out);
    if let Some(length) = response.content_length {
        let mut digits = request.thread.buffer();
        wire::push_decimal(&mut digits, length);
        put_known(CONTENT_LENGTH, &digits, out);
        request.thread.give_buffer(digits);
    }
    last_modified(response, out);
    let mut headers = &response.headers[..];
    let stays = response.location.filter(|span| !output::becomes_absolute(request, span.of(text)));
    if stays.is_none() {
        location(request, out);
    }
    if response.vary_encoding {
        put_known(VARY, b"Accept-Encoding", out);
    }
    if let Some(span) = stays {
        let (before, behind) = output::around_location(response);
        put_all(before, text, out);
        known(LOCATION, span, text, out);
        headers = behind;
    }
    put_all(headers, text, out);
}

/// A path that was made an address.
fn location(request: &Request, out: &mut Vec<u8>) {
    let Some(span) = request.response.location else { return };
    let mut location = request.thread.buffer();
    output::absolute_location(request, span.of(&request.response.text), &mut location);
    if is_value(&location) {
        put_known(LOCATION, &location, out);
    }
    request.thread.give_buffer(location);
}

fn last_modified(response: &Response, out: &mut Vec<u8>) {
    match (response.last_modified_text, response.last_modified) {
        (Some(span), _) => known(LAST_MODIFIED, span, &response.text, out),
        (None, Some(seconds)) => put_known(LAST_MODIFIED, &wire::date::format(seconds), out),
        (None, None) => {}
    }
}

/// What is empty is left out.
fn known(number: usize, span: Span, text: &[u8], out: &mut Vec<u8>) {
    if !span.is_empty() && is_value(span.of(text)) {
        put_known(number, span.of(text), out);
    }
}

/// Appends a head before the answer's (103) of these names and values; nothing where nothing of them is left.
pub fn hints<'a>(of: impl Iterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
    put_status(103, out);
    let before = out.len();
    of.for_each(|(name, value)| put(name, value, out));
    if out.len() == before {
        out.clear();
    }
}

/// Appends what follows the answer's body.
pub fn trailers(request: &Request, out: &mut Vec<u8>) {
    put_all(&request.response.trailers, &request.response.text, out);
}

fn put_all(from: &[Field], text: &[u8], out: &mut Vec<u8>) {
    for field in from {
        put(field.name.of(text), field.value.of(text), out);
    }
}

/// What no field can have, or HTTP/2 has no place for, is left out.
fn put(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if is_name(name) && is_value(value) && !is_of_connection(name) {
        put_field(name, value, out);
    }
}

fn is_name(name: &[u8]) -> bool {
    const OTHERS: &[u8] = b"!#$%&'*+-.^_`|~";
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || OTHERS.contains(byte))
}
fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t')
}

/// What HTTP/2 has no place for (RFC 9113, 8.2.2).
fn is_of_connection(name: &[u8]) -> bool {
    let theirs: [&[u8]; 5] =
        [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
    theirs.iter().any(|theirs| name.eq_ignore_ascii_case(theirs))
}
