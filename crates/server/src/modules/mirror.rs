//! `mirror`: every request goes to other locations, too, whose answers nobody waits for.

use conf::{Args, Error, IN_HTTP, Inherit, Scope, Setting, directive};

use super::Module;
use crate::flow::Verdict;
use crate::http::body;
use crate::http::request::Request;
use crate::http::steps::{Outcome, Step};
use crate::http::subrequest::{self, Takes};
use crate::log::Errno;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "mirror",
    directives: &[
        directive("mirror", IN_HTTP, conf::exactly(1), mirror),
        directive("mirror_request_body", IN_HTTP, conf::flag(), |at, a| {
            at.own::<Conf>().body.set(a.flag(0)?)
        }),
    ],
    variables: &[],
};

/// As written.
#[derive(Default)]
struct Conf {
    /// `off` leaves it empty, and written.
    to: Option<Vec<Box<[u8]>>>,
    body: Setting<bool>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if self.to.is_none() {
            self.to.clone_from(&outer.to);
        }
        self.body.inherit(&outer.body);
    }
}

fn mirror(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let to = &mut at.own::<Conf>().to;
    match (a.str(0), to) {
        ("off", to @ None) => *to = Some(Vec::new()),
        ("off", Some(_)) => return Err(Error::directive("is duplicate")),
        (_, Some(all)) if all.is_empty() => return Err(Error::directive("is duplicate")),
        (_, to) => to.get_or_insert_default().push(a.bytes(0).into()),
    }
    Ok(())
}

/// As run.
struct Mirror {
    to: Box<[Box<[u8]>]>,
    body: bool,
}

pub(crate) fn precontent(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let Some(to) = conf.to.as_ref().filter(|to| !to.is_empty()) else { return Ok(None) };
    Ok(Some(Box::new(Mirror { to: to.as_slice().into(), body: conf.body.or(true) })))
}

impl Step for Mirror {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        if request.depth > 0 {
            return Verdict::Next.into();
        }
        if !self.body || request.body.complete {
            return self.send(request).into();
        }
        Outcome::wait(async move {
            match body::read_whole(request).await {
                Ok(()) => self.send(request),
                Err(status) => Verdict::Reject(status),
            }
        })
    }
}

impl Mirror {
    fn send(&self, request: &mut Request) -> Verdict {
        let takes = if self.body { Takes::Body } else { Takes::Head };
        let args = request.args.clone();
        for uri in &self.to {
            if let Err(error) = subrequest::background(request, uri, &args, takes) {
                log_alert!(request, "dup() failed ({})", Errno(&error));
                return Verdict::Reject(500);
            }
        }
        Verdict::Next
    }
}
