//! `gzip`: the coding of RFC 1952, by zlib.
//!
//! Making a stream costs more than compressing a page: 260 KB have to be set up. So each thread keeps a few for the next
//! responses.

use std::cell::RefCell;
use std::io;

use conf::{Args, Error, IF_LOCATION, Scope, directive};
use flate2::{Compress, Compression, FlushCompress, Status};

use super::{Coding, IN, Rules, Until, clients, gunzip, precompressed};
use crate::http::filters::HeaderFilter;
use crate::http::variables::{Variable, variable};
use crate::modules::Module;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "gzip",
    directives: &[
        directive("gzip", IN.or(IF_LOCATION), conf::flag(), Rules::<Gzip>::set_on),
        directive("gzip_types", IN, conf::at_least(1), Rules::<Gzip>::set_types),
        directive("gzip_min_length", IN, conf::exactly(1), Rules::<Gzip>::set_min_length),
        directive("gzip_comp_level", IN, conf::exactly(1), comp_level),
        directive("gzip_buffers", IN, conf::exactly(2), Rules::<Gzip>::set_buffers),
        clients::HTTP_VERSION,
        clients::PROXIED,
        clients::VARY,
        clients::DISABLE,
        gunzip::GUNZIP,
        gunzip::BUFFERS,
        precompressed::GZIP_STATIC,
    ],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[variable("gzip_ratio", |request, out| {
    let ratio = super::thousandths::<Gzip>(request);
    ratio.map(|ratio| super::push_ratio(ratio, out)).is_some()
})];

fn comp_level(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    Rules::<Gzip>::set_level(at, a, 1, 9)
}

pub(crate) fn filter(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    super::filter::<Gzip>(at, with)
}

/// As run.
pub(super) struct Gzip {
    pub level: u32,
}
impl Coding for Gzip {
    const NAME: &'static [u8] = b"gzip";
    type Stream = Stream;

    fn of(_: &Scope, rules: &Rules<Gzip>, _: &Compiler<'_>) -> Result<Gzip, Error> {
        Ok(Gzip { level: rules.level.or(1).unsigned_abs() })
    }
    fn stream(&self, _: Option<u64>) -> io::Result<Stream> {
        Ok(Stream::of(self.level))
    }
}

/// How many streams of all levels a thread keeps.
const KEPT: usize = 8;
/// zlib's largest window: 32 KB.
pub(super) const WINDOW_BITS: u8 = 15;
/// The library's level 1 leaves a quarter to a half more than zlib's, which is what `gzip` alone stands for; its
/// level 2 leaves less, and costs no more than zlib's level 1.
const FASTEST: u32 = 2;

thread_local! {
    static IDLE: RefCell<Vec<Idle>> = const { RefCell::new(Vec::new()) };
}
struct Idle {
    level: u32,
    zlib: Box<Compress>,
}

/// The state of one stream; the thread has it back when it is dropped, however far it has come.
pub(super) struct Stream {
    level: u32,
    /// There until then.
    zlib: Option<Box<Compress>>,
}
impl Stream {
    /// One of this level (1 to 9), as new.
    fn of(level: u32) -> Stream {
        let idle = IDLE.with_borrow_mut(|idle| {
            let place = idle.iter().rposition(|idle| idle.level == level)?;
            Some(idle.swap_remove(place).zlib)
        });
        let zlib = idle.unwrap_or_else(|| {
            Box::new(Compress::new_gzip(Compression::new(level.max(FASTEST)), WINDOW_BITS))
        });
        Stream { level, zlib: Some(zlib) }
    }
}
impl Drop for Stream {
    fn drop(&mut self) {
        let Some(mut zlib) = self.zlib.take() else { return };
        IDLE.with_borrow_mut(|idle| {
            if idle.len() < KEPT {
                zlib.reset();
                idle.push(Idle { level: self.level, zlib });
            }
        });
    }
}
impl super::Stream for Stream {
    fn run(&mut self, mut text: &[u8], until: Until, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(zlib) = &mut self.zlib else { return Err(io::Error::other("the stream is over")) };
        let flush = match until {
            Until::Taken => FlushCompress::None,
            Until::Flushed => FlushCompress::Sync,
            Until::Finished => FlushCompress::Finish,
        };
        loop {
            super::make_room(out);
            let before = zlib.total_in();
            let status = zlib.compress_vec(text, out, flush)?;
            let taken = usize::try_from(zlib.total_in() - before).unwrap_or(text.len());
            text = text.get(taken..).unwrap_or_default();
            // Room that is left over says that nothing waits inside.
            let room_left = out.len() < out.capacity();
            let done = match until {
                Until::Taken => text.is_empty(),
                Until::Flushed => text.is_empty() && room_left,
                Until::Finished => status == Status::StreamEnd,
            };
            if done {
                return Ok(());
            }
            if status == Status::BufError && room_left {
                return Err(io::Error::other("the compressor makes no progress"));
            }
        }
    }
}
