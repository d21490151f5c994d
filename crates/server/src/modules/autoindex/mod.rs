//! `autoindex`: what is in a directory, as HTML, XML or JSON.

mod format;

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use conf::{Error, IN_HTTP, Scope, directive, exactly, flag};
use rustix::io::Errno;
use wire::Method;

use self::format::{Entry, Kind, Style};
use super::Module;
use crate::http::file;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::steps::{Handler, Outcome};
use crate::worker::generation::Compiler;
use crate::worker::ledger::{Class, Line};

pub(crate) static MODULE: Module = Module {
    name: "autoindex",
    directives: &[
        directive("autoindex", IN_HTTP, flag(), |at, a| at.own::<Conf>().on.set(a.flag(0)?)),
        directive("autoindex_exact_size", IN_HTTP, flag(), |at, a| {
            at.own::<Conf>().exact_size.set(a.flag(0)?)
        }),
        directive("autoindex_localtime", IN_HTTP, flag(), |at, a| at.own::<Conf>().localtime.set(a.flag(0)?)),
        directive("autoindex_format", IN_HTTP, exactly(1), |at, a| {
            let format = a.one_of(0, FORMATS)?;
            at.own::<Conf>().format.set(format)
        }),
    ],
    variables: &[],
};

settings! {
    /// As written.
    struct Conf {
        on: bool,
        exact_size: bool,
        localtime: bool,
        format: Format,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Json,
    /// JSON as the argument of the function that `?callback=` names.
    Jsonp,
    Xml,
}
const FORMATS: &[(&str, Format)] =
    &[("html", Format::Html), ("json", Format::Json), ("jsonp", Format::Jsonp), ("xml", Format::Xml)];

/// The longest name of a function.
const CALLBACK: usize = 128;

/// As run.
struct Autoindex {
    format: Format,
    exact_size: bool,
    localtime: bool,
}

pub(crate) fn handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|c| c.on.or(false)) else { return Ok(None) };
    Ok(Some(Box::new(Autoindex {
        format: conf.format.or(Format::Html),
        exact_size: conf.exact_size.or(true),
        localtime: conf.localtime.or(false),
    })))
}

impl Handler for Autoindex {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        if !request.uri.ends_with(b"/") || !matches!(request.method, Method::Get | Method::Head) {
            return Next::Go.into();
        }
        if !request.has_file_path() {
            return Next::Status(500).into();
        }
        Outcome::wait(self.list(request))
    }
}

impl Autoindex {
    async fn list(&self, request: &mut Request) -> Next {
        let Ok(callback) = self.callback(request) else { return Next::Status(400) };
        let mut path = Vec::new();
        request.file_path(&mut path);
        if path.len() > 1 {
            path.pop();
        }
        // A directory may be large, and its disk slow: others do not wait for it.
        let folder = PathBuf::from(OsStr::from_bytes(&path));
        let head = request.is_head();
        let listing = request.thread.process.blocking.run(move || read(&folder, head)).await;
        let listing = match listing {
            Ok(Ok(listing)) => listing,
            Ok(Err(failure)) => return failure.answer(request, &path),
            Err(_) => return Next::Status(500),
        };
        for failure in &listing.remarks {
            failure.log(request);
        }
        self.respond(request, &listing.entries, callback.as_deref());
        Next::Respond
    }

    fn respond(&self, request: &mut Request, entries: &[Entry], callback: Option<&[u8]>) {
        let text = match self.format {
            Format::Html => format::html(&request.uri, entries, self.style(request)),
            Format::Json | Format::Jsonp => format::json(entries, callback),
            Format::Xml => format::xml(entries),
        };
        let kind: &[u8] = match self.format {
            Format::Html => b"text/html",
            Format::Jsonp if callback.is_some() => b"application/javascript",
            Format::Json | Format::Jsonp => b"application/json",
            Format::Xml => b"text/xml; charset=utf-8",
        };
        request.response.status = 200;
        request.response.set_content_type(kind);
        // As from nginx, which sends the head before it makes the text.
        request.response.content_length = None;
        request.response.body = Body::Memory(text.into());
    }
    fn style(&self, request: &Request) -> Style {
        Style {
            exact_size: self.exact_size,
            offset: if self.localtime { request.thread.clock.utc_offset() } else { 0 },
            utf8: request.plan().utf8,
        }
    }

    /// The function that `?callback=` names, where it is asked for.
    fn callback(&self, request: &Request) -> Result<Option<Vec<u8>>, ()> {
        if self.format != Format::Jsonp {
            return Ok(None);
        }
        let name = wire::uri::arg(&request.args, b"callback").unwrap_or_default();
        let wrong = |what: &str| {
            let name = crate::log::shown(name);
            log_info!(request, "client sent {what} callback name: \"{name}\"");
            Err(())
        };
        if name.len() > CALLBACK {
            return wrong("too long");
        }
        if !name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')) {
            return wrong("invalid");
        }
        Ok((!name.is_empty()).then(|| name.to_vec()))
    }
}

/// What is in a directory, and what could not be looked at.
#[derive(Default)]
struct Listing {
    entries: Vec<Entry>,
    remarks: Vec<Failure>,
}
struct Failure {
    call: &'static str,
    path: PathBuf,
    error: io::Error,
}
impl Failure {
    fn log(&self, request: &Request) {
        let (call, path, error) = (self.call, self.path.display(), crate::log::Errno(&self.error));
        log_crit!(request, "{call} \"{path}\" failed ({error})");
    }
    fn answer(self, request: &mut Request, path: &[u8]) -> Next {
        if self.call != "opendir()" {
            self.log(request);
            // nginx, which has sent the head by then, can only close.
            request.keep_alive = false;
            return Next::Status(500);
        }
        let errno = Errno::from_io_error(&self.error).unwrap_or(Errno::IO);
        file::failed(request, self.call, path, errno)
    }
}

/// Everything but what begins with a dot: directories first, each by name.
fn read(folder: &Path, only_open: bool) -> Result<Listing, Failure> {
    let failure = |call, error| Failure { call, path: folder.to_owned(), error };
    let items = std::fs::read_dir(folder).map_err(|e| failure("opendir()", e))?;
    let _line = Line::new(Class::File);
    let mut listing = Listing::default();
    if only_open {
        return Ok(listing);
    }
    for item in items {
        let name = item.map_err(|e| failure("readdir()", e))?.file_name();
        if !name.as_bytes().starts_with(b".") {
            look_at(folder.join(&name), name.into_vec(), &mut listing)?;
        }
    }
    listing.entries.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    Ok(listing)
}

/// What a link points to; the link itself where that is not there.
fn look_at(path: PathBuf, name: Vec<u8>, listing: &mut Listing) -> Result<(), Failure> {
    let stat = match std::fs::metadata(&path) {
        Ok(stat) => stat,
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::LOOP) => match std::fs::symlink_metadata(&path) {
                Ok(stat) => stat,
                Err(error) => return Err(Failure { call: "lstat()", path, error }),
            },
            Some(Errno::ACCESS) => {
                listing.remarks.push(Failure { call: "stat()", path, error });
                return Ok(());
            }
            _ => return Err(Failure { call: "stat()", path, error }),
        },
    };
    listing.entries.push(entry(name, &stat));
    Ok(())
}
fn entry(name: Vec<u8>, stat: &Metadata) -> Entry {
    let kind = match () {
        () if stat.is_dir() => Kind::Directory,
        () if stat.is_file() => Kind::File,
        () => Kind::Other,
    };
    Entry { name, kind, modified: stat.mtime(), size: stat.len() }
}
