//! Reads a request's head as its bytes come in.

use crate::cursor::Cursor;
use crate::error::BadRequest;
use crate::field::Known;
use crate::fields::{self, Line};
use crate::head::{RequestHead, Version};
use crate::limits::{Full, Limits, Room};
use crate::request_line::{self, Stop};
use crate::span::Span;

/// How far a head has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head is whole.
    Done,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Stage {
    #[default]
    Blank,
    Line,
    Headers,
    Done,
}

/// Reads one request's head. Call [`RequestParser::parse`] with the whole of what has been received of it,
/// again whenever there is more: no byte is looked at more than a few times, however small the pieces are.
#[derive(Clone, Copy, Default, Debug)]
pub struct RequestParser {
    stage: Stage,
    cursor: Cursor,
    count: usize,
    room: Room,
}

impl RequestParser {
    /// A parser for a first request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts over with the next request, which must then be at the start of the buffer.
    #[inline]
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether a byte of the request has come in: neither nothing nor empty lines only. nginx closes a
    /// connection that ends before this without a word.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.stage != Stage::Blank
    }

    /// Reads on in `buf`, which starts with the request (and the empty lines before it). `head` is the same
    /// in each call and is cleared by the first one.
    #[inline]
    pub fn parse(
        &mut self,
        buf: &[u8],
        head: &mut RequestHead,
        limits: &Limits,
    ) -> Result<Progress, BadRequest> {
        self.read::<false>(buf, head, limits)
    }

    /// As [`RequestParser::parse`], but rests behind the line that tells the host ([`RequestHead::tells_host`]):
    /// what follows may be read by other limits.
    ///
    /// # Errors
    /// As there.
    pub fn parse_to_host(
        &mut self,
        buf: &[u8],
        head: &mut RequestHead,
        limits: &Limits,
    ) -> Result<Progress, BadRequest> {
        self.read::<true>(buf, head, limits)
    }

    #[inline]
    fn read<const TO_HOST: bool>(
        &mut self,
        buf: &[u8],
        head: &mut RequestHead,
        limits: &Limits,
    ) -> Result<Progress, BadRequest> {
        let buf = &buf[..buf.len().min(Span::REACH)];
        if self.stage == Stage::Blank && !self.skip_blank(buf, head, limits)? {
            return Ok(Progress::Partial);
        }
        if self.stage == Stage::Line {
            let whole = self.request_line(buf, head, limits)?;
            let rest = TO_HOST && self.stage == Stage::Headers && head.tells_host();
            if !whole || rest {
                return Ok(Progress::Partial);
            }
        }
        if self.stage == Stage::Headers {
            let whole = self.header_lines::<TO_HOST>(buf, head, limits);
            // A line that is refused counts neither, nor what is behind it.
            let whole = whole.inspect_err(|_| head.length = self.cursor.line)?;
            if !whole {
                return Ok(Progress::Partial);
            }
        }
        Ok(Progress::Done)
    }

    /// Skips the CR and LF some clients send after a body (RFC 9112, 2.2). nginx skips any number; a buffer
    /// full of nothing else is refused here, since it would have to grow.
    #[inline]
    fn skip_blank(
        &mut self,
        buf: &[u8],
        head: &mut RequestHead,
        limits: &Limits,
    ) -> Result<bool, BadRequest> {
        if self.cursor.line == 0 {
            head.clear();
        }
        while let Some(b'\r' | b'\n') = buf.get(self.cursor.line) {
            self.cursor.line += 1;
        }
        if self.cursor.line > limits.longest_head() {
            return Err(BadRequest::TooLongUri);
        }
        self.cursor.next_line(self.cursor.line);
        if self.cursor.line < buf.len() {
            self.stage = Stage::Line;
            self.room = Room::after(self.cursor.line, limits);
        }
        Ok(self.cursor.line < buf.len())
    }

    #[inline]
    fn request_line(
        &mut self,
        buf: &[u8],
        head: &mut RequestHead,
        limits: &Limits,
    ) -> Result<bool, BadRequest> {
        if self.cursor.still_partial(buf) {
            self.line_room(buf, buf.len(), head, limits)?;
            return Ok(false);
        }
        let (read, seen) = match request_line::read(buf, self.cursor.line, head) {
            Ok(next) => (Ok(next), next),
            Err(Stop::Partial) => (Err(None), buf.len()),
            Err(Stop::Bad(bad, seen)) => (Err(Some(bad)), seen),
        };
        self.line_room(buf, seen, head, limits)?;
        match read {
            Ok(next) => self.begin_headers(next, head),
            Err(Some(bad)) => return Err(bad),
            Err(None) => self.cursor.partial(buf),
        }
        Ok(read.is_ok())
    }

    fn begin_headers(&mut self, next: usize, head: &mut RequestHead) {
        self.stage = if head.version == Version::Http09 { Stage::Done } else { Stage::Headers };
        self.cursor.next_line(next);
        head.length = next;
    }

    /// Checks that nginx would have had buffers for the request line up to `to`. What is wrong with the part
    /// it had room for goes first.
    #[inline]
    fn line_room(
        &mut self,
        buf: &[u8],
        to: usize,
        head: &mut RequestHead,
        limits: &Limits,
    ) -> Result<(), BadRequest> {
        let Err(Full { at }) = self.room.reserve(self.cursor.line, to, limits) else { return Ok(()) };
        match request_line::read(&buf[..at.min(buf.len())], self.cursor.line, head) {
            Err(Stop::Bad(bad, _)) => Err(bad),
            _ => {
                // Little is known of a line that is not whole.
                let method = head.method;
                head.clear();
                (head.method, head.version) = (method, Version::Http10);
                head.line = Span::new(self.cursor.line, at.min(buf.len()));
                head.length = self.cursor.line;
                Err(BadRequest::TooLongUri)
            }
        }
    }

    #[inline]
    fn header_lines<const TO_HOST: bool>(
        &mut self,
        buf: &[u8],
        head: &mut RequestHead,
        limits: &Limits,
    ) -> Result<bool, BadRequest> {
        loop {
            if self.cursor.still_partial(buf) {
                self.header_room(buf, buf.len(), head, limits)?;
                return Ok(false);
            }
            let line = fields::read_line(buf, self.cursor.line, limits.underscores_in_headers);
            match line {
                Line::Field { header, next } => {
                    self.header_room(buf, next, head, limits)?;
                    if let Err(bad) = self.count_line(limits) {
                        // As in nginx, one too many is measured with the rest.
                        self.cursor.next_line(next);
                        return Err(bad);
                    }
                    if header.valid || !limits.ignore_invalid_headers {
                        head.headers.push(header);
                    } else {
                        head.dropped.push(header.whole());
                    }
                    self.cursor.next_line(next);
                    if TO_HOST && header.known == Known::Host {
                        return Ok(false);
                    }
                }
                Line::End { next } => {
                    self.header_room(buf, next, head, limits)?;
                    self.stage = Stage::Done;
                    head.length = next;
                    return Ok(true);
                }
                Line::Bad { at, seen } => {
                    self.header_room(buf, seen, head, limits)?;
                    return Err(BadRequest::InvalidHeader(Span::new(self.cursor.line, at + 1)));
                }
                Line::Partial => {
                    self.header_room(buf, buf.len(), head, limits)?;
                    self.cursor.partial(buf);
                    return Ok(false);
                }
            }
        }
    }

    #[inline]
    fn count_line(&mut self, limits: &Limits) -> Result<(), BadRequest> {
        self.count += 1;
        if self.count > limits.max_headers { Err(BadRequest::TooManyHeaders) } else { Ok(()) }
    }

    /// Checks that nginx would have had buffers for the header line up to `to`.
    #[inline]
    fn header_room(
        &mut self,
        buf: &[u8],
        to: usize,
        head: &RequestHead,
        limits: &Limits,
    ) -> Result<(), BadRequest> {
        match self.room.reserve(self.cursor.line, to, limits) {
            Ok(()) => Ok(()),
            Err(full) => Err(self.no_room(&buf[..full.at.min(buf.len())], head, limits)),
        }
    }

    /// What nginx says when there is no buffer for more than `read`. What is wrong with the part it had room
    /// for goes first; between two lines, it blames the one before.
    #[cold]
    fn no_room(&self, read: &[u8], head: &RequestHead, limits: &Limits) -> BadRequest {
        match (fields::read_line(read, self.cursor.line, limits.underscores_in_headers), head.headers.last())
        {
            (Line::Bad { at, .. }, _) => BadRequest::InvalidHeader(Span::new(self.cursor.line, at + 1)),
            (_, Some(last)) if read.len() == self.cursor.line => BadRequest::TooLongHeader(last.whole()),
            _ if read.len() > self.cursor.line => {
                BadRequest::TooLongHeader(Span::new(self.cursor.line, read.len()))
            }
            _ => BadRequest::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests;
