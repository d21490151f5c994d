//! `try_files`: the first of several files or directories that exists, else another path or a status.

use conf::{Args, Error, Inherit, LOCATION, SERVER, Scope, Within, at_least, directive};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::Module;
use crate::http::file;
use crate::http::phases::Next;
use crate::http::request::{Query, Request};
use crate::http::router;
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "try_files",
    directives: &[directive("try_files", SERVER.or(LOCATION), at_least(2), try_files)],
    variables: &[],
};

/// As written, for one block only: neither locations nor `if` blocks inside inherit it.
#[derive(Clone, Default)]
struct Conf(Option<TryFiles>);
impl Inherit for Conf {
    fn inherit(&mut self, _: &Conf) {}
    fn reaches(_: Within) -> bool {
        false
    }
}

/// As run.
#[derive(Clone)]
pub struct TryFiles {
    candidates: Vec<Candidate>,
    last: Last,
}
#[derive(Clone)]
struct Candidate {
    name: Template,
    directory: bool,
}
/// What happens if nothing was found.
#[derive(Clone)]
enum Last {
    Status(u16),
    /// A path with arguments, or a named location.
    Uri(Template),
}

fn try_files(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if at.own::<Conf>().0.is_some() {
        return Err(a.error("\"try_files\" directive is duplicate"));
    }
    let end = a.words.len() - 1;
    let candidates = (0..end).map(|i| candidate(at, a, i)).collect::<Result<_, _>>()?;
    let last = match a.str(end).strip_prefix('=') {
        Some(code) => Last::Status(status(code).ok_or_else(|| a.error(format!("invalid code \"={code}\"")))?),
        None => Last::Uri(Template::compile(at, a, end)?),
    };
    at.own::<Conf>().0 = Some(TryFiles { candidates, last });
    Ok(())
}
fn candidate(at: &Scope, a: &Args<'_>, i: usize) -> Result<Candidate, Error> {
    let text = a.str(i);
    let shorter = text.strip_suffix('/');
    let name = Template::parse(at, shorter.unwrap_or(text))?;
    Ok(Candidate { name, directory: shorter.is_some() })
}
fn status(code: &str) -> Option<u16> {
    let digits = !code.is_empty() && code.bytes().all(|b| b.is_ascii_digit());
    code.parse().ok().filter(|code| digits && *code <= 999)
}

pub(crate) fn compile(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<TryFiles>, Error> {
    Ok(at.conf::<Conf>().and_then(|c| c.0.clone()))
}

impl TryFiles {
    /// Puts the first name that exists in the place of the path, or goes where the last argument says.
    pub fn look(&self, request: &mut Request) -> Next {
        if !request.has_file_path() {
            return Next::Status(500);
        }
        let mut path = request.thread.buffer();
        let plan = request.plan();
        plan.core.root.path.render(request, &mut path);
        let root = path.len();
        let found = self.candidates.iter().find(|candidate| {
            path.truncate(root);
            candidate.push_name(request, &mut path, root);
            candidate.exists(request, &mut path)
        });
        let next = match found {
            Some(candidate) => {
                take_uri(request, &path[root..], candidate.directory);
                Next::Go
            }
            None => self.last(request),
        };
        request.thread.give_buffer(path);
        next
    }

    fn last(&self, request: &mut Request) -> Next {
        let uri = match &self.last {
            Last::Status(status) => return Next::Status(*status),
            Last::Uri(uri) => uri,
        };
        let mut to = request.thread.buffer();
        uri.render(request, &mut to);
        let next = if to.starts_with(b"@") {
            router::enter_named(request, &to)
        } else {
            let (uri, args) = wire::uri::split_args(&to);
            request.redirect_to(uri, Query::These(args.unwrap_or_default()));
            Next::Locate
        };
        request.thread.give_buffer(to);
        next
    }
}

impl Candidate {
    /// Appends its name behind the root; with `alias`, a name made of the path loses the location's prefix.
    fn push_name(&self, request: &mut Request, path: &mut Vec<u8>, root: usize) {
        self.name.render(request, path);
        let plan = request.plan();
        let prefix = plan.core.root.prefix;
        let named_by_path = self.name.as_literal().is_none()
            && plan.core.root.alias
            && prefix > 0
            && request.uri.get(..prefix).is_some_and(|text| path[root..].starts_with(text));
        if named_by_path {
            path.drain(root..root + prefix);
        }
    }
    /// Whether it is there, as what it was asked for.
    fn exists(&self, request: &mut Request, path: &mut Vec<u8>) -> bool {
        match file::stat(request, path) {
            Ok(stat) => (FileType::from_raw_mode(stat.st_mode) == FileType::Directory) == self.directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => false,
            Err(error) => {
                let error = std::io::Error::from(error);
                let path = crate::log::shown(path);
                log_crit!(request, "stat() \"{path}\" failed ({})", crate::log::Errno(&error));
                false
            }
        }
    }
}

/// The path becomes what was found.
fn take_uri(request: &mut Request, name: &[u8], directory: bool) {
    let plan = request.plan();
    match (plan.core.root.alias, plan.core.root.prefix) {
        (false, _) => request.uri.clear(),
        // What was found stands behind `alias` as the rest of the path does.
        (true, prefix @ 1..) => request.uri.truncate(prefix),
        // A regular expression's `alias` is the whole path: what was found is added behind it.
        (true, 0) if directory => return,
        (true, 0) => {
            request.uri.clear();
            request.pass.behind_alias = true;
        }
    }
    request.uri.extend_from_slice(name);
}
