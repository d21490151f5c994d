//! Variables of the request line, the path, and the request as a whole.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use formats::pairs;

use super::{found, not_empty, number, seconds};
use crate::http::request::Request;

pub fn request(request: &mut Request, out: &mut Vec<u8>) -> bool {
    not_empty(request.line(), out)
}
/// The method in force: an internal redirect makes it GET.
pub fn request_method(request: &mut Request, out: &mut Vec<u8>) -> bool {
    // A request within another is the client's request, asked with another method.
    match request.depth > 0 || request.method == request.head.method {
        true => not_empty(request.text(request.head.method_name), out),
        false => found(Some(b"GET"), out),
    }
}
pub fn request_uri(request: &mut Request, out: &mut Vec<u8>) -> bool {
    not_empty(request.text(request.head.target), out)
}
pub fn server_protocol(request: &mut Request, out: &mut Vec<u8>) -> bool {
    not_empty(request.text(request.head.protocol), out)
}
pub fn uri(request: &mut Request, out: &mut Vec<u8>) -> bool {
    not_empty(&request.uri, out)
}

pub fn args(request: &mut Request, out: &mut Vec<u8>) -> bool {
    not_empty(&request.args, out) || request.args_emptied
}
pub fn set_args(request: &mut Request, value: &[u8]) {
    request.set_args(value);
    request.unmodified_uri = false;
}
pub fn is_args(request: &mut Request, out: &mut Vec<u8>) -> bool {
    if !request.args.is_empty() {
        out.push(b'?');
    }
    true
}
pub fn argument(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    !name.is_empty() && found(pairs::argument(&request.args, name), out)
}

/// The host asked for, or the name of the server that answers.
pub fn host(request: &mut Request, out: &mut Vec<u8>) -> bool {
    match request.host.is_empty() {
        true => server_name(request, out),
        false => found(Some(&request.host), out),
    }
}
pub fn server_name(request: &mut Request, out: &mut Vec<u8>) -> bool {
    found(Some(request.generation.shared.server(request.server).name.as_bytes()), out)
}

/// The port that the target, or else `Host`, names.
pub fn request_port(request: &mut Request, out: &mut Vec<u8>) -> bool {
    match asked_port(request) {
        0 => true,
        port => write!(out, "{port}").is_ok(),
    }
}
pub fn is_request_port(request: &mut Request, out: &mut Vec<u8>) -> bool {
    if asked_port(request) != 0 {
        out.push(b':');
    }
    true
}
fn asked_port(request: &Request) -> u16 {
    request.head.port_number(&request.buffer)
}

pub fn document_root(request: &mut Request, out: &mut Vec<u8>) -> bool {
    request.document_root(out);
    true
}
pub fn request_filename(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let has = request.has_file_path();
    if has {
        request.file_path(out);
    }
    has
}
/// The root without symbolic links; no value, and a line in the error log, if it does not exist.
pub fn realpath_root(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    request.document_root(out);
    let root = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(&out[before..]));
    out.truncate(before);
    match std::fs::canonicalize(&root) {
        Ok(real) => found(Some(real.as_os_str().as_bytes()), out),
        Err(error) => {
            log_crit!(request, "realpath() \"{}\" failed ({})", root.display(), crate::log::Errno(&error));
            false
        }
    }
}

pub fn request_time(request: &mut Request, out: &mut Vec<u8>) -> bool {
    seconds(request.thread.handle.now().saturating_duration_since(request.started), out)
}
/// Head and body as far as it was read; 0 while the request line is not complete.
pub fn request_length(request: &mut Request, out: &mut Vec<u8>) -> bool {
    // Nothing was read for a request within another.
    number(if request.depth > 0 { 0 } else { request.length() }, out)
}
/// The body, where it was read and is in memory.
pub fn request_body(request: &mut Request, out: &mut Vec<u8>) -> bool {
    not_empty(&request.body.memory, out)
}
/// The file that has the body (`client_body_in_file_only`).
pub fn request_body_file(request: &mut Request, out: &mut Vec<u8>) -> bool {
    found(request.body.name.as_ref().map(|name| name.path.as_os_str().as_bytes()), out)
}
pub fn request_id(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let id = request.random_id();
    for byte in id {
        out.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    true
}
