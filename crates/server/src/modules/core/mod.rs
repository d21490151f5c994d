//! The core of HTTP: blocks, names, locations, and the settings that every request meets.

use std::sync::Arc;
use std::time::Duration;

use conf::{
    Args, Error, HTTP, IF_LOCATION, LOCATION, MAIN, SERVER, Scope, Setting, Within, block, directive,
};

use super::Module;
use crate::http::error_page::ErrorPages;
use crate::log::ErrorLog;
use crate::worker::generation::Compiler;

mod accepted;
mod addresses;
pub mod client_body;
pub mod client_header;
pub mod delivery;
pub mod error_log;
pub mod keep_alive;
pub mod lingering;
pub mod listen;
mod load_module;
pub mod location;
pub mod open_files;
pub mod predicates;
pub mod process;
mod protocols;
pub mod root;
pub mod server_name;
pub mod types;
pub(crate) mod variables;

use self::root::Root;
use self::types::Types;

const ANY: Within = HTTP.or(SERVER).or(LOCATION);
const UPPER: Within = HTTP.or(SERVER);

pub(crate) static MODULE: Module =
    Module { name: "core", directives: DIRECTIVES, variables: variables::VARIABLES };

/// How heads of requests are read.
pub(crate) static CLIENT_HEADER: Module = Module { directives: client_header::DIRECTIVES, ..part() };
/// Bodies of requests.
pub(crate) static CLIENT_BODY: Module = Module { directives: client_body::DIRECTIVES, ..part() };
/// How long connections stay open.
pub(crate) static KEEP_ALIVE: Module = Module { directives: keep_alive::DIRECTIVES, ..part() };
/// How they close.
pub(crate) static LINGERING: Module = Module { directives: lingering::DIRECTIVES, ..part() };
/// Where files are looked for.
pub(crate) static ROOT: Module = Module { directives: root::DIRECTIVES, ..part() };
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
    directive("send_timeout", ANY, conf::exactly(1), |at, a| at.own::<Conf>().send_timeout.set(a.msec(0)?)),
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
        default_type: Vec<u8>,
        send_timeout: u64,
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
/// As run: every setting has its value.
pub struct Core {
    pub(crate) client_header: client_header::ClientHeader,
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
    pub(crate) client_body: client_body::ClientBody,
    pub(crate) send_timeout: Duration,
    pub(crate) delivery: delivery::Delivery,
    pub(crate) early_hints: predicates::Predicates,
    pub(crate) open_files: open_files::OpenFiles,
    pub(crate) keep_alive: keep_alive::KeepAlive,
    pub(crate) lingering: lingering::Lingering,
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
        client_header: client_header::compile(at),
        root: root::compile(at, with),
        types: types::compile(at, with),
        default_type: c.default_type.or(b"text/plain".to_vec()).into(),
        error_pages: crate::http::error_page::compile(at, with)?,
        error_log: error_log::compile(at, with),
        internal: c.internal.or(false) || place.is_some_and(|p| p.is_named(at)),
        location: place.map_or_else(Arc::default, |p| p.name.clone()),
        limit_except: location::limit_except(at, with)?,
        client_body: client_body::compile(at, with),
        send_timeout: time(&c.send_timeout, 60_000),
        delivery: delivery::compile(at),
        early_hints: predicates::early_hints(at),
        open_files: open_files::compile(at),
        keep_alive: keep_alive::compile(at),
        lingering: lingering::compile(at),
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

/// Head and file always travel together here: `off` is what has no effect.
fn tcp_nopush(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let on = a.flag(0)?;
    at.own::<Conf>().tcp_nopush.set(on)?;
    if on { Ok(()) } else { process::no_effect(at, a) }
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
