//! Heads of answers, and what follows their bodies: into the lines that HTTP/1 has for them.

use super::{Client, FRAME, Taken, breach, misfits, unknown_stream};
use crate::frame::{FrameHead, HEAD, code, flag, unprefixed};
use crate::{Decoder, Of, Stop};

/// What a decoded byte takes at most, encoded: Huffman's longest code has 30 bits.
const MOST_PER_BYTE: usize = 4;
/// Early Hints: the only answer before the final one that anybody waits for.
const HINTS: u16 = 103;

/// A head whose end is still to come.
#[derive(Debug)]
pub(super) struct Block {
    stream: u32,
    ends: bool,
    text: Vec<u8>,
    /// With the heads of its frames, which may be all there is.
    size: usize,
}

impl Client {
    pub(super) fn headers(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        let id = head.stream;
        if id == 0 {
            return unknown_stream(id);
        }
        let (text, _) = unprefixed(payload, head.flags).map_err(|misfit| {
            misfits(misfit, format!("headers frame with invalid length: {}", payload.len()))
        })?;
        if self.live(id).is_some_and(|stream| stream.in_closed) {
            self.fail_closed(id);
        }
        let ends = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.complete(id, ends, text);
        }
        self.block = Some(Block { stream: id, ends, text: text.into(), size: payload.len() });
        Ok(())
    }
    pub(super) fn continuation(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        let Some(mut block) = self.block.take() else { return Ok(()) };
        if block.stream != head.stream {
            return unknown_stream(head.stream);
        }
        let limit = self.live(block.stream).map_or(0, |stream| stream.limit);
        block.size += HEAD + payload.len();
        if block.size > limit.saturating_mul(MOST_PER_BYTE).saturating_add(FRAME) {
            return breach(code::ENHANCE_YOUR_CALM, "upstream sent too large http2 header");
        }
        block.text.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.complete(block.stream, block.ends, &block.text);
        }
        self.block = Some(block);
        Ok(())
    }
    /// All of a head is there.
    fn complete(&mut self, id: u32, ends: bool, block: &[u8]) -> Taken {
        // What nobody waits for need not be understood: no other head depends on it.
        let Some(stream) = self.live(id) else { return Ok(()) };
        let mut lines = Lines { left: stream.limit, behind: stream.answered, ..Lines::default() };
        let read = Decoder::without_memory()
            .decode(block, stream.limit, &mut Vec::new(), |name, value| lines.take(name, value));
        let wrong = match read {
            Ok(()) => lines.wrong_at_end(ends),
            Err(Stop::Enough) => lines.wrong,
            Err(stop) => return breach(code::COMPRESSION_ERROR, stopped(stop)),
        };
        if let Some(what) = wrong {
            self.fail(id, code::PROTOCOL_ERROR, what);
            return Ok(());
        }
        stream.in_closed = ends;
        match stream.answered {
            true => stream.trailers = lines.text,
            false => {
                lines.text.extend_from_slice(b"\r\n");
                stream.add_head(lines.text, lines.status != Some(HINTS));
            }
        }
        stream.wake();
        Ok(())
    }
}

/// nginx's words for a head that cannot be read.
fn stopped(stop: Stop) -> String {
    let of = |of| if of == Of::Name { "name" } else { "value" };
    match stop {
        Stop::Number(number) => format!("upstream sent invalid http2 table index: {number}"),
        Stop::Size(size) => format!("upstream sent invalid http2 dynamic table size update: {size}"),
        Stop::Endless(Of::Table | Of::Size) => {
            "upstream sent http2 table index with continuation flag".into()
        }
        Stop::Endless(what) => format!("upstream sent too large http2 header {} length", of(what)),
        Stop::TooLong(what, length) => {
            format!("upstream sent too large http2 header {} length: {length}", of(what))
        }
        Stop::Packed => "upstream sent invalid encoded header".into(),
        Stop::Short | Stop::Cut | Stop::Enough => "upstream sent truncated http2 header".into(),
    }
}

/// Fields on their way to lines.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    /// Bytes that names and values may still have.
    left: usize,
    /// They stand behind a body.
    behind: bool,
    status: Option<u16>,
    wrong: Option<String>,
}

impl Lines {
    /// Takes a field; `false`: it is wrong.
    fn take(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.wrong = self.field(name, value).err();
        self.wrong.is_none()
    }
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        if name.is_empty() {
            return Err("upstream sent zero http2 header name length".into());
        }
        let shown = || format!("\"{}: {}\"", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        if !is_name(name) || value.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
            return Err(format!("upstream sent invalid header: {}", shown()));
        }
        let left = self.left.checked_sub(name.len() + value.len());
        self.left = left.ok_or("upstream sent too large http2 header")?;
        if name[0] == b':' {
            if self.behind {
                return Err(format!("upstream sent invalid trailer {}", shown()));
            }
            if name != b":status" {
                return Err(format!("upstream sent invalid header {}", shown()));
            }
            return self.status(value);
        }
        if self.status.is_none() && !self.behind {
            return Err("upstream sent no :status header".into());
        }
        for part in [name, b": ", value, b"\r\n"] {
            self.text.extend_from_slice(part);
        }
        Ok(())
    }
    fn status(&mut self, value: &[u8]) -> Result<(), String> {
        if self.status.is_some() {
            return Err("upstream sent duplicate :status header".into());
        }
        let said =
            |what: &str| Err(format!("upstream sent {what} :status \"{}\"", String::from_utf8_lossy(value)));
        if value.len() != 3 || !value.iter().all(u8::is_ascii_digit) {
            return said("invalid");
        }
        let status = value.iter().fold(0, |all, digit| all * 10 + u16::from(digit - b'0'));
        if status < 200 && status != HINTS {
            return said("unexpected");
        }
        self.status = Some(status);
        for part in [b"HTTP/1.1 ", value, b"\r\n"] {
            self.text.extend_from_slice(part);
        }
        Ok(())
    }
    /// What is wrong with all of them.
    fn wrong_at_end(&self, ends: bool) -> Option<String> {
        let what = match (self.behind, self.status) {
            (true, _) if !ends => "upstream sent trailer without end stream flag",
            (false, None) => "upstream sent no :status header",
            (false, Some(HINTS)) if ends => "upstream prematurely closed stream",
            _ => return None,
        };
        Some(what.into())
    }
}

fn is_name(name: &[u8]) -> bool {
    let rest = name.strip_prefix(b":").unwrap_or(name);
    rest.iter().all(|byte| *byte > b' ' && *byte != 0x7f && *byte != b':' && !byte.is_ascii_uppercase())
}
