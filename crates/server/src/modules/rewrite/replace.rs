//! `rewrite`: a path that matches becomes another, or a redirect.

use conf::{Args, Error, Part, Scope};

use super::reply::is_url;
use super::script::Trace;
use crate::http::regex::Regex;
use crate::http::request::Request;
use crate::http::variables::{Index, Names};

/// One `rewrite`.
#[derive(Clone)]
pub(super) struct Rewrite {
    regex: Regex,
    replacement: Box<[Piece]>,
    /// The request's arguments are added, unless the replacement ended with `?`.
    add_args: bool,
    /// There is a `?` in the replacement.
    has_args: bool,
    then: Then,
}
#[derive(Clone)]
enum Piece {
    Text(Box<[u8]>),
    Variable(Index),
    Capture(u8),
    /// The first `?`: what follows are arguments.
    Args,
}
/// What follows a match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Last,
    Break,
    Redirect(u16),
}
/// Where the script goes on.
pub(super) enum Outcome {
    /// With the next step, as nothing matched.
    GoOn,
    /// With the next step, and with another path.
    Changed,
    /// Not at all.
    End,
    /// Not at all: this status is the answer.
    Answer(u16),
}

impl Rewrite {
    /// `rewrite regex replacement [flag];`
    pub(super) fn read(at: &Scope, a: &Args<'_>) -> Result<Rewrite, Error> {
        let regex = Regex::new(at, a.str(0), false)?;
        let written = a.str(1);
        if written.is_empty() {
            return Err(a.error("empty replacement"));
        }
        let (text, add_args) = match written.strip_suffix('?') {
            Some(shorter) => (shorter, false),
            None => (written, true),
        };
        let then = then(a, is_url(written))?;
        let in_place = !matches!(then, Then::Redirect(_));
        let parts = conf::Template::parse(text).map_err(|e| e.at(a.at()))?.parts;
        let has_args = parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('?')));
        let replacement = pieces(at, parts, in_place);
        Ok(Rewrite { regex, replacement, add_args, has_args, then })
    }

    /// Changes the path of `request` if it matches.
    pub(super) fn run(&self, request: &mut Request, trace: Trace) -> Outcome {
        let uri = std::mem::take(&mut request.uri);
        let matched = self.regex.try_capture(&uri, request);
        request.uri = uri;
        let Ok(matched) = matched else { return Outcome::Answer(500) };
        trace.matched(&self.regex, &request.uri, matched, request);
        if !matched {
            request.captures.clear();
            return Outcome::GoOn;
        }
        request.internal = true;
        request.unmodified_uri = false;
        match self.then {
            Then::Redirect(status) => {
                self.redirect(request, trace);
                Outcome::Answer(status)
            }
            _ => self.change(request, trace),
        }
    }

    fn change(&self, request: &mut Request, trace: Trace) -> Outcome {
        match self.then {
            Then::Break => (request.location_left, request.uri_changed) = (true, false),
            _ => request.uri_changed = true,
        }
        let mut path = request.thread.buffer();
        let args = self.render(request, &mut path);
        self.take_args(request, &mut path, args);
        trace.rewritten(
            request,
            format_args!(
                "data: \"{}\", args: \"{}\"",
                crate::log::shown(&path),
                crate::log::shown(&request.args)
            ),
        );
        std::mem::swap(&mut request.uri, &mut path);
        request.thread.give_buffer(path);
        if request.uri.is_empty() {
            log_error!(request, "the rewritten URI has a zero length");
            return Outcome::Answer(500);
        }
        if self.then == Then::GoOn { Outcome::Changed } else { Outcome::End }
    }

    /// Moves what stands behind `args` in `path` to the request's arguments.
    fn take_args(&self, request: &mut Request, path: &mut Vec<u8>, args: Option<usize>) {
        let Some(args) = args else {
            // As in nginx: there is still a query string, an empty one, if there was one.
            if !self.add_args && !request.args.is_empty() {
                request.set_args(b"");
            }
            return;
        };
        if self.add_args && !request.args.is_empty() {
            path.push(b'&');
            path.extend_from_slice(&request.args);
        }
        request.set_args(&path[args..]);
        path.truncate(args);
    }

    fn redirect(&self, request: &mut Request, trace: Trace) {
        let mut made = request.thread.buffer();
        let mut location = request.thread.buffer();
        self.render(request, &mut made);
        unescape_path(&made, &mut location);
        if self.add_args && !request.args.is_empty() {
            location.push(if self.has_args { b'&' } else { b'?' });
            location.extend_from_slice(&request.args);
        }
        trace.rewritten(request, format_args!("redirect: \"{}\"", crate::log::shown(&location)));
        request.response.set_location(&location);
        request.response.location_is_ours = true;
        request.thread.give_buffer(location);
        request.thread.give_buffer(made);
    }

    /// Appends the replacement; says where its arguments begin.
    fn render(&self, request: &mut Request, out: &mut Vec<u8>) -> Option<usize> {
        let mut args = None;
        let redirects = matches!(self.then, Then::Redirect(_));
        for piece in &self.replacement {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(index) => drop(request.variable(*index, out)),
                Piece::Args => args = Some(out.len()),
                Piece::Capture(n) if redirects || args.is_some() => request.capture_escaped(*n, out),
                Piece::Capture(n) => request.capture(*n, out),
            }
        }
        args
    }
}

fn then(a: &Args<'_>, is_url: bool) -> Result<Then, Error> {
    if a.words.len() < 3 {
        return Ok(if is_url { Then::Redirect(302) } else { Then::GoOn });
    }
    match a.str(2) {
        "last" | "break" if is_url => Ok(Then::Redirect(302)),
        "last" => Ok(Then::Last),
        "break" => Ok(Then::Break),
        "redirect" => Ok(Then::Redirect(302)),
        "permanent" => Ok(Then::Redirect(301)),
        other => Err(a.error(format!("invalid parameter \"{other}\""))),
    }
}

fn pieces(at: &Scope, parts: Vec<Part>, split: bool) -> Box<[Piece]> {
    let names = at.shared::<Names>();
    let mut pieces = Vec::new();
    let mut split = split;
    for part in parts {
        match part {
            Part::Variable(name) => pieces.push(Piece::Variable(names.index(name.as_bytes()))),
            Part::Capture(n) => pieces.push(Piece::Capture(n)),
            Part::Text(text) => match text.find('?') {
                Some(mark) if split => {
                    split = false;
                    pieces.push(Piece::Text(text.as_bytes()[..mark].into()));
                    pieces.push(Piece::Args);
                    pieces.push(Piece::Text(text.as_bytes()[mark + 1..].into()));
                }
                _ => pieces.push(Piece::Text(text.as_bytes().into())),
            },
        }
    }
    pieces.into()
}

/// Appends `text` with those escapes decoded, up to a `?`, that a path in `Location` does not need. As in nginx, of what
/// looks like an escape and is none only the character behind the `%` is left, and not even that if it is a digit.
fn unescape_path(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, used) = match (first, after.first(), hex_pair(after)) {
            (b'%', _, Some(byte @ (b'&'..=b'~'))) => (Some(byte), 3),
            (b'%', _, Some(_)) => {
                out.extend_from_slice(&rest[..3]);
                (None, 3)
            }
            (b'%', Some(other), None) if !other.is_ascii_hexdigit() => {
                out.push(*other);
                (None, 2)
            }
            (b'%', _, None) => (None, 3),
            _ => (Some(first), 1),
        };
        out.extend(byte);
        rest = rest.get(used..).unwrap_or_default();
        if byte == Some(b'?') {
            break;
        }
    }
    out.extend_from_slice(rest);
}
fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |i: usize| char::from(*text.get(i)?).to_digit(16);
    Some((digit(0)? << 4 | digit(1)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(text: &str) -> String {
        let mut out = Vec::new();
        unescape_path(text.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What nginx 1.22.1 puts into `Location`.
    #[test]
    fn location_keeps_the_escapes_that_it_needs() {
        let table = [
            ("/x%41%20%3f%2f%7f%e9", "/xA%20?%2f%7f%e9"),
            ("/x?%41", "/x?%41"),
            ("/%3Cb%3E%5C%7E", "/<b>\\~"),
            ("/%22%25%26", "/%22%25&"),
            ("/100%", "/100"),
            ("/%4", "/"),
            ("/%zz", "/zz"),
            ("/%4g%41?%zz", "/A?%zz"),
            ("/%?%41", "/?A"),
        ];
        for (written, want) in table {
            assert_eq!(unescaped(written), want, "{written}");
        }
    }

    proptest::proptest! {
        /// Whatever a replacement came to: arguments stay as they are, and nothing is decoded that would have to
        /// be escaped in a URI.
        #[test]
        fn only_escapes_of_a_path_are_decoded(
            path in "[%a-f0-9?/ ]{0,20}",
            args in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
        ) {
            // No escape that is broken off takes the `?` with it.
            let path = path.replace('?', "") + "//";
            let text = [path.as_bytes(), b"?", &*args].concat();
            let mut out = Vec::new();
            unescape_path(&text, &mut out);
            proptest::prop_assert!(out.ends_with(&args) && out.len() <= text.len());
            let controls = |text: &[u8]| text.iter().filter(|b| **b <= b'%' || **b >= 0x7f).count();
            proptest::prop_assert!(controls(&out) <= controls(&text));
        }
    }
}
