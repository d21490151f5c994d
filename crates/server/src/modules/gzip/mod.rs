//! `gzip`: responses compressed on their way out; what is compressed already, for clients that want it or do not.

mod clients;
mod compressor;
mod gunzip;
mod precompressed;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use conf::{Args, Error, HTTP, IF_LOCATION, Inherit, LOCATION, SERVER, Scope, Setting, Within, directive};
use wire::{Known, Version};

pub(crate) use self::clients::Clients;
use self::compressor::{Compressor, Until};
pub(crate) use self::gunzip::filter as gunzip;
pub(crate) use self::precompressed::{brotli as brotli_static, gzip as gzip_static, zstd as zstd_static};
use super::Module;
use crate::http::filters::{BodyFilter, Chunk, HeaderFilter};
use crate::http::regex::Regex;
use crate::http::request::Request;
use crate::http::types::Types;
use crate::http::variables::{Variable, variable};
use crate::worker::generation::Compiler;

const IN: Within = HTTP.or(SERVER).or(LOCATION);

pub(crate) static MODULE: Module = Module {
    name: "gzip",
    directives: &[
        directive("gzip", IN.or(IF_LOCATION), conf::flag(), |at, a| at.own::<Conf>().on.set(a.flag(0)?)),
        directive("gzip_types", IN, conf::at_least(1), |at, a| {
            Types::read(at, a, |at| &mut at.own::<Conf>().types)
        }),
        directive("gzip_min_length", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().min_length.set(a.size(0)?)
        }),
        directive("gzip_comp_level", IN, conf::exactly(1), comp_level),
        directive("gzip_http_version", IN, conf::exactly(1), |at, a| {
            let version = a.one_of(0, &[("1.0", Version::Http10), ("1.1", Version::Http11)])?;
            at.own::<Conf>().http_version.set(version)
        }),
        directive("gzip_proxied", IN, conf::at_least(1), |at, a| {
            a.bits(at, clients::PROXIED, |at| &mut at.own::<Conf>().proxied)
        }),
        directive("gzip_vary", IN, conf::flag(), |at, a| at.own::<Conf>().vary.set(a.flag(0)?)),
        directive("gzip_disable", IN, conf::at_least(1), gzip_disable),
        directive("gzip_buffers", IN, conf::exactly(2), |at, a| at.own::<Conf>().buffers.set(a.buffers()?)),
        gunzip::GUNZIP,
        gunzip::BUFFERS,
        precompressed::GZIP_STATIC,
        precompressed::BROTLI_STATIC,
        precompressed::ZSTD_STATIC,
    ],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[variable("gzip_ratio", |request, out| {
    let sizes = request.kept::<Rc<Sizes>>().filter(|sizes| sizes.made.get() > 0);
    sizes.map(|sizes| push_ratio(sizes.read.get(), sizes.made.get(), out)).is_some()
})];

/// As written.
#[derive(Default)]
struct Conf {
    on: Setting<bool>,
    types: Option<Types>,
    min_length: Setting<u64>,
    level: Setting<u32>,
    http_version: Setting<Version>,
    proxied: Setting<u32>,
    vary: Setting<bool>,
    disable: Vec<Regex>,
    /// nginx's working memory; here the compressor's output comes in pieces of that size.
    buffers: Setting<(u64, u64)>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.on.inherit(&outer.on);
        if self.types.is_none() {
            self.types.clone_from(&outer.types);
        }
        self.min_length.inherit(&outer.min_length);
        self.level.inherit(&outer.level);
        self.http_version.inherit(&outer.http_version);
        self.proxied.inherit(&outer.proxied);
        self.vary.inherit(&outer.vary);
        self.buffers.inherit(&outer.buffers);
        if self.disable.is_empty() {
            self.disable.clone_from(&outer.disable);
        }
    }
}

fn comp_level(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let level: u32 = a.number(0)?;
    match level {
        1..=9 => at.own::<Conf>().level.set(level),
        _ => Err(a.error("value must be between 1 and 9")),
    }
}
/// `msie6` is nginx's name for an expression of its own.
fn gzip_disable(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    for i in 0..a.words.len() {
        let pattern = match a.str(i) {
            "msie6" => r"(?-i:MSIE [4-5]\..|MSIE 6\.(?!.*SV1).)",
            pattern => pattern,
        };
        let regex = Regex::new(at, pattern, true).map_err(|e| a.error(e.message))?;
        at.own::<Conf>().disable.push(regex);
    }
    Ok(())
}

/// As run.
struct Gzip {
    types: Types,
    min_length: u64,
    level: u32,
    clients: Clients,
    piece: usize,
}

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|c| c.on.or(false)) else { return Ok(None) };
    Ok(Some(Box::new(Gzip {
        types: conf.types.clone().unwrap_or_default(),
        min_length: conf.min_length.or(20),
        level: conf.level.or(1),
        clients: Clients::of(at),
        piece: (conf.buffers.or((32, 4096)).1 as usize).clamp(512, 1 << 20),
    })))
}

impl HeaderFilter for Gzip {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        if !self.fits(request) {
            return Ok(());
        }
        request.response.vary_encoding = self.clients.vary;
        if !self.clients.take(request, b"gzip") {
            return Ok(());
        }
        request.response.transformed();
        request.response.add(Known::ContentEncoding, b"Content-Encoding", b"gzip");
        if !request.is_head() {
            let body = Body::new(self);
            request.keep(body.sizes.clone());
            request.response.filters.push(Box::new(body));
        }
        Ok(())
    }
}

impl Gzip {
    fn fits(&self, request: &Request) -> bool {
        let response = &request.response;
        matches!(response.status, 200 | 403 | 404)
            && response.header(b"Content-Encoding").is_none_or(<[u8]>::is_empty)
            && response.content_length.is_none_or(|length| length >= self.min_length)
            && self.types.include(response.content_type.of(&response.text))
    }
}

/// The body of one response on its way through a compressor.
struct Body {
    /// There until the response is over.
    compressor: Option<Compressor>,
    packed: Vec<u8>,
    piece: usize,
    read: u64,
    made: u64,
    sizes: Rc<Sizes>,
}

/// Bytes of a body before and after, once it is complete.
#[derive(Default)]
struct Sizes {
    read: Cell<u64>,
    made: Cell<u64>,
}

/// Appends how many times smaller a body became, with two decimals, rounded.
fn push_ratio(read: u64, made: u64, out: &mut Vec<u8>) {
    let hundredths = (read * 1000 / made + 5) / 10;
    wire::push_decimal(out, hundredths / 100);
    out.extend_from_slice(&[b'.', b'0' + (hundredths / 10 % 10) as u8, b'0' + (hundredths % 10) as u8]);
}

impl Body {
    fn new(gzip: &Gzip) -> Body {
        let compressor = Some(Compressor::take(gzip.level));
        Body { compressor, packed: Vec::new(), piece: gzip.piece, made: 0, read: 0, sizes: Rc::default() }
    }
    fn compress(&mut self, text: &[u8], until: Until) -> io::Result<()> {
        self.read += text.len() as u64;
        match &mut self.compressor {
            Some(compressor) => compressor.run(text, until, &mut self.packed),
            None => Err(io::Error::other("the body is complete already")),
        }
    }
    fn hand_over(&mut self, least: usize, out: &mut VecDeque<Chunk>) {
        if self.packed.len() >= least.max(1) {
            self.made += self.packed.len() as u64;
            out.push_back(Chunk::Memory(std::mem::take(&mut self.packed).into()));
        }
    }
}
impl BodyFilter for Body {
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
        self.sizes.read.set(self.read);
        self.sizes.made.set(self.made);
        Ok(())
    }
}
impl Drop for Body {
    fn drop(&mut self) {
        if let Some(compressor) = self.compressor.take() {
            compressor.give_back();
        }
    }
}
