//! The head of an HTTP/1 response, as text.

use wire::Version;

use crate::http::request::Request;
use crate::http::response::{Field, Response};

/// Appends the head to `out`.
pub fn write(request: &mut Request, out: &mut Vec<u8>) {
    if request.head.version == Version::Http09 {
        return;
    }
    let response = &request.response;
    let text = &response.text;
    match response.status_text {
        Some(span) => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(span.of(text));
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(wire::status_line(response.status)),
    }
    server_and_date(request, out);
    if !response.content_type.is_empty() {
        field(out, b"Content-Type: ", response.content_type.of(text));
    }
    if let Some(length) = response.content_length {
        out.extend_from_slice(b"Content-Length: ");
        wire::push_decimal(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(span) = response.last_modified_text {
        if !span.is_empty() {
            field(out, b"Last-Modified: ", span.of(text));
        }
    } else if let Some(seconds) = response.last_modified {
        field(out, b"Last-Modified: ", &wire::date::format(seconds));
    }
    let location = response.location.map(|span| span.of(text));
    let absolute = location.filter(|to| becomes_absolute(request, to));
    if let Some(to) = absolute {
        out.extend_from_slice(b"Location: ");
        absolute_location(request, to, out);
        out.extend_from_slice(b"\r\n");
    }
    if response.chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    connection_header(request, out);
    if response.vary_encoding {
        out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    }
    let mut headers = &response.headers[..];
    if let (Some(to), None) = (location, absolute) {
        // As nginx has it: what is not changed stands among the other headers.
        let (before, behind) = around_location(response);
        fields(before, text, out);
        field(out, b"Location: ", to);
        headers = behind;
    }
    fields(headers, text, out);
    out.extend_from_slice(b"\r\n");
}

/// What every answer begins with, unless it brought its own; an empty one is left out.
#[inline]
fn server_and_date(request: &Request, out: &mut Vec<u8>) {
    let response = &request.response;
    match response.server {
        Some(span) if span.is_empty() => {}
        Some(span) => field(out, b"Server: ", span.of(&response.text)),
        None => out.extend_from_slice(request.core().server_header),
    }
    match response.date {
        Some(span) if span.is_empty() => {}
        Some(span) => field(out, b"Date: ", span.of(&response.text)),
        None => out.extend_from_slice(&request.thread.clock.date_header.get()),
    }
}

#[inline]
fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn fields(headers: &[Field], text: &[u8], out: &mut Vec<u8>) {
    for header in headers {
        out.extend_from_slice(header.name.of(text));
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value.of(text));
        out.extend_from_slice(b"\r\n");
    }
}

fn connection_header(request: &Request, out: &mut Vec<u8>) {
    if request.response.status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if !request.keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    } else {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
        if let Some(seconds) = request.core().keep_alive.header {
            out.extend_from_slice(b"Keep-Alive: timeout=");
            wire::push_decimal(out, seconds);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The headers before and behind a `Location` that stays as it is.
pub fn around_location(response: &Response) -> (&[Field], &[Field]) {
    response.headers.split_at(response.headers.len().min(response.location_place.into()))
}

/// Whether a `Location` is a path that is made an address.
pub fn becomes_absolute(request: &Request, to: &[u8]) -> bool {
    to.starts_with(b"/") && request.core().absolute_redirect && request.response.location_is_ours
}

/// A path becomes an absolute URL (`absolute_redirect`, `server_name_in_redirect`, `port_in_redirect`).
pub fn absolute_location(request: &Request, to: &[u8], out: &mut Vec<u8>) {
    if !becomes_absolute(request, to) {
        out.extend_from_slice(to);
        return;
    }
    let plan = request.plan();
    let encrypted = request.client.is_encrypted();
    out.extend_from_slice(if encrypted { b"https://" } else { b"http://" });
    let generation = request.generation.clone();
    let server = generation.shared.server(request.server);
    let host = match plan.core.server_name_in_redirect {
        true => server.name.as_bytes(),
        false => &request.host,
    };
    match host.is_empty() {
        true => request.client.push_local_ip(out),
        false => out.extend_from_slice(host),
    }
    let port = request.client.local_port();
    if plan.core.port_in_redirect && port != if encrypted { 443 } else { 80 } && port != 0 {
        out.push(b':');
        wire::push_decimal(out, port.into());
    }
    out.extend_from_slice(to);
}
