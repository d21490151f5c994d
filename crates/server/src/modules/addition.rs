//! `add_before_body` and `add_after_body`: what other locations answer, before and behind a page.

use std::collections::VecDeque;

use conf::{Error, IN_HTTP, Inherit, Scope, Setting, directive};

use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::included::Included;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::types::Types;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "addition",
    directives: &[
        directive("add_before_body", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().before.set(a.bytes(0).into())
        }),
        directive("add_after_body", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().after.set(a.bytes(0).into())
        }),
        directive("addition_types", IN_HTTP, conf::at_least(1), |at, a| {
            Types::read(at, a, |at| &mut at.own::<Conf>().types)
        }),
    ],
    variables: &[],
};

/// As written.
#[derive(Default)]
struct Conf {
    before: Setting<Box<[u8]>>,
    after: Setting<Box<[u8]>>,
    types: Option<Types>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.before.inherit(&outer.before);
        self.after.inherit(&outer.after);
        if self.types.is_none() {
            self.types.clone_from(&outer.types);
        }
    }
}

/// As run.
pub struct Addition {
    before: Box<[u8]>,
    after: Box<[u8]>,
    types: Types,
}

/// What is added in a block, if anything is.
pub(crate) fn compile(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Addition>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let (before, after) = (conf.before.or(Box::default()), conf.after.or(Box::default()));
    if before.is_empty() && after.is_empty() {
        return Ok(None);
    }
    let types = conf.types.clone().unwrap_or_default();
    Ok(Some(Addition { before, after, types }))
}

/// What is added changes the head, unless there is nothing new to say (304).
pub(crate) fn filter(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    Ok(compile(at, with)?.map(|addition| Box::new(addition) as Box<dyn HeaderFilter>))
}

impl HeaderFilter for Addition {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        if request.response.status == 200 && self.fits(request) {
            request.response.transformed();
        }
        Ok(())
    }
}

impl Addition {
    /// Puts the answers of the other locations around the response, whose length nobody knows then.
    pub fn add(&self, request: &mut Request) {
        if request.depth > 0 || request.response.status != 200 || !self.fits(request) {
            return;
        }
        if request.is_head() {
            return;
        }
        let before = body_of(request, &self.before);
        let page = std::mem::take(&mut request.response.body);
        let after = body_of(request, &self.after);
        let mut parts = VecDeque::new();
        for body in [before, page, after] {
            match body {
                Body::Parts(several) => parts.extend(several),
                body => parts.push_back(body),
            }
        }
        request.response.body = Body::Parts(parts);
    }
    fn fits(&self, request: &Request) -> bool {
        self.types.include(request.response.content_type.of(&request.response.text))
    }
}

/// An answer in its place; nothing, where it would be too deep.
fn body_of(request: &mut Request, uri: &[u8]) -> Body {
    if uri.is_empty() || request.aborted {
        return Body::Empty;
    }
    let asked = Included::ask(request, uri, b"");
    asked.map_or(Body::Empty, |included| Body::asking(Body::Empty, Box::new(included)))
}
