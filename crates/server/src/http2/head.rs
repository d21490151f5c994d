//! Heads: a stream's fields as the text of an HTTP/1 head, and an answer's head as fields.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use wire::{BadRequest, Progress, RequestParser, Version};

use crate::http::output;
use crate::http::request::Request;
use crate::http::response::Field;

/// What stands in the request line while the parser reads it, and afterwards; both are as long.
const PARSED: &[u8] = b"HTTP/1.1";
const SHOWN: &[u8] = b"HTTP/2.0";

/// Puts the head into the request's buffer and reads it there, within the limits of `large_client_header_buffers`.
///
/// # Errors
/// As for a request over HTTP/1.
pub fn receive(request: &mut Request, head: &http::request::Parts) -> Result<(), BadRequest> {
    let limits = request.plan().core.limits;
    let version = write_request(head, &mut request.buffer);
    let parsed = RequestParser::new().parse(&request.buffer, &mut request.head, &limits);
    request.buffer[version..version + SHOWN.len()].copy_from_slice(SHOWN);
    request.head.version = Version::Http20;
    request.unread = request.buffer.len();
    request.received = request.buffer.len() as u64;
    match parsed? {
        Progress::Done => Ok(()),
        // What was written ends with an empty line: it is a head, or refused.
        Progress::Partial => Err(BadRequest::InvalidRequest),
    }
}

/// Appends the head as text; says where its version stands.
fn write_request(head: &http::request::Parts, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes());
    out.push(b' ');
    let version = out.len();
    out.extend_from_slice(PARSED);
    out.extend_from_slice(b"\r\n");
    let mut field = |name: &[u8], value: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    if let Some(authority) = authority {
        field(b"host", authority);
    }
    for (name, value) in &head.headers {
        let same_host = name == header::HOST && Some(value.as_bytes()) == authority;
        if name != header::COOKIE && !same_host {
            field(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    cookies(&head.headers, out);
    out.extend_from_slice(b"\r\n");
    version
}

/// A client may send its cookies one by one (RFC 9113, 8.2.3).
fn cookies(headers: &HeaderMap, out: &mut Vec<u8>) {
    let mut separator: &[u8] = b"cookie: ";
    for cookie in headers.get_all(header::COOKIE) {
        out.extend_from_slice(separator);
        out.extend_from_slice(cookie.as_bytes());
        separator = b"; ";
    }
    if separator == b"; " {
        out.extend_from_slice(b"\r\n");
    }
}

/// The head of the request's answer.
pub fn answer(request: &mut Request) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = http::StatusCode::from_u16(request.response.status)
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut fields = HeaderMap::with_capacity(request.response.headers.len() + 8);
    let response = &request.response;
    let text = &response.text;
    match response.server {
        Some(span) if span.is_empty() => {}
        Some(span) => add(&mut fields, header::SERVER, span.of(text)),
        None => {
            let line = request.plan().core.server_header;
            let value = line.strip_prefix(b"Server: ").and_then(|rest| rest.strip_suffix(b"\r\n"));
            add(&mut fields, header::SERVER, value.unwrap_or_default());
        }
    }
    match response.date {
        Some(span) if span.is_empty() => {}
        Some(span) => add(&mut fields, header::DATE, span.of(text)),
        None => add(&mut fields, header::DATE, &request.thread.clock.http_date.get()),
    }
    if !response.content_type.is_empty() {
        add(&mut fields, header::CONTENT_TYPE, response.content_type.of(text));
    }
    if let Some(length) = response.content_length {
        fields.append(header::CONTENT_LENGTH, length.into());
    }
    if let Some(span) = response.last_modified_text {
        if !span.is_empty() {
            add(&mut fields, header::LAST_MODIFIED, span.of(text));
        }
    } else if let Some(seconds) = response.last_modified {
        add(&mut fields, header::LAST_MODIFIED, &wire::date::format(seconds));
    }
    if let Some(span) = response.location {
        let mut location = request.thread.buffer();
        output::absolute_location(request, span.of(text), &mut location);
        add(&mut fields, header::LOCATION, &location);
        request.thread.give_buffer(location);
    }
    if response.vary_encoding {
        fields.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    add_all(&mut fields, &response.headers, text);
    *head.headers_mut() = fields;
    head
}

/// A head before the answer's (103) of these names and values; `None` where nothing of them is left.
pub fn hints<'a>(of: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<http::Response<()>> {
    let mut head = http::Response::new(());
    *head.status_mut() = http::StatusCode::EARLY_HINTS;
    for (name, value) in of {
        put(head.headers_mut(), name, value);
    }
    (!head.headers().is_empty()).then_some(head)
}

/// What follows the answer's body.
pub fn trailers(request: &Request) -> Option<HeaderMap> {
    let response = &request.response;
    if response.trailers.is_empty() {
        return None;
    }
    let mut fields = HeaderMap::with_capacity(response.trailers.len());
    add_all(&mut fields, &response.trailers, &response.text);
    Some(fields)
}

fn add_all(fields: &mut HeaderMap, from: &[Field], text: &[u8]) {
    for field in from {
        put(fields, field.name.of(text), field.value.of(text));
    }
}

/// A name that no field can have, or that HTTP/2 has no place for, is left out.
fn put(fields: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let Ok(name) = HeaderName::from_bytes(name)
        && !is_of_connection(&name)
    {
        add(fields, name, value);
    }
}

/// A value that no field can have is left out.
fn add(fields: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        fields.append(name, value);
    }
}

/// What HTTP/2 has no place for (RFC 9113, 8.2.2).
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    )
}

/// What a head takes at most on the wire: nobody outside knows what compression made of it.
pub fn size(head: &http::Response<()>) -> u64 {
    const FRAME: usize = 9;
    let fields = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 2);
    (FRAME + 1 + fields.sum::<usize>()) as u64
}
