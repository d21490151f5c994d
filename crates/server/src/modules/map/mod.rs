//! `map`: a variable whose value depends on a text.

use std::collections::HashMap;
use std::sync::Arc;

use conf::{Args, Arity, Error, HTTP, Scope, Statement, directive, free};

use super::Module;
use crate::http::regex::Regex;
use crate::http::request::Request;
use crate::http::variables::{Defined, Names, Template};

mod hosts;

use self::hosts::{Added, Hosts};

pub(crate) static MODULE: Module = Module {
    name: "map",
    directives: &[
        free("map", HTTP, Arity::exactly(2), map),
        directive("map_hash_max_size", HTTP, Arity::exactly(1), needless),
        directive("map_hash_bucket_size", HTTP, Arity::exactly(1), needless),
    ],
    variables: &[],
};

/// A size that is checked, and needs no setting here: these tables grow as they must.
fn needless(_: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.number::<u32>(0).map(drop)
}

/// As run: the definition of one variable.
#[derive(Default)]
struct Map {
    source: Template,
    /// A dot at the end of the text does not count, and names may have wildcards.
    hostnames: bool,
    volatile: bool,
    /// By lower case text.
    exact: HashMap<Box<[u8]>, Template>,
    wild: Hosts<Template>,
    regex: Vec<(Regex, Template)>,
    default: Option<Template>,
}

/// `map text $variable {`
fn map(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let name = match a.bytes(1) {
        [b'$', name @ ..] if !name.is_empty() => name,
        _ => return Err(a.fault(format!("invalid variable name \"{}\"", a.str(1)))),
    };
    if super::variables().is_read_only(name) {
        return Err(a.fault(format!("the duplicate \"{}\" variable", String::from_utf8_lossy(name))));
    }
    let mut map = Map { source: Template::compile(at, a, 0)?, ..Map::default() };
    for line in a.body() {
        map.line(at, line).map_err(|message| Error::emerg(message).at(line.at))?;
    }
    at.shared::<Names>().define(name, Arc::new(map));
    Ok(())
}

impl Map {
    fn line(&mut self, at: &Scope, line: &Statement) -> Result<(), String> {
        let key = line.name.as_bytes();
        let value = match (key, &*line.args) {
            (b"hostnames", []) => {
                self.hostnames = true;
                return Ok(());
            }
            (b"volatile", []) => {
                self.volatile = true;
                return Ok(());
            }
            (_, [value]) => Template::parse(at, value.as_bytes()).map_err(|e| e.message)?,
            _ => return Err("invalid number of the map parameters".into()),
        };
        match key {
            b"default" => match self.default.replace(value) {
                Some(_) => Err("duplicate default map parameter".into()),
                None => Ok(()),
            },
            [b'~', b'*', pattern @ ..] => self.add_regex(at, pattern, true, value),
            [b'~', pattern @ ..] => self.add_regex(at, pattern, false, value),
            [b'\\', key @ ..] => self.add(key, value),
            key => self.add(key, value),
        }
    }
    fn add_regex(&mut self, at: &Scope, pattern: &[u8], caseless: bool, value: Template) -> Result<(), String> {
        if pattern.is_empty() {
            return Err("empty regular expression in map".into());
        }
        let regex = Regex::new(at, &String::from_utf8_lossy(pattern), caseless).map_err(|e| e.message)?;
        self.regex.push((regex, value));
        Ok(())
    }
    fn add(&mut self, key: &[u8], value: Template) -> Result<(), String> {
        let lower = key.to_ascii_lowercase();
        let added = match self.hostnames {
            true => self.wild.add(&lower, value, &mut self.exact),
            false => hosts::add_exact(&lower, value, &mut self.exact),
        };
        let shown = String::from_utf8_lossy(key);
        match added {
            Added::Fresh => Ok(()),
            Added::Conflict => Err(format!("conflicting parameter \"{shown}\"")),
            Added::Invalid => Err(format!("invalid hostname or wildcard \"{shown}\"")),
        }
    }

    fn find(&self, request: &mut Request, text: &[u8]) -> Option<&Template> {
        let mut lower = request.thread.buffer();
        lower.extend(text.iter().map(u8::to_ascii_lowercase));
        let found = self.exact.get(&*lower).or_else(|| self.wild.find(&lower));
        request.thread.give_buffer(lower);
        if found.is_some() || text.is_empty() {
            return found;
        }
        self.regex.iter().find(|(regex, _)| regex.capture(text, request)).map(|(_, value)| value)
    }
}

impl Defined for Map {
    fn get(&self, request: &mut Request, out: &mut Vec<u8>) -> bool {
        let mut text = request.thread.buffer();
        self.source.render(request, &mut text);
        let key = match text.strip_suffix(b".") {
            Some(shorter) if self.hostnames => shorter,
            _ => &text,
        };
        let value = self.find(request, key).or(self.default.as_ref());
        request.thread.give_buffer(text);
        if let Some(value) = value {
            value.render(request, out);
        }
        true
    }
    fn cached(&self) -> bool {
        !self.volatile
    }
}
