//! The directives, as run.

use std::sync::Arc;

use super::cookies::Cookies;
use super::pass::{Fixed, Target};
use super::redirect::Rule;
use super::written::Ssl;
use super::written::{Conf, DEFAULT_WITH_VARIABLES, Lists, Passing, Redirect};
use crate::http::relay::create::{Create, HttpVersion, Preset, SetHeaders, Value};
use crate::http::relay::tls::Tls;
use crate::http::relay::{self, Kind};
use crate::http::variables::Template;
use crate::worker::generation::Compiler;
use conf::{Error, Scope};

/// Everything of a location but whom it asks.
pub(super) struct Settings {
    /// What is the same whatever the protocol.
    pub relay: Arc<relay::Settings>,
    /// How connections are encrypted, where some may be.
    pub tls: Option<Arc<Tls>>,
    /// How requests are made.
    pub create: Create,
    pub redirects: Box<[Rule]>,
    pub cookies: Cookies,
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
    let version = c.version.or(HttpVersion::Http11);
    let https = matches!(target, Target::Fixed(fixed) if fixed.https);
    let scheme = if https { "https://" } else { "http://" };
    // What is encrypted is encrypted as this place has it.
    let http2 = version == HttpVersion::Http2;
    let transport = if https { format!("{version:?} {}", at.at) } else { http2.to_string() };
    let kind = Kind { prefix: "proxy", scheme, hidden: &HIDDEN, transport, only_asks: false, streams: false };
    let keepalive = match target {
        Target::Fixed(fixed) => fixed.group.keepalive.as_ref(),
        Target::Variable(..) => None,
    };
    let written = at.conf::<Passing>().map(|passing| &passing.0);
    let compiled = relay::compile(at, written, &kind, keepalive, with)?;
    let cached = PRESETS.iter().chain(&CONDITIONS);
    let cache_headers = compiled.cache.is_some().then(|| SetHeaders::new(&lists.set_header, cached));
    let tls = match target {
        Target::Fixed(fixed) if !fixed.https => None,
        _ => {
            let none = Ssl::default();
            Some(relay::tls::compile(at, &at.conf::<Ssl>().unwrap_or(&none).0, "proxy", http2, with)?)
        }
    };
    Ok(Settings {
        relay: Arc::new(compiled),
        tls,
        create: Create {
            version,
            headers: SetHeaders::new(&lists.set_header, &PRESETS),
            cache_headers,
            method: c.method.written().cloned(),
            set_body: c.set_body.written().cloned(),
        },
        redirects: redirects(lists, target, at)?,
        cookies: Cookies {
            domains: lists.cookie_domain.iter().flatten().cloned().collect(),
            paths: lists.cookie_path.iter().flatten().cloned().collect(),
            flags: lists.cookie_flags.iter().flatten().cloned().collect(),
        },
    })
}

/// What is sent unless the configuration says otherwise.
const PRESETS: [Preset; 9] = [
    (b"Host", || Value::Nothing),
    (b"Connection", || Value::Nothing),
    (b"Proxy-Connection", || Value::Nothing),
    (b"Content-Length", || Value::BodyLength),
    (b"Transfer-Encoding", || Value::Chunked),
    (b"TE", || Value::Nothing),
    (b"Keep-Alive", || Value::Nothing),
    (b"Expect", || Value::Nothing),
    (b"Upgrade", || Value::Nothing),
];
/// The conditions of a request whose answer is to be kept: the cache's, not the client's.
const CONDITIONS: [Preset; 6] = [
    (b"If-Modified-Since", || Value::OldDate),
    (b"If-Unmodified-Since", || Value::Nothing),
    (b"If-None-Match", || Value::OldTag),
    (b"If-Match", || Value::Nothing),
    (b"Range", || Value::Nothing),
    (b"If-Range", || Value::Nothing),
];

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
