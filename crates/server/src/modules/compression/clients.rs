//! Who gets compressed answers: `gzip_http_version`, `gzip_proxied`, `gzip_disable`, `gzip_vary`.

use conf::{Args, Directive, Error, Inherit, Scope, Setting, directive};
use wire::{Known, Version};

use super::IN;
use crate::http::regex::Regex;
use crate::http::request::Request;

pub(super) const HTTP_VERSION: Directive = directive("gzip_http_version", IN, conf::exactly(1), |at, a| {
    let version = a.one_of(0, &[("1.0", Version::Http10), ("1.1", Version::Http11)])?;
    at.own::<Conf>().http_version.set(version)
});
pub(super) const PROXIED: Directive = directive("gzip_proxied", IN, conf::at_least(1), |at, a| {
    a.bits(at, NAMES, |at| &mut at.own::<Conf>().proxied)
});
pub(super) const VARY: Directive =
    directive("gzip_vary", IN, conf::flag(), |at, a| at.own::<Conf>().vary.set(a.flag(0)?));
pub(super) const DISABLE: Directive = directive("gzip_disable", IN, conf::at_least(1), disable);

/// `msie6` is nginx's name for an expression of its own.
fn disable(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    for i in 0..a.words.len() {
        let pattern = match a.str(i) {
            "msie6" => r"(?-i:MSIE [4-5]\..|MSIE 6\.(?!.*SV1).)",
            pattern => pattern,
        };
        let regex = Regex::new(at, pattern, true).map_err(|e| a.error(e.message))?;
        at.own::<Conf>().disable.push(regex);
    }
    Ok(())
}

/// As written.
#[derive(Default)]
struct Conf {
    http_version: Setting<Version>,
    proxied: Setting<u32>,
    vary: Setting<bool>,
    disable: Vec<Regex>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.http_version.inherit(&outer.http_version);
        self.proxied.inherit(&outer.proxied);
        self.vary.inherit(&outer.vary);
        if self.disable.is_empty() {
            self.disable.clone_from(&outer.disable);
        }
    }
}

/// What `gzip_proxied` can name: which answers to other proxies' requests are compressed.
const NAMES: &[(&str, u32)] = &[
    ("off", proxied::OFF),
    ("expired", proxied::EXPIRED),
    ("no-cache", proxied::NO_CACHE),
    ("no-store", proxied::NO_STORE),
    ("private", proxied::PRIVATE),
    ("no_last_modified", proxied::NO_LAST_MODIFIED),
    ("no_etag", proxied::NO_ETAG),
    ("auth", proxied::AUTH),
    ("any", proxied::ANY),
];
mod proxied {
    pub const OFF: u32 = 1;
    pub const EXPIRED: u32 = 1 << 1;
    pub const NO_CACHE: u32 = 1 << 2;
    pub const NO_STORE: u32 = 1 << 3;
    pub const PRIVATE: u32 = 1 << 4;
    pub const NO_LAST_MODIFIED: u32 = 1 << 5;
    pub const NO_ETAG: u32 = 1 << 6;
    pub const AUTH: u32 = 1 << 7;
    pub const ANY: u32 = 1 << 8;
}

/// As run.
pub(crate) struct Clients {
    http_version: Version,
    proxied: u32,
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
            proxied: conf.proxied.or(proxied::OFF),
            disable: conf.disable.clone(),
            vary: conf.vary.or(false),
        }
    }
    /// Whether this one is to have an answer in `coding`: not if it becomes part of another. The rules are about gzip alone.
    pub fn take(&self, request: &Request, coding: &[u8]) -> bool {
        let accepts = request.header(Known::AcceptEncoding);
        request.depth == 0
            && accepts.is_some_and(|codings| wire::encoding::accepts(codings, coding))
            && (coding != b"gzip" || self.rules_allow(request))
    }
    fn rules_allow(&self, request: &Request) -> bool {
        request.head.version >= self.http_version
            && self.allowed_for_proxies(request)
            && !self.disabled(request)
    }
    fn disabled(&self, request: &Request) -> bool {
        let Some(agent) = request.header(Known::UserAgent) else { return false };
        self.disable.iter().any(|regex| regex.is_match(agent))
    }
    /// A request with `Via` comes from a proxy.
    fn allowed_for_proxies(&self, request: &Request) -> bool {
        let has = |bit| self.proxied & bit != 0;
        if request.header(Known::Via).is_none() {
            return true;
        }
        if has(proxied::OFF) || has(proxied::ANY) {
            return !has(proxied::OFF);
        }
        let response = &request.response;
        if has(proxied::AUTH) && request.header(Known::Authorization).is_some() {
            return true;
        }
        if let Some(expires) = response.header(b"Expires") {
            return has(proxied::EXPIRED) && expired(request, expires);
        }
        let mut words = response.words_of(b"Cache-Control").peekable();
        if words.peek().is_some() {
            let wanted = |word: &[u8]| {
                (has(proxied::NO_CACHE) && word.eq_ignore_ascii_case(b"no-cache"))
                    || (has(proxied::NO_STORE) && word.eq_ignore_ascii_case(b"no-store"))
                    || (has(proxied::PRIVATE) && word.eq_ignore_ascii_case(b"private"))
            };
            return words.any(wanted);
        }
        let dated = response.last_modified.is_some() || response.last_modified_text.is_some();
        let tagged = response.header(b"ETag").is_some();
        !(has(proxied::NO_LAST_MODIFIED) && dated || has(proxied::NO_ETAG) && tagged)
    }
}

fn expired(request: &Request, expires: &[u8]) -> bool {
    let Some(at) = wire::date::parse(expires) else { return false };
    let answered = request.response.header(b"Date").and_then(wire::date::parse);
    at < answered.unwrap_or_else(|| request.thread.handle.unix_time().as_secs())
}
