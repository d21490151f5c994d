//! What a location does: which steps each phase has there, and what answers. Compiled once from the configuration; the order of
//! modules within a phase is decided here, that of the phases in [`phases`](super::phases).

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use conf::{Error, Scope};

use super::filters::HeaderFilter;
use super::steps::{Handler, Step};
use crate::modules::core::Core;
use crate::modules::{
    access, addition, auth_basic, auth_request, autoindex, browser, capacity_status, charset, compression,
    core, dav, empty_gif, fastcgi, files, flv, grpc, headers, headers_more, http2, limit_conn, limit_req,
    log, memcached, mirror, mp4, not_modified, proxy, random_index, range, realip, referer, rewrite, scgi,
    secure_link, slice, ssi, stub_status, sub, try_files, tunnel, upstream, upstream_api, userid, uwsgi,
};
use crate::upstream::Group;
use crate::worker::generation::Compiler;
use crate::worker::local::LocalGeneration;

/// Which plan, in the tables of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanId(pub u32);

/// What one location does: only what is configured there.
pub struct Plan {
    /// The core module's settings.
    pub core: Core,
    /// The steps of each phase.
    pub steps: Steps,
    /// What answers.
    pub content: Content,
    /// Seats that a request needs beside its client's.
    pub need: u8,
    /// The largest piece of a body in one frame of HTTP/2.
    pub http2_chunk: usize,
    /// Texts made here are in UTF-8 (`charset utf-8`).
    pub utf8: bool,
    /// How paths are taken apart for FastCGI.
    pub script_names: Option<Box<fastcgi::Names>>,
    settings: Box<[Settings]>,
}

/// The configured steps of each phase.
#[derive(Default)]
pub struct Steps {
    pub(super) post_read: Box<[Box<dyn Step>]>,
    pub(super) rewrite: Option<rewrite::Script>,
    pub(super) preaccess: Box<[Box<dyn Step>]>,
    pub(super) access: Box<[Box<dyn Step>]>,
    pub(super) precontent: Box<[Box<dyn Step>]>,
    pub(super) try_files: Option<try_files::TryFiles>,
    /// There is a step in one of the phases between rewrite and content.
    pub(super) before_content: bool,
    pub(super) before_files: Box<[Box<dyn Handler>]>,
    pub(super) ssi: Option<ssi::Ssi>,
    pub(super) addition: Option<addition::Addition>,
    /// So many of them come before `ssi` and `addition` ask others.
    pub(super) inner_filters: usize,
    pub(super) header_filters: Box<[Box<dyn HeaderFilter>]>,
    pub(super) trailers: Option<headers::Trailers>,
    pub(super) warns_unset: bool,
    pub(super) log: Option<log::AccessLogs>,
}

/// What answers a request.
pub enum Content {
    /// Files below `root` or `alias`, with index files and listings.
    Files,
    /// An upstream over HTTP.
    Proxy(Box<proxy::Proxy>),
    /// A module that makes the answer itself.
    Handler(Box<dyn Handler>),
}

impl Content {
    /// Whether requests are passed on.
    pub fn passes_on(&self) -> bool {
        match self {
            Content::Files => false,
            Content::Proxy(_) => true,
            Content::Handler(handler) => handler.passes_on(),
        }
    }
    /// Whether it takes CONNECT.
    pub fn tunnels(&self) -> bool {
        matches!(self, Content::Handler(handler) if handler.tunnels())
    }
    /// The servers that are asked, if they are always the same.
    pub fn asks(&self) -> Option<&Arc<Group>> {
        match self {
            Content::Files => None,
            Content::Proxy(proxy) => proxy.fixed().map(|(group, _)| group),
            Content::Handler(handler) => handler.asks(),
        }
    }
}

/// What a module has configured in a block for its own use, found by its type ([`Plan::settings`]).
pub type Settings = Box<dyn Any + Send + Sync>;

/// Makes a step for a block, if that block has it configured.
type Make<Made> = fn(&Scope, &mut Compiler<'_>) -> Result<Option<Box<Made>>, Error>;

/// Once for each request, by the server's block, before its rewrite phase.
const POST_READ: &[Make<dyn Step>] = &[core::predicates::early_read, realip::step];
const PREACCESS: &[Make<dyn Step>] =
    &[headers_more::input::step, realip::step, limit_req::preaccess, limit_conn::preaccess];
const ACCESS: &[Make<dyn Step>] = &[access::access, auth_basic::access, auth_request::access];
/// Behind `try_files`.
const PRECONTENT: &[Make<dyn Step>] = &[mirror::precontent];
/// The modules whose directive makes a location theirs.
const HANDLERS: &[Make<dyn Handler>] = &[
    capacity_status::handler,
    fastcgi::handler,
    uwsgi::handler,
    scgi::handler,
    memcached::handler,
    tunnel::handler,
    grpc::handler,
    empty_gif::handler,
    flv::handler,
    mp4::handler,
    stub_status::handler,
    upstream_api::handler,
];
/// Those that look at every request of a location that serves files, and pass on with [`Next::Go`](super::phases::Next::Go) what is not theirs.
const BEFORE_FILES: &[Make<dyn Handler>] = &[
    random_index::handler,
    files::index_handler,
    autoindex::handler,
    dav::handler,
    compression::brotli_static,
    compression::zstd_static,
    compression::gzip_static,
];
/// In the order in which they see the head. Those that add body filters run their body in the same order.
const HEADER_FILTERS: &[Make<dyn HeaderFilter>] = &[
    slice::filter,
    not_modified::filter,
    headers_more::filter,
    headers::filter,
    userid::filter,
    compression::gunzip,
    addition::filter,
    sub::filter,
    charset::filter,
    ssi::filter,
];
/// Behind those: they look at what `ssi` and `addition` made of the page.
const OUTER_FILTERS: &[Make<dyn HeaderFilter>] =
    &[compression::brotli::filter, compression::zstd::filter, compression::gzip::filter, range::filter];

/// What variables of modules need.
const SETTINGS: &[Make<dyn Any + Send + Sync>] =
    &[browser::settings, userid::settings, referer::settings, secure_link::settings, slice::settings];

impl Plan {
    /// Compiles what is configured in a block.
    pub fn compile(scope: &Scope, with: &mut Compiler<'_>) -> Result<Plan, Error> {
        let content = made_by(scope, with)?;
        let inner_filters = configured(HEADER_FILTERS, scope, with)?;
        let outer_filters = configured(OUTER_FILTERS, scope, with)?;
        let mut plan = Plan {
            core: core::compile(scope, with)?,
            steps: Steps {
                post_read: configured(POST_READ, scope, with)?,
                rewrite: rewrite::compile(scope, with)?,
                preaccess: configured(PREACCESS, scope, with)?,
                access: configured(ACCESS, scope, with)?,
                precontent: configured(PRECONTENT, scope, with)?,
                try_files: try_files::compile(scope, with)?,
                before_content: false,
                before_files: configured(BEFORE_FILES, scope, with)?,
                ssi: ssi::compile(scope, with)?,
                addition: addition::compile(scope, with)?,
                inner_filters: inner_filters.len(),
                header_filters: inner_filters.into_iter().chain(outer_filters).collect(),
                trailers: headers::trailers(scope),
                warns_unset: rewrite::warns_unset(scope, with),
                log: log::compile(scope, with)?,
            },
            need: u8::from(content.passes_on()),
            content,
            settings: configured(SETTINGS, scope, with)?,
            http2_chunk: http2::chunk_size(scope),
            utf8: charset::is_utf8(scope),
            script_names: fastcgi::names(scope),
        };
        let Steps { preaccess, access, precontent, try_files, .. } = &plan.steps;
        plan.steps.before_content =
            [preaccess, access, precontent].iter().any(|steps| !steps.is_empty()) || try_files.is_some();
        upstream::checks(scope, plan.content.asks())?;
        Ok(plan)
    }
    /// What is configured to follow the body.
    pub fn trailers(&self) -> Option<&headers::Trailers> {
        self.steps.trailers.as_ref()
    }
    /// Whether commands in pages are carried out, and how.
    pub fn ssi(&self) -> Option<&ssi::Ssi> {
        self.steps.ssi.as_ref()
    }
    /// A module's settings in this block, by their type.
    pub fn settings<T: Any>(&self) -> Option<&T> {
        self.settings.iter().find_map(|settings| settings.downcast_ref())
    }
    /// Whether the use of a variable that `set` gave no value yet is logged (`uninitialized_variable_warn`).
    pub fn warns_unset(&self) -> bool {
        self.steps.warns_unset
    }
}

fn configured<Made: ?Sized>(
    makers: &[Make<Made>],
    scope: &Scope,
    with: &mut Compiler<'_>,
) -> Result<Box<[Box<Made>]>, Error> {
    makers.iter().filter_map(|make| make(scope, with).transpose()).collect()
}

/// A location has one handler of its own, or serves files.
fn made_by(scope: &Scope, with: &mut Compiler<'_>) -> Result<Content, Error> {
    if let Some(proxy) = proxy::content(scope, with)? {
        return Ok(Content::Proxy(Box::new(proxy)));
    }
    for make in HANDLERS {
        if let Some(handler) = make(scope, with)? {
            return Ok(Content::Handler(handler));
        }
    }
    Ok(Content::Files)
}

/// A plan, kept alive by its generation.
pub struct PlanRef {
    generation: Rc<LocalGeneration>,
    plan: PlanId,
}
impl std::ops::Deref for PlanRef {
    type Target = Plan;
    fn deref(&self) -> &Plan {
        self.generation.shared.plan(self.plan)
    }
}
impl PlanRef {
    /// This plan of this generation.
    pub fn new(generation: Rc<LocalGeneration>, plan: PlanId) -> PlanRef {
        PlanRef { generation, plan }
    }
    /// The steps of each phase.
    pub fn steps(&self) -> &Steps {
        &self.generation.shared.plan(self.plan).steps
    }
}
