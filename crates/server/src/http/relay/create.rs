//! The request to an HTTP server: its head is re-written slice by slice into one buffer.

use wire::{Framing, Known, Method};

use super::protocol::{Frame, Message, Payload};
use super::settings::{Names, Settings};
use crate::http::request::Request;
use crate::http::variables::Template;

/// What a location's requests are made of.
pub struct Create {
    /// Which HTTP is spoken.
    pub version: HttpVersion,
    /// What is sent beside the client's headers.
    pub headers: SetHeaders,
    /// Those of a request whose answer is to be kept: what the client has already is no matter.
    pub cache_headers: Option<SetHeaders>,
    /// `proxy_method`
    pub method: Option<Template>,
    /// `proxy_set_body`
    pub set_body: Option<Template>,
}

/// `proxy_http_version`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// A connection for each request.
    Http10,
    /// The usual one.
    Http11,
    /// Many requests side by side on one connection.
    Http2,
}

/// What is sent to the upstream beside the client's headers, and which of those are not.
pub struct SetHeaders {
    /// `Host`, where it is written; the last counts.
    host: Option<Template>,
    set: Box<[(Box<[u8]>, Value)]>,
    replaced: Names,
}
/// A header's value.
pub enum Value {
    /// As the configuration has it.
    Text(Template),
    /// The length of the body sent, if it is known.
    BodyLength,
    /// `chunked`, if the body is.
    Chunked,
    /// `trailers`, if the client takes some.
    Trailers,
    /// `$upstream_cache_last_modified`: what the cache has.
    OldDate,
    /// `$upstream_cache_etag`, likewise.
    OldTag,
    /// Not sent at all.
    Nothing,
}

/// A header and what it is by default.
pub type Preset = (&'static [u8], fn() -> Value);

impl SetHeaders {
    /// What the configuration sets; and by default, what is preset.
    pub fn new<'a>(
        written: &[(Box<[u8]>, Template)],
        presets: impl IntoIterator<Item = &'a Preset>,
    ) -> SetHeaders {
        let mut replaced = Names::default();
        let (mut host, mut set) = (None, Vec::new());
        let line = |name: &[u8]| [name, b": "].concat().into_boxed_slice();
        for (name, value) in written {
            replaced.add(name);
            if name.eq_ignore_ascii_case(b"Host") {
                host = Some(value.clone());
            } else if value.as_literal() != Some(b"") {
                set.push((line(name), Value::Text(value.clone())));
            }
        }
        for (name, value) in presets {
            if replaced.has(Known::of(name), name) {
                continue;
            }
            replaced.add(name);
            match value() {
                Value::Nothing => {}
                value => set.push((line(name), value)),
            }
        }
        SetHeaders { host, set: set.into(), replaced }
    }
    /// `Host` stands before all others. An empty one is none for HTTP/1.0 alone.
    fn put_host(&self, version: HttpVersion, request: &mut Request, place: &Place<'_>, head: &mut Vec<u8>) {
        let start = head.len();
        head.extend_from_slice(b"Host: ");
        let value_start = head.len();
        if let Some(template) = &self.host {
            template.render(request, head);
        }
        if head.len() == value_start && (self.host.is_none() || version != HttpVersion::Http10) {
            head.extend_from_slice(place.host);
        }
        match head.len() == value_start {
            true => head.truncate(start),
            false => head.extend_from_slice(b"\r\n"),
        }
    }
}

/// Where a request goes.
pub struct Place<'a> {
    /// What `Host` says by default.
    pub host: &'a [u8],
    /// What replaces the location's path; for a URL with variables the whole URI.
    pub uri: Option<&'a [u8]>,
    /// The URL has variables: `uri` is taken as it is.
    pub whole: bool,
}

/// Writes the request's head into `head`, and its URI into the record for the error log.
pub fn create(
    how: &Create,
    settings: &Settings,
    request: &mut Request,
    place: &Place<'_>,
    for_cache: bool,
    mut head: Vec<u8>,
) -> Message {
    let payload = payload(how, settings, request);
    let chunked = payload == Payload::Stream
        && request.body.framing == Framing::Chunked
        && how.version != HttpVersion::Http2;
    let frame = if chunked { Frame::Chunked } else { Frame::Raw };
    let method = put_method(how, settings, request, for_cache, &mut head);
    head.push(b' ');
    let start = head.len();
    put_uri(request, place, &mut head);
    request.upstream.uri.extend_from_slice(&head[start..]);
    head.extend_from_slice(match how.version {
        HttpVersion::Http10 => b" HTTP/1.0\r\n",
        _ => b" HTTP/1.1\r\n",
    });
    let body = how.set_body.as_ref().map(|template| {
        let mut body = request.thread.buffer();
        template.render(request, &mut body);
        body
    });
    let length = body_length(request, body.as_deref(), payload);
    let headers = how.cache_headers.as_ref().filter(|_| for_cache).unwrap_or(&how.headers);
    headers.put_host(how.version, request, place, &mut head);
    for (name, value) in &headers.set {
        put_header(request, name, value, length, chunked, &mut head);
    }
    if settings.pass_headers {
        pass_headers(headers, request, &mut head);
    }
    head.extend_from_slice(b"\r\n");
    if let Some(body) = body {
        head.extend_from_slice(&body);
        request.thread.give_buffer(body);
    }
    Message { head, payload, frame, method }
}

/// What will be sent as body.
fn payload(how: &Create, settings: &Settings, request: &Request) -> Payload {
    if how.set_body.is_some() || !settings.pass_body {
        return Payload::Nothing;
    }
    match request.body.framing {
        _ if request.body.complete => Payload::Whole,
        Framing::None => Payload::Nothing,
        Framing::Chunked | Framing::Length(_) => Payload::Stream,
    }
}

/// As nginx: also where the body is not passed, unless the configuration says otherwise.
fn body_length(request: &Request, set: Option<&[u8]>, payload: Payload) -> Option<u64> {
    if let Some(set) = set {
        return Some(set.len() as u64);
    }
    match request.body.framing {
        Framing::None => None,
        Framing::Length(length) => Some(length),
        Framing::Chunked if payload == Payload::Stream => None,
        Framing::Chunked => Some(request.body.read),
    }
}

fn put_method(
    how: &Create,
    settings: &Settings,
    request: &mut Request,
    for_cache: bool,
    head: &mut Vec<u8>,
) -> Method {
    // As in nginx, also where the answer will not be kept after all.
    let looked_up = for_cache || request.upstream.cache.status.is_some();
    let converts = looked_up && settings.cache.as_ref().is_some_and(|cache| cache.convert_head);
    match &how.method {
        Some(method) => method.render(request, head),
        None if converts && request.method == Method::Head => head.extend_from_slice(b"GET"),
        None if request.method == request.head.method => {
            head.extend_from_slice(request.text(request.head.method_name));
            return request.method;
        }
        // An internal redirect changed it.
        None => head.extend_from_slice(if request.method == Method::Head { b"HEAD" } else { b"GET" }),
    }
    Method::of(head)
}

/// The client's URI as sent, unless the configuration or a rewrite changes it.
pub fn put_uri(request: &Request, place: &Place<'_>, head: &mut Vec<u8>) {
    let start = head.len();
    match place.uri {
        Some(uri) if place.whole => {
            if uri.starts_with(b"?") {
                head.push(b'/');
            }
            head.extend_from_slice(uri);
            return;
        }
        None if request.unmodified_uri => {
            let target = request.text(request.head.target);
            if !target.starts_with(b"/") {
                head.push(b'/');
            }
            head.extend_from_slice(target);
            return;
        }
        Some(uri) if request.location_prefix > 0 && !request.location_left => {
            head.extend_from_slice(uri);
            put_path(request, &request.uri[request.location_prefix.min(request.uri.len())..], head);
        }
        _ => put_path(request, &request.uri, head),
    }
    if head.len() == start {
        head.push(b'/');
    }
    if !request.args.is_empty() {
        head.push(b'?');
        head.extend_from_slice(&request.args);
    }
}
/// Escapes a path that was decoded; one that never was stays as it came.
fn put_path(request: &Request, path: &[u8], head: &mut Vec<u8>) {
    let raw = request.text(request.head.path);
    if request.internal || !request.unmodified_uri || memchr::memchr(b'%', raw).is_some() {
        wire::uri::escape_uri(path, head);
    } else {
        head.extend_from_slice(path);
    }
}

fn put_header(
    request: &mut Request,
    name: &[u8],
    value: &Value,
    length: Option<u64>,
    chunked: bool,
    head: &mut Vec<u8>,
) {
    let start = head.len();
    head.extend_from_slice(name);
    let value_start = head.len();
    match value {
        Value::Text(template) => template.render(request, head),
        Value::BodyLength => length.into_iter().for_each(|n| wire::push_decimal(head, n)),
        Value::OldDate => head.extend_from_slice(&request.upstream.cache.last_modified),
        Value::OldTag => head.extend_from_slice(&request.upstream.cache.etag),
        Value::Trailers if takes_trailers(request) => head.extend_from_slice(b"trailers"),
        Value::Chunked if chunked => head.extend_from_slice(b"chunked"),
        Value::Chunked | Value::Trailers | Value::Nothing => {}
    }
    match head.len() == value_start {
        true => head.truncate(start),
        false => head.extend_from_slice(b"\r\n"),
    }
}

fn pass_headers(headers: &SetHeaders, request: &Request, head: &mut Vec<u8>) {
    let text = &request.buffer;
    for header in request.head.headers.iter() {
        let name = header.name.of(text);
        if headers.replaced.has(header.known, name) {
            continue;
        }
        head.extend_from_slice(name);
        head.extend_from_slice(b": ");
        head.extend_from_slice(header.value.of(text));
        head.extend_from_slice(b"\r\n");
    }
}

/// Whether the client says so.
fn takes_trailers(request: &Request) -> bool {
    let header = request.head.headers.find(Known::Te);
    let said = header.map(|header| request.text(header.value).to_ascii_lowercase());
    said.is_some_and(|said| memchr::memmem::find(&said, b"trailers").is_some())
}
