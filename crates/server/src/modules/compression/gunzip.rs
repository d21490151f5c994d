//! `gunzip`: answers that are compressed already, for clients that cannot take them so.

use std::collections::VecDeque;
use std::io;

use conf::{Directive, Error, IN_HTTP, Scope, directive, exactly, flag};
use flate2::{Decompress, FlushDecompress, Status};

use super::gzip::WINDOW_BITS;
use super::{Clients, ROOM, piece};
use crate::http::filters::{BodyFilter, Chunk, HeaderFilter, Unfit};
use crate::http::request::Request;
use crate::worker::generation::Compiler;

pub(super) const GUNZIP: Directive =
    directive("gunzip", IN_HTTP, flag(), |at, a| at.own::<Conf>().on.set(a.flag(0)?));
pub(super) const BUFFERS: Directive =
    directive("gunzip_buffers", IN_HTTP, exactly(2), |at, a| at.own::<Conf>().buffers.set(a.buffers()?));

settings! {
    /// As written.
    struct Conf {
        on: bool,
        buffers: (u64, u64),
    }
}

/// As run.
struct Gunzip {
    clients: Clients,
    piece: usize,
}

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|c| c.on.or(false)) else { return Ok(None) };
    Ok(Some(Box::new(Gunzip { clients: Clients::of(at), piece: piece(&conf.buffers) })))
}

impl HeaderFilter for Gunzip {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        let coding = request.response.header(b"Content-Encoding");
        if !coding.is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip")) {
            return Ok(());
        }
        request.response.vary_encoding = self.clients.vary;
        if self.clients.take(request, b"gzip") {
            return Ok(());
        }
        request.response.remove(b"Content-Encoding");
        request.response.transformed();
        if !request.is_head() {
            let decoder = Decoder { zlib: Decompress::new_gzip(WINDOW_BITS), over: false, made: Vec::new() };
            let body = Body { decoder, piece: self.piece, waiting: VecDeque::new(), at: 0 };
            request.response.filters.push(Box::new(body));
        }
        Ok(())
    }
    fn minds_parts(&self) -> bool {
        true
    }
}

fn broken() -> io::Error {
    Unfit::error("inflate() failed: 0, -3")
}

/// How much is decoded at a time: what that becomes is held in memory.
const BITE: usize = 512;

/// Several streams may follow one another.
struct Decoder {
    zlib: Decompress,
    /// The stream is at its end, its checksum right.
    over: bool,
    made: Vec<u8>,
}
impl Decoder {
    fn take(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() || self.made.len() == self.made.capacity() && !self.over {
            if std::mem::take(&mut self.over) {
                self.zlib = Decompress::new_gzip(WINDOW_BITS);
            }
            self.made.reserve(ROOM);
            let before = self.zlib.total_in();
            let status = self.zlib.decompress_vec(text, &mut self.made, FlushDecompress::None);
            let taken = usize::try_from(self.zlib.total_in() - before).map_err(|_| broken())?;
            text = text.get(taken..).ok_or_else(broken)?;
            match status.map_err(|_| broken())? {
                Status::StreamEnd => self.over = true,
                Status::BufError if text.is_empty() => break,
                Status::BufError => return Err(broken()),
                Status::Ok => {}
            }
        }
        Ok(())
    }
}

/// The body of one response.
struct Body {
    decoder: Decoder,
    piece: usize,
    /// What was not decoded yet: a few bytes may become very many.
    waiting: VecDeque<Chunk>,
    /// How much of the first of them was.
    at: usize,
}
impl Body {
    fn hand_over(&mut self, least: usize, out: &mut VecDeque<Chunk>) {
        if self.decoder.made.len() >= least.max(1) {
            out.push_back(Chunk::Memory(std::mem::take(&mut self.decoder.made).into()));
        }
    }
    /// Decodes a bite of what waits; `false` if nothing does.
    fn bite(&mut self, out: &mut VecDeque<Chunk>) -> io::Result<bool> {
        let Some(chunk) = self.waiting.front() else { return Ok(false) };
        let text: &[u8] = match chunk {
            Chunk::Memory(text) => text,
            Chunk::Static(text) => text,
            Chunk::Flush => {
                self.hand_over(1, out);
                out.extend(self.waiting.pop_front());
                return Ok(true);
            }
            Chunk::File(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let end = text.len().min(self.at + BITE);
        self.decoder.take(&text[self.at..end])?;
        self.at = end;
        if end == text.len() {
            self.at = 0;
            self.waiting.pop_front();
        }
        // What there is so far may be all for some time.
        let least = if self.waiting.is_empty() { 1 } else { self.piece };
        self.hand_over(least, out);
        Ok(true)
    }
}
impl BodyFilter for Body {
    fn chunk(&mut self, chunk: Chunk, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        self.waiting.push_back(chunk);
        self.more(out).map(drop)
    }
    fn more(&mut self, out: &mut VecDeque<Chunk>) -> io::Result<bool> {
        while out.is_empty() && self.bite(out)? {}
        Ok(!out.is_empty())
    }
    fn end(&mut self, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        while self.bite(out)? {}
        match self.decoder.over {
            true => Ok(()),
            false => Err(Unfit::error("inflate() returned -5 on response end")),
        }
    }
}
