//! Who gets compressed answers: `gzip_http_version`, `gzip_proxied`, `gzip_disable`, `gzip_vary`.

use conf::Scope;
use wire::{Known, Version};

use super::Conf;
use crate::http::regex::Regex;
use crate::http::request::Request;

/// Which answers to other proxies' requests are compressed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proxied {
    pub expired: bool,
    pub no_cache: bool,
    pub no_store: bool,
    pub private: bool,
    pub no_last_modified: bool,
    pub no_etag: bool,
    pub auth: bool,
    pub any: bool,
}

/// As run.
pub(crate) struct Clients {
    http_version: Version,
    proxied: Proxied,
    disable: Vec<Regex>,
    /// Whether answers say that they depend on `Accept-Encoding`.
    pub vary: bool,
}

impl Clients {
    /// The rules of a block, whether it has `gzip on` or not.
    pub fn of(at: &Scope) -> Clients {
        let none = Conf::default();
        let conf = at.conf::<Conf>().unwrap_or(&none);
        Clients {
            http_version: conf.http_version.or(Version::Http11),
            proxied: conf.proxied.or(Proxied::default()),
            disable: conf.disable.clone(),
            vary: conf.vary.or(false),
        }
    }
    /// Whether this one is to have an answer in `coding`.
    pub fn take(&self, request: &Request, coding: &[u8]) -> bool {
        let accepts = request.header(Known::AcceptEncoding);
        accepts.is_some_and(|codings| wire::encoding::accepts(codings, coding))
            && request.head.version >= self.http_version
            && self.allowed_for_proxies(request)
            && !self.disabled(request)
    }
    fn disabled(&self, request: &Request) -> bool {
        let Some(agent) = request.header(Known::UserAgent) else { return false };
        self.disable.iter().any(|regex| regex.is_match(agent))
    }
    /// A request with `Via` comes from a proxy.
    fn allowed_for_proxies(&self, request: &Request) -> bool {
        let p = self.proxied;
        if request.header(Known::Via).is_none() || p.any {
            return true;
        }
        let response = &request.response;
        let header = |name| response.header(name);
        if p.auth && request.header(Known::Authorization).is_some() {
            return true;
        }
        if let Some(expires) = header(b"Expires") {
            return p.expired && expired(request, expires);
        }
        if let Some(control) = header(b"Cache-Control") {
            let says = |word: &[u8]| memchr::memmem::find(&control.to_ascii_lowercase(), word).is_some();
            return (p.no_cache && says(b"no-cache"))
                || (p.no_store && says(b"no-store"))
                || (p.private && says(b"private"));
        }
        (p.no_last_modified && response.last_modified.is_none()) || (p.no_etag && header(b"ETag").is_none())
    }
}

fn expired(request: &Request, expires: &[u8]) -> bool {
    let Some(at) = wire::date::parse(expires) else { return true };
    let answered = request.response.header(b"Date").and_then(wire::date::parse);
    at < answered.unwrap_or_else(|| request.thread.handle.unix_time().as_secs())
}
