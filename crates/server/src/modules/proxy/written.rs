//! The directives, as written.

use std::sync::Arc;

use conf::{Args, Error, IF_LOCATION, Inherit, LIMIT_EXCEPT, LOCATION, Position, Scope, Within};

use super::cookies::{Flags, Which};
use super::redirect::Rule;
use crate::http::regex::Regex;
use crate::http::relay::Written;
use crate::http::relay::create::HttpVersion;
use crate::http::relay::tls::{SslWritten, ssl_directives};
use crate::http::relay::written::{relay_directives, take};
use crate::http::variables::Template;
use crate::modules::core::location::Place;

pub(super) static DIRECTIVES: &[conf::Directive] = relay_directives!(
    "proxy",
    Passing,
    [
        directive("proxy_pass", LOCATION.or(IF_LOCATION).or(LIMIT_EXCEPT), conf::exactly(1), pass),
        directive("proxy_redirect", IN_HTTP, conf::between(1, 2), redirect),
        directive("proxy_cookie_domain", IN_HTTP, conf::between(1, 2), |at, a| {
            let rule = cookie(at, a, Rule::Domain)?;
            add_cookie(&mut at.own::<Lists>().cookie_domain, rule)
        }),
        directive("proxy_cookie_path", IN_HTTP, conf::between(1, 2), |at, a| {
            let rule = cookie(at, a, Rule::Prefix)?;
            add_cookie(&mut at.own::<Lists>().cookie_path, rule)
        }),
        directive("proxy_cookie_flags", IN_HTTP, between(1, 4), |at, a| {
            let rule = cookie_flags(at, a)?;
            add_cookie(&mut at.own::<Lists>().cookie_flags, rule)
        }),
        directive("proxy_cache_convert_head", IN_HTTP, conf::flag(), |at, a| {
            at.own::<Passing>().0.once.cache_convert_head.set(a.flag(0)?)
        }),
        directive("proxy_set_header", IN_HTTP, conf::exactly(2), set_header),
        directive("proxy_http_version", IN_HTTP, conf::exactly(1), http_version),
        directive("proxy_method", IN_HTTP, conf::exactly(1), |at, a| {
            let method = Template::compile(at, a, 0)?;
            at.own::<Conf>().method.set(method)
        }),
        directive("proxy_set_body", IN_HTTP, conf::exactly(1), |at, a| {
            let body = Template::compile(at, a, 0)?;
            at.own::<Conf>().set_body.set(body)
        }),
        directive("proxy_pass_trailers", IN_HTTP, conf::flag(), |at, a| {
            at.own::<Passing>().0.once.pass_trailers.set(a.flag(0)?)
        }),
        directive("proxy_headers_hash_max_size", IN_HTTP, conf::exactly(1), needless),
        directive("proxy_headers_hash_bucket_size", IN_HTTP, conf::exactly(1), needless),
    ]
);

/// `proxy_ssl_*`
#[derive(Default)]
pub(super) struct Ssl(pub SslWritten);
impl Inherit for Ssl {
    fn inherit(&mut self, outer: &Ssl) {
        self.0.inherit(&outer.0);
    }
}
pub(super) static SSL_DIRECTIVES: &[conf::Directive] = ssl_directives!("proxy", Ssl);

/// What all modules have that pass requests on.
#[derive(Default)]
pub(super) struct Passing(pub Written);
impl Inherit for Passing {
    fn inherit(&mut self, outer: &Passing) {
        self.0.inherit(&outer.0);
    }
}

settings! {
    /// What is written once per block.
    pub(super) struct Conf {
        version: HttpVersion,
        method: Template,
        set_body: Template,
    }
}

/// What may be written several times; a block that writes one of them takes none of that kind from around it.
#[derive(Default)]
pub(super) struct Lists {
    pub set_header: Vec<(Box<[u8]>, Template)>,
    pub redirect: Vec<Redirect>,
    /// `None`: `off`.
    pub cookie_domain: Vec<Option<Rule>>,
    pub cookie_path: Vec<Option<Rule>>,
    pub cookie_flags: Vec<Option<Flags>>,
}
impl Inherit for Lists {
    fn inherit(&mut self, outer: &Lists) {
        take(&mut self.set_header, &outer.set_header);
        take(&mut self.redirect, &outer.redirect);
        take(&mut self.cookie_domain, &outer.cookie_domain);
        take(&mut self.cookie_path, &outer.cookie_path);
        take(&mut self.cookie_flags, &outer.cookie_flags);
    }
}

/// `proxy_redirect`
#[derive(Clone, Debug)]
pub(super) enum Redirect {
    Off,
    Default,
    Prefix(Template, Template),
    Regex(Regex, Template),
}

/// `proxy_pass`; only blocks that stand for their location inherit it.
#[derive(Clone, Default)]
pub(super) struct Pass {
    pub url: String,
    /// The URL, where it has variables.
    pub template: Option<Template>,
    /// The path of the location it was written in, for the URI to replace.
    pub location: Arc<[u8]>,
    /// Where it stands.
    pub at: Option<Position>,
}
impl Inherit for Pass {
    fn inherit(&mut self, outer: &Pass) {
        if self.url.is_empty() {
            *self = outer.clone();
        }
    }
    fn reaches(kind: Within) -> bool {
        kind == IF_LOCATION || kind == LIMIT_EXCEPT
    }
}

fn pass(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if !at.own::<Pass>().url.is_empty() {
        return Err(Error::directive("is duplicate"));
    }
    let url = a.str(0).to_string();
    let place = a.at();
    let template = Template::compile(at, a, 0)?;
    let location = at.conf::<Place>().map(|p| p.name.clone()).unwrap_or_default();
    if template.as_literal().is_some() {
        let uri = super::pass::parse(&url).map_err(|what| a.error(what))?.uri;
        let in_prefix = at.kind == LOCATION && at.conf::<Place>().is_some_and(|place| place.prefix() > 0);
        if uri.is_some() && !in_prefix {
            return Err(a.error(NO_URI));
        }
    }
    let template = template.as_literal().is_none().then_some(template);
    *at.own::<Pass>() = Pass { url, template, location, at: Some(place) };
    Ok(())
}

const NO_URI: &str = "\"proxy_pass\" cannot have URI part in location given by regular expression, \
    or inside named location, or inside \"if\" statement, or inside \"limit_except\" block";

pub(super) const DEFAULT_WITH_VARIABLES: &str =
    "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables";
const DEFAULT_BEFORE_PASS: &str =
    "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive";

fn redirect(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let redirect = match (a.words.len(), a.str(0)) {
        (1, "off") => Redirect::Off,
        (1, "false") => {
            at.warn(a.warning("invalid parameter \"false\", use \"off\" instead"));
            Redirect::Off
        }
        (1, "default") => match at.conf::<Pass>() {
            Some(Pass { template: None, .. }) => Redirect::Default,
            Some(_) => return Err(a.error(DEFAULT_WITH_VARIABLES)),
            None => return Err(a.error(DEFAULT_BEFORE_PASS)),
        },
        (1, other) => return Err(a.error(format!("invalid parameter \"{other}\""))),
        (_, from) => {
            let to = Template::compile(at, a, 1)?;
            match from.strip_prefix('~') {
                Some(pattern) => {
                    let (pattern, caseless) =
                        pattern.strip_prefix('*').map_or((pattern, false), |p| (p, true));
                    Redirect::Regex(Regex::new(at, pattern, caseless).map_err(|e| a.error(e.message))?, to)
                }
                None => Redirect::Prefix(Template::compile(at, a, 0)?, to),
            }
        }
    };
    let list = &mut at.own::<Lists>().redirect;
    if matches!(redirect, Redirect::Off) && !list.is_empty()
        || list.iter().any(|r| matches!(r, Redirect::Off))
    {
        return Err(Error::directive("is duplicate"));
    }
    list.push(redirect);
    Ok(())
}

/// `off`, or from what to what.
fn cookie(at: &Scope, a: &Args<'_>, plain: fn(Template, Template) -> Rule) -> Result<Option<Rule>, Error> {
    if a.words.len() == 1 {
        return match a.str(0) {
            "off" => Ok(None),
            other => Err(a.error(format!("invalid parameter \"{other}\""))),
        };
    }
    let to = Template::compile(at, a, 1)?;
    let Some(pattern) = a.str(0).strip_prefix('~') else {
        return Ok(Some(plain(Template::compile(at, a, 0)?, to)));
    };
    // Domains have no case; paths have, unless the pattern begins with `~*`.
    let (pattern, caseless) = match pattern.strip_prefix('*') {
        _ if a.directive == "proxy_cookie_domain" => (pattern, true),
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let regex = Regex::new(at, pattern, caseless).map_err(|e| a.error(e.message))?;
    Ok(Some(Rule::Regex(regex, to)))
}
/// `off`, or which cookies get which flags.
fn cookie_flags(at: &Scope, a: &Args<'_>) -> Result<Option<Flags>, Error> {
    if a.words.len() == 1 {
        return match a.str(0) {
            "off" => Ok(None),
            other => Err(a.error(format!("invalid parameter \"{other}\""))),
        };
    }
    let cookie = match a.str(0).strip_prefix('~') {
        Some(pattern) => Which::Matching(Regex::new(at, pattern, true).map_err(|e| a.error(e.message))?),
        None => Which::Named(Template::compile(at, a, 0)?),
    };
    let flags = (1..a.words.len()).map(|i| Template::compile(at, a, i)).collect::<Result<_, _>>()?;
    Ok(Some(Flags { cookie, flags }))
}
fn add_cookie<T>(list: &mut Vec<Option<T>>, rule: Option<T>) -> Result<(), Error> {
    if (rule.is_none() && !list.is_empty()) || list.iter().any(Option::is_none) {
        return Err(Error::directive("is duplicate"));
    }
    list.push(rule);
    Ok(())
}

fn set_header(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let value = Template::compile_for_servers(at, a, 1)?;
    at.own::<Lists>().set_header.push((a.bytes(0).into(), value));
    Ok(())
}

fn http_version(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let version = match a.str(0) {
        "1.0" => HttpVersion::Http10,
        "1.1" => HttpVersion::Http11,
        "2" => HttpVersion::Http2,
        other => return Err(a.error(format!("invalid value \"{other}\""))),
    };
    at.own::<Conf>().version.set(version)
}

/// A size that is checked, and has no effect: no such table is limited.
fn needless(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.number::<u32>(0)?;
    crate::modules::core::process::once_here(at, a)?;
    at.warn(a.notice(format!("\"{}\" has no effect: the table grows as it must", a.directive)));
    Ok(())
}
