//! Logs whose path has variables: opened for each line, as the worker's user, or kept open (`open_log_file_cache`).

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use conf::{Args, Error, Scope};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::http::open_files::{Declared, Found, SentFile, Use};
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::log::Errno as Shown;
use crate::worker::ledger::{Class, Counted};

settings! {
    /// As written.
    struct Conf {
        cache: Option<Use>,
    }
}

/// The cache in force in a block.
pub(super) fn cache(at: &Scope) -> Option<Use> {
    at.conf::<Conf>().and_then(|conf| conf.cache.or(None))
}

/// `open_log_file_cache max=N [inactive=time] [min_uses=N] [valid=time]` or `off`
pub(super) fn open_log_file_cache(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let invalid = |word: &str| a.error(format!("invalid \"open_log_file_cache\" parameter \"{word}\""));
    let (mut max, mut inactive, mut min_uses, mut valid, mut off) = (0, 10, 1, 60, false);
    for word in a.iter() {
        let time = |text: &str| conf::sec(text.as_bytes()).ok_or_else(|| invalid(word));
        match word.split_once('=') {
            Some(("max", text)) => max = text.parse().map_err(|_| invalid(word))?,
            Some(("min_uses", text)) => min_uses = text.parse().map_err(|_| invalid(word))?,
            Some(("inactive", text)) => inactive = time(text)?,
            Some(("valid", text)) => valid = time(text)?,
            None if word == "off" => off = true,
            _ => return Err(invalid(word)),
        }
    }
    let cache = match (off, max) {
        (true, _) => None,
        (false, 0) => return Err(a.error("\"open_log_file_cache\" must have \"max\" parameter")),
        (false, max) => {
            let cache = Declared::new(at, max, inactive);
            Some(Use { cache, valid, min_uses, errors: false, links: None })
        }
    };
    at.own::<Conf>().cache.set(cache)
}

/// Writes a line to a file whose name has variables. Where the request's root does not exist there is no log, lest
/// made-up host names fill the disk with files.
pub(super) fn write(path: &Template, cache: Option<&Use>, line: &[u8], request: &mut Request) {
    let mut text = request.thread.buffer();
    if root_exists(request, &mut text) {
        text.clear();
        path.render(request, &mut text);
        if let Err((call, error)) = append(request, cache, &mut text, line) {
            let path = crate::log::shown(&text);
            let error = Shown(&error);
            match call {
                "open()" => {
                    log_crit!(request, "{call} \"{path}\" failed ({error}) while logging request");
                }
                _ => log_alert!(request, "{call} \"{path}\" failed ({error}) while logging request"),
            }
        }
    }
    request.thread.give_buffer(text);
}

type Failure = (&'static str, std::io::Error);

fn append(request: &Request, cache: Option<&Use>, path: &mut Vec<u8>, line: &[u8]) -> Result<(), Failure> {
    let found = match cache {
        None => open(path),
        Some(by) => {
            let now = request.thread.handle.unix_time().as_secs();
            request.generation.open_files.find(by, path, now, open)
        }
    };
    match found.map_err(|error| ("open()", error.into()))?.file {
        Some(file) => (&**file).write_all(line).map_err(|error| ("write()", error)),
        None => Ok(()),
    }
}

fn open(path: &mut Vec<u8>) -> Result<Found, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path.as_slice(), flags, Mode::from_raw_mode(0o644))?;
    let stat = rustix::fs::fstat(&fd)?;
    Ok(Found { stat, file: Some(SentFile::Own(Counted::new(Class::Log, File::from(fd)))) })
}

fn root_exists(request: &mut Request, text: &mut Vec<u8>) -> bool {
    request.document_root(text);
    let root = path_of(text);
    let result = match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => return true,
        Ok(_) => std::io::Error::from(Errno::NOTDIR),
        Err(error) => error,
    };
    log_error!(
        request,
        "testing \"{}\" existence failed ({}) while logging request",
        crate::log::shown_path(root),
        Shown(&result)
    );
    false
}

fn path_of(text: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(text))
}
