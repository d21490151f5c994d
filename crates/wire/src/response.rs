//! Reads the head of an upstream's response as its bytes come in.

use memchr::memchr;

use crate::bytes;
use crate::cursor::Cursor;
use crate::error::BadResponse;
use crate::field::Known;
use crate::fields::{self, Header, Headers, Line};
use crate::head::Version;
use crate::request::Progress;
use crate::span::Span;

/// A response's head. All spans point into the buffer it was read from.
#[derive(Clone, Default, Debug)]
pub struct ResponseHead {
    /// The protocol version.
    pub version: Version,
    /// The status.
    pub status: u16,
    /// Status and reason phrase as sent: `404 Not Found`.
    pub status_line_text: Span,
    /// The header lines, without those in `dropped`. nginx drops none for the bytes of its name.
    pub headers: Headers,
    /// Second lines of headers that may occur once but do not frame the message. The first counts; nginx
    /// logs each of these at warn, see [`ResponseHead::log_dropped`].
    pub dropped: Vec<Header>,
    /// Length of the head in bytes: where the body starts.
    pub length: usize,
}

impl ResponseHead {
    /// Forgets everything; memory is kept.
    pub fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        let mut dropped = std::mem::take(&mut self.dropped);
        headers.clear();
        dropped.clear();
        *self = Self { headers, dropped, ..Self::default() };
    }

    /// Makes this the head nginx takes a response to have that begins with no status line: HTTP/0.9, 200,
    /// and all bytes are the body.
    pub fn make_http09(&mut self) {
        self.clear();
        self.status = 200;
    }

    #[inline]
    fn push(&mut self, header: Header) {
        if header.known.bit() & FIRST_COUNTS != 0 && self.headers.has(header.known) {
            self.dropped.push(header);
        } else {
            self.headers.push(header);
        }
    }

    /// Writes nginx's text for one of the dropped lines:
    /// `upstream sent duplicate header line: "ETag: b", previous value: "ETag: a", ignored`.
    pub fn log_dropped(&self, dropped: Header, buf: &[u8], out: &mut Vec<u8>) {
        let first = self.headers.find(dropped.known).unwrap_or_default();
        BadResponse::DuplicateHeader(dropped.whole(), first.whole()).log_text(buf, out);
        out.extend_from_slice(b", ignored");
    }
}

/// Headers of which nginx takes the first line and ignores others.
const FIRST_COUNTS: u64 = Known::Status.bit()
    | Known::ContentType.bit()
    | Known::Date.bit()
    | Known::Server.bit()
    | Known::Location.bit()
    | Known::Refresh.bit()
    | Known::LastModified.bit()
    | Known::ETag.bit()
    | Known::Expires.bit()
    | Known::XAccelExpires.bit()
    | Known::XAccelRedirect.bit()
    | Known::XAccelLimitRate.bit()
    | Known::XAccelBuffering.bit()
    | Known::XAccelCharset.bit();

/// Reads one response's head, like [`crate::RequestParser`].
#[derive(Clone, Copy, Default, Debug)]
pub struct ResponseParser {
    in_headers: bool,
    cursor: Cursor,
}

impl ResponseParser {
    /// A parser for a first response.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A parser for the head of a CGI script's answer (RFC 3875, 6): header lines alone, the status is one of them.
    #[must_use]
    pub fn of_script() -> Self {
        Self { in_headers: true, ..Self::default() }
    }

    /// Starts over with the next response, which must then be at the start of the buffer.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Reads on in `buf`, which starts with the response; `limit` is `proxy_buffer_size`, which the head must
    /// not exceed. Interim responses (1xx) are heads as others are: it is the caller who reads the next.
    pub fn parse(
        &mut self,
        buf: &[u8],
        head: &mut ResponseHead,
        limit: usize,
    ) -> Result<Progress, BadResponse> {
        // What lies beyond the limit is never looked at, so that cutting the bytes changes nothing.
        let within = &buf[..buf.len().min(limit).min(Span::REACH)];
        let progress = self.parse_within(within, head)?;
        if progress == Progress::Partial && within.len() == limit {
            // What is wrong with the last line goes first, also where it came in pieces.
            self.cursor.next_line(self.cursor.line);
            self.parse_within(within, head)?;
            return Err(BadResponse::TooBig);
        }
        Ok(progress)
    }

    fn parse_within(&mut self, buf: &[u8], head: &mut ResponseHead) -> Result<Progress, BadResponse> {
        if self.cursor.scanned == 0 {
            head.clear();
        }
        if !self.in_headers {
            let Some(next) = self.status_line(buf, head)? else {
                self.cursor.partial(buf);
                return Ok(Progress::Partial);
            };
            self.in_headers = true;
            self.cursor.next_line(next);
        }
        self.header_lines(buf, head)
    }

    /// Reads the status line; returns the offset of the next one, or None where bytes are missing. Version
    /// and status are a few bytes and read again each time, so that a response without them is known early.
    fn status_line(&self, buf: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, BadResponse> {
        let Some(at) = version_and_status(buf, head)? else { return Ok(None) };
        // Mostly the line is there, and its end is the first control byte.
        if let Some(end) = bytes::value_end(buf, at)
            && buf[end..].starts_with(b"\r\n")
        {
            head.status_line_text = Span::new(at - 3, end);
            return Ok(Some(end + 2));
        }
        let from = at.max(self.cursor.scanned);
        let Some(length) = buf.get(from..).and_then(|rest| memchr(b'\n', rest)) else { return Ok(None) };
        let end = from + length;
        let text_end = if buf[end - 1] == b'\r' { end - 1 } else { end };
        if memchr(b'\r', &buf[at..text_end]).is_some() {
            return Err(BadResponse::NoStatusLine);
        }
        head.status_line_text = Span::new(at - 3, text_end);
        Ok(Some(end + 1))
    }

    #[inline]
    fn header_lines(&mut self, buf: &[u8], head: &mut ResponseHead) -> Result<Progress, BadResponse> {
        loop {
            if self.cursor.still_partial(buf) {
                return Ok(Progress::Partial);
            }
            if buf[self.cursor.line..].starts_with(b"HTTP/") {
                // Some servers send the status line twice; nginx skips it.
                match memchr(b'\n', &buf[self.cursor.line..]) {
                    Some(length) => self.cursor.next_line(self.cursor.line + length + 1),
                    None => return Ok(self.partial(buf)),
                }
                continue;
            }
            match fields::read_line(buf, self.cursor.line, true) {
                Line::Field { header, next } => {
                    head.push(header);
                    self.cursor.next_line(next);
                }
                Line::End { next } => {
                    head.length = next;
                    return Ok(Progress::Done);
                }
                Line::Bad { at, .. } => {
                    return Err(BadResponse::InvalidHeader(Span::new(self.cursor.line, at + 1)));
                }
                Line::Partial => return Ok(self.partial(buf)),
            }
        }
    }

    fn partial(&mut self, buf: &[u8]) -> Progress {
        self.cursor.partial(buf);
        Progress::Partial
    }
}

/// Reads `HTTP/1.1 200` as nginx does; returns the offset after the status.
fn version_and_status(buf: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, BadResponse> {
    if let Some(&[b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'1', b' ', a, b, c, end]) =
        buf.get(..13)
        && [a, b, c].iter().all(u8::is_ascii_digit)
        && matches!(end, b' ' | b'\r' | b'\n')
    {
        head.version = if minor == b'0' { Version::Http10 } else { Version::Http11 };
        head.status = number(&[a, b, c]);
        return Ok(Some(12));
    }
    any_version_and_status(buf, head)
}

#[cold]
fn any_version_and_status(buf: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, BadResponse> {
    let sign = b"HTTP/";
    let same = buf.iter().zip(sign).take_while(|(have, want)| have == want).count();
    if same < sign.len() {
        return if same == buf.len() { Ok(None) } else { Err(BadResponse::NoStatusLine) };
    }
    if buf.get(sign.len()) == Some(&b'0') {
        return Err(BadResponse::NoStatusLine);
    }
    let Some(dot) = digits(buf, sign.len(), 3, |after| after == b'.')? else { return Ok(None) };
    let Some(space) = digits(buf, dot + 1, 3, |after| after == b' ')? else { return Ok(None) };
    let spaces = buf[space..].iter().take_while(|&&byte| byte == b' ').count();
    let status = space + spaces;
    let Some(end) = digits(buf, status, 3, |after| matches!(after, b' ' | b'.' | b'\r' | b'\n'))? else {
        return Ok(None);
    };
    if end - status != 3 {
        return Err(BadResponse::NoStatusLine);
    }
    head.version = response_version(number(&buf[sign.len()..dot]), number(&buf[dot + 1..space]));
    head.status = number(&buf[status..end]);
    Ok(Some(end))
}

/// The end of 1 to `most` digits at `start`, if the byte after them is as it should be.
fn digits(
    buf: &[u8],
    start: usize,
    most: usize,
    after: fn(u8) -> bool,
) -> Result<Option<usize>, BadResponse> {
    let rest = buf.get(start..).unwrap_or_default();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count > most {
        return Err(BadResponse::NoStatusLine);
    }
    match rest.get(count) {
        None => Ok(None),
        Some(&byte) if count > 0 && after(byte) => Ok(Some(start + count)),
        Some(_) => Err(BadResponse::NoStatusLine),
    }
}

fn number(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
}

fn response_version(major: u16, minor: u16) -> Version {
    match (major, minor) {
        (1, 0) => Version::Http10,
        _ => Version::Http11,
    }
}

impl ResponseHead {
    /// What a CGI script's header lines say of the status: `Status`, else 302 with a `Location`, else 200.
    ///
    /// # Errors
    /// The value of a `Status` that begins with no number.
    pub fn take_status(&mut self, buf: &[u8]) -> Result<(), Span> {
        self.version = Version::Http11;
        let Some(header) = self.headers.find(Known::Status) else {
            self.status = if self.headers.has(Known::Location) { 302 } else { 200 };
            return Ok(());
        };
        let text = header.value.of(buf);
        match text.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit)) {
            Some(digits) => {
                self.status = number(digits);
                // A number alone has the usual words behind it.
                if text.len() > digits.len() {
                    self.status_line_text = header.value;
                }
                Ok(())
            }
            None => Err(header.value),
        }
    }
}

#[cfg(test)]
mod tests;
