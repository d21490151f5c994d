//! One folder (or one file) for each nginx module; no module imports another.
//!
//! A new module is a folder, a line in [`ALL`], and a line where its steps belong in `http/plan.rs`.

use std::sync::LazyLock;

use conf::Directive;

use crate::http::request::Request;
use crate::http::variables::{Builtin, Variable};

/// A module's configuration in which every value may be written once per block and is inherited where it is not.
macro_rules! settings {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        $vis struct $name { $($(#[$field_doc])* pub $field: conf::Setting<$kind>,)* }
        impl conf::Inherit for $name {
            fn inherit(&mut self, outer: &Self) {
                $(self.$field.inherit(&outer.$field);)*
            }
        }
    };
}
pub(crate) use settings;

/// A directive that makes a location its module's: written here or not. Locations inside do not take it over.
macro_rules! mark {
    ($name:ident) => {
        #[derive(Default)]
        struct $name(bool);
        impl conf::Inherit for $name {
            fn inherit(&mut self, _: &Self) {}
            fn reaches(kind: conf::Within) -> bool {
                kind == conf::IF_LOCATION || kind == conf::LIMIT_EXCEPT
            }
        }
        impl $name {
            fn set(at: &mut conf::Scope, _: &conf::Args<'_>) -> Result<(), conf::Error> {
                at.own::<Self>().0 = true;
                Ok(())
            }
            fn is_in(at: &conf::Scope) -> bool {
                at.conf::<Self>().is_some_and(|mark| mark.0)
            }
        }
    };
}

pub mod access;
pub mod addition;
pub mod auth_basic;
pub mod auth_request;
pub mod autoindex;
pub mod browser;
pub mod capacity_status;
pub mod charset;
pub mod compression;
pub mod core;
pub mod dav;
pub mod empty_gif;
pub mod fastcgi;
pub mod files;
pub mod flv;
pub mod geo;
pub mod grpc;
pub mod headers;
pub mod headers_more;
pub mod http2;
pub mod limit_conn;
pub mod limit_req;
pub mod log;
pub mod map;
pub mod memcached;
pub mod mirror;
pub mod mp4;
pub mod not_modified;
pub mod proxy;
pub mod random_index;
pub mod range;
pub mod realip;
pub mod referer;
pub mod resolver;
pub mod rewrite;
pub mod scgi;
pub mod secure_link;
pub mod slice;
pub mod split_clients;
pub mod ssi;
pub mod ssl;
pub mod stub_status;
pub mod sub;
pub mod try_files;
pub mod tunnel;
pub mod upstream;
pub mod upstream_api;
pub mod userid;
pub mod uwsgi;

/// What a module declares.
pub struct Module {
    /// nginx's name for it.
    pub name: &'static str,
    /// Its directives.
    pub directives: &'static [Directive],
    /// Its variables.
    pub variables: &'static [Variable],
}

/// The modules' variables, by name.
pub fn variables() -> &'static Builtin {
    static ALL_VARIABLES: LazyLock<Builtin> =
        LazyLock::new(|| Builtin::new(ALL.iter().flat_map(|module| module.variables)));
    &ALL_VARIABLES
}

/// What modules noted of a request holds for one within it, too.
pub fn descend(request: &mut Request, sub: &mut Request) {
    for module in [limit_conn::descend, limit_req::descend, charset::descend, ssi::descend] {
        module(request, sub);
    }
}

/// Every module.
pub static ALL: &[&Module] = &[
    &core::MODULE,
    &core::CLIENT_HEADER,
    &core::CLIENT_BODY,
    &core::KEEP_ALIVE,
    &core::LINGERING,
    &core::ROOT,
    &core::DELIVERY,
    &core::OPEN_FILES,
    &core::ACCEPTED,
    &core::UNWRITTEN,
    &core::LOAD_MODULE,
    &access::MODULE,
    &autoindex::MODULE,
    &charset::MODULE,
    &dav::MODULE,
    &empty_gif::MODULE,
    &fastcgi::MODULE,
    &scgi::MODULE,
    &memcached::MODULE,
    &tunnel::MODULE,
    &uwsgi::MODULE,
    &uwsgi::SSL,
    &flv::MODULE,
    &mp4::MODULE,
    &random_index::MODULE,
    &files::MODULE,
    &grpc::MODULE,
    &grpc::SSL,
    &compression::gzip::MODULE,
    &compression::brotli::MODULE,
    &compression::zstd::MODULE,
    &headers::MODULE,
    &headers_more::MODULE,
    &http2::MODULE,
    &limit_conn::MODULE,
    &limit_req::MODULE,
    &log::MODULE,
    &map::MODULE,
    &not_modified::MODULE,
    &proxy::MODULE,
    &proxy::SSL,
    &range::MODULE,
    &resolver::MODULE,
    &rewrite::MODULE,
    &ssi::MODULE,
    &ssl::MODULE,
    &capacity_status::MODULE,
    &stub_status::MODULE,
    &sub::MODULE,
    &try_files::MODULE,
    &upstream::MODULE,
    &upstream_api::MODULE,
    &auth_basic::MODULE,
    &geo::MODULE,
    &realip::MODULE,
    &referer::MODULE,
    &secure_link::MODULE,
    &slice::MODULE,
    &split_clients::MODULE,
    &auth_request::MODULE,
    &mirror::MODULE,
    &addition::MODULE,
    &browser::MODULE,
    &userid::MODULE,
];
