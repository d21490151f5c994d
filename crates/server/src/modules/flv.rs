//! `flv`: Flash video from a byte that `?start=` names on, behind a header of its own.

use std::collections::VecDeque;

use conf::{Error, LOCATION, Scope, directive};
use rustix::fs::Stat;

use super::Module;
use crate::http::file;
use crate::http::open_files::SentFile;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::{Body, FileBody};
use crate::http::steps::{Handler, Outcome};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "flv",
    directives: &[directive("flv", LOCATION, conf::exactly(0), Here::set)],
    variables: &[],
};
mark!(Here);

/// Signature, version 1, audio and video, length of the header, no tag before.
static HEADER: &[u8] = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00";

struct Flv;

pub(crate) fn handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    Ok(Here::is_in(at).then(|| Box::new(Flv) as _))
}
impl Handler for Flv {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        file::answer_part(request, |request, _, file, stat| respond(request, file, stat)).into()
    }
}

fn respond(request: &mut Request, file: SentFile, stat: &Stat) -> Next {
    let size = stat.st_size as u64;
    let start = wire::uri::arg(&request.args, b"start").and_then(wire::parse_length);
    let start = start.filter(|start| *start < size).unwrap_or(0);
    let rest = Body::File(FileBody { file, offset: start, end: size });
    if start == 0 {
        file::describe(request, stat, size);
        request.response.body = rest;
    } else {
        file::describe(request, stat, HEADER.len() as u64 + size - start);
        request.response.body = Body::Parts(VecDeque::from([Body::Static(HEADER), rest]));
    }
    Next::Respond
}
