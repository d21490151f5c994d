//! `slice`: a large answer is asked for in pieces of one size, each of which can be kept in the cache.
//!
//! What is asked for is in `$slice_range`: the piece in which the client's range begins. When it has gone out, the same
//! location is asked for the next.

use std::io;
use std::ops::Range;
use std::pin::Pin;

use conf::{Error, IN_HTTP, Scope, directive};
use wire::Known;
use wire::range::ContentRange;

use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::plan::Settings;
use crate::http::request::Request;
use crate::http::response::{Body, More, Response, Series};
use crate::http::subrequest;
use crate::http::variables::variable;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "slice",
    directives: &[directive("slice", IN_HTTP, conf::exactly(1), |at, a| {
        at.own::<Conf>().size.set(a.size(0)?)
    })],
    variables: &[variable("slice_range", range)],
};

settings! {
    /// As written.
    struct Conf {
        size: u64,
    }
}

/// As run: how large a piece is.
#[derive(Clone, Copy)]
struct Slice(u64);

fn compile(at: &Scope) -> Option<Slice> {
    let size = at.conf::<Conf>().map_or(0, |conf| conf.size.or(0));
    (size > 0).then_some(Slice(size))
}
pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    Ok(compile(at).map(|slice| Box::new(slice) as Box<dyn HeaderFilter>))
}
pub(crate) fn settings(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Settings>, Error> {
    Ok(compile(at).map(|slice| Box::new(slice) as Settings))
}

/// Where the piece begins that is asked for; there once `$slice_range` was used.
struct Start(u64);

/// `$slice_range`
fn range(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let plan = request.plan();
    let Some(Slice(size)) = plan.settings::<Slice>().copied() else { return false };
    let start = match request.kept::<Start>() {
        Some(start) => start.0,
        None if request.depth > 0 || request.response.status != 0 => return false,
        None => {
            let asked = match request.header(Known::IfRange) {
                Some(_) => 0,
                None => request.header(Known::Range).map_or(0, wire::range::begins),
            };
            let start = asked - asked % size;
            request.keep(Start(start));
            start
        }
    };
    let last = start.saturating_add(size - 1);
    out.extend_from_slice(format!("bytes={start}-{last}").as_bytes());
    true
}

/// Whether the answer is the first of several pieces: it is not read as a page then.
pub fn is_piece(request: &Request) -> bool {
    request.response.status == 206 && request.kept::<Start>().is_some()
}

impl HeaderFilter for Slice {
    /// The head of the first piece becomes that of the whole.
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        let Some(start) = request.kept::<Start>().map(|start| start.0) else { return Ok(()) };
        if request.response.status != 206 {
            request.forget::<Start>();
            return Ok(());
        }
        let found = piece(&request.response, start, self.0);
        let (next, complete) = found.map_err(|what| {
            log_error!(request, "{what} while reading response header from upstream");
            444_u16
        })?;
        let tag = request.response.header(b"ETag").map(Into::into);
        let response = &mut request.response;
        response.status = 200;
        response.status_text = None;
        response.content_length = Some(complete);
        response.headers.retain(|h| !matches!(h.known, Known::ContentRange | Known::AcceptRanges));
        response.allow_ranges = true;
        response.single_range = true;
        let more = Pieces { size: self.0, next, end: complete, tag };
        let series =
            Series { current: std::mem::take(&mut response.body), offset: start, more: Some(Box::new(more)) };
        response.body = Body::Series(Box::new(series));
        Ok(())
    }
}

/// The pieces that are to come.
struct Pieces {
    size: u64,
    next: u64,
    /// No piece is wanted from here on.
    end: u64,
    /// All are of one and the same thing.
    tag: Option<Box<[u8]>>,
}

impl More for Pieces {
    fn narrow(&mut self, wanted: Range<u64>) -> Option<u64> {
        self.end = wanted.end;
        (self.next + self.size <= wanted.start).then(|| {
            self.next = wanted.start - wanted.start % self.size;
            self.next
        })
    }
    fn next<'a>(
        &'a mut self,
        request: &'a mut Request,
    ) -> Pin<Box<dyn Future<Output = io::Result<Option<Body>>> + 'a>> {
        Box::pin(self.ask(request))
    }
}

impl Pieces {
    async fn ask(&mut self, request: &mut Request) -> io::Result<Option<Body>> {
        if self.next >= self.end {
            return Ok(None);
        }
        if let Some(start) = request.kept_mut::<Start>() {
            start.0 = self.next;
        }
        let response = subrequest::ask_again(request).await.response;
        match self.judge(&response) {
            Ok(next) => self.next = next,
            Err(what) => {
                request.depth += 1;
                log_error!(request, "{what} while reading response header from upstream");
                request.depth -= 1;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(Some(response.body))
    }
    /// Where the piece behind this one begins.
    fn judge(&mut self, response: &Response) -> Result<u64, String> {
        if response.status != 206 {
            return Err(format!("unexpected status code {} in slice response", response.status));
        }
        let tag = response.header(b"ETag");
        if self.tag.is_some() && tag != self.tag.as_deref() {
            return Err("etag mismatch in slice response".into());
        }
        self.tag = tag.map(Into::into);
        piece(response, self.next, self.size).map(|(next, _)| next)
    }
}

/// Where the piece behind this one begins, and how long the whole is.
fn piece(response: &Response, start: u64, size: u64) -> Result<(u64, u64), String> {
    let range = response.header(b"Content-Range").and_then(ContentRange::parse);
    let range = range.ok_or("invalid range in slice response")?;
    let complete = range.complete.ok_or("no complete length in slice response")?;
    let end = range.part.start.saturating_add(size).min(complete);
    if range.part.start != start || range.part.end != end {
        let (got, wanted) = (range.part, start..end);
        return Err(format!(
            "unexpected range in slice response: {}-{}, expected: {}-{}",
            got.start, got.end, wanted.start, wanted.end
        ));
    }
    Ok((end, complete))
}
