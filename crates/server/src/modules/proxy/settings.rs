//! The directives, as run.

use std::sync::Arc;

use conf::{Error, Scope};
use wire::Known;

use super::cookies::Cookies;
use super::pass::{Fixed, Target};
use super::redirect::Rule;
use super::written::Ssl;
use super::written::{Conf, DEFAULT_WITH_VARIABLES, Lists, Passing, Redirect};
use crate::http::relay::tls::Tls;
use crate::http::relay::{self, Kind, Names};
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

/// Everything of a location but whom it asks.
pub(super) struct Settings {
    /// What is the same whatever the protocol.
    pub relay: Arc<relay::Settings>,
    /// How connections are encrypted, where some may be.
    pub tls: Option<Arc<Tls>>,
    pub headers: SetHeaders,
    /// Those of a request whose answer is to be kept: what the client has already is no matter.
    pub cache_headers: Option<SetHeaders>,
    pub http_11: bool,
    pub method: Option<Template>,
    pub set_body: Option<Template>,
    pub redirects: Box<[Rule]>,
    pub cookies: Cookies,
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
    /// `$upstream_cache_last_modified` and `$upstream_cache_etag`: what the cache has.
    OldDate,
    OldTag,
    /// Not sent at all.
    Nothing,
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

pub(super) fn compile(at: &Scope, target: &Target, with: &mut Compiler<'_>) -> Result<Settings, Error> {
    let (none, no_lists) = (Conf::default(), Lists::default());
    let c = at.conf::<Conf>().unwrap_or(&none);
    let lists = at.conf::<Lists>().unwrap_or(&no_lists);
    let http_11 = c.http_11.or(true);
    let https = matches!(target, Target::Fixed(fixed) if fixed.https);
    let scheme = if https { "https://" } else { "http://" };
    // What is encrypted is encrypted as this place has it.
    let transport = if https { format!("{http_11} {}", at.at) } else { format!("{http_11}") };
    let kind = Kind { prefix: "proxy", scheme, hidden: &HIDDEN, transport, only_asks: false };
    let keepalive = match target {
        Target::Fixed(fixed) => fixed.group.keepalive.as_ref(),
        Target::Variable(..) => None,
    };
    let written = at.conf::<Passing>().map(|passing| &passing.0);
    let compiled = relay::compile(at, written, &kind, keepalive, with)?;
    let cache_headers = compiled.cache.is_some().then(|| {
        set_headers(
            lists,
            &[
                (b"If-Modified-Since", || Value::OldDate),
                (b"If-Unmodified-Since", || Value::Nothing),
                (b"If-None-Match", || Value::OldTag),
                (b"If-Match", || Value::Nothing),
                (b"Range", || Value::Nothing),
                (b"If-Range", || Value::Nothing),
            ],
        )
    });
    let tls = match target {
        Target::Fixed(fixed) if !fixed.https => None,
        _ => {
            let none = Ssl::default();
            Some(relay::tls::compile(at, &at.conf::<Ssl>().unwrap_or(&none).0, "proxy", with)?)
        }
    };
    Ok(Settings {
        relay: Arc::new(compiled),
        tls,
        headers: set_headers(lists, &[]),
        cache_headers,
        http_11,
        method: c.method.written().cloned(),
        set_body: c.set_body.written().cloned(),
        redirects: redirects(lists, target, at)?,
        cookies: Cookies {
            domains: lists.cookie_domain.iter().flatten().cloned().collect(),
            paths: lists.cookie_path.iter().flatten().cloned().collect(),
            flags: lists.cookie_flags.iter().flatten().cloned().collect(),
        },
    })
}

/// A header and what it is by default.
type Preset = (&'static [u8], fn() -> Value);

fn set_headers(lists: &Lists, more: &[Preset]) -> SetHeaders {
    let mut replaced = Names::default();
    let mut set = Vec::new();
    let line = |name: &[u8]| [name, b": "].concat().into_boxed_slice();
    for (name, value) in &lists.set_header {
        replaced.add(name);
        if value.as_literal() != Some(b"") {
            set.push((line(name), Value::Text(value.clone())));
        }
    }
    let defaults: [(&'static [u8], Value); 8] = [
        (b"Host", Value::ProxyHost),
        (b"Connection", Value::Nothing),
        (b"Content-Length", Value::BodyLength),
        (b"Transfer-Encoding", Value::Chunked),
        (b"TE", Value::Nothing),
        (b"Keep-Alive", Value::Nothing),
        (b"Expect", Value::Nothing),
        (b"Upgrade", Value::Nothing),
    ];
    let more = more.iter().map(|(name, value)| (*name, value()));
    for (name, value) in defaults.into_iter().chain(more) {
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

fn redirects(lists: &Lists, target: &Target, at: &Scope) -> Result<Box<[Rule]>, Error> {
    let default = match target {
        Target::Fixed(fixed) => Some(default_redirect(fixed)),
        Target::Variable(..) => None,
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
