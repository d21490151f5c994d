//! `more_set_input_headers` and `more_clear_input_headers`: what the client's request says is said otherwise to whoever
//! asks from here on.

use conf::{Args, Error, Scope};
use wire::{Header, Known, Span};

use super::{Conf, Named, named, types};
use crate::flow::Verdict;
use crate::http::request::Request;
use crate::http::steps::{Outcome, Step};
use crate::worker::generation::Compiler;

/// One directive.
#[derive(Clone, Default)]
struct Change {
    types: Vec<Box<[u8]>>,
    /// Only what is there is replaced.
    replaces: bool,
    headers: Vec<Named>,
}

pub(super) fn read(at: &mut Scope, a: &Args<'_>, sets: bool) -> Result<(), Error> {
    let mut change = Change::default();
    let mut words = a.iter();
    while let Some(word) = words.next() {
        match word {
            "-r" if sets => change.replaces = true,
            "-t" => types(a, words.next(), &mut change.types)?,
            _ if word.starts_with('-') => return Err(a.error(format!("invalid option name: \"{word}\""))),
            _ => change.headers.push(named(at, a, word, sets)?),
        }
    }
    at.own::<Conf<Change>>().0.push(change);
    Ok(())
}

/// As run.
struct Changes(Vec<Change>);

/// In the order of the phases: behind all of `rewrite`'s.
pub(crate) fn step(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let changes = at.conf::<Conf<Change>>().map(|conf| conf.0.clone()).unwrap_or_default();
    Ok((!changes.is_empty()).then(|| Box::new(Changes(changes)) as Box<dyn Step>))
}

impl Step for Changes {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        for change in &self.0 {
            change.carry_out(request);
        }
        Outcome::Now(Verdict::Next)
    }
}

impl Change {
    fn carry_out(&self, request: &mut Request) {
        let kind = request.header(Known::ContentType).unwrap_or_default();
        if !super::is_of(&self.types, kind) {
            return;
        }
        let mut value = request.thread.buffer();
        for header in &self.headers {
            value.clear();
            if let Some(template) = &header.value {
                template.render(request, &mut value);
            }
            match value.is_empty() {
                true => remove(request, header),
                false => set(request, &header.name, &value, self.replaces),
            }
        }
        request.thread.give_buffer(value);
    }
}

fn remove(request: &mut Request, header: &Named) {
    let Request { head, buffer, .. } = request;
    head.headers.retain(|line| !header.is(line.name.of(buffer)));
    if header.is(b"Host") {
        request.host.clear();
    }
}

/// Puts a header in the place of the first of that name; others of the name go.
fn set(request: &mut Request, name: &[u8], value: &[u8], replaces: bool) {
    let is = |line: &Header, buffer: &[u8]| line.name.of(buffer).eq_ignore_ascii_case(name);
    let place = request.head.headers.iter().position(|line| is(line, &request.buffer));
    if place.is_none() && replaces {
        return;
    }
    let line = request.add_line(name, value);
    if let Some(place) = place {
        let Request { head, buffer, .. } = &mut *request;
        let mut at = 0;
        head.headers.retain(|old| {
            at += 1;
            at - 1 == place || !is(old, buffer)
        });
        head.headers.replace(place, line);
    } else {
        request.head.headers.push(line);
    }
    if name.eq_ignore_ascii_case(b"Host") {
        request.host.clear();
        request.host.extend(value.to_ascii_lowercase());
    }
}

/// Bytes that were put into the head.
pub(crate) struct Added(pub usize);

impl Request {
    /// Adds the text of a header line to the head, behind all that the client sent of it.
    fn add_line(&mut self, name: &[u8], value: &[u8]) -> Header {
        let end = self.head.length;
        let line = [name, b": ", value, b"\r\n"].concat();
        let value = end + name.len() + 2..end + line.len() - 2;
        self.buffer.splice(end..end, line.iter().copied());
        self.head.length += line.len();
        self.unread += line.len();
        match self.kept_mut::<Added>() {
            Some(added) => added.0 += line.len(),
            None => self.keep(Added(line.len())),
        }
        Header {
            name: Span::new(end, end + name.len()),
            value: Span::new(value.start, value.end),
            known: Known::of(name),
            valid: true,
        }
    }
}
