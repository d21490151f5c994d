//! Server Side Includes: pages with commands in them that are carried out when the page is asked for.
//!
//! A page is read while it goes out. Included answers are asked for as they are met, several at once, and stand in the
//! page in their order; what is short goes out whole.

use conf::{Error, IF_LOCATION, IN_HTTP, Inherit, Scope, Setting, directive, flag};

use std::cell::RefCell;
use std::rc::Rc;

use self::page::Page;
use self::weave::Weave;
use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::included::broke_off;
use crate::http::request::Request;
use crate::http::response::{Body, More as _};
use crate::http::steps::Outcome;
use crate::http::types::Types;
use crate::http::variables::variable;
use crate::worker::generation::Compiler;

mod command;
mod date;
mod include;
mod page;
mod reader;
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
    manner: Manner,
    last_modified: bool,
    types: Types,
}
/// How pages are read.
#[derive(Clone, Copy)]
struct Manner {
    silent_errors: bool,
    /// Text of a file that is longer is sent from the file.
    min_file_chunk: u64,
    value_length: usize,
}

/// What is in force in a block, where it is switched on.
pub(crate) fn compile(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Ssi>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|conf| conf.enable.or(false)) else { return Ok(None) };
    let manner = Manner {
        silent_errors: conf.silent_errors.or(false),
        min_file_chunk: conf.min_file_chunk.or(1024),
        value_length: usize::try_from(conf.value_length.or(255)).unwrap_or(usize::MAX),
    };
    Ok(Some(Ssi {
        manner,
        last_modified: conf.last_modified.or(false),
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
    /// Carries out the commands in the response's body while it goes out, if it is to be looked at. What is short, or
    /// goes wrong at its begin, does so before the head.
    pub fn run<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Result<(), u16>> {
        let response = &request.response;
        // Nothing is found in what is compressed, and nothing is to be.
        let is_text = !response.upgrade && response.header(b"Content-Encoding").is_none();
        if !is_text || !self.fits(request) || request.is_head() || request.aborted {
            return Outcome::Now(Ok(()));
        }
        let weave = Weave::new(self.manner, std::mem::take(&mut request.response.body));
        if request.depth > 0 {
            request.response.body = Body::asking(Body::Empty, Box::new(weave));
            return Outcome::Now(Ok(()));
        }
        Outcome::wait(begin(weave, request))
    }
    fn fits(&self, request: &Request) -> bool {
        let response = &request.response;
        response.content_length != Some(0) && self.types.include(response.content_type.of(&response.text))
    }
}

async fn begin(mut weave: Weave, request: &mut Request) -> Result<(), u16> {
    match weave.next(request).await {
        Ok(first) => {
            let first = first.unwrap_or_default();
            request.response.body = match weave.is_over() {
                true => first,
                false => Body::asking(first, Box::new(weave)),
            };
            Ok(())
        }
        Err(error) => {
            request.response.body = weave.into_body();
            request.aborted = request.response.body.upstream_mut().is_none()
                && error.kind() == std::io::ErrorKind::ConnectionAborted;
            match request.aborted {
                true => Ok(()),
                false => Err(broke_off(request, &error)),
            }
        }
    }
}

/// A request within another shares what its pages know.
pub(crate) fn descend(request: &mut Request, sub: &mut Request) {
    if let Some(page) = request.kept::<Rc<RefCell<Page>>>() {
        sub.keep(page.clone());
    }
}
