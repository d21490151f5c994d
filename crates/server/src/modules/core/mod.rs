//! The core of HTTP: blocks, names, locations, and the settings that every request meets.

use std::sync::Arc;
use std::time::Duration;

use conf::{
    Args, Error, HTTP, IF_LOCATION, LOCATION, MAIN, SERVER, Scope, Setting, Within, block, directive,
};

use super::Module;
use crate::http::error_page::ErrorPages;
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::log::ErrorLog;
use crate::worker::generation::Compiler;

mod accepted;
mod addresses;
pub mod delivery;

pub mod error_log;
pub mod listen;
mod load_module;
pub mod location;
pub mod open_files;
pub mod predicates;
pub mod process;
mod protocols;
pub mod server_name;
pub mod types;
pub(crate) mod variables;

use self::types::Types;

const ANY: Within = HTTP.or(SERVER).or(LOCATION);
const UPPER: Within = HTTP.or(SERVER);

pub(crate) static MODULE: Module =
    Module { name: "core", directives: DIRECTIVES, variables: variables::VARIABLES };

/// How answers go out.
pub(crate) static DELIVERY: Module = Module { directives: delivery::DIRECTIVES, ..part() };
/// How files are found.
pub(crate) static OPEN_FILES: Module = Module { directives: open_files::DIRECTIVES, ..part() };
/// What has no effect here.
pub(crate) static ACCEPTED: Module = Module { directives: accepted::DIRECTIVES, ..part() };
pub(crate) static UNWRITTEN: Module = Module { directives: accepted::UNWRITTEN, ..part() };
/// What would be loaded.
pub(crate) static LOAD_MODULE: Module = Module { directives: load_module::DIRECTIVES, ..part() };
const fn part() -> Module {
    Module { name: "core", directives: &[], variables: &[] }
}

static DIRECTIVES: &[conf::Directive] = &[
    block("http", MAIN, conf::exactly(0), HTTP, |at, _| process::once(at, "http")),
    block("server", HTTP, conf::exactly(0), SERVER, |at, _| listen::open_server(at)),
    block("location", SERVER.or(LOCATION), conf::between(1, 2), LOCATION, location::open),
    block("limit_except", LOCATION, conf::at_least(1), conf::LIMIT_EXCEPT, location::open_limit_except),
    directive("listen", SERVER, conf::at_least(1), listen::listen),
    directive("server_name", SERVER, conf::at_least(1), server_name::server_name),
    directive("internal", LOCATION, conf::exactly(0), |at, _| at.own::<Conf>().internal.set(true)),
    directive("root", ANY.or(IF_LOCATION), conf::exactly(1), |at, a| root(at, a, false)),
    directive("alias", LOCATION, conf::exactly(1), |at, a| root(at, a, true)),
    types::TYPES,
    directive("default_type", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().default_type.set(a.bytes(0).into())
    }),
    types::TYPES_HASH_MAX_SIZE,
    types::TYPES_HASH_BUCKET_SIZE,
    crate::http::error_page::ERROR_PAGE,
    crate::http::error_page::RECURSIVE,
    crate::http::error_page::MSIE_PADDING,
    crate::http::error_page::MSIE_REFRESH,
    predicates::EARLY_HINTS,
    predicates::EARLY_READ,
    error_log::ERROR_LOG,
    directive("client_header_timeout", UPPER, conf::exactly(1), |at, a| {
        at.own::<Conf>().client_header_timeout.set(a.msec(0)?)
    }),
    directive("client_header_buffer_size", UPPER, conf::exactly(1), |at, a| {
        at.own::<Conf>().client_header_buffer_size.set(a.size(0)?)
    }),
    directive("large_client_header_buffers", UPPER, conf::exactly(2), large_buffers),
    directive("max_headers", UPPER, conf::exactly(1), |at, a| at.own::<Conf>().max_headers.set(a.number(0)?)),
    directive("ignore_invalid_headers", UPPER, conf::flag(), |at, a| {
        at.own::<Conf>().ignore_invalid_headers.set(a.flag(0)?)
    }),
    directive("underscores_in_headers", UPPER, conf::flag(), |at, a| {
        at.own::<Conf>().underscores_in_headers.set(a.flag(0)?)
    }),
    directive("merge_slashes", UPPER, conf::flag(), |at, a| at.own::<Conf>().merge_slashes.set(a.flag(0)?)),
    directive("client_max_body_size", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().client_max_body_size.set(a.offset(0)?)
    }),
    directive("client_body_buffer_size", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().client_body_buffer_size.set(a.size(0)?)
    }),
    directive("client_body_timeout", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().client_body_timeout.set(a.msec(0)?)
    }),
    directive("client_body_in_file_only", ANY, conf::exactly(1), |at, a| {
        let value = a.one_of(0, &[("off", InFile::Off), ("on", InFile::On), ("clean", InFile::Clean)])?;
        at.own::<Conf>().client_body_in_file_only.set(value)
    }),
    directive("client_body_temp_path", ANY, conf::between(1, 4), client_body_temp_path),
    directive("send_timeout", ANY, conf::exactly(1), |at, a| at.own::<Conf>().send_timeout.set(a.msec(0)?)),
    directive("keepalive_timeout", ANY, conf::between(1, 2), keepalive_timeout),
    directive("keepalive_min_timeout", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().keepalive_min_timeout.set(a.msec(0)?)
    }),
    directive("keepalive_requests", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().keepalive_requests.set(a.number(0)?)
    }),
    directive("keepalive_time", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().keepalive_time.set(a.msec(0)?)
    }),
    directive("keepalive_disable", ANY, conf::between(1, 2), |at, a| {
        a.bits(at, DISABLE, |at| &mut at.own::<Conf>().keepalive_disable)
    }),
    directive("lingering_close", ANY, conf::exactly(1), lingering_close),
    directive("lingering_time", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().lingering_time.set(a.msec(0)?)
    }),
    directive("lingering_timeout", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().lingering_timeout.set(a.msec(0)?)
    }),
    directive("subrequest_output_buffer_size", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().subrequest_output_buffer_size.set(a.size(0)?)
    }),
    directive("reset_timedout_connection", ANY, conf::flag(), |at, a| {
        at.own::<Conf>().reset_timedout_connection.set(a.flag(0)?)
    }),
    directive("server_tokens", ANY, conf::exactly(1), server_tokens),
    directive("absolute_redirect", ANY, conf::flag(), |at, a| {
        at.own::<Conf>().absolute_redirect.set(a.flag(0)?)
    }),
    directive("port_in_redirect", ANY, conf::flag(), |at, a| {
        at.own::<Conf>().port_in_redirect.set(a.flag(0)?)
    }),
    directive("server_name_in_redirect", ANY, conf::flag(), |at, a| {
        at.own::<Conf>().server_name_in_redirect.set(a.flag(0)?)
    }),
    directive("tcp_nodelay", ANY, conf::flag(), |at, a| at.own::<Conf>().tcp_nodelay.set(a.flag(0)?)),
    directive("tcp_nopush", ANY, conf::flag(), tcp_nopush),
    directive("sendfile", ANY.or(IF_LOCATION), conf::flag(), |at, a| {
        at.own::<Conf>().sendfile.set(a.flag(0)?)
    }),
    directive("chunked_transfer_encoding", ANY, conf::flag(), |at, a| {
        at.own::<Conf>().chunked_transfer_encoding.set(a.flag(0)?)
    }),
    directive("etag", ANY, conf::flag(), |at, a| at.own::<Conf>().etag.set(a.flag(0)?)),
    directive("log_not_found", ANY, conf::flag(), |at, a| at.own::<Conf>().log_not_found.set(a.flag(0)?)),
    directive("log_subrequest", ANY, conf::flag(), |at, a| at.own::<Conf>().log_subrequest.set(a.flag(0)?)),
    directive("satisfy", ANY, conf::exactly(1), satisfy),
    directive("auth_delay", ANY, conf::exactly(1), |at, a| at.own::<Conf>().auth_delay.set(a.msec(0)?)),
    directive("post_action", ANY.or(IF_LOCATION), conf::exactly(1), |at, a| {
        at.own::<Conf>().post_action.set(a.bytes(0).into())
    }),
    server_name::HASH_MAX_SIZE,
    server_name::HASH_BUCKET_SIZE,
    server_name::VARIABLES_HASH_MAX_SIZE,
    server_name::VARIABLES_HASH_BUCKET_SIZE,
    process::EVENTS,
    process::USER,
    process::WORKER_PROCESSES,
    process::WORKER_CONNECTIONS,
    process::WORKER_RLIMIT_NOFILE,
    process::WORKER_RLIMIT_CORE,
    process::WORKER_PRIORITY,
    process::WORKER_CPU_AFFINITY,
    process::WORKER_SHUTDOWN_TIMEOUT,
    process::WORKING_DIRECTORY,
    process::ENV,
    process::PID,
    process::LOCK_FILE,
    process::DAEMON,
    process::MASTER_PROCESS,
    process::TIMER_RESOLUTION,
    process::PCRE_JIT,
    process::USE,
    process::ACCEPT_MUTEX,
    process::ACCEPT_MUTEX_DELAY,
    process::MULTI_ACCEPT,
    process::WORKER_AIO_REQUESTS,
];

settings! {
    /// As written.
    pub struct Conf {
        root: Root,
        default_type: Vec<u8>,
        client_header_timeout: u64,
        client_header_buffer_size: u64,
        large_client_header_buffers: (u64, u64),
        max_headers: u32,
        ignore_invalid_headers: bool,
        underscores_in_headers: bool,
        merge_slashes: bool,
        client_max_body_size: u64,
        client_body_buffer_size: u64,
        client_body_timeout: u64,
        client_body_in_file_only: InFile,
        client_body_temp_path: crate::temp::TempPath,
        send_timeout: u64,
        keepalive_timeout: u64,
        keepalive_min_timeout: u64,
        keepalive_header: u64,
        keepalive_requests: u32,
        keepalive_time: u64,
        keepalive_disable: u32,
        lingering_close: Lingering,
        lingering_time: u64,
        lingering_timeout: u64,
        subrequest_output_buffer_size: u64,
        reset_timedout_connection: bool,
        server_tokens: Tokens,
        absolute_redirect: bool,
        port_in_redirect: bool,
        server_name_in_redirect: bool,
        tcp_nodelay: bool,
        tcp_nopush: bool,
        sendfile: bool,
        chunked_transfer_encoding: bool,
        etag: bool,
        log_not_found: bool,
        internal: bool,
        log_subrequest: bool,
        satisfy_any: bool,
        auth_delay: u64,
        post_action: Arc<[u8]>,
    }
}

/// Where files are looked for.
#[derive(Clone, Debug)]
pub struct Root {
    /// The folder; it may contain variables.
    pub path: Template,
    /// `alias`: the path replaces the prefix of the location where it is written.
    pub alias: bool,
    /// How long that is; 0 for a regular expression, whose `alias` is the whole path.
    pub prefix: usize,
}
/// How much `server_tokens` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Name and version.
    On,
    /// Name.
    Off,
    /// Name, version and build.
    Build,
}
/// When to linger before closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lingering {
    /// Never.
    Off,
    /// Where the client may still be sending.
    On,
    /// Always.
    Always,
}
/// Whether request bodies are put into files that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFile {
    /// Only those that do not fit in memory, without a name.
    Off,
    /// All; the files stay.
    On,
    /// All; the files go with the request.
    Clean,
}
/// Which old browsers get no keep-alive.
#[derive(Clone, Copy, Debug)]
pub struct Disable(u32);
/// What `keepalive_disable` can name: old MSIE after a POST, Safari on macOS.
const DISABLE: &[(&str, u32)] = &[("none", 1), ("msie6", MSIE6), ("safari", SAFARI)];
const MSIE6: u32 = 2;
const SAFARI: u32 = 4;

/// As run: every setting has its value.
pub struct Core {
    pub(crate) limits: wire::Limits,
    pub(crate) root: Root,
    pub(crate) types: Arc<Types>,
    pub(crate) default_type: Arc<[u8]>,
    pub(crate) error_pages: Arc<ErrorPages>,
    pub(crate) error_log: ErrorLog,
    pub(crate) internal: bool,
    /// The location's name as written; empty outside one.
    pub(crate) location: Arc<[u8]>,
    /// What `limit_except` puts in force, and for which methods it does not.
    pub(crate) limit_except: Option<location::LimitExcept>,
    pub(crate) client_header_timeout: Duration,
    pub(crate) merge_slashes: bool,
    pub(crate) client_max_body_size: u64,
    pub(crate) client_body_buffer_size: usize,
    pub(crate) client_body_timeout: Duration,
    pub(crate) client_body_in_file_only: InFile,
    pub(crate) client_body_temp_path: Arc<crate::temp::TempPath>,
    pub(crate) send_timeout: Duration,
    pub(crate) delivery: delivery::Delivery,
    pub(crate) early_hints: predicates::Predicates,
    pub(crate) open_files: open_files::OpenFiles,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) keepalive_min_timeout: Duration,
    pub(crate) keepalive_header: Option<u64>,
    pub(crate) keepalive_requests: u32,
    pub(crate) keepalive_time: Duration,
    pub(crate) keepalive_disable: Disable,
    pub(crate) lingering_close: Lingering,
    pub(crate) lingering_time: Duration,
    pub(crate) lingering_timeout: Duration,
    /// How long an answer may be that is kept in a variable.
    pub(crate) subrequest_output_buffer_size: u64,
    /// How long a client may wait for a seat before it is refused.
    pub(crate) overload_wait: Duration,
    pub(crate) reset_timedout_connection: bool,
    /// The whole line: `Server: plimsoll\r\n`.
    pub(crate) server_header: &'static [u8],
    /// What the footer of a status page says.
    pub(crate) signature: &'static str,
    pub(crate) absolute_redirect: bool,
    pub(crate) port_in_redirect: bool,
    pub(crate) server_name_in_redirect: bool,
    pub(crate) tcp_nodelay: bool,
    pub(crate) sendfile: bool,
    pub(crate) chunked_transfer_encoding: bool,
    pub(crate) etag: bool,
    pub(crate) log_not_found: bool,
    pub(crate) log_subrequest: bool,
    pub(crate) satisfy_any: bool,
    /// How long a 401 takes.
    pub(crate) auth_delay: Duration,
    /// Where to go when the answer is sent.
    pub(crate) post_action: Option<Arc<[u8]>>,
}

/// Completes what is written in a block with nginx's defaults.
pub fn compile(at: &Scope, with: &mut Compiler<'_>) -> Result<Core, Error> {
    let none = Conf::default();
    let c = at.conf::<Conf>().unwrap_or(&none);
    let time = |setting: &Setting<u64>, default| Duration::from_millis(setting.or(default));
    let tokens = c.server_tokens.or(Tokens::On);
    let place = at.conf::<location::Place>();
    Ok(Core {
        limits: limits(c),
        root: match c.root.written() {
            Some(root) => root.clone(),
            None => {
                let path = Template::literal(with.prefix_path("html").as_bytes());
                Root { path, alias: false, prefix: 0 }
            }
        },
        types: types::compile(at, with),
        default_type: c.default_type.or(b"text/plain".to_vec()).into(),
        error_pages: crate::http::error_page::compile(at, with)?,
        error_log: error_log::compile(at, with),
        internal: c.internal.or(false) || place.is_some_and(|p| p.is_named(at)),
        location: place.map_or_else(Arc::default, |p| p.name.clone()),
        limit_except: location::limit_except(at, with)?,
        client_header_timeout: time(&c.client_header_timeout, 60_000),
        merge_slashes: c.merge_slashes.or(true),
        client_max_body_size: c.client_max_body_size.or(1 << 20),
        client_body_buffer_size: c.client_body_buffer_size.or(16 << 10) as usize,
        client_body_timeout: time(&c.client_body_timeout, 60_000),
        client_body_in_file_only: c.client_body_in_file_only.or(InFile::Off),
        client_body_temp_path: {
            let path = body_temp_path(at, with);
            if c.client_body_temp_path.written().is_some() {
                with.temp_path(&path.path);
            }
            Arc::new(path)
        },
        send_timeout: time(&c.send_timeout, 60_000),
        delivery: delivery::compile(at),
        early_hints: predicates::early_hints(at),
        open_files: open_files::compile(at),
        keepalive_timeout: time(&c.keepalive_timeout, 75_000),
        keepalive_min_timeout: time(&c.keepalive_min_timeout, 0),
        keepalive_header: c.keepalive_header.written().copied().filter(|seconds| *seconds > 0),
        keepalive_requests: c.keepalive_requests.or(1000),
        keepalive_time: time(&c.keepalive_time, 3_600_000),
        keepalive_disable: Disable(c.keepalive_disable.or(MSIE6)),
        lingering_close: c.lingering_close.or(Lingering::On),
        lingering_time: time(&c.lingering_time, 30_000),
        lingering_timeout: time(&c.lingering_timeout, 5_000),
        subrequest_output_buffer_size: c.subrequest_output_buffer_size.or(4 << 10),
        overload_wait: crate::upstream::OverloadWait::of(at),
        reset_timedout_connection: c.reset_timedout_connection.or(false),
        server_header: match tokens {
            Tokens::Off => b"Server: plimsoll\r\n",
            _ => concat!("Server: plimsoll/", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes(),
        },
        signature: match tokens {
            Tokens::Off => "plimsoll",
            _ => concat!("plimsoll/", env!("CARGO_PKG_VERSION")),
        },
        absolute_redirect: c.absolute_redirect.or(true),
        port_in_redirect: c.port_in_redirect.or(true),
        server_name_in_redirect: c.server_name_in_redirect.or(false),
        tcp_nodelay: c.tcp_nodelay.or(true),
        sendfile: c.sendfile.or(false),
        chunked_transfer_encoding: c.chunked_transfer_encoding.or(true),
        etag: c.etag.or(true),
        log_not_found: c.log_not_found.or(true),
        log_subrequest: c.log_subrequest.or(false),
        satisfy_any: c.satisfy_any.or(false),
        auth_delay: time(&c.auth_delay, 0),
        post_action: c.post_action.written().filter(|to| !to.is_empty()).cloned(),
    })
}

fn limits(c: &Conf) -> wire::Limits {
    let large = c.large_client_header_buffers.or((4, 8 << 10));
    wire::Limits {
        first_buffer: c.client_header_buffer_size.or(1 << 10) as usize,
        large_buffers: (large.0 as usize, large.1 as usize),
        ignore_invalid_headers: c.ignore_invalid_headers.or(true),
        underscores_in_headers: c.underscores_in_headers.or(false),
        max_headers: c.max_headers.or(1000) as usize,
    }
}

impl Core {
    /// Whether this connection may stay open after the request, as far as the configuration says.
    pub fn allows_keep_alive(&self, request: &Request) -> bool {
        let client = &request.client;
        !self.keepalive_timeout.is_zero()
            && client.requests < self.keepalive_requests
            && client.opened.checked_add(self.keepalive_time).is_none_or(|end| request.started <= end)
            && !self.keepalive_disable.applies(request)
    }
}
impl Disable {
    fn applies(self, request: &Request) -> bool {
        let disabled = |bit| self.0 & bit != 0;
        if !disabled(MSIE6 | SAFARI) {
            return false;
        }
        let Some(agent) = request.header(wire::Known::UserAgent) else { return false };
        let has = |text: &[u8]| memchr::memmem::find(agent, text).is_some();
        // The sixth with its second service pack can do it.
        let old = |at: usize| match agent.get(at + 5..at + 8) {
            Some([b'4' | b'5', b'.', _]) => true,
            Some([b'6', b'.', _]) => memchr::memmem::find(&agent[at + 8..], b"SV1").is_none(),
            _ => false,
        };
        let msie6 = disabled(MSIE6)
            && request.head.method == wire::Method::Post
            && memchr::memmem::find(agent, b"MSIE ").is_some_and(old)
            && !has(b"Opera");
        let other = || has(b"Gecko/") || has(b"Chrome/") || has(b"MSIE ") || has(b"Opera");
        msie6 || (disabled(SAFARI) && has(b"Safari/") && has(b"Mac OS X") && !other())
    }
}

fn root(at: &mut Scope, a: &Args<'_>, alias: bool) -> Result<(), Error> {
    let place = at.conf::<location::Place>();
    if alias && place.is_some_and(|place| place.is_named(at)) {
        return Err(a.error("the \"alias\" directive cannot be used inside the named location"));
    }
    let prefix = place.map_or(0, location::Place::prefix);
    let conf = at.own::<Conf>();
    if let Some(other) = conf.root.written() {
        let message = match (other.alias, alias) {
            (true, true) | (false, false) => format!("\"{}\" directive is duplicate", a.directive),
            _ => format!(
                "\"{}\" directive is duplicate, \"{}\" directive was specified earlier",
                a.directive,
                if other.alias { "alias" } else { "root" }
            ),
        };
        return Err(a.error(message));
    }
    refuse_itself(a)?;
    let path = a.str(0);
    let path = if path.starts_with('$') { path.to_owned() } else { a.prefix_path(path) };
    let path = if alias { &path } else { path.strip_suffix('/').unwrap_or(&path) };
    let path = Template::parse(at, path)?;
    at.own::<Conf>().root.set(Root { path, alias, prefix })
}
/// What a root is told by cannot be part of it.
fn refuse_itself(a: &Args<'_>) -> Result<(), Error> {
    let (text, directive) = (a.str(0), a.directive);
    let used = |name: &&str| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}}}"));
    match ["document_root", "realpath_root"].iter().find(|name| used(name)) {
        Some(name) => {
            Err(a.error(format!("the ${name} variable cannot be used in the \"{directive}\" directive")))
        }
        None => Ok(()),
    }
}

fn client_body_temp_path(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let path = crate::temp::TempPath::read(at, a)?;
    at.own::<Conf>().client_body_temp_path.set(path)
}
/// Where bodies of clients are kept that do not fit into memory. Who keeps some sees to it that the folder is made, for
/// the worker may have no right to make it; a server that keeps none needs no folder.
pub fn body_temp_path(at: &Scope, with: &Compiler<'_>) -> crate::temp::TempPath {
    let conf = at.conf::<Conf>();
    let written = conf.and_then(|conf| conf.client_body_temp_path.written());
    written.cloned().unwrap_or_else(|| crate::temp::TempPath::flat(with.prefix_path("client_body_temp")))
}
/// Head and file always travel together here: `off` is what has no effect.
fn tcp_nopush(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let on = a.flag(0)?;
    at.own::<Conf>().tcp_nopush.set(on)?;
    if on { Ok(()) } else { process::no_effect(at, a) }
}
fn large_buffers(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    at.own::<Conf>().large_client_header_buffers.set(a.buffers()?)
}
fn keepalive_timeout(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let conf = at.own::<Conf>();
    conf.keepalive_timeout.set(a.msec(0)?)?;
    // What the header says is inherited by itself.
    if a.words.len() == 2 { conf.keepalive_header.set(a.sec(1)?) } else { Ok(()) }
}
fn lingering_close(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let value =
        a.one_of(0, &[("off", Lingering::Off), ("on", Lingering::On), ("always", Lingering::Always)])?;
    at.own::<Conf>().lingering_close.set(value)
}
fn server_tokens(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let value = a.one_of(0, &[("on", Tokens::On), ("off", Tokens::Off), ("build", Tokens::Build)])?;
    at.own::<Conf>().server_tokens.set(value)
}
/// Whether one step of the access phase is enough to let a request pass.
pub fn satisfies_any(at: &Scope) -> bool {
    at.conf::<Conf>().is_some_and(|conf| conf.satisfy_any.or(false))
}
fn satisfy(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let any = a.one_of(0, &[("all", false), ("any", true)])?;
    at.own::<Conf>().satisfy_any.set(any)
}
