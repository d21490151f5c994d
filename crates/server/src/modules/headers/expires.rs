//! `expires`: `Expires` and `Cache-Control` by a time.

use conf::{Args, Error, Scope};
use wire::Known;

use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::variables::Template;

/// What `expires` says.
#[derive(Clone)]
pub enum Expires {
    Off,
    Epoch,
    Max,
    /// Seconds from now.
    Access(i64),
    /// Seconds from the last modification.
    Modified(i64),
    /// Seconds after midnight.
    Daily(i64),
    /// Any of these, known at run time.
    Variable {
        text: Template,
        modified: bool,
    },
}

/// Reads the directive.
pub fn read(at: &Scope, a: &Args<'_>) -> Result<Expires, Error> {
    let modified = a.words.len() == 2;
    if modified && a.str(0) != "modified" {
        return Err(a.invalid());
    }
    let text = Template::compile(at, a, a.words.len() - 1)?;
    match text.as_literal() {
        Some(text) => parse(text, modified).map_err(Error::directive),
        None => Ok(Expires::Variable { text, modified }),
    }
}

/// What a text means, or what is wrong with it.
fn parse(text: &[u8], modified: bool) -> Result<Expires, &'static str> {
    match text {
        b"off" if !modified => return Ok(Expires::Off),
        b"epoch" if !modified => return Ok(Expires::Epoch),
        b"max" if !modified => return Ok(Expires::Max),
        [b'@', ..] if modified => return Err("daily time cannot be used with \"modified\" parameter"),
        _ => {}
    }
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+' | b'@', rest @ ..] => (1, rest),
        all => (1, all),
    };
    let seconds = conf::sec(digits).and_then(|n| i64::try_from(n).ok()).ok_or("invalid value")?;
    match text.first() {
        Some(b'@') if seconds > 24 * 3600 => Err("daily time value must be less than 24 hours"),
        Some(b'@') => Ok(Expires::Daily(seconds)),
        _ if modified => Ok(Expires::Modified(sign * seconds)),
        _ => Ok(Expires::Access(sign * seconds)),
    }
}

/// Sets both headers.
pub fn set(expires: &Expires, request: &mut Request) {
    let now = request.thread.handle.unix_time().as_secs() as i64;
    let (at, cache_control) = match expires {
        Expires::Off => return,
        Expires::Epoch => (0, "no-cache".to_owned()),
        Expires::Max => (2_145_916_555, "max-age=315360000".to_owned()),
        Expires::Access(seconds) => relative(now, now.saturating_add(*seconds)),
        // As in nginx, that is now, whatever the age.
        Expires::Modified(0) => relative(now, now),
        Expires::Modified(seconds) => {
            let since = modified(request).map_or(now, |modified| modified as i64);
            let (at, age) = relative(now, since.saturating_add(*seconds));
            // As in nginx, what is written negative is never kept, however far ahead the modification is.
            (at, if *seconds < 0 { "no-cache".into() } else { age })
        }
        Expires::Daily(seconds) => relative(now, next_daily(now, *seconds)),
        Expires::Variable { text, modified } => {
            let mut value = request.thread.buffer();
            text.render(request, &mut value);
            let expires = parse(&value, *modified);
            request.thread.give_buffer(value);
            // A value that is none sets nothing.
            return expires.map_or((), |expires| set(&expires, request));
        }
    };
    let date = wire::date::format(at.max(0) as u64);
    let date: &[u8] =
        if matches!(expires, Expires::Epoch) { b"Thu, 01 Jan 1970 00:00:01 GMT" } else { &date };
    put(&mut request.response, Known::Expires, b"Expires", date);
    put(&mut request.response, Known::CacheControl, b"Cache-Control", cache_control.as_bytes());
}

/// The header's value, in the place of the first of this name that is there.
fn put(response: &mut Response, known: Known, name: &[u8], value: &[u8]) {
    let Some(i) = response.headers.iter().position(|header| header.known == known) else {
        return response.add(known, name, value);
    };
    response.headers[i].value = response.store(value);
    if known == Known::CacheControl {
        let mut first = true;
        response.keep(|header, _| header.known != known || std::mem::take(&mut first));
    }
}

/// The age of what is answered, also where an upstream says it.
fn modified(request: &Request) -> Option<u64> {
    let response = &request.response;
    let said = || response.header(b"Last-Modified").and_then(wire::date::parse);
    response.last_modified.or_else(said)
}

fn relative(now: i64, at: i64) -> (i64, String) {
    match at - now {
        ..=-1 => (at, "no-cache".into()),
        seconds => (at, format!("max-age={seconds}")),
    }
}

/// The next time of day in the machine's time zone.
fn next_daily(now: i64, seconds: i64) -> i64 {
    let offset = jiff::Timestamp::from_second(now)
        .map_or(0, |t| i64::from(t.to_zoned(jiff::tz::TimeZone::system()).offset().seconds()));
    let midnight = (now + offset).div_euclid(86_400) * 86_400 - offset;
    let today = midnight + seconds;
    if today > now { today } else { today + 86_400 }
}
