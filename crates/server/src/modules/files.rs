//! Files: `index`, and everything below `root` or `alias` that no other handler answers.

use conf::{Args, Error, HTTP, Inherit, LOCATION, SERVER, Scope, directive};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use wire::Method;

use super::Module;
use crate::http::file::{self, failed, find, stat, text};
use crate::http::open_files::{Found, SentFile};
use crate::http::phases::Next;
use crate::http::request::{Query, Request};
use crate::http::response::{Body, FileBody};
use crate::http::router;
use crate::http::steps::{Handler, Outcome};
use crate::http::variables::Template;
use crate::log::Action;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "index",
    directives: &[directive("index", HTTP.or(SERVER).or(LOCATION), conf::at_least(1), index)],
    variables: &[],
};

/// Files up to this size are read at once, to go out in one write with the head.
const SMALL: u64 = 16 * 1024;

/// As written.
#[derive(Default)]
struct Conf {
    index: Vec<Template>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if self.index.is_empty() {
            self.index.clone_from(&outer.index);
        }
    }
}

fn index(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    for i in 0..a.words.len() {
        if a.str(i).starts_with('/') && i + 1 != a.words.len() {
            at.warn(Error::warn("only the last index in \"index\" directive should be absolute").at(a.at()));
        }
        if a.str(i).is_empty() {
            return Err(a.error(format!("index \"{}\" in \"index\" directive is invalid", a.str(i))));
        }
        let name = Template::compile(at, a, i)?;
        at.own::<Conf>().index.push(name);
    }
    Ok(())
}

/// `index`, as run.
struct Index {
    names: Vec<Template>,
}

pub(crate) fn index_handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let written = at.conf::<Conf>().map(|c| c.index.clone()).unwrap_or_default();
    let names = if written.is_empty() { vec![Template::literal(b"index.html")] } else { written };
    Ok(Some(Box::new(Index { names })))
}
impl Handler for Index {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        if !request.uri.ends_with(b"/")
            || !matches!(request.method, Method::Get | Method::Head | Method::Post)
        {
            return Next::Go.into();
        }
        match request.has_file_path() {
            true => self.directory(request).into(),
            false => Next::Status(500).into(),
        }
    }
}

/// Answers with the file, or with a redirect to the directory; a directory that nobody showed before is forbidden.
pub fn answer(request: &mut Request) -> Next {
    if !matches!(request.method, Method::Get | Method::Head | Method::Post) {
        return Next::Status(405);
    }
    if !request.has_file_path() {
        return Next::Status(500);
    }
    if request.uri.ends_with(b"/") {
        return forbidden(request);
    }
    serve(request)
}
fn forbidden(request: &mut Request) -> Next {
    let mut folder = request.thread.buffer();
    request.file_path(&mut folder);
    log_error!(request, "directory index of \"{}\" is forbidden", text(&folder));
    request.thread.give_buffer(folder);
    Next::Status(403)
}

impl Index {
    /// The first index file there is.
    fn directory(&self, request: &mut Request) -> Next {
        let mut folder = request.thread.buffer();
        request.file_path(&mut folder);
        let mut name = request.thread.buffer();
        let (mut decided, mut seen) = (None, false);
        for template in &self.names {
            name.clear();
            template.render(request, &mut name);
            if name.starts_with(b"/") {
                decided = Some(internal(request, &name.clone()));
                break;
            }
            decided = self.try_index(request, &mut folder, &name);
            if decided.is_none() && !seen {
                // Before it looks for others: whether the directory is there at all.
                decided = missing(request, &mut folder, &name);
                seen = true;
            }
            if decided.is_some() {
                break;
            }
        }
        request.thread.give_buffer(name);
        request.thread.give_buffer(folder);
        decided.unwrap_or(Next::Go)
    }

    fn try_index(&self, request: &mut Request, folder: &mut Vec<u8>, name: &[u8]) -> Option<Next> {
        let length = folder.len();
        folder.extend_from_slice(name);
        let next = match stat(request, folder) {
            // As in nginx it may be a directory; an empty name is this one, over and over.
            Ok(_) => {
                let mut uri = request.uri.clone();
                uri.extend_from_slice(name);
                Some(internal(request, &uri))
            }
            Err(Errno::NOENT) => None,
            Err(error @ (Errno::NOTDIR | Errno::NAMETOOLONG | Errno::ACCESS)) => {
                Some(not_found(request, folder, error))
            }
            Err(error) => Some(failed(request, "stat()", folder, error)),
        };
        folder.truncate(length);
        next
    }
}

fn internal(request: &mut Request, uri: &[u8]) -> Next {
    request.redirect_to(uri, Query::Kept);
    Next::Locate
}

/// 404 if there is no such directory, 500 where it is a file (`alias`); the log names the index file that was looked for.
fn missing(request: &mut Request, folder: &mut Vec<u8>, name: &[u8]) -> Option<Next> {
    let found =
        stat(request, folder).map(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    if let Ok(true) = found {
        return None;
    }
    let length = folder.len();
    folder.extend_from_slice(name);
    let next = match found {
        Err(error) => not_found(request, folder, error),
        Ok(_) => {
            log_alert!(request, "\"{}\" is not a directory", text(folder));
            Next::Status(500)
        }
    };
    folder.truncate(length);
    Some(next)
}
fn not_found(request: &mut Request, folder: &[u8], error: Errno) -> Next {
    let (status, what) = if error == Errno::ACCESS { (403, "forbidden") } else { (404, "not found") };
    if status == 403 || request.plan().core.log_not_found {
        log_error!(request, "\"{}\" is {what} ({})", text(folder), crate::log::Errno(&error.into()));
    }
    Next::Status(status)
}

fn serve(request: &mut Request) -> Next {
    let mut path = request.thread.buffer();
    request.file_path(&mut path);
    let next = match find(request, &mut path) {
        Ok(Found { stat, file }) => match (FileType::from_raw_mode(stat.st_mode), file) {
            (FileType::Directory, _) => router::add_slash(request),
            (FileType::RegularFile, Some(file)) => respond(request, file, &stat),
            _ => {
                log_crit!(request, "\"{}\" is not a regular file", text(&path));
                Next::Status(404)
            }
        },
        Err(error) => failed(request, "open()", &path, error),
    };
    request.thread.give_buffer(path);
    next
}

fn respond(request: &mut Request, file: SentFile, stat: &Stat) -> Next {
    if request.method == Method::Post {
        return Next::Status(405);
    }
    request.action = Action::Sending;
    let length = stat.st_size as u64;
    file::describe(request, stat, length);
    let read_ahead = request.plan().core.delivery.read_ahead;
    if read_ahead > 0 && length > read_ahead {
        let _ = rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::Sequential);
    }
    request.response.body = body(request, file, length);
    Next::Respond
}

fn body(request: &Request, file: SentFile, length: u64) -> Body {
    if length == 0 {
        return Body::Empty;
    }
    if length <= SMALL && request.method != Method::Head && !request.has_conditions() {
        let mut buffer = request.thread.buffer();
        buffer.resize(length as usize, 0);
        if sys::file::read_cached(&file, &mut buffer, 0).is_ok_and(|n| n as u64 == length) {
            return Body::Memory(buffer.into());
        }
        request.thread.give_buffer(buffer);
    }
    Body::File(FileBody { file, offset: 0, end: length })
}
