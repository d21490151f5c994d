//! `dav_methods`: files changed by PUT, DELETE, MKCOL, COPY and MOVE (WebDAV).
//!
//! | file | does |
//! |---|---|
//! | `transfer.rs` | COPY and MOVE |
//! | `tree.rs` | what is done to the file system, on a thread that may wait for it |

mod transfer;
mod tree;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use conf::{Error, IN_HTTP, Scope, at_least, between, directive, exactly, flag};
use rustix::io::Errno;
use wire::{Framing, Known, Method};

use self::tree::{Content, Fault};
use super::Module;
use crate::access::Access;
use crate::http::body;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::steps::{Handler, Outcome};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "dav",
    directives: &[
        directive("dav_methods", IN_HTTP, at_least(1), |at, a| {
            a.bits(at, METHODS, |at| &mut at.own::<Conf>().methods)
        }),
        directive("create_full_put_path", IN_HTTP, flag(), |at, a| {
            at.own::<Conf>().create_full_put_path.set(a.flag(0)?)
        }),
        directive("min_delete_depth", IN_HTTP, exactly(1), |at, a| {
            at.own::<Conf>().min_delete_depth.set(a.number(0)?)
        }),
        directive("dav_access", IN_HTTP, between(1, 3), |at, a| {
            let access = Access::read(a)?;
            at.own::<Conf>().access.set(access)
        }),
    ],
    variables: &[],
};

settings! {
    /// As written.
    struct Conf {
        methods: u32,
        create_full_put_path: bool,
        min_delete_depth: usize,
        access: Access,
    }
}

/// What `dav_methods` can name. `off` is no method of anybody's.
const METHODS: &[(&str, u32)] = &[
    ("off", 1 << 31),
    ("put", bit(Method::Put)),
    ("delete", bit(Method::Delete)),
    ("mkcol", bit(Method::Mkcol)),
    ("copy", bit(Method::Copy)),
    ("move", bit(Method::Move)),
];
const fn bit(method: Method) -> u32 {
    1 << method as u32
}

/// As run.
struct Dav {
    methods: u32,
    create_full_put_path: bool,
    min_delete_depth: usize,
    access: Access,
}

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let methods = conf.methods.or(0);
    if methods == 0 {
        return Ok(None);
    }
    with.temp_path(&super::core::client_body::temp_path(at, with).path);
    Ok(Some(Box::new(Dav {
        methods,
        create_full_put_path: conf.create_full_put_path.or(false),
        min_delete_depth: conf.min_delete_depth.or(0),
        access: conf.access.or(Access::default()),
    })))
}

impl Handler for Dav {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        match self.methods & bit(request.method) != 0 {
            true => Outcome::wait(self.change(request)),
            false => Next::Go.into(),
        }
    }
}

impl Dav {
    async fn change(&self, request: &mut Request) -> Next {
        let done = match request.method {
            Method::Put => self.put(request).await,
            Method::Delete => self.delete(request).await,
            Method::Mkcol => self.mkcol(request).await,
            _ => self.transfer(request).await,
        };
        done.unwrap_or_else(Next::Status)
    }

    async fn put(&self, request: &mut Request) -> Result<Next, u16> {
        if request.uri.ends_with(b"/") {
            log_error!(request, "cannot PUT to a collection");
            return Err(409);
        }
        if field(request, b"Content-Range").is_some() {
            log_error!(request, "PUT with range is unsupported");
            return Err(501);
        }
        body::read_whole(request).await?;
        if !request.body.is_expected() {
            // An empty file is `Content-Length: 0`.
            log_error!(request, "PUT request body must be in a file");
            return Err(500);
        }
        let path = path(request)?;
        let content = match request.body.file.take() {
            Some(file) => Content::File(file, request.body.read),
            None => Content::Memory(std::mem::take(&mut request.body.memory)),
        };
        let date = request.header(Known::Date).and_then(wire::date::parse);
        let how = tree::Put {
            access: self.access.0,
            create_path: self.create_full_put_path.then(|| self.access.folder()),
            modified: date.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
        };
        match elsewhere(request, move || tree::put(&path, content, &how)).await? {
            Ok(true) => Ok(created(request)),
            Ok(false) => Ok(empty(request, 204)),
            Err(fault) if fault.call == "mkdir()" => {
                note(request, &fault, crate::log::Level::Crit);
                Err(500)
            }
            Err(fault) => {
                let status = failed(request, &fault, 500);
                Err(if fault.to.is_some() { 500 } else { status })
            }
        }
    }

    async fn delete(&self, request: &mut Request) -> Result<Next, u16> {
        refuse_body(request, "DELETE with body is unsupported")?;
        let depth = request.uri.iter().filter(|byte| **byte == b'/').count();
        let deep = request.uri.strip_suffix(b"/").unwrap_or(&request.uri);
        if self.min_delete_depth > deep.iter().filter(|byte| **byte == b'/').count() {
            log_error!(request, "insufficient URI depth:{depth} to DELETE");
            return Err(409);
        }
        let path = path(request)?;
        let is_folder = match std::fs::symlink_metadata(&path) {
            Ok(stat) => stat.is_dir(),
            Err(error) => {
                let not_found = if errno(&error) == Errno::NOTDIR { 409 } else { 404 };
                return Err(failed(request, &Fault::new("lstat()", &named(request, path), error), not_found));
            }
        };
        let slash = request.uri.ends_with(b"/");
        if slash && !is_folder {
            let fault = Fault::new("lstat()", &named(request, path), Errno::NOTDIR.into());
            return Err(failed(request, &fault, 409));
        }
        if is_folder && !slash {
            log_error!(request, "DELETE \"{}\" failed (21: Is a directory)", crate::log::shown_path(&path));
            return Err(409);
        }
        let default = if is_folder { Depth::Infinity } else { Depth::Zero };
        match self::depth(request, default)? {
            Depth::Infinity => {}
            Depth::Zero if !is_folder => {}
            _ => {
                let which = if is_folder { "infinity" } else { "0 or infinity" };
                log_error!(request, "\"Depth\" header must be {which}");
                return Err(400);
            }
        }
        remove(request, path, is_folder).await?;
        Ok(empty(request, 204))
    }

    async fn mkcol(&self, request: &mut Request) -> Result<Next, u16> {
        refuse_body(request, "MKCOL with body is unsupported")?;
        if !request.uri.ends_with(b"/") {
            log_error!(request, "MKCOL can create a collection only");
            return Err(409);
        }
        let path = path(request)?;
        let mode = self.access.folder();
        match elsewhere(request, move || tree::make_folder(&path, mode)).await? {
            Ok(()) => Ok(created(request)),
            Err(fault) => Err(failed(request, &fault, 409)),
        }
    }
}

/// Removes a file, or a directory with all that is in it.
async fn remove(request: &mut Request, path: PathBuf, is_folder: bool) -> Result<(), u16> {
    let (remarks, done) = elsewhere(request, move || tree::remove(&path, is_folder)).await?;
    for fault in &remarks {
        let _ = failed(request, fault, 0);
    }
    done.map_err(|fault| failed(request, &fault, 404))
}

/// Does what may have to wait for a disk on another thread.
async fn elsewhere<T: Send + 'static>(
    request: &Request,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, u16> {
    request.thread.process.blocking.run(work).await.map_err(|_| 500)
}

fn refuse_body(request: &Request, what: &str) -> Result<(), u16> {
    match request.body.framing {
        Framing::None | Framing::Length(0) => Ok(()),
        _ => {
            log_error!(request, "{what}");
            Err(415)
        }
    }
}

/// A path with the slash that the request has behind it.
fn named(request: &Request, mut path: PathBuf) -> PathBuf {
    if request.uri.ends_with(b"/") {
        path.push("");
    }
    path
}

/// The file of the path in force, without a slash behind it.
fn path(request: &mut Request) -> Result<PathBuf, u16> {
    if !request.has_file_path() {
        return Err(500);
    }
    let mut path = Vec::new();
    request.file_path(&mut path);
    if path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    Ok(OsString::from_vec(path).into())
}

fn field<'a>(request: &'a Request, name: &'a [u8]) -> Option<&'a [u8]> {
    request.head.headers.named(name, &request.buffer).next()
}

/// `Depth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
    Invalid,
}
fn depth(request: &Request, default: Depth) -> Result<Depth, u16> {
    Ok(match field(request, b"Depth") {
        None => default,
        Some(b"0") => Depth::Zero,
        Some(b"1") => Depth::One,
        Some(b"infinity") => Depth::Infinity,
        Some(other) => {
            let other = crate::log::shown(other);
            log_error!(request, "client sent invalid \"Depth\" header: \"{other}\"");
            Depth::Invalid
        }
    })
}

fn created(request: &mut Request) -> Next {
    let mut place = request.thread.buffer();
    wire::uri::escape_uri(&request.uri, &mut place);
    request.response.set_location(&place);
    request.thread.give_buffer(place);
    empty(request, 201)
}
fn empty(request: &mut Request, status: u16) -> Next {
    request.response.status = status;
    request.response.content_length = Some(0);
    request.response.body = Body::Empty;
    Next::Respond
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Logs what failed; its status.
fn failed(request: &Request, fault: &Fault, not_found: u16) -> u16 {
    let (status, common) = match errno(&fault.error) {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => (not_found, true),
        Errno::ACCESS | Errno::PERM => (403, true),
        Errno::EXIST => (405, true),
        Errno::ISDIR => (409, true),
        Errno::NOSPC => (507, false),
        _ => (500, false),
    };
    // What is copied is opened by another part of nginx, which takes it more seriously.
    let level =
        if common && fault.call != "open()" { crate::log::Level::Error } else { crate::log::Level::Crit };
    note(request, fault, level);
    status
}

/// Into the error log.
fn note(request: &Request, fault: &Fault, level: crate::log::Level) {
    let (call, path, error) =
        (fault.call, crate::log::shown_path(&fault.path), crate::log::Errno(&fault.error));
    match call {
        _ if let Some(to) = &fault.to => {
            let to = crate::log::shown_path(to);
            request.note(
                crate::log::Level::Crit,
                format_args!("{call} \"{path}\" to \"{to}\" failed ({error})"),
            );
        }
        "" => request.note(level, format_args!("\"{path}\" could not be created ({error})")),
        _ => request.note(level, format_args!("{call} \"{path}\" failed ({error})")),
    }
}
