//! `log_format`: read into pieces once, written out for each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use conf::{Args, Error, Scope};

use super::escape::Escape;
use crate::http::request::Request;
use crate::http::variables::{Index, Names};

/// The format that is there without being configured.
const COMBINED: &[u8] = br#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// Variables made of characters that no escaping touches.
const PLAIN: &[&[u8]] = &[
    b"body_bytes_sent",
    b"bytes_sent",
    b"connection",
    b"connection_requests",
    b"msec",
    b"pipe",
    b"remote_addr",
    b"request_length",
    b"request_time",
    b"status",
    b"time_iso8601",
    b"time_local",
];

/// How a line is written.
#[derive(Debug)]
pub struct Format {
    pieces: Box<[Piece]>,
    escape: Escape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    /// A variable's value, escaped.
    Value(Index),
    /// A variable whose value needs no escaping.
    Plain(Index),
}

impl Format {
    /// Appends the line, without a line end.
    pub fn write(&self, request: &mut Request, line: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.extend_from_slice(text),
                Piece::Value(index) => {
                    let start = line.len();
                    if self.value(*index, request, line) {
                        self.escape.tail(line, start);
                    }
                }
                Piece::Plain(index) => drop(self.value(*index, request, line)),
            }
        }
    }
    fn value(&self, index: Index, request: &mut Request, line: &mut Vec<u8>) -> bool {
        let start = line.len();
        let found = request.variable(index, line);
        if !found {
            line.truncate(start);
            line.extend_from_slice(self.escape.missing());
        }
        found
    }
    /// `texts` stand one behind the other in the line; a variable's name ends with its text.
    fn compile<'a>(
        names: &Names,
        escape: Escape,
        texts: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Format, String> {
        let piece = |part| match part {
            Part::Text(text) => Piece::Text(text.into()),
            Part::Variable(name) if PLAIN.contains(&name) => Piece::Plain(names.index(name)),
            Part::Variable(name) => Piece::Value(names.index(name)),
        };
        let parts = texts.map(parts).collect::<Result<Vec<_>, _>>()?;
        Ok(Format { pieces: parts.into_iter().flatten().map(piece).collect(), escape })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a [u8]),
    Variable(&'a [u8]),
}

/// Cuts a format into text and variables. Unlike elsewhere `$1` is no capture here, but a variable's name.
fn parts(mut text: &[u8]) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let Some(dollar) = memchr::memchr(b'$', text) else {
            parts.push(Part::Text(text));
            break;
        };
        if dollar > 0 {
            parts.push(Part::Text(&text[..dollar]));
        }
        let (name, rest) = variable(&text[dollar..])?;
        parts.push(Part::Variable(name));
        text = rest;
    }
    Ok(parts)
}

/// The name at the start of `text`, which begins with `$`, and what follows.
fn variable(text: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let braced = text.get(1) == Some(&b'{');
    let rest = &text[if braced { 2 } else { 1 }..];
    let end =
        rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if braced && rest.first() != Some(&b'}') && !name.is_empty() {
        let name = String::from_utf8_lossy(name);
        return Err(format!("the closing bracket in \"{name}\" variable is missing"));
    }
    if name.is_empty() {
        return Err(format!("invalid parameter \"{}\"", String::from_utf8_lossy(text)));
    }
    Ok((name, if braced { &rest[1..] } else { rest }))
}

/// The formats of a configuration, by name.
#[derive(Default)]
pub struct Formats(Mutex<HashMap<Box<[u8]>, Arc<Format>>>);

impl Formats {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Box<[u8]>, Arc<Format>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The format of this name, if it was defined by now.
    pub fn find(&self, at: &Scope, name: &[u8]) -> Option<Arc<Format>> {
        let mut formats = self.lock();
        if let Some(format) = formats.get(name) {
            return Some(format.clone());
        }
        if name != b"combined" {
            return None;
        }
        let format = Arc::new(
            Format::compile(&at.shared::<Names>(), Escape::Default, std::iter::once(COMBINED)).ok()?,
        );
        formats.insert(name.into(), format.clone());
        Some(format)
    }
    fn define(&self, name: &[u8], format: Format) -> Result<(), String> {
        let taken = name == b"combined" || self.lock().contains_key(name);
        if taken {
            return Err(format!("duplicate \"log_format\" name \"{}\"", String::from_utf8_lossy(name)));
        }
        self.lock().insert(name.into(), Arc::new(format));
        Ok(())
    }
}

/// `log_format name [escape=default|json|none] string ..`
pub(super) fn log_format(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let escape = match a.bytes(1).strip_prefix(b"escape=") {
        None => None,
        Some(b"default") => Some(Escape::Default),
        Some(b"json") => Some(Escape::Json),
        Some(b"none") => Some(Escape::None),
        Some(other) => {
            return Err(
                a.error(format!("unknown log format escaping \"{}\"", String::from_utf8_lossy(other)))
            );
        }
    };
    let first = if escape.is_some() { 2 } else { 1 };
    let texts = (first..a.words.len()).map(|i| a.bytes(i));
    let format = Format::compile(&at.shared::<Names>(), escape.unwrap_or_default(), texts);
    let defined = format.and_then(|format| at.shared::<Formats>().define(a.bytes(0), format));
    defined.map_err(|message| a.error(message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_at_variables() {
        let expected = vec![
            Part::Variable(b"a"),
            Part::Text(b"-x "),
            Part::Variable(b"b_1"),
            Part::Text(b"c"),
            Part::Variable(b"1"),
        ];
        assert_eq!(parts(b"$a-x ${b_1}c$1").unwrap(), expected);
        assert_eq!(parts(b"").unwrap(), vec![]);
    }

    #[test]
    fn faults_in_the_words_of_nginx() {
        assert_eq!(parts(b"$").unwrap_err(), "invalid parameter \"$\"");
        assert_eq!(parts(b"x$-y").unwrap_err(), "invalid parameter \"$-y\"");
        assert_eq!(parts(b"${x").unwrap_err(), "the closing bracket in \"x\" variable is missing");
    }

    #[test]
    fn combined_is_a_format() {
        let format = Format::compile(&Names::default(), Escape::Default, std::iter::once(COMBINED)).unwrap();
        assert_eq!(format.pieces.iter().filter(|p| !matches!(p, Piece::Text(_))).count(), 8);
    }

    proptest! {
        #[test]
        fn loses_nothing(text in prop::collection::vec(prop_oneof!["[a-z]{1,3}", "\\$[a-z_0-9]{1,3} ", "\\$\\{[a-z]{1,3}\\}"], 0..8)) {
            let text = text.concat();
            let back: Vec<u8> = parts(text.as_bytes()).unwrap().iter().fold(Vec::new(), |mut all, part| {
                match part {
                    Part::Text(text) => all.extend_from_slice(text),
                    Part::Variable(name) => {
                        all.push(b'$');
                        all.extend_from_slice(name);
                    }
                }
                all
            });
            prop_assert_eq!(back, text.replace(['{', '}'], "").into_bytes());
        }
    }
}
