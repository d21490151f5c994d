//! `more_set_headers` and `more_clear_headers`, as OpenResty's headers-more module has them: headers replaced or taken
//! away whatever made them, on every status unless `-s` says which, on every type unless `-t` does. `input.rs` does the
//! same to the client's.

pub(crate) mod input;

use conf::{Args, Arity, Error, IF_LOCATION, IN_HTTP, Inherit, Scope, directive};
use wire::Known;

use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

const SOME: Arity = conf::at_least(1);

pub(crate) static MODULE: Module = Module {
    name: "headers_more",
    directives: &[
        directive("more_set_headers", IN_HTTP.or(IF_LOCATION), SOME, |at, a| read(at, a, true)),
        directive("more_clear_headers", IN_HTTP.or(IF_LOCATION), SOME, |at, a| read(at, a, false)),
        directive("more_set_input_headers", IN_HTTP.or(IF_LOCATION), SOME, |at, a| input::read(at, a, true)),
        directive("more_clear_input_headers", IN_HTTP.or(IF_LOCATION), SOME, |at, a| {
            input::read(at, a, false)
        }),
    ],
    variables: &[],
};

/// Changes as written, to answers or to requests: those of the blocks around come first, and all are carried out.
struct Conf<C>(Vec<C>);
impl<C> Default for Conf<C> {
    fn default() -> Self {
        Conf(Vec::new())
    }
}
impl<C: Clone + Send + Sync + 'static> Inherit for Conf<C> {
    fn inherit(&mut self, outer: &Self) {
        self.0.splice(0..0, outer.0.iter().cloned());
    }
}

/// One directive.
#[derive(Clone, Default)]
struct Change {
    statuses: Vec<u16>,
    types: Vec<Box<[u8]>>,
    append: bool,
    headers: Vec<Named>,
}
/// A header to be set or taken away.
#[derive(Clone)]
struct Named {
    name: Box<[u8]>,
    /// `None`: it is taken away.
    value: Option<Template>,
}
impl Named {
    /// `X-Hidden-*` is every name that begins so.
    fn is(&self, name: &[u8]) -> bool {
        match self.name.strip_suffix(b"*") {
            Some(start) => name.get(..start.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(start)),
            None => self.name.eq_ignore_ascii_case(name),
        }
    }
}

fn read(at: &mut Scope, a: &Args<'_>, sets: bool) -> Result<(), Error> {
    let mut change = Change::default();
    let mut words = a.iter();
    while let Some(word) = words.next() {
        match word {
            "-a" if sets => change.append = true,
            "-s" => statuses(a, words.next(), &mut change.statuses)?,
            "-t" => types(a, words.next(), &mut change.types)?,
            _ if word.starts_with('-') => return Err(a.error(format!("invalid option name: \"{word}\""))),
            _ => change.headers.push(named(at, a, word, sets)?),
        }
    }
    at.own::<Conf<Change>>().0.push(change);
    Ok(())
}

fn named(at: &Scope, a: &Args<'_>, word: &str, sets: bool) -> Result<Named, Error> {
    let (name, value) = word.split_once(':').unwrap_or((word, ""));
    let (name, value) = (name.trim(), value.trim_start());
    if name.is_empty() {
        return Err(a.error(format!("invalid header \"{word}\"")));
    }
    let value = match sets && !value.is_empty() {
        true => Some(Template::parse(at, value).map_err(|error| a.error(error.message))?),
        false => None,
    };
    Ok(Named { name: name.as_bytes().into(), value })
}

/// The words behind an option.
fn list<'a>(
    a: &Args<'_>,
    option: &str,
    list: Option<&'a str>,
) -> Result<impl Iterator<Item = &'a str> + use<'a>, Error> {
    let list = list.ok_or_else(|| a.error(format!("\"{option}\" takes an argument")))?;
    Ok(list.split_whitespace())
}
fn statuses(a: &Args<'_>, words: Option<&str>, statuses: &mut Vec<u16>) -> Result<(), Error> {
    for word in list(a, "-s", words)? {
        let status = word.parse().map_err(|_| a.error(format!("invalid status code: \"{word}\"")))?;
        statuses.push(status);
    }
    Ok(())
}
fn types(a: &Args<'_>, words: Option<&str>, types: &mut Vec<Box<[u8]>>) -> Result<(), Error> {
    types.extend(list(a, "-t", words)?.map(|word| word.as_bytes().into()));
    Ok(())
}
/// Whether a `Content-Type` is one of a list, or the list is empty.
fn is_of(types: &[Box<[u8]>], kind: &[u8]) -> bool {
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    types.is_empty() || types.iter().any(|t| t.eq_ignore_ascii_case(kind))
}

impl Change {
    fn applies(&self, response: &Response) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&response.status))
            && is_of(&self.types, response.content_type.of(&response.text))
    }
}

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let changes = at.conf::<Conf<Change>>().map(|conf| conf.0.clone()).unwrap_or_default();
    Ok((!changes.is_empty()).then(|| Box::new(Changes(changes)) as Box<dyn HeaderFilter>))
}

/// As run.
struct Changes(Vec<Change>);

impl HeaderFilter for Changes {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        let mut value = request.thread.buffer();
        for change in &self.0 {
            if !change.applies(&request.response) {
                continue;
            }
            for header in &change.headers {
                value.clear();
                if let Some(template) = &header.value {
                    template.render(request, &mut value);
                }
                set(&mut request.response, header, &value, change.append);
            }
        }
        request.thread.give_buffer(value);
        Ok(())
    }
}

/// Puts a header in the place of what there is of that name, or behind it; nothing takes it away.
fn set(response: &mut Response, header: &Named, value: &[u8], append: bool) {
    let name = &*header.name;
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    let stored = (!value.is_empty()).then(|| response.store(value));
    if is(b"Server") {
        response.server = Some(stored.unwrap_or_default());
    } else if is(b"Date") {
        response.date = Some(stored.unwrap_or_default());
    } else if is(b"Content-Type") {
        response.content_type = stored.unwrap_or_default();
    } else if is(b"Content-Length") {
        response.content_length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    } else if is(b"Last-Modified") {
        response.forget_age();
        response.last_modified = wire::date::parse(value);
        response.last_modified_text = stored;
    } else if is(b"Location") {
        response.location = stored;
        response.location_is_ours = false;
    } else {
        if !append {
            remove(response, header);
        }
        if !value.is_empty() {
            response.add(Known::of(name), name, value);
        }
    }
}

fn remove(response: &mut Response, header: &Named) {
    response.keep(|field, text| !header.is(field.name.of(text)));
}
