//! Conditional requests (RFC 9110, 13): `If-Modified-Since`, `If-None-Match` and their opposites, and `if_modified_since`.

use conf::{Error, HTTP, LOCATION, SERVER, Scope, directive};
use wire::Known;

use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "not_modified",
    directives: &[directive("if_modified_since", HTTP.or(SERVER).or(LOCATION), conf::exactly(1), |at, a| {
        let how = a.one_of(0, &[("off", How::Off), ("exact", How::Exact), ("before", How::Before)])?;
        at.own::<Conf>().if_modified_since.set(how)
    })],
    variables: &[],
};

settings! {
    /// As written.
    struct Conf {
        if_modified_since: How,
    }
}

/// When a date means "not modified".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Off,
    Exact,
    Before,
}

struct NotModified(How);

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let how = at.conf::<Conf>().map_or(How::Exact, |c| c.if_modified_since.or(How::Exact));
    Ok(Some(Box::new(NotModified(how))))
}

impl HeaderFilter for NotModified {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        if request.response.status != 200 || request.response.unconditional || !request.has_conditions() {
            return Ok(());
        }
        if fails_precondition(request) {
            request.response.forget_headers();
            return Err(412);
        }
        if self.is_unmodified(request) {
            request.response.status = 304;
            request.response.status_text = None;
            request.response.content_type = Default::default();
            request.response.content_length = None;
            request.response.remove(b"Accept-Ranges");
            request.response.remove(b"Content-Encoding");
            request.response.allow_ranges = false;
            request.response.body = Body::Empty;
        }
        Ok(())
    }
}

/// `If-Unmodified-Since` and `If-Match`.
fn fails_precondition(request: &Request) -> bool {
    let modified = request.response.last_modified;
    // As in nginx, what has no date and what is no date fail.
    let is_unmodified =
        |date| modified.is_some_and(|at| wire::date::parse(date).is_some_and(|date| at <= date));
    if request.header(Known::IfUnmodifiedSince).is_some_and(|date| !is_unmodified(date)) {
        return true;
    }
    request.header(Known::IfMatch).is_some_and(|list| !matches(request, list, false))
}

fn matches(request: &Request, list: &[u8], weak: bool) -> bool {
    if list == b"*" {
        return true;
    }
    request.response.header(b"ETag").is_some_and(|tag| wire::conditional::etag_matches(list, tag, weak))
}

impl NotModified {
    fn is_unmodified(&self, request: &Request) -> bool {
        let since = request.header(Known::IfModifiedSince);
        let none_match = request.header(Known::IfNoneMatch);
        if since.is_none() && none_match.is_none() {
            return false;
        }
        if since.is_some_and(|date| self.is_modified_since(request, date)) {
            return false;
        }
        none_match.is_none_or(|list| matches(request, list, true))
    }
    fn is_modified_since(&self, request: &Request, date: &[u8]) -> bool {
        let Some(modified) = request.response.last_modified else { return true };
        match (self.0, wire::date::parse(date)) {
            (How::Off, _) | (_, None) => true,
            (How::Exact, Some(date)) => date != modified,
            (How::Before, Some(date)) => date < modified,
        }
    }
}
