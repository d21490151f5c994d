//! `map`: a variable whose value depends on a text.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use conf::{Args, Error, HTTP, Scope, directive, exactly, free};

use super::Module;
use crate::hosts::{Added, Exactly, Hosts};
use crate::http::regex::Regex;
use crate::http::request::Request;
use crate::http::variables::{Defined, Names, Template};
use crate::texts::Texts;

pub(crate) static MODULE: Module = Module {
    name: "map",
    directives: &[
        free("map", HTTP, exactly(2), map),
        directive("map_hash_max_size", HTTP, exactly(1), |at, a| {
            at.own::<Sizes>().max_size.set(a.number(0)?)?;
            needless(at, a)
        }),
        directive("map_hash_bucket_size", HTTP, exactly(1), |at, a| {
            at.own::<Sizes>().bucket_size.set(a.number(0)?)?;
            needless(at, a)
        }),
    ],
    variables: &[],
};

settings! {
    /// Sizes that are checked, and needed nowhere: these tables grow as they must.
    struct Sizes {
        max_size: u32,
        bucket_size: u32,
    }
}
fn needless(at: &Scope, a: &Args<'_>) -> Result<(), Error> {
    at.warn(a.notice(format!("\"{}\" has no effect: the table grows as it must", a.directive)));
    Ok(())
}

/// Values by text. A map may have a million of them, nearly all without variables.
#[derive(Debug, Default, PartialEq, Eq)]
struct Exact {
    texts: Texts<Said>,
    /// Values without variables, one behind the other.
    said: Vec<u8>,
    /// The others.
    templates: Vec<Template>,
    /// Where the newest value is.
    last: Said,
}
/// A value's place: in `said`, or, with [`TEMPLATE`] for a length, its number among the templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    start: u32,
    length: u32,
}
const TEMPLATE: u32 = u32::MAX;

/// What a text stands for.
#[derive(Clone, Copy)]
enum Value<'a> {
    Said(&'a [u8]),
    Template(&'a Template),
}

impl Exact {
    fn get(&self, text: &[u8]) -> Option<Value<'_>> {
        let Said { start, length } = *self.texts.get(text)?;
        let start = start as usize;
        Some(match length {
            TEMPLATE => Value::Template(&self.templates[start]),
            length => Value::Said(&self.said[start..][..length as usize]),
        })
    }
    /// Where the value is from now on; one that is as the last one is not stored twice. Positions beyond what can be
    /// counted are given to a template of their own.
    fn store(&mut self, value: Template) -> Said {
        let last = self.last;
        if let Some(text) = value.as_literal()
            && let (Ok(start), Ok(length)) = (u32::try_from(self.said.len()), u32::try_from(text.len()))
            && length != TEMPLATE
        {
            if last.length == length && self.said[last.start as usize..][..length as usize] == *text {
                return last;
            }
            self.said.extend_from_slice(text);
            return Said { start, length };
        }
        self.templates.push(value);
        Said { start: self.templates.len() as u32 - 1, length: TEMPLATE }
    }
}
impl Exactly<Template> for Exact {
    fn add_exact(&mut self, text: &[u8], value: Template) -> Added {
        self.last = self.store(value);
        match self.texts.add(text, self.last) {
            true => Added::Fresh,
            false => Added::Conflict,
        }
    }
}

/// As run: the definition of one variable.
#[derive(Default)]
struct Map {
    source: Template,
    /// A dot at the end of the text does not count, and names may have wildcards.
    hostnames: bool,
    volatile: bool,
    /// By lower case text.
    exact: Arc<Exact>,
    wild: Hosts<Template>,
    regex: Vec<(Regex, Template)>,
    default: Option<Template>,
}

/// `map text $variable {`
fn map(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let name = crate::http::variables::new_name(a, 1)?;
    let mut map = Map { source: Template::compile(at, a, 0)?, ..Map::default() };
    let mut exact = Exact::default();
    for line in a.entries() {
        map.line(at, &line, &mut exact)?;
    }
    exact.texts.shrink();
    exact.said.shrink_to_fit();
    map.exact = shared(exact);
    at.shared::<Names>().define(name, Arc::new(map));
    Ok(())
}

/// The table of the configuration before, where it is the same: a connection that keeps an old configuration then keeps
/// little. Variables in it are numbers; whoever uses the table knows what they mean in its own configuration.
fn shared(table: Exact) -> Arc<Exact> {
    static ALL: Mutex<Vec<Weak<Exact>>> = Mutex::new(Vec::new());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|known| known.strong_count() > 0);
    if let Some(same) = all.iter().filter_map(Weak::upgrade).find(|known| **known == table) {
        return same;
    }
    let table = Arc::new(table);
    all.push(Arc::downgrade(&table));
    table
}

impl Map {
    fn line(&mut self, at: &Scope, line: &Args<'_>, exact: &mut Exact) -> Result<(), Error> {
        match (line.directive, line.len()) {
            ("hostnames", 0) => self.hostnames = true,
            ("volatile", 0) => self.volatile = true,
            (key, 1) => return self.value(at, line, key, exact),
            _ => return Err(line.error("invalid number of the map parameters")),
        }
        Ok(())
    }
    fn value(&mut self, at: &Scope, line: &Args<'_>, key: &str, exact: &mut Exact) -> Result<(), Error> {
        let value = Template::compile(at, line, 0)?;
        if key == "default" {
            return match self.default.replace(value) {
                Some(_) => Err(line.error("duplicate default map parameter")),
                None => Ok(()),
            };
        }
        let Some(pattern) = key.strip_prefix('~') else {
            return self.add(line, key.strip_prefix('\\').unwrap_or(key), value, exact);
        };
        let (pattern, caseless) = match pattern.strip_prefix('*') {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        self.regex.push((Regex::new(at, pattern, caseless).map_err(|e| e.at(line.at()))?, value));
        Ok(())
    }
    fn add(&mut self, line: &Args<'_>, key: &str, value: Template, exact: &mut Exact) -> Result<(), Error> {
        let lower = key.to_ascii_lowercase().into_bytes();
        let added = match self.hostnames {
            true => self.wild.add(&lower, value, exact),
            false => exact.add_exact(&lower, value),
        };
        match added {
            Added::Fresh => Ok(()),
            Added::Conflict => {
                Err(line.error(format!("conflicting parameter \"{}\"", key.to_ascii_lowercase())))
            }
            Added::Invalid => Err(line.error(format!("invalid hostname or wildcard \"{key}\""))),
        }
    }

    fn find(&self, request: &mut Request, text: &[u8]) -> Option<Value<'_>> {
        let mut lower = request.thread.buffer();
        lower.extend(text.iter().map(u8::to_ascii_lowercase));
        let found = self.exact.get(&lower).or_else(|| self.wild.find(&lower).map(Value::Template));
        request.thread.give_buffer(lower);
        if found.is_some() || text.is_empty() {
            return found;
        }
        let mut matching = self.regex.iter().filter(|(regex, _)| regex.capture(text, request));
        matching.next().map(|(_, value)| Value::Template(value))
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
        let value = self.find(request, key).or(self.default.as_ref().map(Value::Template));
        request.thread.give_buffer(text);
        match value {
            Some(Value::Said(text)) => out.extend_from_slice(text),
            Some(Value::Template(value)) => value.render(request, out),
            None => {}
        }
        true
    }
    fn cached(&self) -> bool {
        !self.volatile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tables_are_one_for_as_long_as_somebody_has_it() {
        let table = |keys: &[&str]| {
            let mut exact = Exact::default();
            for key in keys {
                assert_eq!(exact.add_exact(key.as_bytes(), Template::literal(b"value")), Added::Fresh);
            }
            assert_eq!(exact.said, b"value");
            exact
        };
        let first = shared(table(&["one-for-all", "two"]));
        assert!(Arc::ptr_eq(&first, &shared(table(&["one-for-all", "two"]))));
        assert!(!Arc::ptr_eq(&first, &shared(table(&["one-for-all"]))));
        let weak = Arc::downgrade(&first);
        drop(first);
        assert!(weak.upgrade().is_none());
    }
}
