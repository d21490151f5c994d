//! `add_header` and `expires`.

use conf::{Args, Error, HTTP, IF_LOCATION, Inherit, LOCATION, SERVER, Scope, Within, directive};
use wire::Known;

use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

const IN: Within = HTTP.or(SERVER).or(LOCATION).or(IF_LOCATION);

pub(crate) static MODULE: Module = Module {
    name: "headers",
    directives: &[
        directive("add_header", IN, conf::between(2, 3), add_header),
        directive("expires", IN, conf::between(1, 2), expires),
    ],
    variables: &[],
};

/// As written.
#[derive(Default)]
struct Conf {
    add: Vec<Header>,
    expires: conf::Setting<Expires>,
}
#[derive(Clone)]
struct Header {
    name: Box<[u8]>,
    value: Template,
    always: bool,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if self.add.is_empty() {
            self.add.clone_from(&outer.add);
        }
        self.expires.inherit(&outer.expires);
    }
}

/// What `expires` says.
#[derive(Clone)]
enum Expires {
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
    Variable(Template),
}

fn add_header(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let value = Template::compile(at, a, 1)?;
    let always = match a.words.len() {
        3 if a.str(2) == "always" => true,
        3 => return Err(a.error(format!("invalid parameter \"{}\"", a.str(2)))),
        _ => false,
    };
    at.own::<Conf>().add.push(Header { name: a.bytes(0).into(), value, always });
    Ok(())
}

fn expires(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let value = if a.words.len() == 1 && a.bytes(0).contains(&b'$') {
        Expires::Variable(Template::compile(at, a, 0)?)
    } else {
        let modified = a.words.len() == 2;
        if modified && a.str(0) != "modified" {
            return Err(a.invalid());
        }
        let text = a.str(a.words.len() - 1);
        parse(text, modified).ok_or_else(|| a.invalid())?
    };
    at.own::<Conf>().expires.set(value)
}

fn parse(text: &str, modified: bool) -> Option<Expires> {
    if !modified {
        match text {
            "off" => return Some(Expires::Off),
            "epoch" => return Some(Expires::Epoch),
            "max" => return Some(Expires::Max),
            _ => {}
        }
    }
    if let Some(time) = text.strip_prefix('@') {
        let seconds = i64::try_from(conf::sec(time.as_bytes())?).ok()?;
        return (!modified && seconds <= 24 * 3600).then_some(Expires::Daily(seconds));
    }
    let (sign, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        all => (1, all),
    };
    let seconds = sign * i64::try_from(conf::sec(digits)?).ok()?;
    Some(if modified { Expires::Modified(seconds) } else { Expires::Access(seconds) })
}

/// As run.
struct Headers {
    add: Vec<Header>,
    expires: Expires,
}

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let expires = conf.expires.or(Expires::Off);
    if conf.add.is_empty() && matches!(expires, Expires::Off) {
        return Ok(None);
    }
    Ok(Some(Box::new(Headers { add: conf.add.clone(), expires })))
}

impl HeaderFilter for Headers {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        let usual =
            matches!(request.response.status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308);
        if usual {
            set_expires(&self.expires, request);
        }
        let mut value = request.thread.buffer();
        for header in self.add.iter().filter(|h| usual || h.always) {
            value.clear();
            header.value.render(request, &mut value);
            add(request, &header.name, &value);
        }
        request.thread.give_buffer(value);
        Ok(())
    }
}

/// An empty value adds nothing; `Last-Modified` and `ETag` replace; the rest is appended.
fn add(request: &mut Request, name: &[u8], value: &[u8]) {
    let response = &mut request.response;
    if name.eq_ignore_ascii_case(b"Last-Modified") {
        response.last_modified = wire::date::parse(value);
        response.last_modified_text = (!value.is_empty()).then(|| response.store(value));
        return;
    }
    if name.eq_ignore_ascii_case(b"ETag") {
        response.remove(b"ETag");
    }
    if !value.is_empty() {
        response.add(Known::of(name), name, value);
    }
}

fn set_expires(expires: &Expires, request: &mut Request) {
    let now = request.thread.handle.unix_time().as_secs() as i64;
    let (at, cache_control) = match expires {
        Expires::Off => return,
        Expires::Epoch => (0, "no-cache".to_owned()),
        Expires::Max => (2_145_916_555, "max-age=315360000".to_owned()),
        Expires::Access(seconds) => relative(now, now + seconds),
        Expires::Modified(seconds) => match request.response.last_modified {
            Some(modified) => relative(now, modified as i64 + seconds),
            None => relative(now, now + seconds),
        },
        Expires::Daily(seconds) => relative(now, next_daily(now, *seconds)),
        Expires::Variable(template) => {
            let mut text = Vec::new();
            template.render(request, &mut text);
            let parsed = std::str::from_utf8(&text).ok().and_then(|text| parse(text, false));
            if let Some(expires) = parsed.filter(|e| !matches!(e, Expires::Variable(_))) {
                set_expires(&expires, request);
            }
            return;
        }
    };
    request.response.remove(b"Expires");
    request.response.remove(b"Cache-Control");
    let date = wire::date::format(at.max(0) as u64);
    let date: &[u8] =
        if matches!(expires, Expires::Epoch) { b"Thu, 01 Jan 1970 00:00:01 GMT" } else { &date };
    request.response.add(Known::Expires, b"Expires", date);
    request.response.add(Known::CacheControl, b"Cache-Control", cache_control.as_bytes());
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
