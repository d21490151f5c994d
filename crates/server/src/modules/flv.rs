//! `flv`: Flash video from a byte that `?start=` names on, behind a header of its own.

use std::collections::VecDeque;

use conf::{Error, LOCATION, Scope, directive};
use rustix::fs::FileType;
use wire::Method;

use super::Module;
use crate::http::file;
use crate::http::open_files::Found;
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
        if !matches!(request.method, Method::Get | Method::Head) {
            return Next::Status(405).into();
        }
        if request.uri.ends_with(b"/") {
            return Next::Go.into();
        }
        if !request.has_file_path() {
            return Next::Status(500).into();
        }
        let mut path = request.thread.buffer();
        request.file_path(&mut path);
        let next = respond(request, &mut path);
        request.thread.give_buffer(path);
        next.into()
    }
}

fn respond(request: &mut Request, path: &mut Vec<u8>) -> Next {
    let Found { stat, file } = match file::find(request, path) {
        Ok(found) => found,
        Err(error) => return file::failed(request, "open()", path, error),
    };
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let Some(file) = file.filter(|_| regular) else { return Next::Go };
    let size = stat.st_size as u64;
    let start = wire::uri::arg(&request.args, b"start").and_then(wire::parse_length);
    let start = start.filter(|start| *start < size).unwrap_or(0);
    let rest = Body::File(FileBody { file, offset: start, end: size });
    if start == 0 {
        file::describe(request, &stat, size);
        request.response.body = rest;
    } else {
        file::describe(request, &stat, HEADER.len() as u64 + size - start);
        request.response.body = Body::Parts(VecDeque::from([Body::Static(HEADER), rest]));
    }
    Next::Respond
}
