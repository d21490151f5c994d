//! `sticky` as written.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use conf::{Args, Error, Scope};

use super::Block;
use crate::http::variables::{Index, Names, Template};
use crate::upstream::{Cookie, Expires, How, SAME_SITE, Sessions, Sticky};

/// `sticky cookie name ..`, `sticky route $variable ..`, `sticky learn ..`
pub(super) fn sticky(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let sticky = match a.str(0) {
        "cookie" => cookie(at, a)?,
        "route" => {
            let names = a.iter().enumerate().skip(1);
            let variables = names.map(|(i, word)| variable(at, word).ok_or_else(|| bad_name(a, i)));
            Sticky { lookup: variables.collect::<Result<_, _>>()?, how: How::Route }
        }
        "learn" => learn(at, a)?,
        _ => return Err(unknown(a, 0)),
    };
    at.own::<Block>().sticky.set(sticky)
}

fn unknown(a: &Args<'_>, i: usize) -> Error {
    a.error(format!("unknown parameter \"{}\"", a.str(i)))
}
fn bad_name(a: &Args<'_>, i: usize) -> Error {
    a.error(format!("invalid variable name \"{}\"", a.str(i)))
}
fn variable(at: &Scope, word: &str) -> Option<Index> {
    let name = word.strip_prefix('$').filter(|name| !name.is_empty())?;
    Some(at.shared::<Names>().index(name.as_bytes()))
}
/// nginx's `"sticky" directive ..`.
fn complain(a: &Args<'_>, what: &str) -> Error {
    a.error(format!("\"sticky\" directive {what}"))
}

fn cookie(at: &Scope, a: &Args<'_>) -> Result<Sticky, Error> {
    let name = a.str(1);
    if name.is_empty() {
        return Err(complain(a, "empty cookie name"));
    }
    let mut cookie = Cookie { name: name.into(), ..Cookie::default() };
    for i in 2..a.len() {
        let (key, value) = a.str(i).split_once('=').map_or((a.str(i), None), |(k, v)| (k, Some(v)));
        let again = |known: bool| match known {
            true => Err(complain(a, &format!("parameter \"{key}\" is duplicate"))),
            false => Ok(()),
        };
        let full = |value: &str| match value {
            "" => Err(complain(a, &format!("no value for \"{key}\""))),
            _ => Ok(()),
        };
        let template = |value: &str| Template::parse(at, value).map_err(|e| a.error(e.message));
        match (key, value) {
            ("domain", Some(value)) => {
                again(cookie.domain.is_some())?;
                full(value)?;
                cookie.domain = Some(template(value)?);
            }
            ("path", Some(value)) => {
                again(cookie.path.is_some())?;
                full(value)?;
                cookie.path = Some(value.into());
            }
            ("expires", Some(value)) => {
                again(cookie.expires.is_some())?;
                cookie.expires = Some(expires(a, value)?);
            }
            ("samesite", Some(value)) => {
                again(cookie.same_site.is_some())?;
                let wanted = template(value)?;
                let known = SAME_SITE.iter().any(|word| word.eq_ignore_ascii_case(value));
                if wanted.as_literal().is_some() && !known {
                    return Err(complain(a, "invalid \"samesite\" parameter value"));
                }
                cookie.same_site = Some(wanted);
            }
            ("httponly", None) => {
                again(cookie.http_only)?;
                cookie.http_only = true;
            }
            ("secure", None) => {
                again(cookie.secure)?;
                cookie.secure = true;
            }
            _ => return Err(unknown(a, i)),
        }
    }
    let lookup = vec![at.shared::<Names>().index(format!("cookie_{name}").as_bytes())];
    Ok(Sticky { lookup, how: How::Cookie(cookie) })
}

fn expires(a: &Args<'_>, value: &str) -> Result<Expires, Error> {
    match value {
        "max" => Ok(Expires::Max),
        _ => conf::sec(value.as_bytes())
            .map(|seconds| Expires::After(Duration::from_secs(seconds)))
            .ok_or_else(|| complain(a, "invalid \"expires\" parameter value")),
    }
}

/// Which upstream has which zone.
#[derive(Default)]
struct Zones(Mutex<Vec<(String, String)>>);

fn learn(at: &mut Scope, a: &Args<'_>) -> Result<Sticky, Error> {
    let (mut create, mut lookup, mut zone, mut timeout) = (Vec::new(), Vec::new(), None, None);
    for i in 1..a.len() {
        let variable = |text: &str, of: &str| {
            let missing = || complain(a, &format!("missing variable in the \"{of}\" parameter"));
            variable(at, text).ok_or_else(missing)
        };
        match a.str(i).split_once('=') {
            Some(("create", name)) => create.push(variable(name, "create")?),
            Some(("lookup", name)) => lookup.push(variable(name, "lookup")?),
            Some(("zone", _)) if zone.is_some() => return Err(complain(a, "duplicate zone")),
            Some(("zone", text)) => zone = Some(name_and_size(a, text)?),
            Some(("timeout", _)) if timeout.is_some() => return Err(complain(a, "duplicate timeout")),
            Some(("timeout", text)) => {
                let time = conf::msec(text.as_bytes()).filter(|time| *time > 0);
                timeout = Some(time.ok_or_else(|| complain(a, "invalid timeout"))?);
            }
            // Sessions are learned as soon as the head of an answer has come, with or without it.
            None if a.str(i) == "header" => {}
            _ => return Err(unknown(a, i)),
        }
    }
    let needed = |name: &str| complain(a, &format!("\"{name}\" parameter is not specified"));
    if lookup.is_empty() {
        return Err(needed("lookup"));
    }
    if create.is_empty() {
        return Err(needed("create"));
    }
    let (name, size) = zone.ok_or_else(|| needed("zone"))?;
    claim(at, a, name)?;
    let timeout = Duration::from_millis(timeout.unwrap_or(600_000));
    let sessions = Sessions::of_zone(name, size, timeout);
    Ok(Sticky { lookup, how: How::Learn { create, sessions } })
}

fn name_and_size<'a>(a: &Args<'a>, text: &'a str) -> Result<(&'a str, u64), Error> {
    let (name, size) = text.split_once(':').ok_or_else(|| complain(a, "zone size is not specified"))?;
    if name.is_empty() {
        return Err(complain(a, "zone name is not specified"));
    }
    let size = conf::size(size.as_bytes()).ok_or_else(|| complain(a, "invalid zone size"))?;
    // As in nginx: eight pages.
    match size < 8 * 4096 {
        true => Err(complain(a, "zone is too small")),
        false => Ok((name, size)),
    }
}

/// A zone is one upstream's.
fn claim(at: &mut Scope, a: &Args<'_>, zone: &str) -> Result<(), Error> {
    let upstream = at.own::<Block>().name.clone();
    let zones = at.shared::<Zones>();
    let mut zones = zones.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, other)) = zones.iter().find(|(name, _)| name == zone) {
        return Err(a.error(format!("sticky zone \"{zone}\" is already used in upstream \"{other}\"")));
    }
    zones.push((zone.into(), upstream));
    Ok(())
}
