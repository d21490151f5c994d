//! Server Side Includes: pages with commands in them that are carried out when the page is asked for.
//!
//! A page is read and its commands are carried out before its head goes out: one after the other, each included answer
//! by its head; what an include says at length is passed on when it is its turn.

use conf::{Error, IF_LOCATION, IN_HTTP, Inherit, Scope, Setting, directive, flag};

use self::weave::Weave;
use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::request::Request;
use crate::http::steps::Outcome;
use crate::http::types::Types;
use crate::http::variables::variable;
use crate::worker::generation::Compiler;

mod command;
mod date;
mod source;
mod text;
mod weave;

pub(crate) static MODULE: Module = Module {
    name: "ssi",
    directives: &[
        directive("ssi", IN_HTTP.or(IF_LOCATION), flag(), |at, a| at.own::<Conf>().enable.set(a.flag(0)?)),
        directive("ssi_silent_errors", IN_HTTP, flag(), |at, a| {
            at.own::<Conf>().silent_errors.set(a.flag(0)?)
        }),
        directive("ssi_last_modified", IN_HTTP, flag(), |at, a| {
            at.own::<Conf>().last_modified.set(a.flag(0)?)
        }),
        directive("ssi_min_file_chunk", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().min_file_chunk.set(a.size(0)?)
        }),
        directive("ssi_value_length", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().value_length.set(a.size(0)?)
        }),
        directive("ssi_types", IN_HTTP, conf::at_least(1), |at, a| {
            Types::read(at, a, |at| &mut at.own::<Conf>().types)
        }),
    ],
    variables: &[
        variable("date_local", |request, out| date::push(request, date::Zone::Local, out)),
        variable("date_gmt", |request, out| date::push(request, date::Zone::Gmt, out)),
    ],
};

/// As written.
#[derive(Default)]
struct Conf {
    enable: Setting<bool>,
    silent_errors: Setting<bool>,
    last_modified: Setting<bool>,
    min_file_chunk: Setting<u64>,
    value_length: Setting<u64>,
    types: Option<Types>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.enable.inherit(&outer.enable);
        self.silent_errors.inherit(&outer.silent_errors);
        self.last_modified.inherit(&outer.last_modified);
        self.min_file_chunk.inherit(&outer.min_file_chunk);
        self.value_length.inherit(&outer.value_length);
        if self.types.is_none() {
            self.types.clone_from(&outer.types);
        }
    }
}

/// As run.
pub struct Ssi {
    silent_errors: bool,
    last_modified: bool,
    /// Text of a file that is longer is sent from the file.
    min_file_chunk: u64,
    value_length: usize,
    types: Types,
}

/// What is in force in a block, where it is switched on.
pub(crate) fn compile(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Ssi>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|conf| conf.enable.or(false)) else { return Ok(None) };
    Ok(Some(Ssi {
        silent_errors: conf.silent_errors.or(false),
        last_modified: conf.last_modified.or(false),
        min_file_chunk: conf.min_file_chunk.or(1024),
        value_length: usize::try_from(conf.value_length.or(255)).unwrap_or(usize::MAX),
        types: conf.types.clone().unwrap_or_default(),
    }))
}

/// What commands change in the head.
pub(crate) fn filter(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    Ok(compile(at, with)?.map(|ssi| Box::new(ssi) as Box<dyn HeaderFilter>))
}

impl HeaderFilter for Ssi {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        if self.fits(request) {
            request.response.transformed();
            if !self.last_modified {
                request.response.forget_age();
                request.response.remove(b"ETag");
            }
        }
        Ok(())
    }
}

impl Ssi {
    /// Carries out the commands in the response's body, if it is to be looked at.
    pub fn run<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Result<(), u16>> {
        let response = &request.response;
        // Nothing is found in what is compressed, and nothing is to be.
        let is_text = !response.upgrade && response.header(b"Content-Encoding").is_none();
        if !is_text || !self.fits(request) || request.is_head() || request.aborted {
            return Outcome::Now(Ok(()));
        }
        Outcome::wait(Weave::new(self).run(request))
    }
    fn fits(&self, request: &Request) -> bool {
        let response = &request.response;
        response.content_length != Some(0) && self.types.include(response.content_type.of(&response.text))
    }
}

/// What the pages of one client's request share: those included see and change it, too.
#[derive(Default)]
struct Page {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of the last regular expression that matched.
    captures: Vec<Vec<u8>>,
    blocks: Vec<(Vec<u8>, Vec<u8>)>,
    includes: u32,
}
impl Page {
    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        if let [digit @ b'0'..=b'9'] = name
            && let Some(group) = self.captures.get(usize::from(digit - b'0'))
        {
            return Some(group);
        }
        let variable = self.variables.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&variable.1)
    }
    fn set(&mut self, name: &[u8], value: Vec<u8>) {
        match self.variables.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some(variable) => variable.1 = value,
            None => self.variables.push((name.to_vec(), value)),
        }
    }
}

fn page(request: &mut Request) -> &mut Page {
    if request.kept::<Page>().is_none() {
        request.keep(Page::default());
    }
    request.kept_mut::<Page>().expect("kept just now")
}
