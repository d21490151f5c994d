//! A request's head, as read.

use crate::field::Known;
use crate::fields::Headers;
use crate::span::Span;

/// A request's method.
#[allow(missing_docs, reason = "each variant is the method of that name")]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Trace,
    Connect,
    Mkcol,
    Copy,
    Move,
    Propfind,
    Proppatch,
    Lock,
    Unlock,
    /// None of those; its name is [`RequestHead::method_name`].
    #[default]
    Other,
}

impl Method {
    /// The method of this name; names are case-sensitive (RFC 9110, 9.1).
    #[inline]
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            b"MKCOL" => Self::Mkcol,
            b"COPY" => Self::Copy,
            b"MOVE" => Self::Move,
            b"PROPFIND" => Self::Propfind,
            b"PROPPATCH" => Self::Proppatch,
            b"LOCK" => Self::Lock,
            b"UNLOCK" => Self::Unlock,
            _ => Self::Other,
        }
    }
}

/// The protocol version, as far as behaviour differs.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// A request line without a version; the answer is a body and nothing else.
    #[default]
    Http09,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1 and any later 1.x.
    Http11,
    /// HTTP/2.
    Http20,
}

impl Version {
    /// The version 1.`minor`.
    pub(crate) fn of_minor(minor: u16) -> Self {
        if minor == 0 { Self::Http10 } else { Self::Http11 }
    }
}

/// A request's head. All spans point into the buffer it was read from. Reuse one for the next request: its
/// vectors keep their memory.
#[derive(Clone, Default, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method's name, `$request_method`.
    pub method_name: Span,
    /// The request line without its CRLF, `$request`; not empty once the line has been read.
    pub line: Span,
    /// The protocol version.
    pub version: Version,
    /// The minor version number as sent: 2 for HTTP/1.2.
    pub minor: u16,
    /// The version as sent, `$server_protocol`; empty for HTTP/0.9.
    pub protocol: Span,
    /// The scheme of an absolute-form target, else empty.
    pub scheme: Span,
    /// The host of an absolute-form target, without its port, else empty. It takes precedence over the
    /// `Host` header; [`RequestHead::host_name`] decides.
    pub host: Span,
    /// The port of an absolute-form target, digits only, else empty.
    pub port: Span,
    /// The target as sent, without scheme and host: `$request_uri`.
    pub target: Span,
    /// The target's path as sent: no arguments, no fragment.
    pub path: Span,
    /// What follows `?`, without a fragment: `$args`.
    pub args: Span,
    /// Whether there is a `?`: `/a?` has empty arguments, `/a` has none.
    pub has_args: bool,
    /// Whether the path is its own normal form: nothing encoded, no empty or dot segments.
    pub plain_path: bool,
    /// The header lines, without those dropped by `ignore_invalid_headers`.
    pub headers: Headers,
    /// Lines dropped by `ignore_invalid_headers`, without CRLF. nginx logs each at info:
    /// `client sent invalid header line: "X_y: 1"`.
    pub dropped: Vec<Span>,
    /// Length of the head in bytes, empty lines before it included: where the body starts.
    pub length: usize,
}

impl RequestHead {
    /// Whether what was read so far names the host: in the request line or a `Host` header.
    #[must_use]
    pub fn tells_host(&self) -> bool {
        !self.host.is_empty() || self.headers.has(Known::Host)
    }

    /// Forgets everything; memory is kept.
    pub fn clear(&mut self) {
        let Self { method, version, minor, headers, dropped, length, has_args, plain_path, .. } = self;
        headers.clear();
        dropped.clear();
        (*method, *version, *minor, *length) = (Method::default(), Version::default(), 0, 0);
        (*has_args, *plain_path) = (false, false);
        // Names every field, so that none that is added is forgotten.
        #[rustfmt::skip]
        let Self {
            method_name, line, protocol, scheme, host, port, target, path, args,
            method: _, version: _, minor: _, headers: _, dropped: _, length: _, has_args: _, plain_path: _,
        } = self;
        for span in [method_name, line, protocol, scheme, host, port, target, path, args] {
            *span = Span::default();
        }
    }
}
