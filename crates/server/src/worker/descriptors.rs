//! When descriptors have run out all the same.
//!
//! There are never more slots than descriptors for them ([`super::Process`]), each with one for a file beside it. What else
//! may be open is not bounded by that: files that `open_file_cache` keeps, several files for one request, whatever the
//! limit was lowered to by somebody else. Then what is only kept is closed, and what is wanted is tried once more; who
//! finds none left is told to come again.

use std::fmt::Arguments;

use rustix::io::Errno as Code;

use super::admission;
use super::thread::{Thread, with_current};
use crate::chain::Cause;
use crate::http::request::Request;
use crate::log::Errno;

/// Whether there is no descriptor left, in the process or on the machine.
pub fn none_left(error: Code) -> bool {
    matches!(error, Code::MFILE | Code::NFILE)
}

/// The same of a library's error.
pub fn are_out(error: &std::io::Error) -> bool {
    Code::from_io_error(error).is_some_and(none_left)
}

/// Closes what is only kept: files of caches and an upstream connection at rest at once, here and soon on other threads;
/// idle clients soon. Whether any descriptor is free by that already.
pub fn make_room(thread: &Thread) -> bool {
    let closed = close_kept(thread);
    admission::give_way_here(thread);
    thread.process.each_other(thread.number, || with_current(|thread| _ = close_kept(thread)));
    closed
}

/// A request needs a file, and no descriptor is left for it: says so, at most once a second, and with which status it is
/// answered.
pub fn refuse(request: &mut Request, call: Arguments<'_>, error: &std::io::Error) -> u16 {
    let (meter, now) = (&request.thread.process.meter, request.thread.handle.now());
    meter.refused(Cause::DescriptorsForFile);
    request.overloaded = true;
    if let Some(more) = meter.speak(Cause::DescriptorsForFile, now) {
        log_crit!(request, "{call} failed ({}){more}", Errno(error));
    }
    503
}

fn close_kept(thread: &Thread) -> bool {
    let files = thread.generation().open_files.clear();
    let upstream = thread.upstreams.evict();
    files || upstream
}

/// Calls, and once more where that failed for want of a descriptor and one could be freed.
///
/// # Errors
/// The call's.
pub fn retry<T>(thread: &Thread, mut call: impl FnMut() -> Result<T, Code>) -> Result<T, Code> {
    match call() {
        Err(error) if none_left(error) && make_room(thread) => call(),
        done => done,
    }
}
