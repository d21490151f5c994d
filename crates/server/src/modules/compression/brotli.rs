//! `brotli`: the coding of RFC 7932, with the directives of Google's module for nginx.

use std::io::{self, Write};

use ::brotli::CompressorWriter;
use ::brotli::enc::BrotliEncoderParams;
use conf::{Args, Error, IF_LOCATION, Scope, directive};

use super::{Coding, IN, ROOM, Rules, Until, precompressed};
use crate::http::filters::HeaderFilter;
use crate::http::variables::{Variable, variable};
use crate::modules::Module;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "brotli",
    directives: &[
        directive("brotli", IN.or(IF_LOCATION), conf::flag(), Rules::<Brotli>::set_on),
        directive("brotli_types", IN, conf::at_least(1), Rules::<Brotli>::set_types),
        directive("brotli_min_length", IN, conf::exactly(1), Rules::<Brotli>::set_min_length),
        directive("brotli_comp_level", IN, conf::exactly(1), comp_level),
        directive("brotli_window", IN, conf::exactly(1), window),
        directive("brotli_buffers", IN, conf::exactly(2), Rules::<Brotli>::set_buffers),
        precompressed::BROTLI_STATIC,
    ],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[variable("brotli_ratio", |request, out| {
    let ratio = super::thousandths::<Brotli>(request);
    ratio.map(|ratio| super::push_ratio(ratio, out)).is_some()
})];

settings! {
    /// What no other coding has, as written.
    struct Conf {
        /// The window's size as a power of two.
        window_bits: u8,
    }
}

/// The smallest and the largest window, as powers of two: 1 KB and 16 MB.
const WINDOWS: std::ops::RangeInclusive<u8> = 10..=24;

fn comp_level(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    Rules::<Brotli>::set_level(at, a, 0, 11)
}
fn window(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let size = a.size(0)?;
    match WINDOWS.into_iter().find(|bits| 1 << bits == size) {
        Some(bits) => at.own::<Conf>().window_bits.set(bits),
        None => Err(Error::directive(
            "must be 1k, 2k, 4k, 8k, 16k, 32k, 64k, 128k, 256k, 512k, 1m, 2m, 4m, 8m or 16m",
        )),
    }
}

pub(crate) fn filter(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    super::filter::<Brotli>(at, with)
}

/// As run.
pub(super) struct Brotli {
    pub level: i32,
    pub window_bits: u8,
}
impl Coding for Brotli {
    const NAME: &'static [u8] = b"br";
    type Stream = Stream;

    fn of(at: &Scope, rules: &Rules<Brotli>, _: &Compiler<'_>) -> Result<Brotli, Error> {
        let window_bits = at.conf::<Conf>().map_or(19, |conf| conf.window_bits.or(19));
        Ok(Brotli { level: rules.level.or(6), window_bits })
    }
    fn stream(&self, length: Option<u64>) -> io::Result<Stream> {
        let length = length.unwrap_or(0);
        let (level, window_bits) = self.fitting(length);
        let params = BrotliEncoderParams {
            quality: level,
            lgwin: window_bits.into(),
            size_hint: usize::try_from(length).unwrap_or(0),
            ..BrotliEncoderParams::default()
        };
        Ok(Stream { brotli: Some(CompressorWriter::with_params(Vec::new(), ROOM, &params)) })
    }
}
impl Brotli {
    /// Level and window for a body of this length, 0 where it is not known: the window is no larger than what it is for.
    ///
    /// For small windows at the levels 5 to 9 the format's own library has tables that this one has not: it takes that of level
    /// 10 for them, or sets up 32 MB, at twenty times the cost. A larger window has a fast way; beyond level 7 that saves
    /// nothing more for bodies that small.
    pub fn fitting(&self, length: u64) -> (i32, u8) {
        let fits = WINDOWS.into_iter().find(|bits| length > 0 && length <= 1 << bits);
        let bits = fits.unwrap_or(self.window_bits).min(self.window_bits);
        match self.level {
            5..=9 if bits < LEAST_OF_FAST_WINDOWS => (self.level.min(7), LEAST_OF_FAST_WINDOWS),
            level => (level, bits),
        }
    }
}

const LEAST_OF_FAST_WINDOWS: u8 = 17;

/// The state of one stream.
pub(super) struct Stream {
    /// There until the stream is complete.
    brotli: Option<CompressorWriter<Vec<u8>>>,
}
impl super::Stream for Stream {
    fn run(&mut self, text: &[u8], until: Until, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(brotli) = &mut self.brotli else { return Err(io::Error::other("the stream is over")) };
        std::mem::swap(brotli.get_mut(), out);
        let done = brotli.write_all(text).and_then(|()| match until {
            Until::Flushed => brotli.flush(),
            Until::Taken | Until::Finished => Ok(()),
        });
        std::mem::swap(brotli.get_mut(), out);
        done?;
        if until == Until::Finished {
            let end = self.brotli.take().map(CompressorWriter::into_inner).unwrap_or_default();
            out.extend_from_slice(&end);
        }
        Ok(())
    }
}
