//! Parameters of a request, as FastCGI, SCGI and uwsgi have them: what the configuration says, and the client's headers.

use std::marker::PhantomData;

use conf::{Args, Error, Inherit, Scope};
use wire::{Header, Known};

use crate::http::request::Request;
use crate::http::variables::Template;

/// What is written in a block (`fastcgi_param`); one that has any takes none from around it. `M` is the module.
pub struct Written<M> {
    list: Vec<Param>,
    module: PhantomData<M>,
}
impl<M> Default for Written<M> {
    fn default() -> Self {
        Written { list: Vec::new(), module: PhantomData }
    }
}
impl<M: Send + Sync + 'static> Inherit for Written<M> {
    fn inherit(&mut self, outer: &Self) {
        super::written::take(&mut self.list, &outer.list);
    }
}

#[derive(Clone)]
struct Param {
    name: Box<[u8]>,
    value: Template,
    if_not_empty: bool,
}

/// Reads `name value [if_not_empty]`.
///
/// # Errors
/// nginx's words.
pub fn set<M: Send + Sync + 'static>(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let if_not_empty = match a.opt(2) {
        None => false,
        Some("if_not_empty") => true,
        Some(_) => return Err(a.invalid_parameter(2)),
    };
    let value = Template::compile_for_servers(at, a, 1)?;
    at.own::<Written<M>>().list.push(Param { name: a.bytes(0).into(), value, if_not_empty });
    Ok(())
}

/// As run.
pub struct Params {
    list: Vec<Param>,
    /// Headers that are not passed as they are, in upper case with underscores: the configuration has them.
    replaced: Vec<Box<[u8]>>,
}

/// Appends one parameter in the form of a protocol.
pub type Put = fn(name: &[u8], value: &[u8], out: &mut Vec<u8>);

/// The parameter that is sent unless the configuration has it.
const HOST: (&[u8], &str) = (b"HTTP_HOST", "$host$is_request_port$request_port");

impl Params {
    /// What is in force in a block.
    ///
    /// # Errors
    /// None that is not a mistake of this program.
    pub fn compile<M: Send + Sync + 'static>(at: &Scope) -> Result<Params, Error> {
        let mut list = at.conf::<Written<M>>().map(|written| written.list.clone()).unwrap_or_default();
        if !list.iter().any(|param| param.name.eq_ignore_ascii_case(HOST.0)) {
            let value = Template::parse(at, HOST.1)?;
            list.push(Param { name: HOST.0.into(), value, if_not_empty: true });
        }
        let header = |param: &Param| Some(param.name.strip_prefix(b"HTTP_")?.to_ascii_uppercase().into());
        let replaced = list.iter().filter_map(header).collect();
        // One of a header and without a value only keeps the header back.
        list.retain(|p| !p.name.starts_with(b"HTTP_") || p.value.as_literal() != Some(b""));
        Ok(Params { list, replaced })
    }

    /// Appends all of them; the client's headers only where they are to be passed.
    pub fn put(&self, request: &mut Request, headers: bool, put: Put, out: &mut Vec<u8>) {
        let mut value = request.thread.buffer();
        for param in &self.list {
            value.clear();
            param.value.render(request, &mut value);
            if !(param.if_not_empty && value.is_empty()) {
                put(&param.name, &value, out);
            }
        }
        if headers {
            self.put_headers(request, &mut value, put, out);
        }
        request.thread.give_buffer(value);
    }

    fn put_headers(&self, request: &Request, value: &mut Vec<u8>, put: Put, out: &mut Vec<u8>) {
        let mut name = request.thread.buffer();
        let all = || request.head.headers.iter();
        let text = |span| request.text(span);
        let same = |a: &Header, b: &Header| text(a.name).eq_ignore_ascii_case(text(b.name));
        let cache = &request.upstream.cache;
        for (i, header) in all().enumerate() {
            if cache.keeps && super::cache::is_condition(header.known) {
                continue;
            }
            name.clear();
            name.extend_from_slice(b"HTTP_");
            name.extend(text(header.name).iter().map(|byte| match byte {
                b'-' => b'_',
                byte => byte.to_ascii_uppercase(),
            }));
            let replaced = self.replaced.iter().any(|replaced| **replaced == name[5..]);
            if replaced || all().take(i).any(|before| same(before, header)) {
                continue;
            }
            value.clear();
            value.extend_from_slice(text(header.value));
            let separator: &[u8] = if header.known == Known::Cookie { b"; " } else { b", " };
            for other in all().skip(i + 1).filter(|other| same(other, header)) {
                value.extend_from_slice(separator);
                value.extend_from_slice(text(other.value));
            }
            put(&name, value, out);
        }
        let of_cache: [(&[u8], &Vec<u8>); 2] =
            [(b"HTTP_IF_MODIFIED_SINCE", &cache.last_modified), (b"HTTP_IF_NONE_MATCH", &cache.etag)];
        for (name, value) in of_cache.into_iter().filter(|(_, value)| !value.is_empty()) {
            put(name, value, out);
        }
        request.thread.give_buffer(name);
    }
}
