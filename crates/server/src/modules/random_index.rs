//! `random_index`: a directory is answered with any of its files.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use conf::{Error, LOCATION, Scope, directive, flag};
use rustix::io::Errno;
use wire::Method;

use super::Module;
use crate::http::file;
use crate::http::phases::Next;
use crate::http::request::{Query, Request};
use crate::http::steps::{Handler, Outcome};
use crate::worker::generation::Compiler;
use crate::worker::ledger::{Class, Line};

pub(crate) static MODULE: Module = Module {
    name: "random_index",
    directives: &[directive("random_index", LOCATION, flag(), |at, a| at.own::<Conf>().on.set(a.flag(0)?))],
    variables: &[],
};

settings! {
    /// As written.
    struct Conf {
        on: bool,
    }
}

struct RandomIndex;

pub(crate) fn handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    Ok(at.conf::<Conf>().filter(|c| c.on.or(false)).map(|_| Box::new(RandomIndex) as _))
}
impl Handler for RandomIndex {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        if !request.uri.ends_with(b"/")
            || !matches!(request.method, Method::Get | Method::Head | Method::Post)
        {
            return Next::Go.into();
        }
        match request.has_file_path() {
            true => Outcome::wait(choose(request)),
            false => Next::Status(500).into(),
        }
    }
}

async fn choose(request: &mut Request) -> Next {
    let mut path = Vec::new();
    request.file_path(&mut path);
    path.pop();
    let folder = PathBuf::from(OsStr::from_bytes(&path));
    let names = match request.thread.process.blocking.run(move || names(&folder)).await {
        Ok(Ok(names)) => names,
        Ok(Err(error)) => {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            return file::failed(request, "opendir()", &path, errno);
        }
        Err(_) => return Next::Status(500),
    };
    let any = u128::from_ne_bytes(crate::random::bits()) % names.len().max(1) as u128;
    let Some(name) = names.get(any as usize) else { return Next::Go };
    let uri = [&request.uri, &name[..]].concat();
    request.redirect_to(&uri, Query::Kept);
    Next::Locate
}

/// The files of a directory but those whose names begin with a dot; links to files count.
fn names(folder: &PathBuf) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let _line = Line::new(Class::File);
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        let name = item.file_name();
        let kind = item.file_type()?;
        let is_file = kind.is_file() || (kind.is_symlink() && folder.join(&name).is_file());
        if is_file && !name.as_bytes().starts_with(b".") {
            names.push(name.into_vec());
        }
    }
    Ok(names)
}
