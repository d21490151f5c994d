//! Header lines, of requests, responses and trailers alike.

use crate::bytes;
use crate::error::BadResponse;
use crate::field::Known;
use crate::span::Span;

/// One header line.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Header {
    /// The name as sent.
    pub name: Span,
    /// The value without the spaces around it.
    pub value: Span,
    /// Which header it is, if the server has a use for it.
    pub known: Known,
    /// Whether the name has only letters, digits and hyphens (and underscores, if they are allowed).
    pub valid: bool,
}

impl Header {
    /// The line, from its name to the end of its value.
    #[must_use]
    pub fn whole(self) -> Span {
        Span { start: self.name.start, end: self.value.end }
    }
}

/// The header lines of a message, in order, with a note of which known ones are there: asking for a header
/// the message has not is one test of a bit.
#[derive(Clone, Default, Debug)]
pub struct Headers {
    lines: Vec<Header>,
    seen: u64,
    repeated: u64,
}

impl Headers {
    /// Forgets all lines; the memory is kept for the next message.
    #[inline]
    pub fn clear(&mut self) {
        self.lines.clear();
        self.seen = 0;
        self.repeated = 0;
    }

    /// Adds a line at the end.
    #[inline]
    pub fn push(&mut self, header: Header) {
        let bit = header.known.bit();
        self.repeated |= self.seen & bit;
        self.seen |= bit;
        self.lines.push(header);
    }

    /// Keeps the lines that `wanted` says.
    pub fn retain(&mut self, wanted: impl FnMut(&Header) -> bool) {
        self.lines.retain(wanted);
        (self.seen, self.repeated) = (0, 0);
        for line in &self.lines {
            self.repeated |= self.seen & line.known.bit();
            self.seen |= line.known.bit();
        }
    }

    /// Puts a line of the same name in the place of the one at `at`, if there is one.
    pub fn replace(&mut self, at: usize, header: Header) {
        if let Some(line) = self.lines.get_mut(at) {
            *line = header;
        }
    }

    /// The first line of this name.
    #[inline]
    #[must_use]
    pub fn find(&self, known: Known) -> Option<Header> {
        if !self.has(known) {
            return None;
        }
        self.lines.iter().find(|header| header.known == known).copied()
    }

    /// The value of the first line of this name.
    #[inline]
    #[must_use]
    pub fn value<'a>(&self, known: Known, buf: &'a [u8]) -> Option<&'a [u8]> {
        Some(self.find(known)?.value.of(buf))
    }

    /// All lines of this name.
    pub fn all(&self, known: Known) -> impl Iterator<Item = Header> + '_ {
        let lines = if self.has(known) { self.lines.as_slice() } else { &[] };
        lines.iter().filter(move |header| header.known == known).copied()
    }

    /// The values of all lines called `name` in any case, as `$http_name` and `$sent_http_name` need them.
    pub fn named<'a>(&'a self, name: &'a [u8], buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.lines.iter();
        lines
            .filter(move |header| header.name.of(buf).eq_ignore_ascii_case(name))
            .map(|header| header.value.of(buf))
    }

    /// Whether there is such a line.
    #[inline]
    #[must_use]
    pub fn has(&self, known: Known) -> bool {
        self.seen & known.bit() != 0
    }

    /// The first known header of `set` that occurs twice: the second line and the first.
    pub(crate) fn repeated(&self, set: u64) -> Option<(Header, Header)> {
        if self.repeated & set == 0 {
            return None;
        }
        let mut seen = 0;
        let second = self.lines.iter().find(|header| {
            let bit = header.known.bit() & set;
            let again = seen & bit != 0;
            seen |= bit;
            again
        })?;
        Some((*second, self.find(second.known)?))
    }
}

impl std::ops::Deref for Headers {
    type Target = [Header];

    #[inline]
    fn deref(&self) -> &[Header] {
        &self.lines
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.lines.iter()
    }
}

/// What stands at the start of a line of a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// A header; the next line is at `next`.
    Field { header: Header, next: usize },
    /// The empty line; the body is at `next`.
    End { next: usize },
    /// Not a header line: the byte at `at` cannot be there, known after `seen` bytes of the buffer.
    Bad { at: usize, seen: usize },
    /// The line's end has not been received.
    Partial,
}

/// Reads the line at `start`. The verdict depends on no byte behind the one that decides it, so it is the
/// same however the bytes were cut.
#[inline(always)]
pub(crate) fn read_line(buf: &[u8], start: usize, underscores: bool) -> Line {
    match bytes::colon(buf, start) {
        Some(at) if buf[at] == b':' && at > start => {
            let known = Known::of(&buf[start..at]);
            // Names that are known are valid; others have to be looked at.
            if known != Known::Other || !buf[start..at].iter().any(|&byte| bytes::NOT_NAME.has(byte)) {
                let header =
                    Header { name: Span::new(start, at), value: Span::default(), known, valid: true };
                return read_value(buf, header, at + 1);
            }
            unusual_line(buf, start, underscores)
        }
        _ if buf.get(start..start + 2) == Some(b"\r\n") => Line::End { next: start + 2 },
        _ => unusual_line(buf, start, underscores),
    }
}

/// Any line but a header with a valid name.
fn unusual_line(buf: &[u8], start: usize, underscores: bool) -> Line {
    let Some(at) = bytes::NAME_END.find(buf, start) else { return Line::Partial };
    let valid = buf[start..at].iter().all(|&byte| !bytes::NOT_NAME.has(byte) || byte == b'_' && underscores);
    let header =
        Header { name: Span::new(start, at), valid, known: Known::of(&buf[start..at]), ..Header::default() };
    match buf[at] {
        b'\r' | b'\n' if at == start => empty_line(buf, at),
        b':' if at > start => read_value(buf, header, at + 1),
        // nginx takes a line without a colon for a header without a value.
        b'\r' | b'\n' => read_value(buf, header, at),
        _ => Line::Bad { at, seen: at + 1 },
    }
}

fn empty_line(buf: &[u8], at: usize) -> Line {
    if buf[at] == b'\n' {
        return Line::End { next: at + 1 };
    }
    match buf.get(at + 1) {
        Some(b'\n') => Line::End { next: at + 2 },
        Some(_) => Line::Bad { at, seen: at + 2 },
        None => Line::Partial,
    }
}

#[inline(always)]
fn read_value(buf: &[u8], header: Header, mut at: usize) -> Line {
    while buf.get(at) == Some(&b' ') {
        at += 1;
    }
    let start = at;
    let Some(mut at) = bytes::value_end(buf, start) else { return Line::Partial };
    let next = match line_end(buf, at) {
        Ok(next) => next,
        Err(line) => return line,
    };
    while at > start && buf[at - 1] == b' ' {
        at -= 1;
    }
    Line::Field { header: Header { value: Span::new(start, at), ..header }, next }
}

/// The offset after the line end at `at`: LF, or any number of CR and LF, which nginx allows.
#[inline(always)]
fn line_end(buf: &[u8], at: usize) -> Result<usize, Line> {
    match (buf[at], buf.get(at + 1)) {
        (b'\r', Some(b'\n')) => Ok(at + 2),
        (b'\n', _) => Ok(at + 1),
        (b'\r', _) => many_returns(buf, at),
        _ => Err(Line::Bad { at, seen: at + 1 }),
    }
}

#[cold]
fn many_returns(buf: &[u8], at: usize) -> Result<usize, Line> {
    let returns = buf[at..].iter().take_while(|&&byte| byte == b'\r').count();
    match buf.get(at + returns) {
        Some(b'\n') => Ok(at + returns + 1),
        Some(_) => Err(Line::Bad { at, seen: at + returns + 1 }),
        None => Err(Line::Partial),
    }
}

/// Reads header lines that are all there, up to the end of `buf` or an empty line, as a trailer section has
/// them (RFC 9112, 7.1.2).
///
/// # Errors
/// The first line that is none; those before it are kept.
pub fn parse_fields(buf: &[u8], headers: &mut Headers) -> Result<(), BadResponse> {
    headers.clear();
    let buf = &buf[..buf.len().min(Span::REACH)];
    let mut at = 0;
    while at < buf.len() {
        match read_line(buf, at, true) {
            Line::Field { header, next } => {
                headers.push(header);
                at = next;
            }
            Line::End { .. } => return Ok(()),
            Line::Bad { at: bad, .. } => return Err(BadResponse::InvalidTrailer(Span::new(at, bad + 1))),
            Line::Partial => return Err(BadResponse::InvalidTrailer(Span::new(at, buf.len()))),
        }
    }
    Ok(())
}
