//! `health_check` and `match` as written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conf::{Args, Error, Inherit, Position, Scope, Within};

use crate::http::regex::Regex;
use crate::upstream::{Check, Group, Match, Test, Value};

/// The checks of one location.
#[derive(Default)]
pub(super) struct Checks(Vec<Written>);
struct Written {
    check: Check,
    wanted: Option<String>,
    at: Position,
}
impl Inherit for Checks {
    fn inherit(&mut self, _: &Checks) {}
    fn reaches(_: Within) -> bool {
        false
    }
}

/// All `match` blocks.
#[derive(Default)]
struct Matches(Mutex<HashMap<String, Arc<Match>>>);

/// `health_check [parameters]`
pub(super) fn health_check(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let mut check = Check {
        interval: Duration::from_secs(5),
        jitter: Duration::ZERO,
        fails: 1,
        passes: 1,
        uri: "/".into(),
        port: None,
        mandatory: false,
        persistent: false,
        timeout: Duration::from_secs(5),
        wanted: None,
    };
    let mut wanted = None;
    for i in 0..a.len() {
        let invalid = || a.invalid_parameter(i);
        let time = |text: &str| conf::msec(text.as_bytes()).map(Duration::from_millis).ok_or_else(invalid);
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(invalid);
        match a.str(i).split_once('=') {
            None if a.str(i) == "mandatory" => check.mandatory = true,
            None if a.str(i) == "persistent" && check.mandatory => check.persistent = true,
            Some(("interval", text)) => {
                check.interval = time(text)?;
                if check.interval.is_zero() {
                    return Err(invalid());
                }
            }
            Some(("jitter", text)) => check.jitter = time(text)?,
            Some(("timeout", text)) => check.timeout = time(text)?,
            Some(("fails", text)) => check.fails = number(text)?,
            Some(("passes", text)) => check.passes = number(text)?,
            Some(("uri", text)) if text.starts_with('/') && !text.contains([' ', '\r', '\n']) => {
                check.uri = text.into();
            }
            Some(("port", text)) => {
                check.port = Some(text.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)?);
            }
            Some(("match", name)) => wanted = Some(name.to_owned()),
            _ => return Err(invalid()),
        }
    }
    at.own::<Checks>().0.push(Written { check, wanted, at: a.at() });
    Ok(())
}

/// Gives the checks of a location to the group that it asks.
///
/// # Errors
/// Where it asks none, and where a `match` is missing.
pub fn checks(scope: &Scope, group: Option<&Arc<Group>>) -> Result<(), Error> {
    let Some(written) = scope.conf::<Checks>() else { return Ok(()) };
    for Written { check, wanted, at } in &written.0 {
        let refuse = |what: String| Error::emerg(what).at(at.clone());
        let group = group.filter(|group| group.port.is_none());
        let group =
            group.ok_or_else(|| refuse("no upstream group for \"health_check\" in this location".into()))?;
        let mut check = check.clone();
        if let Some(name) = wanted {
            let matches = scope.shared::<Matches>();
            let all = matches.0.lock().unwrap_or_else(PoisonError::into_inner);
            let found = all.get(name).cloned();
            check.wanted = Some(found.ok_or_else(|| refuse(format!("match \"{name}\" is not found")))?);
        }
        group.check(check);
    }
    Ok(())
}

/// `match name { .. }`
pub(super) fn block(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let name = a.str(0);
    let tests = a.entries().map(|entry| test(at, &entry)).collect::<Result<_, _>>()?;
    let wanted = Arc::new(Match { name: name.into(), tests });
    let matches = at.shared::<Matches>();
    let mut all = matches.0.lock().unwrap_or_else(PoisonError::into_inner);
    match all.insert(name.into(), wanted) {
        Some(_) => Err(a.error(format!("duplicate match \"{name}\""))),
        None => Ok(()),
    }
}

fn test(at: &Scope, a: &Args<'_>) -> Result<Test, Error> {
    let words: Vec<&str> = a.iter().collect();
    let regex = |pattern: &str| Regex::new(at, pattern, false).map_err(|e| a.error(e.message));
    match (a.directive, &*words) {
        ("status", ["!", codes @ ..]) if !codes.is_empty() => {
            Ok(Test::Status { ranges: ranges(a, codes)?, not: true })
        }
        ("status", codes) if !codes.is_empty() => Ok(Test::Status { ranges: ranges(a, codes)?, not: false }),
        ("header", ["!", name]) => Ok(Test::Header { name: (*name).into(), value: None, not: true }),
        ("header", [name]) => Ok(Test::Header { name: (*name).into(), value: None, not: false }),
        ("header", [name, how, value]) => {
            let (value, not) = match *how {
                "=" | "!=" => (Value::Is((*value).into()), *how == "!="),
                "~" | "!~" => (Value::Like(regex(value)?), *how == "!~"),
                _ => return Err(a.invalid_parameter(1)),
            };
            Ok(Test::Header { name: (*name).into(), value: Some(value), not })
        }
        ("body", [how @ ("~" | "!~"), pattern]) => {
            Ok(Test::Body { value: regex(pattern)?, not: *how == "!~" })
        }
        ("require", _) => Err(a.error("\"require\" is not supported by plimsoll")),
        ("status" | "header" | "body", _) => {
            let name = a.directive;
            Err(a.error(format!("invalid number of arguments in \"{name}\" directive")))
        }
        (name, _) => Err(a.error(format!("unknown directive \"{name}\""))),
    }
}

fn ranges(a: &Args<'_>, codes: &[&str]) -> Result<Vec<(u16, u16)>, Error> {
    let range = |code: &&str| {
        let (first, last) = code.split_once('-').unwrap_or((code, code));
        let number = |text: &str| text.parse::<u16>().ok().filter(|n| (100..600).contains(n));
        number(first).zip(number(last)).filter(|(first, last)| first <= last)
    };
    let bad = |code: &&str| a.error(format!("invalid status \"{code}\""));
    codes.iter().map(|code| range(code).ok_or_else(|| bad(code))).collect()
}
