//! `gzip_static`: a file's compressed form next to it, sent in its place.

use conf::{Directive, Error, IN_HTTP, Scope, directive, exactly};
use rustix::fs::FileType;
use rustix::io::Errno;
use wire::{Known, Method};

use super::Clients;
use crate::http::file::{self, text};
use crate::http::open_files::Found;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::{Body, FileBody};
use crate::http::steps::{Handler, Outcome};
use crate::log::Action;
use crate::worker::generation::Compiler;

pub(super) const GZIP_STATIC: Directive = directive("gzip_static", IN_HTTP, exactly(1), |at, a| {
    let when = a.one_of(0, &[("off", When::Off), ("on", When::Accepted), ("always", When::Always)])?;
    at.own::<Conf>().gzip.set(when)
});

settings! {
    /// As written.
    struct Conf {
        gzip: When,
    }
}

/// To whom the compressed form is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Off,
    /// To clients that take it.
    Accepted,
    /// To all.
    Always,
}

/// As run.
struct Precompressed {
    when: When,
    clients: Clients,
    /// The coding, as headers name it.
    coding: &'static [u8],
    /// What the file's name ends with.
    suffix: &'static [u8],
}

pub(crate) fn handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let when = at.conf::<Conf>().map_or(When::Off, |c| c.gzip.or(When::Off));
    if when == When::Off {
        return Ok(None);
    }
    Ok(Some(Box::new(Precompressed { when, clients: Clients::of(at), coding: b"gzip", suffix: b".gz" })))
}

impl Handler for Precompressed {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        if !matches!(request.method, Method::Get | Method::Head) || request.uri.ends_with(b"/") {
            return Next::Go.into();
        }
        let taken = self.when == When::Always || self.clients.take(request, self.coding);
        if !taken && !self.clients.vary {
            return Next::Go.into();
        }
        if !request.has_file_path() {
            return Next::Status(500).into();
        }
        let mut path = request.thread.buffer();
        request.file_path(&mut path);
        path.extend_from_slice(self.suffix);
        let next = match file::find(request, &mut path) {
            Ok(found) => self.found(request, &path, found, taken),
            Err(error) => not_there(request, &path, error),
        };
        request.thread.give_buffer(path);
        next.into()
    }
}

/// The plain file is looked for then.
fn not_there(request: &mut Request, path: &[u8], error: Errno) -> Next {
    if !matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) {
        let _ = file::failed(request, "open()", path, error);
    }
    Next::Go
}

impl Precompressed {
    fn found(&self, request: &mut Request, path: &[u8], found: Found, taken: bool) -> Next {
        let Found { stat, file } = found;
        if self.when == When::Accepted {
            request.response.vary_encoding = self.clients.vary;
            if !taken {
                return Next::Go;
            }
        }
        let file = match (FileType::from_raw_mode(stat.st_mode), file) {
            (FileType::Directory, _) => return Next::Go,
            (FileType::RegularFile, Some(file)) => file,
            _ => {
                log_crit!(request, "\"{}\" is not a regular file", text(path));
                return Next::Status(404);
            }
        };
        request.action = Action::Sending;
        let length = stat.st_size as u64;
        file::describe(request, &stat, length);
        request.response.add(Known::ContentEncoding, b"Content-Encoding", self.coding);
        request.response.body = Body::File(FileBody { file, offset: 0, end: length });
        Next::Respond
    }
}
