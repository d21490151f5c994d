//! `include`: the answer of another path, in its place in the page, in a variable, or a block in place of it.

use std::io;
use std::task::Context;

use super::command::{Inclusion, inclusion};
use super::page;
use super::text::{self, Result};
use super::weave::Weave;
use crate::http::included::Included;
use crate::http::paths;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::log::shown;

/// How many answers the pages of one request may include; beyond it they include each other.
const INCLUDES: u32 = 10_000;

/// An answer that was asked for.
pub struct Include {
    answer: Included,
    becomes: Becomes,
    /// What follows in the page waits for its end.
    pub waited: bool,
}

enum Becomes {
    /// A part of the page.
    Part,
    /// A part of it, or this block.
    Stubbed(Vec<u8>),
    /// The value of this variable.
    Variable(Vec<u8>),
}

impl Include {
    /// Asks for what a command names.
    ///
    /// # Errors
    /// What is wrong with the command; empty if that is logged already.
    pub fn ask<'b>(request: &mut Request, given: impl Fn(&str) -> Option<&'b [u8]>) -> Result<Include> {
        let Inclusion { target, waited } = inclusion(&given)?;
        let target = path(request, target)?;
        let (path, args) = wire::uri::split_args(&target);
        let mut uri = Vec::with_capacity(path.len());
        wire::uri::unescape(path, &mut uri);
        if !paths::is_safe(&uri) {
            return Err(format!("unsafe URI \"{}\" was detected", shown(paths::unsafe_part(&target, &uri))));
        }
        let page = page::of(request);
        let becomes = match (given("set"), given("stub")) {
            (Some(name), _) => Becomes::Variable(name.to_vec()),
            (None, Some(name)) => {
                let block = page.borrow().block(name);
                let none = || format!("\"stub\"=\"{}\" for \"include\" not found", shown(name));
                Becomes::Stubbed(block.ok_or_else(none)?)
            }
            (None, None) => Becomes::Part,
        };
        page.borrow_mut().includes += 1;
        if page.borrow().includes > INCLUDES {
            return Err(format!("subrequests cycle while processing \"{}\"", shown(&uri)));
        }
        let answer = Included::ask(request, &uri, args.unwrap_or_default()).ok_or_else(String::new)?;
        let waited = waited || matches!(becomes, Becomes::Variable(_));
        Ok(Include { answer, becomes, waited })
    }

    /// What comes next of it in the page; `None` at its end.
    ///
    /// # Errors
    /// When nothing can follow: the client left, or there is no room for it.
    pub async fn next(&mut self, request: &mut Request) -> io::Result<Option<Body>> {
        let next = match std::mem::replace(&mut self.becomes, Becomes::Part) {
            Becomes::Part => self.answer.next(request).await?,
            Becomes::Stubbed(block) => self.or(request, block).await?,
            Becomes::Variable(name) => {
                self.hold(request, &name).await?;
                None
            }
        };
        Ok(next)
    }
    /// Whether its next piece may be long in coming.
    pub fn flows(&mut self) -> bool {
        self.answer.flows()
    }
    /// While the client is busy.
    pub fn fill(&mut self, cx: &mut Context<'_>) {
        self.answer.fill(cx);
    }

    /// The answer, or the block: if there is none, or an error's page is all there is.
    async fn or(&mut self, request: &mut Request, block: Vec<u8>) -> io::Result<Option<Body>> {
        let Some(sub) = self.answer.arrived(request).await? else { return Ok(None) };
        let failed = sub.error_status != 0;
        let response = &sub.response;
        // nginx looks for commands in the block as it would have in the answer.
        let is_text = response.status < 300 && (response.status == 204 || response.content_length == Some(0));
        if !failed && let Some(first) = self.answer.next(request).await? {
            return Ok(Some(first));
        }
        let block = Body::Memory(block.into());
        let Some(sub) = self.answer.arrived(request).await? else { return Ok(Some(block)) };
        let manner = sub.plan().ssi().map(|ssi| ssi.manner);
        sub.response.body = match manner.filter(|_| !is_text) {
            Some(manner) => Body::asking(Body::Empty, Box::new(Weave::new(manner, block))),
            None => block,
        };
        self.answer.next(request).await
    }

    /// Takes the answer into a variable, if there is room for it (`subrequest_output_buffer_size`).
    async fn hold(&mut self, request: &mut Request, name: &[u8]) -> io::Result<()> {
        let Some(sub) = self.answer.arrived(request).await? else { return Ok(()) };
        let status = sub.response.status;
        let most = sub.core().subrequest_output_buffer_size;
        if let Some(length) = sub.response.content_length.filter(|length| *length > most) {
            log_error!(sub, "too big subrequest response: {length}");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut held = self.answer.take(request, most).await?;
        if held.len() > most {
            if let Some(sub) = self.answer.arrived(request).await? {
                log_error!(sub, "too big subrequest response");
            }
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if status >= 300 {
            held.clear();
        }
        page::of(request).borrow_mut().set(name, held);
        Ok(())
    }
    /// The page goes on behind it: with what it did to variables, if that was waited for.
    pub fn end(mut self, request: &mut Request) {
        if self.waited {
            self.answer.leave_values(request);
        }
    }
}

/// The path to include, below that of the page if it is relative.
fn path(request: &mut Request, uri: &[u8]) -> Result<Vec<u8>> {
    let target = text::evaluate(request, uri)?;
    // Of nothing there is no path, and of variables without a value neither.
    if target.is_empty() || target.starts_with(b"/") {
        return Ok(target);
    }
    let folder = request.uri.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    Ok([&request.uri[..folder], &target].concat())
}
