//! `if`: what its parentheses ask, and the answer for a request.

use conf::{Args, Error, Scope};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::script::{Fill, Trace};
use super::{Steps, next_place};
use crate::http::regex::{GivenUp, Regex};
use crate::http::request::Request;
use crate::http::variables::{Index, Names, Template};

/// A question that a request answers.
#[derive(Clone)]
pub(super) enum Condition {
    /// Neither empty nor `0`.
    True(Index),
    /// `=`, and `!=` where `equal` is false.
    Equals { of: Index, to: Template, equal: bool },
    /// `~` and `~*`, and their negations where `matches` is false.
    Matches { of: Index, regex: Regex, matches: bool },
    /// `-f`, `-d`, `-e`, `-x`, and their negations where `is` is false.
    File { path: Template, kind: Kind, is: bool },
}
/// What is asked of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Directory,
    Exists,
    Executable,
}

/// `if (condition) {`
pub(super) fn open(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let place = next_place(at);
    let condition = Condition::read(at, a)?;
    at.own::<Steps>().condition = Some((place, condition));
    Ok(())
}

/// The words between the parentheses.
fn inner<'a>(a: &Args<'a>) -> Result<Vec<&'a str>, Error> {
    let mut words: Vec<&str> = a.iter().collect();
    let invalid = |word: &str| a.error(format!("invalid condition \"{word}\""));
    let first = words[0].strip_prefix('(').ok_or_else(|| invalid(words[0]))?;
    words[0] = first;
    let last = words[words.len() - 1];
    let end = words.len() - 1;
    words[end] = last.strip_suffix(')').ok_or_else(|| invalid(last))?;
    if words.len() > 1 && words[end].is_empty() {
        words.pop();
    }
    if words.len() > 1 && words[0].is_empty() {
        words.remove(0);
    }
    Ok(words)
}

impl Condition {
    fn read(at: &Scope, a: &Args<'_>) -> Result<Condition, Error> {
        let words = inner(a)?;
        let shown = if words[0].is_empty() { ")" } else { words[0] };
        let invalid = || a.error(format!("invalid condition \"{shown}\""));
        match (words[0].as_bytes(), &words[1..]) {
            ([b'$', name @ ..], rest) if !name.is_empty() => {
                let of = at.shared::<Names>().index(name);
                match rest {
                    [] => Ok(Condition::True(of)),
                    [operator, value] => comparison(at, a, of, operator, value),
                    _ => Err(invalid()),
                }
            }
            ([b'-', letter], [path]) => file(at, *letter, true, path)?.ok_or_else(invalid),
            ([b'!', b'-', letter], [path]) => file(at, *letter, false, path)?.ok_or_else(invalid),
            _ => Err(invalid()),
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// When a regular expression was given up.
    pub(super) fn holds(&self, request: &mut Request, fill: Fill, trace: Trace) -> Result<bool, GivenUp> {
        Ok(match self {
            Condition::True(index) => with_value(request, *index, |_, value| !matches!(value, b"" | b"0")),
            Condition::Equals { of, to, equal } => with_value(request, *of, |request, value| {
                let mut other = request.thread.buffer();
                fill(to, request, &mut other);
                let same = value == &*other;
                request.thread.give_buffer(other);
                same == *equal
            }),
            Condition::Matches { of, regex, matches } => {
                with_value(request, *of, |request, value| trace.capture(regex, value, request))? == *matches
            }
            Condition::File { path, kind, is } => {
                let mut name = request.thread.buffer();
                fill(path, request, &mut name);
                let found = kind.is(request, &mut name);
                request.thread.give_buffer(name);
                found == *is
            }
        })
    }
}

fn with_value<T>(request: &mut Request, index: Index, ask: impl FnOnce(&mut Request, &[u8]) -> T) -> T {
    let mut value = request.thread.buffer();
    request.variable(index, &mut value);
    let answer = ask(request, &value);
    request.thread.give_buffer(value);
    answer
}

fn comparison(at: &Scope, a: &Args<'_>, of: Index, operator: &str, value: &str) -> Result<Condition, Error> {
    let regex = |caseless| Regex::new(at, value, caseless);
    let equals = |equal| Ok(Condition::Equals { of, to: Template::parse(at, value)?, equal });
    match operator {
        "=" => equals(true),
        "!=" => equals(false),
        "~" => Ok(Condition::Matches { of, regex: regex(false)?, matches: true }),
        "~*" => Ok(Condition::Matches { of, regex: regex(true)?, matches: true }),
        "!~" => Ok(Condition::Matches { of, regex: regex(false)?, matches: false }),
        "!~*" => Ok(Condition::Matches { of, regex: regex(true)?, matches: false }),
        other => Err(a.error(format!("unexpected \"{}\" in condition", other))),
    }
}

fn file(at: &Scope, letter: u8, is: bool, path: &str) -> Result<Option<Condition>, Error> {
    let kind = match letter {
        b'f' => Kind::Regular,
        b'd' => Kind::Directory,
        b'e' => Kind::Exists,
        b'x' => Kind::Executable,
        _ => return Ok(None),
    };
    Ok(Some(Condition::File { path: Template::parse(at, path)?, kind, is }))
}

impl Kind {
    /// Asks the file system. What cannot be looked at counts as not there, and is logged.
    fn is(self, request: &mut Request, path: &mut Vec<u8>) -> bool {
        let stat = match crate::http::file::stat(request, path) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return false,
            Err(error) => {
                let error = std::io::Error::from(error);
                log_crit!(
                    request,
                    "stat() \"{}\" failed ({})",
                    crate::log::shown(path),
                    crate::log::Errno(&error)
                );
                return false;
            }
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        match self {
            Kind::Regular => kind == FileType::RegularFile,
            Kind::Directory => kind == FileType::Directory,
            Kind::Exists => matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink),
            Kind::Executable => stat.st_mode & 0o100 != 0,
        }
    }
}
