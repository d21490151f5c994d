//! The directives that all modules have which pass requests on, as run.

use std::time::Duration;

use conf::{Error, Scope};
use wire::Known;

use super::cache::{self, Cache};
use super::store::{self, Store};
use super::written::{Bind, Once, Written, again, local_address};
use crate::http::variables::Template;
use crate::temp::TempPath;
use crate::upstream::{KeepAlive, Options, OverloadWait, number};
use crate::worker::generation::Compiler;

/// How a location passes requests on, whomever it asks.
pub struct Settings {
    /// The URL's scheme, for the log.
    pub scheme: &'static str,
    /// `.._pass_request_headers`
    pub pass_headers: bool,
    /// `.._pass_request_body`
    pub pass_body: bool,
    /// `.._request_buffering`
    pub request_buffering: bool,
    pub(super) hide: Names,
    pub(super) ignore_headers: u32,
    pub(super) next_upstream: u32,
    pub(super) next_upstream_tries: u32,
    pub(super) next_upstream_timeout: Duration,
    pub(super) buffering: bool,
    /// The most a response's head may have.
    pub(super) buffer_size: usize,
    /// The most that is read at once of what passes through a tunnel.
    pub(super) tunnel_buffer: usize,
    /// What is kept in memory for a slow client.
    pub(super) memory: usize,
    pub(super) max_temp_file_size: u64,
    pub(super) temp_path: TempPath,
    pub(super) connect_timeout: Duration,
    /// How long a server whose accept queue is full is waited for.
    pub(super) overload_wait: Duration,
    pub(super) send_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) intercept_errors: bool,
    pub(super) intercept_404: bool,
    pub(super) ignore_client_abort: bool,
    pub(super) options: Options,
    pub(super) bind: Option<(Template, bool)>,
    pub(super) force_ranges: bool,
    /// `.._pass_trailers`
    pub(super) pass_trailers: bool,
    /// `.._allow_upstream`: all of them have to say yes.
    pub(super) allow: Box<[Template]>,
    /// `.._store`
    pub(super) store: Option<Store>,
    /// `.._cache` and its companions.
    pub cache: Option<Cache>,
    pub(super) limit_rate: Option<Template>,
    /// Number of this place, for connections that are kept apart or shared.
    pub(super) own_place: u32,
    pub(super) shared_place: u32,
}
impl Settings {
    /// Whether a client that goes away ends what was begun for it.
    pub fn minds_client(&self) -> bool {
        !self.ignore_client_abort
    }
}

/// A set of header names.
#[derive(Default)]
pub struct Names {
    known: u64,
    others: Vec<Box<[u8]>>,
}
impl Names {
    /// Puts a name in.
    pub fn add(&mut self, name: &[u8]) {
        match Known::of(name) {
            Known::Other => self.others.push(name.into()),
            known => self.known |= 1 << known as u8,
        }
    }
    /// Takes a name out.
    pub fn remove(&mut self, name: &[u8]) {
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

/// What a module says of itself.
pub struct Kind {
    /// What its directives begin with.
    pub prefix: &'static str,
    /// The URL's scheme, for the log.
    pub scheme: &'static str,
    /// Headers of an answer that are not passed on unless the configuration says so.
    pub hidden: &'static [&'static [u8]],
    /// Whatever else makes a connection differ from those of other places.
    pub transport: String,
    /// Requests have no body, answers are never stored, and one that finds nothing is answered with a page of our own.
    pub only_asks: bool,
    /// Request and answer are streams: nothing is gathered, no answer is stored, and trailers are passed on.
    pub streams: bool,
}

/// A page: the unit of nginx's default buffers.
const PAGE: u64 = 4096;

/// What is in force in a block.
///
/// # Errors
/// nginx's rules about the sizes of buffers.
pub fn compile(
    at: &Scope,
    written: Option<&Written>,
    kind: &Kind,
    keepalive: Option<&KeepAlive>,
    with: &mut Compiler<'_>,
) -> Result<Settings, Error> {
    let none = Written::default();
    let lists = written.unwrap_or(&none);
    let c = &lists.once;
    let time = |setting: &conf::Setting<u64>, default| Duration::from_millis(setting.or(default));
    let gathers = !(kind.only_asks || kind.streams);
    let (buffer_size, memory) = match gathers {
        true => buffers(c, kind.prefix).map_err(|what| Error::emerg(what).at(at.at.clone()))?,
        false => (c.buffer_size.or(PAGE), 8 * c.buffer_size.or(PAGE).max(PAGE)),
    };
    let bind = match c.bind.written() {
        Some(Bind::To { address, transparent }) => Some((address.clone(), *transparent)),
        Some(Bind::Off) | None => None,
    };
    let options = options(c, bind.as_ref(), keepalive.is_some());
    let store = store::compile(c);
    // What does not outlive a request is not known of a group that is found while it runs.
    let place = Options { lasting: false, ..options };
    let place = format!("place {} {} {place:?}", kind.scheme, kind.transport);
    Ok(Settings {
        scheme: kind.scheme,
        pass_headers: c.pass_request_headers.or(true),
        pass_body: c.pass_request_body.or(!kind.only_asks),
        request_buffering: c.request_buffering.or(!kind.streams),
        hide: hidden(kind.hidden, lists),
        ignore_headers: c.ignore_headers.or(0),
        next_upstream: c.next_upstream.or(again::ERROR | again::TIMEOUT),
        next_upstream_tries: c.next_upstream_tries.or(0),
        next_upstream_timeout: time(&c.next_upstream_timeout, 0),
        buffering: c.buffering.or(gathers),
        buffer_size: buffer_size as usize,
        tunnel_buffer: c.buffer_size.written().map_or(usize::MAX, |size| *size as usize),
        memory: memory as usize,
        max_temp_file_size: c.max_temp_file_size.or(1 << 30),
        temp_path: temp_path(at, c, kind, gathers, with),
        connect_timeout: time(&c.connect_timeout, 60_000),
        overload_wait: OverloadWait::of(at).min(time(&c.connect_timeout, 60_000)),
        send_timeout: time(&c.send_timeout, 60_000),
        read_timeout: time(&c.read_timeout, 60_000),
        intercept_errors: c.intercept_errors.or(kind.only_asks),
        intercept_404: kind.only_asks,
        // What becomes a file is wanted whatever the client does.
        ignore_client_abort: c.ignore_client_abort.or(false) || store.is_some(),
        options,
        bind,
        force_ranges: c.force_ranges.or(kind.only_asks),
        allow: lists.allow_upstream.clone().into(),
        store,
        cache: cache::compile(at, lists, kind.prefix)?,
        pass_trailers: c.pass_trailers.or(kind.streams),
        limit_rate: c.limit_rate.written().filter(|rate| rate.as_literal() != Some(b"0")).cloned(),
        own_place: number(&format!("{place} {} {:?}", at.at, words(at))),
        shared_place: number(&place),
    })
}

/// How the sockets of connections to servers are set up.
fn options(c: &Once, bind: Option<&(Template, bool)>, lasting: bool) -> Options {
    Options {
        keepalive: c.socket_keepalive.or(false),
        lasting,
        receive_buffer: c.socket_rcvbuf.written().map(|bytes| *bytes as usize),
        send_buffer: c.socket_sndbuf.written().map(|bytes| *bytes as usize),
        local: bind.and_then(|(address, _)| local_address(address.as_literal()?)),
        transparent: bind.is_some_and(|(_, transparent)| *transparent),
    }
}

/// Where long answers are kept; the folders are made where answers or bodies of requests can be gathered.
fn temp_path(at: &Scope, c: &Once, kind: &Kind, gathers: bool, with: &mut Compiler<'_>) -> TempPath {
    let path = match c.temp_path.written() {
        Some(path) => path.clone(),
        None => TempPath::flat(with.prefix_path(&format!("{}_temp", kind.prefix))),
    };
    if gathers {
        with.temp_path(&path.path);
        with.temp_path(&crate::modules::core::client_body::temp_path(at, with).path);
    }
    path
}

/// What a block is called: several may stand in one line.
fn words(at: &Scope) -> Vec<&[u8]> {
    at.args.iter().map(conf::Word::bytes).collect()
}

/// Whether what is written in a block can be, though it passes nothing on itself.
///
/// # Errors
/// nginx's rules about buffers, and a zone that nobody declares.
pub fn check(at: &Scope, written: &Written, prefix: &str) -> Result<(), Error> {
    buffers(&written.once, prefix).map_err(|what| Error::emerg(what).at(at.at.clone()))?;
    cache::compile(at, written, prefix).map(drop)
}

/// The size for a head, and that of all buffers; nginx's rules about their sizes.
fn buffers(c: &Once, prefix: &str) -> Result<(u64, u64), String> {
    let head = c.buffer_size.or(PAGE);
    let (number, size) = c.buffers.or((8, PAGE));
    let most = head.max(size);
    if number < 2 {
        return Err(format!("there must be at least 2 \"{prefix}_buffers\""));
    }
    let all = number.saturating_mul(size);
    let larger =
        format!("the maximum of the value of \"{prefix}_buffer_size\" and one of the \"{prefix}_buffers\"");
    let busy = c.busy_buffers_size.or(2 * most);
    if busy < most {
        return Err(format!("\"{prefix}_busy_buffers_size\" must be equal to or greater than {larger}"));
    }
    if busy > all - size {
        return Err(format!(
            "\"{prefix}_busy_buffers_size\" must be less than \
            the size of all \"{prefix}_buffers\" minus one buffer"
        ));
    }
    if c.temp_file_write_size.or(2 * most) < most {
        return Err(format!("\"{prefix}_temp_file_write_size\" must be equal to or greater than {larger}"));
    }
    let file = c.max_temp_file_size.or(1 << 30);
    if file != 0 && file < most {
        return Err(format!(
            "\"{prefix}_max_temp_file_size\" must be equal to zero to disable temporary files usage \
            or must be equal to or greater than {larger}"
        ));
    }
    Ok((head, all))
}

fn hidden(by_default: &[&[u8]], lists: &Written) -> Names {
    let mut names = Names::default();
    by_default.iter().for_each(|name| names.add(name));
    lists.hide_header.iter().for_each(|name| names.add(name));
    lists.pass_header.iter().for_each(|name| names.remove(name));
    names
}
