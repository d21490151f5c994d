//! What every handler needs that answers with files: to open one, to describe it, to say why it cannot be had.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fs::File;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use wire::{Known, Method};

use super::open_files::{Found, SentFile};
use super::phases::Next;
use super::request::Request;
use super::symlinks::{self, Links};
use crate::modules::core::types;
use crate::worker::descriptors;
use crate::worker::ledger::{Class, Counted};

/// Answers a request for a part of a regular file: what is none is left to others ([`Next::Go`]).
pub fn answer_part(
    request: &mut Request,
    respond: impl FnOnce(&mut Request, &[u8], SentFile, &Stat) -> Next,
) -> Next {
    if !matches!(request.method, Method::Get | Method::Head) {
        return Next::Status(405);
    }
    if request.uri.ends_with(b"/") {
        return Next::Go;
    }
    if !request.has_file_path() {
        return Next::Status(500);
    }
    let mut path = request.thread.buffer();
    request.file_path(&mut path);
    let next = match find(request, &mut path) {
        Ok(Found { stat, file: Some(file) })
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile =>
        {
            respond(request, &path, file, &stat)
        }
        Ok(_) => Next::Go,
        Err(error) => failed(request, "open()", &path, error),
    };
    request.thread.give_buffer(path);
    next
}

/// Describes a file in the head: type, time, `ETag`; `length` bytes of it are the answer.
pub fn describe(request: &mut Request, stat: &Stat, length: u64) {
    let modified = stat.st_mtime;
    request.response.status = 200;
    request.response.content_length = Some(length);
    // As in nginx, the second before 1970 is no time.
    request.response.last_modified = (modified != -1).then_some(modified.max(0) as u64);
    request.response.allow_ranges = true;
    types::set_type(request);
    if request.core().etag {
        add_etag(request, modified, length);
    }
}

/// `"modified-length"`, in hexadecimal, as nginx makes it.
fn add_etag(request: &mut Request, modified: i64, length: u64) {
    let mut tag = request.thread.buffer();
    tag.extend_from_slice(if modified < 0 { b"\"-" } else { b"\"" });
    wire::push_hex(&mut tag, modified.unsigned_abs());
    tag.push(b'-');
    wire::push_hex(&mut tag, length);
    tag.push(b'"');
    request.response.add(Known::ETag, b"ETag", &tag);
    request.thread.give_buffer(tag);
}

/// nginx's status for each way in which a file cannot be had, with its log line.
pub fn failed(request: &mut Request, call: &str, path: &[u8], error: Errno) -> Next {
    let call = if call != "opendir()" && request.core().open_files.walks() { "openat()" } else { call };
    let shown = std::io::Error::from(error);
    let shown = crate::log::Errno(&shown);
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {
            if request.core().log_not_found {
                log_error!(request, "{call} \"{}\" failed ({shown})", text(path));
            }
            Next::Status(404)
        }
        Errno::ACCESS | Errno::LOOP | Errno::MLINK => {
            log_error!(request, "{call} \"{}\" failed ({shown})", text(path));
            Next::Status(403)
        }
        _ if descriptors::none_left(error) => {
            let call = format_args!("{call} \"{}\"", text(path));
            Next::Status(descriptors::refuse(request, call, &std::io::Error::from(error)))
        }
        _ => {
            log_crit!(request, "{call} \"{}\" failed ({shown})", text(path));
            Next::Status(500)
        }
    }
}
/// A path as the log shows it.
pub fn text(path: &[u8]) -> Cow<'_, str> {
    crate::log::shown(path)
}

/// Calls with the path as the system wants it: ended by a NUL, which a path of a request cannot contain.
pub(crate) fn with_c_path<T>(
    path: &mut Vec<u8>,
    call: impl FnOnce(&CStr) -> Result<T, Errno>,
) -> Result<T, Errno> {
    path.push(0);
    let result = match CStr::from_bytes_with_nul(path) {
        Ok(c_path) => call(c_path),
        Err(_) => Err(Errno::NOENT),
    };
    path.pop();
    result
}
/// What is at a path that a request may see, as `open_file_cache` knows it where there is one, and past no link that
/// `disable_symlinks` does not follow.
///
/// # Errors
/// The system's.
pub fn find(request: &mut Request, path: &mut Vec<u8>) -> Result<Found, Errno> {
    let plan = request.plan();
    let files = &plan.core.open_files;
    let links = files.links(request, path);
    descriptors::retry(&request.thread, || match files.cache(links) {
        None => open(path, links),
        Some(by) => {
            let now = request.thread.handle.unix_time().as_secs();
            request.generation.open_files.find(&by, path, now, |path| open(path, links))
        }
    })
}

/// As [`find`], of something that need not be opened.
///
/// # Errors
/// The system's.
pub fn stat(request: &mut Request, path: &mut Vec<u8>) -> Result<Stat, Errno> {
    let plan = request.plan();
    let files = &plan.core.open_files;
    match files.walks() || files.cache(None).is_some() {
        true => find(request, path).map(|found| found.stat),
        false => with_c_path(path, |path| rustix::fs::stat(path)),
    }
}

/// Opens for reading. A FIFO must not hold the loop up until somebody writes to it.
fn open(path: &mut Vec<u8>, links: Option<(Links, usize)>) -> Result<Found, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match links {
        None => with_c_path(path, |path| rustix::fs::open(path, flags, Mode::empty()))?,
        Some((links, from)) => symlinks::open(path, from, links, flags)?,
    };
    let stat = rustix::fs::fstat(&fd)?;
    let folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(Found { stat, file: (!folder).then(|| SentFile::Own(Counted::new(Class::File, File::from(fd)))) })
}
