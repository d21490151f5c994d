//! `charset`: what a text's bytes mean, said in its type; and texts put from one character set into another.

mod body;
mod map;

use std::sync::{Arc, Mutex, PoisonError};

use conf::{
    Args, Error, HTTP, IF_LOCATION, IN_HTTP, Inherit, Scope, Setting, at_least, directive, exactly, flag,
    free,
};
use wire::Span;

use self::map::{Maps, Table};
use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::types::Types;
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "charset",
    directives: &[
        directive("charset", IN_HTTP.or(IF_LOCATION), exactly(1), |at, a| {
            let charset = match a.str(0) {
                "off" => Name::Off,
                _ => name(at, a)?,
            };
            at.own::<Conf>().charset.set(charset)
        }),
        directive("source_charset", IN_HTTP.or(IF_LOCATION), exactly(1), |at, a| {
            let charset = name(at, a)?;
            at.own::<Conf>().source.set(charset)
        }),
        directive("override_charset", IN_HTTP.or(IF_LOCATION), flag(), |at, a| {
            at.own::<Conf>().overrides.set(a.flag(0)?)
        }),
        directive("charset_types", IN_HTTP, at_least(1), |at, a| {
            Types::read(at, a, |at| &mut at.own::<Conf>().types)
        }),
        free("charset_map", HTTP, exactly(2), |at, a| {
            let mut table = map::read(a)?;
            let maps = at.shared::<Mutex<Maps>>();
            maps.lock().unwrap_or_else(PoisonError::into_inner).add(a, &mut table)
        }),
    ],
    variables: &[],
};

/// Types that are text where no `charset_types` says which are; `text/html` always is.
const TYPES: [&[u8]; 6] = [
    b"text/html",
    b"text/xml",
    b"text/plain",
    b"text/vnd.wap.wml",
    b"application/javascript",
    b"application/rss+xml",
];

/// As written.
#[derive(Default)]
struct Conf {
    charset: Setting<Name>,
    source: Setting<Name>,
    overrides: Setting<bool>,
    types: Option<Types>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.charset.inherit(&outer.charset);
        self.source.inherit(&outer.source);
        self.overrides.inherit(&outer.overrides);
        if self.types.is_none() {
            self.types.clone_from(&outer.types);
        }
    }
}

/// The name of a character set.
#[derive(Clone, Debug)]
enum Name {
    Off,
    Known(Box<[u8]>),
    /// The value of a variable.
    Variable(Template),
}
fn name(at: &Scope, a: &Args<'_>) -> Result<Name, Error> {
    if a.str(0).starts_with('$') {
        return Ok(Name::Variable(Template::compile(at, a, 0)?));
    }
    let maps = at.shared::<Mutex<Maps>>();
    maps.lock().unwrap_or_else(PoisonError::into_inner).mention(a.bytes(0));
    Ok(Name::Known(a.bytes(0).into()))
}
impl Name {
    /// Its text for one request.
    fn text(&self, request: &mut Request) -> Vec<u8> {
        let mut text = Vec::new();
        match self {
            Name::Off => {}
            Name::Known(name) => text.extend_from_slice(name),
            Name::Variable(template) => template.render(request, &mut text),
        }
        text
    }
}

/// As run.
struct Charset {
    charset: Name,
    source: Name,
    overrides: bool,
    types: Types,
    maps: Arc<Mutex<Maps>>,
}

/// Whether answers made here are in UTF-8, as far as the configuration says it.
pub(crate) fn is_utf8(at: &Scope) -> bool {
    let charset = at.conf::<Conf>().and_then(|conf| conf.charset.written());
    matches!(charset, Some(Name::Known(name)) if name.eq_ignore_ascii_case(b"utf-8"))
}

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    // Without `charset` there may still be upstreams that say `X-Accel-Charset`, and parts of pages that say what they
    // are in, if there is any to choose from.
    let maps = at.shared::<Mutex<Maps>>();
    let (conf, none) = (at.conf::<Conf>(), Conf::default());
    if conf.is_none() && maps.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        return Ok(None);
    }
    let conf = conf.unwrap_or(&none);
    let (charset, source) = (conf.charset.or(Name::Off), conf.source.or(Name::Off));
    if let (Name::Known(to), Name::Known(from)) = (&charset, &source)
        && !to.eq_ignore_ascii_case(from)
        && maps.lock().unwrap_or_else(PoisonError::into_inner).table(from, to).is_none()
    {
        return Err(Error::emerg(lacks_map(from, to)));
    }
    let types = conf.types.clone().unwrap_or_else(|| Types::of(&TYPES));
    Ok(Some(Box::new(Charset { charset, source, overrides: conf.overrides.or(false), types, maps })))
}

fn lacks_map(from: &[u8], to: &[u8]) -> String {
    let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
    format!("no \"charset_map\" between the charsets \"{from}\" and \"{to}\"")
}

impl HeaderFilter for Charset {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        if request.depth > 0 {
            self.join(request);
            return Ok(());
        }
        if let Some((kind, charset)) = self.plain_case(&request.response) {
            if request.head.version != wire::Version::Http09 {
                say(&mut request.response, kind, charset);
            }
            return Ok(());
        }
        if matches!((&self.charset, request.response.charset), (Name::Off, None)) {
            return Ok(());
        }
        let (kind, own) = split(request.response.content_type.of(&request.response.text));
        let (kind, own) = (kind.to_vec(), own.to_vec());
        let Some(to) = self.wanted(request, &kind, &own) else { return Ok(()) };
        let from = match (own.is_empty(), &self.source) {
            (false, _) => own,
            (true, Name::Off) => {
                say(&mut request.response, kind.len(), &to);
                return Ok(());
            }
            (true, source) => source.text(request),
        };
        if from.eq_ignore_ascii_case(&to) {
            say(&mut request.response, kind.len(), &to);
            return Ok(());
        }
        if let Some(table) = self.table(request, &from, &to) {
            recode(request, kind.len(), &to, table);
        }
        Ok(())
    }
    fn minds_parts(&self) -> bool {
        true
    }
}

impl Charset {
    /// Nearly always: the type says no character set, and nothing is to be recoded. The length of the type, and what is
    /// to be put behind it.
    fn plain_case(&self, response: &Response) -> Option<(usize, &[u8])> {
        let (Name::Known(charset), Name::Off, None) = (&self.charset, &self.source, response.charset) else {
            return None;
        };
        let (kind, own) = split(response.content_type.of(&response.text));
        (own.is_empty() && self.is_text(kind)).then_some((kind.len(), charset))
    }
    /// How to recode; `None`, where that cannot be.
    fn table(&self, request: &Request, from: &[u8], to: &[u8]) -> Option<Arc<Table>> {
        let table = self.maps.lock().unwrap_or_else(PoisonError::into_inner).table(from, to);
        if table.is_none() {
            log_error!(request, "{}", lacks_map(from, to));
        }
        table.filter(|_| !is_encoded(request))
    }
    /// What becomes part of a page is to be in the page's character set.
    fn join(&self, request: &mut Request) {
        let Some(Noted(to)) = request.kept() else { return };
        let (_, own) = split(request.response.content_type.of(&request.response.text));
        let (to, own) = (to.clone(), own.to_vec());
        let from = match (own.is_empty(), &self.source) {
            (false, _) => own,
            (true, Name::Off) => return,
            (true, source) => source.text(request),
        };
        if !from.eq_ignore_ascii_case(&to)
            && let Some(table) = self.table(request, &from, &to)
        {
            request.response.filters.push(Box::new(body::Body::new(table)));
        }
    }
    fn is_text(&self, kind: &[u8]) -> bool {
        !kind.is_empty() && self.types.include(kind)
    }

    /// The character set that the answer is to be in.
    fn wanted(&self, request: &mut Request, kind: &[u8], own: &[u8]) -> Option<Vec<u8>> {
        if kind.is_empty() {
            return None;
        }
        let said = request.response.charset.map(|span| span.of(&request.response.text).to_vec());
        if let Some(said) = said.filter(|said| !said.is_empty()) {
            let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
            if maps.knows(&said) {
                return Some(said);
            }
            log_error!(request, "unknown charset \"{}\" to override", crate::log::shown(&said));
            return None;
        }
        let applies = match own.is_empty() {
            true => self.is_text(kind),
            false => self.overrides,
        };
        match (&self.charset, applies) {
            (Name::Off, _) | (_, false) => None,
            (charset, true) => Some(charset.text(request)),
        }
    }
}

/// The character set of the page that others become part of.
struct Noted(Vec<u8>);

/// Notes in which character set a page is, for those that become part of it.
pub(crate) fn note(request: &mut Request) {
    let (_, charset) = split(request.response.content_type.of(&request.response.text));
    let charset = Noted(charset.to_vec());
    request.forget::<Noted>();
    if !charset.0.is_empty() {
        request.keep(charset);
    }
}

/// A part of a part is one of the same page.
pub(crate) fn descend(request: &mut Request, sub: &mut Request) {
    if let Some(Noted(charset)) = request.kept() {
        sub.keep(Noted(charset.clone()));
    }
}

fn is_encoded(request: &Request) -> bool {
    request.response.header(b"Content-Encoding").is_some_and(|coding| !coding.is_empty())
}

/// Type and character set, as a `Content-Type` has them.
fn split(content_type: &[u8]) -> (&[u8], &[u8]) {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b';', &content_type[from..]) {
        let end = from + found;
        let rest = &content_type[end + 1..];
        let rest = &rest[rest.iter().take_while(|b| **b == b' ').count()..];
        if let Some((name, value)) = rest.split_at_checked(8)
            && name.eq_ignore_ascii_case(b"charset=")
        {
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            return (&content_type[..end], value.strip_suffix(b"\"").unwrap_or(value));
        }
        from = end + 1;
    }
    (content_type, b"")
}

/// Puts the character set behind the type, which is the first `kind` bytes of what is said now; not for redirects, whose
/// next page may have another.
fn say(response: &mut Response, kind: usize, charset: &[u8]) {
    let from = response.content_type.start as usize;
    let start = response.text.len() as u32;
    response.text.extend_from_within(from..from + kind);
    if !matches!(response.status, 301 | 302) && !charset.is_empty() {
        response.text.extend_from_slice(b"; charset=");
        response.text.extend_from_slice(charset);
    }
    response.content_type = Span { start, end: response.text.len() as u32 };
}

fn recode(request: &mut Request, kind: usize, to: &[u8], table: Arc<Table>) {
    say(&mut request.response, kind, to);
    if table.changes_length() {
        request.response.content_length = None;
    }
    if !request.is_head() {
        request.response.filters.push(Box::new(body::Body::new(table)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_taken_apart() {
        for (text, kind, charset) in [
            ("text/html", "text/html", ""),
            ("text/html; charset=utf-8", "text/html", "utf-8"),
            ("text/html;charset=\"KOI8-R\"", "text/html", "KOI8-R"),
            ("text/html; a=b;  Charset=x", "text/html; a=b", "x"),
            ("text/html; charsets=x;", "text/html; charsets=x;", ""),
            (";", ";", ""),
        ] {
            assert_eq!(split(text.as_bytes()), (kind.as_bytes(), charset.as_bytes()), "{text}");
        }
    }
}
