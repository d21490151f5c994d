//! The chunked transfer coding (RFC 9112, 7.1), both ways.

use std::ops::Range;

use crate::bytes::hex;
use crate::number::write_hex;

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Framing that may be sent in excess of what the data pays for, in bytes. Extensions and trailers carry
/// nothing for us; without this bound a body of one-byte chunks with long extensions costs a thousand times
/// the bytes that `client_max_body_size` counts.
const EXCESS: u32 = 16 * 1024;

/// Framing bytes one chunk is free to have, and bytes more for each byte of data.
const FREE: u64 = 16;

/// What [`Decoder::decode`] found at the start of its input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Body bytes at this range of the input. Go on with the input from the range's end.
    Data(Range<usize>),
    /// The input is used up, `consumed` bytes, and the body goes on.
    More {
        /// Bytes used: all of them.
        consumed: usize,
    },
    /// The body is over.
    Done {
        /// Bytes used; what follows belongs to the next message.
        consumed: usize,
    },
}

/// Why a body is not in the chunked coding. nginx logs all of them alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadChunk {
    /// A byte that cannot be where it is; a line end other than CRLF is one.
    Invalid,
    /// A chunk of 2^63 bytes, or next to that.
    Overflow,
    /// Extensions or trailers out of all proportion to the data.
    Excess,
    /// The trailers to be kept exceed their limit.
    LongTrailers,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    #[default]
    Size,
    SizeMore,
    Extension,
    ExtensionEnd,
    Data,
    DataEnd,
    DataEndLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Takes a chunked body apart, in whatever pieces it comes.
#[derive(Clone, Default, Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of data left in the chunk; while its size is being read, as much of it as is known.
    left: u64,
    excess: u32,
    /// 0: trailers are discarded.
    trailer_limit: usize,
    trailers: Vec<u8>,
}

impl Decoder {
    /// A decoder that discards trailers, as nginx does with a request's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that keeps up to `limit` bytes of trailers, as `proxy_pass_trailers` needs.
    #[must_use]
    pub fn with_trailers(limit: usize) -> Self {
        Self { trailer_limit: limit, ..Self::default() }
    }

    /// The trailer section as received, header lines with their CRLF, for [`crate::parse_fields`].
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes that are still to come in the chunk at hand, for sizing a read; 0 between chunks.
    #[must_use]
    pub fn left_in_chunk(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// Reads on. After [`Step::Data`] the caller calls again with what follows the data; after
    /// [`Step::Done`] it must not.
    pub fn decode(&mut self, buf: &[u8]) -> Result<Step, BadChunk> {
        let mut at = self.plain_line(buf);
        while let Some(&byte) = buf.get(at) {
            if self.state == State::Data {
                return Ok(Step::Data(at..at + self.take(buf.len() - at)));
            }
            if self.state == State::Done {
                return Ok(Step::Done { consumed: at });
            }
            self.step(byte)?;
            at += 1;
        }
        Ok(if self.is_done() { Step::Done { consumed: at } } else { Step::More { consumed: at } })
    }

    /// Reads what is between two chunks if it is there at once and as nearly everybody writes it, CRLF and a size of up to
    /// four digits; returns how long it is. Anything else is left for [`Decoder::step`], byte by byte.
    #[inline]
    fn plain_line(&mut self, buf: &[u8]) -> usize {
        let end = match (self.state, buf) {
            (State::Size, _) => 0,
            (State::DataEnd, [b'\r', b'\n', ..]) => 2,
            _ => return 0,
        };
        let (mut at, mut size) = (end, 0);
        while let Some(digit) = buf.get(at).and_then(|byte| hex(*byte)).filter(|_| at < end + 4) {
            size = size << 4 | u64::from(digit);
            at += 1;
        }
        let used = at as u32 + 2;
        if size == 0 || !buf[at..].starts_with(b"\r\n") || self.excess + used > EXCESS {
            return 0;
        }
        self.left = size;
        self.excess = (self.excess + used).saturating_sub((size + FREE) as u32);
        self.state = State::Data;
        at + 2
    }

    /// Takes up to `available` bytes of data; returns how many.
    fn take(&mut self, available: usize) -> usize {
        let taken = self.left.min(available as u64);
        self.left -= taken;
        if self.left == 0 {
            self.state = State::DataEnd;
        }
        // At most `available`, which is a usize.
        taken as usize
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.excess += 1;
        if self.excess > EXCESS {
            return Err(BadChunk::Excess);
        }
        self.state = match (self.state, byte) {
            (State::Size, _) => self.digit(byte)?,
            (State::SizeMore, b'\r') | (State::Extension, b'\r') => State::ExtensionEnd,
            (State::SizeMore, b';' | b' ' | b'\t') => State::Extension,
            (State::SizeMore, _) => self.digit(byte)?,
            (State::Extension, b'\n') => return Err(BadChunk::Invalid),
            (State::Extension, _) => State::Extension,
            (State::ExtensionEnd, b'\n') => self.begin_chunk()?,
            (State::DataEnd, b'\r') => State::DataEndLf,
            (State::DataEndLf, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::Trailer, _) => self.trailer(byte)?,
            (State::TrailerLf, b'\n') => {
                self.keep_trailer(byte)?;
                State::TrailerStart
            }
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(BadChunk::Invalid),
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<State, BadChunk> {
        let digit = hex(byte).ok_or(BadChunk::Invalid)?;
        if self.left > (i64::MAX as u64) >> 4 {
            return Err(BadChunk::Overflow);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::SizeMore)
    }

    fn begin_chunk(&mut self) -> Result<State, BadChunk> {
        if self.left == 0 {
            return Ok(State::TrailerStart);
        }
        // nginx adds the shortest end of a body, `CRLF 0 CRLF`, to see how much is still to come.
        if self.left > i64::MAX as u64 - 5 {
            return Err(BadChunk::Overflow);
        }
        let paid = u32::try_from(self.left.saturating_add(FREE)).unwrap_or(u32::MAX);
        self.excess = self.excess.saturating_sub(paid);
        Ok(State::Data)
    }

    fn trailer(&mut self, byte: u8) -> Result<State, BadChunk> {
        if byte == b'\n' {
            return Err(BadChunk::Invalid);
        }
        self.keep_trailer(byte)?;
        Ok(if byte == b'\r' { State::TrailerLf } else { State::Trailer })
    }

    fn keep_trailer(&mut self, byte: u8) -> Result<(), BadChunk> {
        if self.trailer_limit == 0 {
            return Ok(());
        }
        if self.trailers.len() == self.trailer_limit {
            return Err(BadChunk::LongTrailers);
        }
        self.trailers.push(byte);
        Ok(())
    }
}

/// Writes the line before a chunk of `length` bytes, which is not 0; returns it. CRLF follows the chunk.
pub fn encode_chunk_header(length: u64, line: &mut [u8; 18]) -> &[u8] {
    let mut digits = [0; 16];
    let start = write_hex(&mut digits, length);
    line[start..16].copy_from_slice(&digits[start..]);
    line[16] = b'\r';
    line[17] = b'\n';
    &line[start..]
}

#[cfg(test)]
mod tests;
