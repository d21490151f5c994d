//! `auth_request`: another location decides who may.

use conf::{Args, Error, IN_HTTP, Inherit, List, Scope, Setting, directive};
use wire::Known;

use super::Module;
use crate::flow::Verdict;
use crate::http::error_page::closes_silently;
use crate::http::request::Request;
use crate::http::steps::{Outcome, Step};
use crate::http::subrequest;
use crate::http::variables::{Index, Names, Template, new_name};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "auth_request",
    directives: &[
        directive("auth_request", IN_HTTP, conf::exactly(1), |at, a| {
            let uri = (a.str(0) != "off").then(|| a.bytes(0).into());
            at.own::<Conf>().uri.set(uri)
        }),
        directive("auth_request_set", IN_HTTP, conf::exactly(2), set),
    ],
    variables: &[],
};

/// As written.
#[derive(Default)]
struct Conf {
    uri: Setting<Option<Box<[u8]>>>,
    set: List<(Index, Template)>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.uri.inherit(&outer.uri);
        self.set.inherit(&outer.set);
    }
}

/// `auth_request_set $variable value`
fn set(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let index = at.shared::<Names>().assign(new_name(a, 0)?);
    let value = Template::compile(at, a, 1)?;
    at.own::<Conf>().set.push((index, value));
    Ok(())
}

/// As run.
struct Gate {
    uri: Box<[u8]>,
    set: Box<[(Index, Template)]>,
}

pub(crate) fn access(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let uri = conf.uri.or(None);
    Ok(uri.map(|uri| Box::new(Gate { uri, set: conf.set.as_slice().into() }) as _))
}

impl Step for Gate {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        Outcome::wait(self.ask(request))
    }
}

impl Gate {
    async fn ask(&self, request: &mut Request) -> Verdict {
        let answer = subrequest::ask(request, &self.uri, b"", async |request| self.remember(request)).await;
        if request.aborted {
            return Verdict::Reject(499);
        }
        match answer.status {
            200..=299 => Verdict::Allow,
            401 => {
                let response = &answer.response;
                let wanted =
                    response.headers.iter().map(|h| (h.name.of(&response.text), h.value.of(&response.text)));
                for (name, value) in wanted.filter(|(name, _)| name.eq_ignore_ascii_case(b"WWW-Authenticate"))
                {
                    request.response.add(Known::Other, name, value);
                }
                Verdict::Reject(401)
            }
            403 => Verdict::Reject(403),
            // Who is to get nothing gets nothing, whatever was asked for.
            status if closes_silently(status) => Verdict::Reject(status),
            status => {
                log_error!(request, "auth request unexpected status: {status}");
                Verdict::Reject(500)
            }
        }
    }
    /// What the answer said, for later.
    fn remember(&self, request: &mut Request) {
        for (index, value) in &self.set {
            let mut text = request.thread.buffer();
            value.render(request, &mut text);
            request.assign(*index, &text);
            request.thread.give_buffer(text);
        }
    }
}
