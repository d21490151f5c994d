//! The request line, one byte after the other.
//!
//! Every verdict depends on the bytes up to the one that decides it and on nothing behind it, so that a
//! line gives the same result however it was cut on its way.

use crate::bytes::{self, Class};
use crate::error::BadRequest;
use crate::head::{Method, RequestHead, Version};
use crate::host::port_number;
use crate::span::Span;

/// Why a line could not be read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// More bytes are needed.
    Partial,
    /// The line is wrong, which was known after so many bytes of the buffer.
    Bad(BadRequest, usize),
}

type Step = Result<usize, Stop>;

/// Reads the line at `start` into `head`; returns the offset of the next line.
#[inline]
pub(crate) fn read(buf: &[u8], start: usize, head: &mut RequestHead) -> Step {
    let at = method(buf, start, head)?;
    let at = skip_spaces(buf, at);
    let at = target(buf, at, head)?;
    let at = protocol(buf, at, head)?;
    let (end, next) = line_end(buf, at)?;
    head.line = Span::new(start, end);
    if head.protocol.start != 0 {
        head.protocol = Span::new(head.protocol.start as usize, end);
    }
    if head.version == Version::Http09 && head.method != Method::Get {
        head.method_name = Span::default();
        return Err(Stop::Bad(BadRequest::InvalidMethod09, next));
    }
    Ok(next)
}

#[inline]
fn byte(buf: &[u8], at: usize) -> Result<u8, Stop> {
    buf.get(at).copied().ok_or(Stop::Partial)
}

/// The first byte of `class` from `at` on.
#[inline]
fn find(buf: &[u8], at: usize, class: Class) -> Step {
    class.find(buf, at).ok_or(Stop::Partial)
}

fn invalid<T>(at: usize) -> Result<T, Stop> {
    Err(Stop::Bad(BadRequest::InvalidRequest, at + 1))
}

#[inline]
fn skip_spaces(buf: &[u8], mut at: usize) -> usize {
    while buf.get(at) == Some(&b' ') {
        at += 1;
    }
    at
}

#[inline]
fn method(buf: &[u8], start: usize, head: &mut RequestHead) -> Step {
    let at = find(buf, start, bytes::NOT_METHOD)?;
    if buf[at] != b' ' || at == start {
        return Err(Stop::Bad(BadRequest::InvalidMethod, at + 1));
    }
    head.method_name = Span::new(start, at);
    head.method = Method::of(&buf[start..at]);
    Ok(at)
}

/// Origin-form or absolute-form, for CONNECT authority-form; nginx does not know `*`.
#[inline]
fn target(buf: &[u8], at: usize, head: &mut RequestHead) -> Step {
    match byte(buf, at)? {
        _ if head.method == Method::Connect => authority_form(buf, at, head),
        b'/' => origin_form(buf, at, at, head),
        first if first.is_ascii_alphabetic() => absolute_form(buf, at, head),
        _ => invalid(at),
    }
}

/// The path at `path` and what follows, in a target that starts at `start`.
#[inline]
fn origin_form(buf: &[u8], start: usize, path: usize, head: &mut RequestHead) -> Step {
    let mut plain = true;
    let mut from = path;
    let (at, stop) = loop {
        let at = find(buf, from, bytes::PATH_MARK)?;
        match buf[at] {
            b'/' => plain &= !matches!(buf.get(at + 1), Some(b'/' | b'.')),
            b'%' => plain = false,
            stop => break (at, stop),
        }
        from = at + 1;
    };
    head.plain_path = plain;
    head.path = Span::new(path, at);
    let end = match stop {
        b'?' => arguments(buf, at + 1, head)?,
        b'#' => target_end(buf, at)?,
        _ => at,
    };
    finish_target(buf, start, end, head)
}

/// The arguments at `at`, which end at a fragment.
#[inline]
fn arguments(buf: &[u8], start: usize, head: &mut RequestHead) -> Step {
    let at = find(buf, start, bytes::ARGS_END)?;
    head.args = Span::new(start, at);
    head.has_args = true;
    target_end(buf, at)
}

#[inline]
fn target_end(buf: &[u8], at: usize) -> Step {
    find(buf, at, bytes::TARGET_END)
}

#[inline]
fn finish_target(buf: &[u8], start: usize, end: usize, head: &mut RequestHead) -> Step {
    head.target = Span::new(start, end);
    match buf[end] {
        b' ' | b'\r' | b'\n' => Ok(end),
        _ => invalid(end),
    }
}

/// `host:port`, and a space. The path is `/`: the slash of the protocol's name stands for it.
#[cold]
fn authority_form(buf: &[u8], start: usize, head: &mut RequestHead) -> Step {
    let host_end = if byte(buf, start)? == b'[' { literal_end(buf, start)? } else { name_end(buf, start)? };
    head.host = Span::new(start, host_end);
    if host_end == start && byte(buf, start)? == b':' {
        return Err(Stop::Bad(BadRequest::InvalidHostInLine, start + 1));
    }
    let end = port_end(buf, host_end, head)?;
    if byte(buf, end)? != b' ' || end < host_end + 2 {
        return invalid(end);
    }
    let name = skip_spaces(buf, end);
    for (offset, want) in b"HTTP/".iter().enumerate() {
        if byte(buf, name + offset)? != *want {
            return Ok(end);
        }
    }
    let slash = Span::new(name + 4, name + 5);
    (head.path, head.plain_path, head.target) = (slash, true, slash);
    Ok(end)
}

#[cold]
fn absolute_form(buf: &[u8], start: usize, head: &mut RequestHead) -> Step {
    let colon = scheme_end(buf, start)?;
    for at in [colon + 1, colon + 2] {
        if byte(buf, at)? != b'/' {
            return invalid(at);
        }
    }
    head.scheme = Span::new(start, colon);
    let host = colon + 3;
    let host_end = if byte(buf, host)? == b'[' { literal_end(buf, host)? } else { name_end(buf, host)? };
    head.host = Span::new(host, host_end);
    if host_end == host {
        return Err(Stop::Bad(BadRequest::InvalidHostInLine, host + 1));
    }
    let at = port_end(buf, host_end, head)?;
    // A path that is not there is "/": the first slash after the scheme stands for it.
    let slash = Span::new(colon + 1, colon + 2);
    match byte(buf, at)? {
        b'/' => origin_form(buf, at, at, head),
        b'?' => {
            (head.path, head.plain_path) = (slash, true);
            let end = arguments(buf, at + 1, head)?;
            finish_target(buf, at, end, head)
        }
        b' ' => {
            (head.path, head.plain_path, head.target) = (slash, true, slash);
            Ok(at)
        }
        _ => invalid(at),
    }
}

fn scheme_end(buf: &[u8], mut at: usize) -> Step {
    loop {
        match byte(buf, at)? {
            b':' => return Ok(at),
            other if other.is_ascii_alphanumeric() || matches!(other, b'+' | b'-' | b'.') => at += 1,
            _ => return invalid(at),
        }
    }
}

/// The end of a name or IPv4 address: a target has room for fewer characters than the `Host` header.
fn name_end(buf: &[u8], mut at: usize) -> Step {
    loop {
        match byte(buf, at)? {
            other if other.is_ascii_alphanumeric() || matches!(other, b'.' | b'-') => at += 1,
            _ => return Ok(at),
        }
    }
}

/// The end of a bracketed address (RFC 3986, 3.2.2).
fn literal_end(buf: &[u8], open: usize) -> Step {
    let mut at = open + 1;
    loop {
        match byte(buf, at)? {
            b']' => return Ok(at + 1),
            other if bytes::HOST.has(other) || other == b':' => at += 1,
            _ => return invalid(at),
        }
    }
}

fn port_end(buf: &[u8], at: usize, head: &mut RequestHead) -> Step {
    if byte(buf, at)? != b':' {
        return Ok(at);
    }
    let mut end = at + 1;
    while byte(buf, end)?.is_ascii_digit() {
        end += 1;
    }
    head.port = Span::new(at + 1, end);
    match port_number(head.port.of(buf)) {
        Some(_) => Ok(end),
        None => Err(Stop::Bad(BadRequest::InvalidHostInLine, end)),
    }
}

/// The version, if there is one, and the spaces around it.
#[inline]
fn protocol(buf: &[u8], at: usize, head: &mut RequestHead) -> Step {
    let at = skip_spaces(buf, at);
    match byte(buf, at)? {
        b'H' => {}
        b'\r' | b'\n' => return Ok(at),
        _ => return invalid(at),
    }
    head.protocol = Span::new(at, at);
    if let Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'1', b'\r']) = buf.get(at..at + 9)
    {
        head.minor = u16::from(minor - b'0');
        head.version = Version::of_minor(head.minor);
        return Ok(at + 8);
    }
    any_version(buf, at, head)
}

#[cold]
fn any_version(buf: &[u8], at: usize, head: &mut RequestHead) -> Step {
    for (offset, want) in b"HTTP/".iter().enumerate() {
        if byte(buf, at + offset)? != *want {
            return invalid(at + offset);
        }
    }
    let at = major_end(buf, at + 5)?;
    let end = minor_end(buf, at + 1, head)?;
    head.version = Version::of_minor(head.minor);
    Ok(skip_spaces(buf, end))
}

/// The offset of the dot. Only 1 is a major version, and `01` is none.
fn major_end(buf: &[u8], at: usize) -> Step {
    match byte(buf, at)? {
        b'1' => {}
        b'2'..=b'9' => return Err(Stop::Bad(BadRequest::InvalidVersion, at + 1)),
        _ => return invalid(at),
    }
    match byte(buf, at + 1)? {
        b'.' => Ok(at + 1),
        b'0'..=b'9' => Err(Stop::Bad(BadRequest::InvalidVersion, at + 2)),
        _ => invalid(at + 1),
    }
}

/// nginx reads a minor version up to 999.
fn minor_end(buf: &[u8], start: usize, head: &mut RequestHead) -> Step {
    let mut minor = 0;
    let mut at = start;
    loop {
        match byte(buf, at)? {
            digit @ b'0'..=b'9' if minor <= 99 => minor = minor * 10 + u16::from(digit - b'0'),
            b' ' | b'\r' | b'\n' if at > start => break,
            _ => return invalid(at),
        }
        at += 1;
    }
    head.minor = minor;
    Ok(at)
}

/// The end of the line's text and the start of the next line.
#[inline]
fn line_end(buf: &[u8], at: usize) -> Result<(usize, usize), Stop> {
    match byte(buf, at)? {
        b'\n' => Ok((at, at + 1)),
        b'\r' if byte(buf, at + 1)? == b'\n' => Ok((at, at + 2)),
        b'\r' => invalid(at + 1),
        _ => invalid(at),
    }
}
