//! The directives, as run.

use std::sync::Arc;
use std::time::Duration;

use conf::{Error, Scope};
use wire::Known;

use super::cookies::Cookies;
use super::pass::{Fixed, Target};
use super::redirect::Rule;
use super::written::{Conf, DEFAULT_WITH_VARIABLES, Lists, Redirect, again};
use crate::http::variables::Template;
use crate::temp::TempPath;
use crate::upstream::{Options, number};
use crate::worker::generation::Compiler;

/// Everything of a location but whom it asks.
pub(super) struct Settings {
    pub headers: SetHeaders,
    pub http_11: bool,
    pub method: Option<Template>,
    pub set_body: Option<Template>,
    pub pass_headers: bool,
    pub pass_body: bool,
    pub request_buffering: bool,
    pub hide: Names,
    pub ignore_headers: u32,
    pub redirects: Box<[Rule]>,
    pub cookies: Cookies,
    pub next_upstream: u32,
    pub next_upstream_tries: u32,
    pub next_upstream_timeout: Duration,
    pub buffering: bool,
    /// The most a response's head may have.
    pub buffer_size: usize,
    /// What is kept in memory for a slow client.
    pub memory: usize,
    pub max_temp_file_size: u64,
    pub temp_path: TempPath,
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub intercept_errors: bool,
    pub ignore_client_abort: bool,
    pub options: Options,
    /// Number of this place, for connections that are kept apart or shared.
    pub own_place: u32,
    pub shared_place: u32,
}

/// What is sent to the upstream beside the client's headers, and which of those are not.
pub(super) struct SetHeaders {
    pub set: Box<[(Box<[u8]>, Value)]>,
    pub replaced: Names,
}
/// A header's value.
pub(super) enum Value {
    Text(Template),
    /// `$proxy_host`
    ProxyHost,
    /// The length of the body sent, if it is known.
    BodyLength,
    /// `chunked`, if the body is.
    Chunked,
    /// Not sent at all.
    Nothing,
}

/// A set of header names.
#[derive(Default)]
pub(super) struct Names {
    known: u64,
    others: Vec<Box<[u8]>>,
}
impl Names {
    pub fn add(&mut self, name: &[u8]) {
        match Known::of(name) {
            Known::Other => self.others.push(name.into()),
            known => self.known |= 1 << known as u8,
        }
    }
    fn remove(&mut self, name: &[u8]) {
        match Known::of(name) {
            Known::Other => self.others.retain(|other| !other.eq_ignore_ascii_case(name)),
            known => self.known &= !(1 << known as u8),
        }
    }
    /// Whether a header is among them.
    #[inline]
    pub fn has(&self, known: Known, name: &[u8]) -> bool {
        match known {
            Known::Other => {
                !self.others.is_empty() && self.others.iter().any(|other| other.eq_ignore_ascii_case(name))
            }
            known => self.known & (1 << known as u8) != 0,
        }
    }
}

/// What nginx never passes on from an upstream unless told to.
const HIDDEN: [&[u8]; 8] = [
    b"Date",
    b"Server",
    b"X-Pad",
    b"X-Accel-Expires",
    b"X-Accel-Redirect",
    b"X-Accel-Limit-Rate",
    b"X-Accel-Buffering",
    b"X-Accel-Charset",
];

/// A page: the unit of nginx's default buffers.
const PAGE: u64 = 4096;

pub(super) fn compile(at: &Scope, target: &Target, with: &mut Compiler<'_>) -> Result<Arc<Settings>, Error> {
    let (none, no_lists) = (Conf::default(), Lists::default());
    let c = at.conf::<Conf>().unwrap_or(&none);
    let lists = at.conf::<Lists>().unwrap_or(&no_lists);
    let time = |setting: &conf::Setting<u64>, default| Duration::from_millis(setting.or(default));
    let buffers = buffers(c).map_err(|what| Error::emerg(what).at(at.at.clone()))?;
    let temp_path = match c.temp_path.written() {
        Some(path) => path.clone(),
        None => TempPath::flat(with.prefix_path("proxy_temp")),
    };
    with.temp_path(&temp_path.path);
    let http_11 = c.http_11.or(true);
    let options = Options { keepalive: c.socket_keepalive.or(false), lasting: lasting(target) };
    let place = format!("place {http_11} {options:?}");
    Ok(Arc::new(Settings {
        headers: set_headers(lists),
        http_11,
        method: c.method.written().cloned(),
        set_body: c.set_body.written().cloned(),
        pass_headers: c.pass_request_headers.or(true),
        pass_body: c.pass_request_body.or(true),
        request_buffering: c.request_buffering.or(true),
        hide: hidden(lists),
        ignore_headers: c.ignore_headers.or(0),
        redirects: redirects(lists, target, at)?,
        cookies: Cookies {
            domains: lists.cookie_domain.iter().flatten().cloned().collect(),
            paths: lists.cookie_path.iter().flatten().cloned().collect(),
        },
        next_upstream: c.next_upstream.or(again::ERROR | again::TIMEOUT),
        next_upstream_tries: c.next_upstream_tries.or(0),
        next_upstream_timeout: time(&c.next_upstream_timeout, 0),
        buffering: c.buffering.or(true),
        buffer_size: buffers.0 as usize,
        memory: buffers.1 as usize,
        max_temp_file_size: c.max_temp_file_size.or(1 << 30),
        temp_path,
        connect_timeout: time(&c.connect_timeout, 60_000),
        send_timeout: time(&c.send_timeout, 60_000),
        read_timeout: time(&c.read_timeout, 60_000),
        intercept_errors: c.intercept_errors.or(false),
        ignore_client_abort: c.ignore_client_abort.or(false),
        options,
        own_place: number(&format!("{place} {}", at.at)),
        shared_place: number(&place),
    }))
}

fn lasting(target: &Target) -> bool {
    match target {
        Target::Fixed(fixed) => fixed.group.keepalive.is_some(),
        Target::Variable(_) => false,
    }
}

/// The size for a head, and that of all buffers; nginx's rules about their sizes.
fn buffers(c: &Conf) -> Result<(u64, u64), String> {
    let head = c.buffer_size.or(PAGE);
    let (number, size) = c.buffers.or((8, PAGE));
    let most = head.max(size);
    if number < 2 {
        return Err("there must be at least 2 \"proxy_buffers\"".into());
    }
    let all = number.saturating_mul(size);
    let larger = "the maximum of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"";
    let busy = c.busy_buffers_size.or(2 * most);
    if busy < most {
        return Err(format!("\"proxy_busy_buffers_size\" must be equal to or greater than {larger}"));
    }
    if busy > all - size {
        return Err("\"proxy_busy_buffers_size\" must be less than \
            the size of all \"proxy_buffers\" minus one buffer"
            .into());
    }
    if c.temp_file_write_size.or(2 * most) < most {
        return Err(format!("\"proxy_temp_file_write_size\" must be equal to or greater than {larger}"));
    }
    let file = c.max_temp_file_size.or(1 << 30);
    if file != 0 && file < most {
        return Err(format!(
            "\"proxy_max_temp_file_size\" must be equal to zero to disable temporary files usage \
            or must be equal to or greater than {larger}"
        ));
    }
    Ok((head, all))
}

fn set_headers(lists: &Lists) -> SetHeaders {
    let mut replaced = Names::default();
    let mut set = Vec::new();
    let line = |name: &[u8]| [name, b": "].concat().into_boxed_slice();
    for (name, value) in &lists.set_header {
        replaced.add(name);
        if value.as_literal() != Some(b"") {
            set.push((line(name), Value::Text(value.clone())));
        }
    }
    let defaults: [(&[u8], Value); 8] = [
        (b"Host", Value::ProxyHost),
        (b"Connection", Value::Nothing),
        (b"Content-Length", Value::BodyLength),
        (b"Transfer-Encoding", Value::Chunked),
        (b"TE", Value::Nothing),
        (b"Keep-Alive", Value::Nothing),
        (b"Expect", Value::Nothing),
        (b"Upgrade", Value::Nothing),
    ];
    for (name, value) in defaults {
        if replaced.has(Known::of(name), name) {
            continue;
        }
        replaced.add(name);
        if !matches!(value, Value::Nothing) {
            set.push((line(name), value));
        }
    }
    SetHeaders { set: set.into(), replaced }
}

fn hidden(lists: &Lists) -> Names {
    let mut names = Names::default();
    HIDDEN.iter().for_each(|name| names.add(name));
    lists.hide_header.iter().for_each(|name| names.add(name));
    lists.pass_header.iter().for_each(|name| names.remove(name));
    names
}

fn redirects(lists: &Lists, target: &Target, at: &Scope) -> Result<Box<[Rule]>, Error> {
    let default = match target {
        Target::Fixed(fixed) => Some(default_redirect(fixed)),
        Target::Variable(_) => None,
    };
    if lists.redirect.is_empty() {
        return Ok(default.into_iter().collect());
    }
    let rule = |redirect: &Redirect| match redirect {
        Redirect::Off => Ok(None),
        Redirect::Prefix(from, to) => Ok(Some(Rule::Prefix(from.clone(), to.clone()))),
        Redirect::Regex(regex, to) => Ok(Some(Rule::Regex(regex.clone(), to.clone()))),
        Redirect::Default if default.is_some() => Ok(default.clone()),
        Redirect::Default => Err(Error::emerg(DEFAULT_WITH_VARIABLES).at(at.at.clone())),
    };
    lists.redirect.iter().filter_map(|redirect| rule(redirect).transpose()).collect()
}

/// The URL that is asked becomes the location's path.
fn default_redirect(fixed: &Fixed) -> Rule {
    let (from, to) = match fixed.uri {
        Some(_) => (fixed.url.to_string(), &*fixed.location),
        None => (format!("{}/", fixed.url), &b"/"[..]),
    };
    Rule::Prefix(Template::literal(from.as_bytes()), Template::literal(to))
}
