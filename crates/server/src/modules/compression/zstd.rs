//! `zstd`: the coding of RFC 8878, with the directives of the well-known module for nginx.

use std::io;
use std::sync::Arc;

use ::zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};
use conf::{Args, Error, HTTP, IF_LOCATION, Position, Scope, directive};

use super::{Coding, IN, Rules, Until, precompressed};
use crate::http::filters::HeaderFilter;
use crate::http::variables::{Variable, variable};
use crate::modules::Module;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "zstd",
    directives: &[
        directive("zstd", IN.or(IF_LOCATION), conf::flag(), Rules::<Zstd>::set_on),
        directive("zstd_types", IN, conf::at_least(1), Rules::<Zstd>::set_types),
        directive("zstd_min_length", IN, conf::exactly(1), Rules::<Zstd>::set_min_length),
        directive("zstd_comp_level", IN, conf::exactly(1), comp_level),
        directive("zstd_buffers", IN, conf::exactly(2), Rules::<Zstd>::set_buffers),
        directive("zstd_dict_file", HTTP, conf::exactly(1), dict_file),
        precompressed::ZSTD_STATIC,
    ],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[variable("zstd_ratio", |request, out| {
    let Some(ratio) = super::thousandths::<Zstd>(request) else { return false };
    wire::push_decimal(out, ratio / 1000);
    out.extend_from_slice(format!(".{:03}", ratio % 1000).as_bytes());
    true
})];

settings! {
    /// What no other coding has, as written.
    struct Conf {
        dictionary: Dictionary,
    }
}
/// A file that is read where `zstd` is on.
#[derive(Clone)]
struct Dictionary {
    path: String,
    at: Position,
}
impl Dictionary {
    fn read(&self, with: &Compiler<'_>) -> Result<Arc<[u8]>, Error> {
        let read = with.inputs.read(self.path.as_ref());
        read.map_err(|error| {
            let text = format!("open() \"{}\" failed ({})", self.path, conf::os_error(&error));
            Error::emerg(text).at(self.at.clone())
        })
    }
}

/// A negative level is faster and leaves more.
fn comp_level(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let digits = a.str(0).strip_prefix('-').unwrap_or(a.str(0));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::directive("invalid number"));
    }
    let levels = ::zstd::compression_level_range();
    match a.str(0).parse() {
        Ok(level) if level != 0 && levels.contains(&level) => at.own::<Rules<Zstd>>().level.set(level),
        _ => {
            let (least, most) = (levels.start(), levels.end());
            Err(a.error(format!("zstd compress level must between {least} and {most} excluding 0")))
        }
    }
}
fn dict_file(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    at.own::<Conf>().dictionary.set(Dictionary { path: a.conf_path(a.str(0)), at: a.at() })
}

pub(crate) fn filter(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    super::filter::<Zstd>(at, with)
}

/// As run.
pub(super) struct Zstd {
    pub level: i32,
    /// Clients have to have the same.
    pub dictionary: Option<Arc<[u8]>>,
}
impl Coding for Zstd {
    const NAME: &'static [u8] = b"zstd";
    type Stream = Stream;

    fn of(at: &Scope, rules: &Rules<Zstd>, with: &Compiler<'_>) -> Result<Zstd, Error> {
        let dictionary = at.conf::<Conf>().and_then(|conf| conf.dictionary.written());
        let dictionary = dictionary.map(|file| file.read(with)).transpose()?;
        Ok(Zstd { level: rules.level.or(1), dictionary })
    }
    fn stream(&self, length: Option<u64>) -> io::Result<Stream> {
        let mut zstd = Encoder::with_dictionary(self.level, self.dictionary.as_deref().unwrap_or_default())?;
        if self.level > LAST_OF_SMALL_WINDOWS {
            zstd.set_parameter(CParameter::WindowLog(LARGEST_WINDOW_BITS))?;
        }
        zstd.set_pledged_src_size(length)?;
        Ok(Stream { zstd })
    }
}

/// Clients need not take a larger window: 8 MB (RFC 9659).
const LARGEST_WINDOW_BITS: u32 = 23;
/// The library's levels above this one would have a larger one.
const LAST_OF_SMALL_WINDOWS: i32 = 19;

/// The state of one stream.
pub(super) struct Stream {
    zstd: Encoder<'static>,
}
impl super::Stream for Stream {
    fn run(&mut self, text: &[u8], until: Until, out: &mut Vec<u8>) -> io::Result<()> {
        let mut text = InBuffer::around(text);
        loop {
            super::make_room(out);
            let end = out.len();
            let mut packed = OutBuffer::around_pos(out, end);
            if text.pos() < text.src.len() {
                self.zstd.run(&mut text, &mut packed)?;
                continue;
            }
            let left = match until {
                Until::Taken => 0,
                Until::Flushed => self.zstd.flush(&mut packed)?,
                Until::Finished => self.zstd.finish(&mut packed, true)?,
            };
            if left == 0 {
                return Ok(());
            }
        }
    }
}
