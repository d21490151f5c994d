//! `early_hints`: for which requests a 103 of the upstream goes on to the client.

use std::sync::Arc;

use conf::{Directive, Inherit, Scope, directive};

use super::ANY;
use crate::http::request::Request;
use crate::http::variables::Template;

pub(super) const DIRECTIVE: Directive = directive("early_hints", ANY, conf::at_least(1), |at, a| {
    for i in 0..a.len() {
        let template = Template::compile(at, a, i)?;
        at.own::<Conf>().0.push(template);
    }
    Ok(())
});

/// As written; a block that has none takes those of the one around it.
#[derive(Default)]
struct Conf(Vec<Template>);
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if self.0.is_empty() {
            self.0.clone_from(&outer.0);
        }
    }
}

/// As run.
pub struct EarlyHints(Arc<[Template]>);

pub(super) fn compile(at: &Scope) -> EarlyHints {
    EarlyHints(at.conf::<Conf>().map(|conf| conf.0.as_slice().into()).unwrap_or_default())
}

impl EarlyHints {
    /// Whether one of the values is neither empty nor `0`.
    pub fn wanted(&self, request: &mut Request) -> bool {
        let mut value = request.thread.buffer();
        let wanted = self.0.iter().any(|template| {
            value.clear();
            template.render(request, &mut value);
            !matches!(&*value, b"" | b"0")
        });
        request.thread.give_buffer(value);
        wanted
    }
}
