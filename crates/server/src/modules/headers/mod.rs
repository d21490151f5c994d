//! `add_header`, `add_trailer` and `expires`.

use conf::{Args, Error, HTTP, IF_LOCATION, Inherit, LOCATION, SERVER, Scope, Setting, Within, directive};
use wire::{Known, Span};

use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::request::Request;
use crate::http::response::{Field, Response};
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

mod expires;

use expires::Expires;

const IN: Within = HTTP.or(SERVER).or(LOCATION).or(IF_LOCATION);

pub(crate) static MODULE: Module = Module {
    name: "headers",
    directives: &[
        directive("add_header", IN, conf::between(2, 3), |at, a| {
            let header = Header::read(at, a)?;
            at.own::<Conf>().headers.add.push(header);
            Ok(())
        }),
        directive("add_header_inherit", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().headers.inherit.set(Inheritance::read(a)?)
        }),
        directive("add_trailer", IN, conf::between(2, 3), |at, a| {
            let trailer = Header::read(at, a)?;
            at.own::<Conf>().trailers.add.push(trailer);
            Ok(())
        }),
        directive("add_trailer_inherit", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().trailers.inherit.set(Inheritance::read(a)?)
        }),
        directive("expires", IN, conf::between(1, 2), |at, a| {
            let value = expires::read(at, a)?;
            at.own::<Conf>().expires.set(value)
        }),
    ],
    variables: &[],
};

/// As written.
#[derive(Default)]
struct Conf {
    headers: Lines,
    trailers: Lines,
    expires: Setting<Expires>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.headers.inherit(&outer.headers);
        self.trailers.inherit(&outer.trailers);
        self.expires.inherit(&outer.expires);
    }
}

/// Lines to add, and what becomes of those of the block around.
#[derive(Default)]
struct Lines {
    add: Vec<Header>,
    inherit: Setting<Inheritance>,
}
impl Lines {
    fn inherit(&mut self, outer: &Lines) {
        self.inherit.inherit(&outer.inherit);
        match self.inherit.or(Inheritance::On) {
            Inheritance::Off => {}
            Inheritance::On if !self.add.is_empty() => {}
            Inheritance::On | Inheritance::Merge => self.add.extend_from_slice(&outer.add),
        }
    }
}

/// `add_header_inherit`: whether a block has the lines of the one around it.
#[derive(Clone, Copy)]
enum Inheritance {
    /// Never.
    Off,
    /// If it has none of its own.
    On,
    /// Behind its own.
    Merge,
}
impl Inheritance {
    fn read(a: &Args<'_>) -> Result<Inheritance, Error> {
        a.one_of(0, &[("off", Inheritance::Off), ("on", Inheritance::On), ("merge", Inheritance::Merge)])
    }
}

#[derive(Clone)]
struct Header {
    name: Box<[u8]>,
    value: Template,
    always: bool,
}
impl Header {
    fn read(at: &Scope, a: &Args<'_>) -> Result<Header, Error> {
        let value = Template::compile(at, a, 1)?;
        let always = match a.words.len() {
            3 if a.str(2) == "always" => true,
            3 => return Err(a.invalid_parameter(2)),
            _ => false,
        };
        Ok(Header { name: a.bytes(0).into(), value, always })
    }
}

/// As run.
struct Headers {
    add: Vec<Header>,
    expires: Expires,
    trailers: Vec<Header>,
}

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let expires = conf.expires.or(Expires::Off);
    let (add, trailers) = (conf.headers.add.clone(), conf.trailers.add.clone());
    if add.is_empty() && trailers.is_empty() && matches!(expires, Expires::Off) {
        return Ok(None);
    }
    Ok(Some(Box::new(Headers { add, expires, trailers })))
}

impl HeaderFilter for Headers {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        let usual = is_usual(request);
        if usual {
            expires::set(&self.expires, request);
        }
        let mut value = request.thread.buffer();
        for header in self.add.iter().filter(|h| usual || h.always) {
            value.clear();
            header.value.render(request, &mut value);
            add(request, &header.name, &value);
        }
        request.thread.give_buffer(value);
        request.response.expects_trailers |= self.trailers.iter().any(|t| usual || t.always);
        Ok(())
    }
}

/// Whether lines go with this status that are not for `always`.
fn is_usual(request: &Request) -> bool {
    matches!(request.response.status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}

/// An empty value adds nothing; `Last-Modified` and `ETag` replace; the rest is appended.
fn add(request: &mut Request, name: &[u8], value: &[u8]) {
    let response = &mut request.response;
    let known = Known::of(name);
    if known == Known::LastModified {
        response.last_modified = wire::date::parse(value);
        response.last_modified_text = (!value.is_empty()).then(Span::default);
        return replace(response, known, name, value);
    }
    if known == Known::ETag {
        return replace(response, known, name, value);
    }
    if !value.is_empty() {
        response.add(known, name, value);
    }
}

/// In the place of the one there is, as in nginx.
fn replace(response: &mut Response, known: Known, name: &[u8], value: &[u8]) {
    let text = &response.text;
    let place = response.headers.iter().position(|field| field.name.of(text).eq_ignore_ascii_case(name));
    match place {
        _ if value.is_empty() => response.remove(name),
        Some(i) => response.headers[i].value = response.store(value),
        None => response.add(known, name, value),
    }
}

/// The trailers of a location.
pub struct Trailers(Vec<Header>);

pub(crate) fn trailers(at: &Scope) -> Option<Trailers> {
    let add = &at.conf::<Conf>()?.trailers.add;
    (!add.is_empty()).then(|| Trailers(add.clone()))
}

impl Trailers {
    /// Once the body is complete: adds them to those that the response has.
    pub fn add(&self, request: &mut Request) {
        let usual = is_usual(request);
        let mut value = request.thread.buffer();
        for trailer in self.0.iter().filter(|t| usual || t.always) {
            value.clear();
            trailer.value.render(request, &mut value);
            if !value.is_empty() {
                let response = &mut request.response;
                let (name, value) = (response.store(&trailer.name), response.store(&value));
                response.trailers.push(Field { name, value, known: Known::of(&trailer.name) });
            }
        }
        request.thread.give_buffer(value);
    }
}
