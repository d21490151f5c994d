//! Directives that say for which requests something is done: those for which one of their values is neither empty nor `0`.
//!
//! `early_hints`: a 103 of the upstream goes on to the client. `client_body_early_read`: the body is read before the location
//! is looked for, within the limits of the server.

use std::sync::Arc;

use conf::{Args, Directive, Error, Inherit, Scope, directive};

use super::{ANY, UPPER};
use crate::flow::Verdict;
use crate::http::body;
use crate::http::request::Request;
use crate::http::steps::{Outcome, Step};
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

pub(super) const EARLY_HINTS: Directive = directive("early_hints", ANY, conf::at_least(1), |at, a| {
    let mut all = templates(at, a)?;
    at.own::<Conf>().early_hints.append(&mut all);
    Ok(())
});
pub(super) const EARLY_READ: Directive =
    directive("client_body_early_read", UPPER, conf::at_least(1), |at, a| {
        let mut all = templates(at, a)?;
        at.own::<Conf>().early_read.append(&mut all);
        Ok(())
    });

fn templates(at: &Scope, a: &Args<'_>) -> Result<Vec<Template>, Error> {
    (0..a.len()).map(|i| Template::compile(at, a, i)).collect()
}

/// As written; a block that has none takes those of the one around it.
#[derive(Default)]
struct Conf {
    early_hints: Vec<Template>,
    early_read: Vec<Template>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        for (own, outer) in
            [(&mut self.early_hints, &outer.early_hints), (&mut self.early_read, &outer.early_read)]
        {
            if own.is_empty() {
                own.clone_from(outer);
            }
        }
    }
}

/// As run.
pub struct Predicates(Arc<[Template]>);

pub(super) fn early_hints(at: &Scope) -> Predicates {
    Predicates(at.conf::<Conf>().map(|conf| conf.early_hints.as_slice().into()).unwrap_or_default())
}

impl Predicates {
    /// Whether one of the values is neither empty nor `0`.
    pub fn hold(&self, request: &mut Request) -> bool {
        let mut value = request.thread.buffer();
        let hold = self.0.iter().any(|template| {
            value.clear();
            template.render(request, &mut value);
            !matches!(&*value, b"" | b"0")
        });
        request.thread.give_buffer(value);
        hold
    }
}

/// `client_body_early_read`
struct EarlyRead(Predicates);

pub(crate) fn early_read(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|conf| !conf.early_read.is_empty()) else { return Ok(None) };
    with.temp_path(&super::client_body::temp_path(at, with).path);
    Ok(Some(Box::new(EarlyRead(Predicates(conf.early_read.as_slice().into())))))
}

impl Step for EarlyRead {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        if !request.body.is_expected() || !self.0.hold(request) {
            return Outcome::Now(Verdict::Next);
        }
        Outcome::wait(read(request))
    }
}

async fn read(request: &mut Request) -> Verdict {
    let limit = request.core().client_body.max_size;
    request.body.limit = limit;
    let declared = request.body.declared();
    if limit != 0 && declared > limit {
        log_error!(request, "client intended to send too large body: {declared} bytes");
        return Verdict::Reject(413);
    }
    match body::read_whole(request).await {
        Ok(()) => Verdict::Next,
        Err(status) => Verdict::Reject(status),
    }
}
