//! Answers that are compressed on their way out (`gzip`, `brotli`, `zstd`), that lie compressed next to their file
//! (`gzip_static` ..), or that are unpacked for clients that take nothing else (`gunzip`).
//!
//! A coding is a [`Coding`]: a file with its directives, its settings and its stream. What they have in common is here: which
//! answers are compressed, the body's way through a stream, and how much smaller it became. Of several that a client takes
//! the first in `http/plan.rs` compresses; the next ones find an answer that has a coding.

pub mod brotli;
mod clients;
mod gunzip;
pub mod gzip;
mod precompressed;
pub mod zstd;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;

use conf::{Args, Error, HTTP, Inherit, LOCATION, SERVER, Scope, Setting, Within};
use wire::Known;

pub(crate) use self::clients::Clients;
pub(crate) use self::gunzip::filter as gunzip;
pub(crate) use self::precompressed::{brotli as brotli_static, gzip as gzip_static, zstd as zstd_static};
use crate::http::filters::{BodyFilter, Chunk, HeaderFilter};
use crate::http::request::Request;
use crate::http::types::Types;
use crate::worker::generation::Compiler;

const IN: Within = HTTP.or(SERVER).or(LOCATION);

/// A coding that bodies can be compressed with, as a block has it set.
trait Coding: Sized + Send + Sync + 'static {
    /// As `Content-Encoding` names it (RFC 9110, 8.4.1).
    const NAME: &'static [u8];
    type Stream: Stream + 'static;
    /// The settings in force in a block where it is on.
    fn of(at: &Scope, rules: &Rules<Self>, with: &Compiler<'_>) -> Result<Self, Error>;
    /// A stream for one body, whose length may be known.
    fn stream(&self, length: Option<u64>) -> io::Result<Self::Stream>;
}

/// The state of one body's compression.
trait Stream {
    /// Compresses the text to the end of `out`.
    ///
    /// # Errors
    /// If the library finds its own state broken.
    fn run(&mut self, text: &[u8], until: Until, out: &mut Vec<u8>) -> io::Result<()>;
}

/// What a call is to reach.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// That the text has been taken.
    Taken,
    /// That the receiver can read all that has been taken.
    Flushed,
    /// The end of the stream.
    Finished,
}

/// Room that is made whenever the output is full.
const ROOM: usize = 4096;

/// Sees to it that there is some to write to.
fn make_room(out: &mut Vec<u8>) {
    if out.capacity() - out.len() < ROOM / 8 {
        out.reserve(ROOM);
    }
}

/// The size of the pieces that go out (`gzip_buffers` and its likes).
fn piece(buffers: &Setting<(u64, u64)>) -> usize {
    (buffers.or((32, 4096)).1 as usize).clamp(512, 1 << 20)
}

/// What every coding has directives for, as written.
struct Rules<C> {
    on: Setting<bool>,
    types: Option<Types>,
    min_length: Setting<u64>,
    level: Setting<i32>,
    /// nginx's working memory; here the stream's output comes in pieces of that size.
    buffers: Setting<(u64, u64)>,
    of: PhantomData<C>,
}
impl<C> Default for Rules<C> {
    fn default() -> Self {
        Rules {
            on: Setting::default(),
            types: None,
            min_length: Setting::default(),
            level: Setting::default(),
            buffers: Setting::default(),
            of: PhantomData,
        }
    }
}
impl<C: Coding> Inherit for Rules<C> {
    fn inherit(&mut self, outer: &Self) {
        self.on.inherit(&outer.on);
        if self.types.is_none() {
            self.types.clone_from(&outer.types);
        }
        self.min_length.inherit(&outer.min_length);
        self.level.inherit(&outer.level);
        self.buffers.inherit(&outer.buffers);
    }
}
impl<C: Coding> Rules<C> {
    fn set_on(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
        at.own::<Self>().on.set(a.flag(0)?)
    }
    fn set_types(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
        Types::read(at, a, |at| &mut at.own::<Self>().types)
    }
    fn set_min_length(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
        at.own::<Self>().min_length.set(a.size(0)?)
    }
    fn set_buffers(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
        at.own::<Self>().buffers.set(a.buffers()?)
    }
    /// Sets the level to one of `least..=most`.
    fn set_level(at: &mut Scope, a: &Args<'_>, least: u64, most: u64) -> Result<(), Error> {
        let level = a.number_within(0, least, most)?;
        at.own::<Self>().level.set(level as i32)
    }
}

/// A coding with the rules of one block, as run.
struct Compressing<C> {
    coding: C,
    clients: Clients,
    types: Types,
    min_length: u64,
    piece: usize,
}

/// The filter of a coding, where it is on.
fn filter<C: Coding>(at: &Scope, with: &Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let Some(rules) = at.conf::<Rules<C>>().filter(|rules| rules.on.or(false)) else { return Ok(None) };
    Ok(Some(Box::new(Compressing {
        coding: C::of(at, rules, with)?,
        clients: Clients::of(at),
        types: rules.types.clone().unwrap_or_default(),
        min_length: rules.min_length.or(20),
        piece: piece(&rules.buffers),
    })))
}

impl<C: Coding> HeaderFilter for Compressing<C> {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        if !self.fits(request) {
            return Ok(());
        }
        request.response.vary_encoding = self.clients.vary;
        if !self.clients.take(request, C::NAME) {
            return Ok(());
        }
        let length = request.response.content_length;
        request.response.transformed();
        request.response.add(Known::ContentEncoding, b"Content-Encoding", C::NAME);
        if !request.is_head() {
            let stream = self.coding.stream(length).map_err(|error| {
                log_alert!(request, "no stream can be made to compress with: {error}");
                500_u16
            })?;
            let body = Body::<C> { stream, packed: Vec::new(), piece: self.piece, sizes: Rc::default() };
            request.keep(body.sizes.clone());
            request.response.filters.push(Box::new(body));
        }
        Ok(())
    }
}

impl<C: Coding> Compressing<C> {
    fn fits(&self, request: &Request) -> bool {
        let response = &request.response;
        matches!(response.status, 200 | 403 | 404)
            && response.header(b"Content-Encoding").is_none_or(<[u8]>::is_empty)
            && response.content_length.is_none_or(|length| length >= self.min_length)
            && self.types.include(response.content_type.of(&response.text))
    }
}

/// The body of one response on its way through a stream.
struct Body<C: Coding> {
    stream: C::Stream,
    packed: Vec<u8>,
    piece: usize,
    sizes: Rc<Sizes<C>>,
}

/// Bytes of a body before and after.
struct Sizes<C> {
    read: Cell<u64>,
    made: Cell<u64>,
    /// Nothing is told of a body that did not come to its end.
    complete: Cell<bool>,
    of: PhantomData<C>,
}
impl<C> Default for Sizes<C> {
    fn default() -> Self {
        Sizes { read: Cell::new(0), made: Cell::new(0), complete: Cell::new(false), of: PhantomData }
    }
}

/// How many thousandths of its size a body was before, once it is complete: for `$gzip_ratio` and its likes.
fn thousandths<C: Coding>(request: &Request) -> Option<u64> {
    let sizes = request.kept::<Rc<Sizes<C>>>().filter(|sizes| sizes.complete.get())?;
    (sizes.read.get() * 1000).checked_div(sizes.made.get())
}
/// Appends a ratio with two decimals, rounded.
fn push_ratio(thousandths: u64, out: &mut Vec<u8>) {
    let hundredths = (thousandths + 5) / 10;
    wire::push_decimal(out, hundredths / 100);
    out.extend_from_slice(&[b'.', b'0' + (hundredths / 10 % 10) as u8, b'0' + (hundredths % 10) as u8]);
}

impl<C: Coding> Body<C> {
    fn compress(&mut self, text: &[u8], until: Until) -> io::Result<()> {
        self.sizes.read.set(self.sizes.read.get() + text.len() as u64);
        self.stream.run(text, until, &mut self.packed)
    }
    fn hand_over(&mut self, least: usize, out: &mut VecDeque<Chunk>) {
        if self.packed.len() >= least.max(1) {
            self.sizes.made.set(self.sizes.made.get() + self.packed.len() as u64);
            out.push_back(Chunk::Memory(std::mem::take(&mut self.packed).into()));
        }
    }
}
impl<C: Coding> BodyFilter for Body<C> {
    fn chunk(&mut self, chunk: Chunk, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        match chunk {
            Chunk::Memory(text) => self.compress(&text, Until::Taken)?,
            Chunk::Static(text) => self.compress(text, Until::Taken)?,
            Chunk::Flush => {
                self.compress(b"", Until::Flushed)?;
                self.hand_over(1, out);
                out.push_back(Chunk::Flush);
                return Ok(());
            }
            Chunk::File(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
        self.hand_over(self.piece, out);
        Ok(())
    }
    fn end(&mut self, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        self.compress(b"", Until::Finished)?;
        self.hand_over(1, out);
        self.sizes.complete.set(true);
        Ok(())
    }
}

/// What every stream has to do, whatever its coding.
#[cfg(test)]
mod tests;
