//! `userid`: a cookie by which a client is known again.

use conf::{Args, Error, IN_HTTP, Scope, directive};
use wire::Known;

use self::uid::Uid;
use super::Module;
use crate::http::filters::HeaderFilter;
use crate::http::plan::Settings;
use crate::http::request::Request;
use crate::http::variables::{Index, Names, settable, variable};
use crate::worker::generation::Compiler;

mod uid;

pub(crate) static MODULE: Module = Module {
    name: "userid",
    directives: &[
        directive("userid", IN_HTTP, conf::exactly(1), |at, a| {
            let state = a.one_of(
                0,
                &[("off", State::Off), ("log", State::Log), ("v1", State::V1), ("on", State::On)],
            )?;
            at.own::<Conf>().state.set(state)
        }),
        directive("userid_service", IN_HTTP, conf::exactly(1), |at, a| {
            // nginx takes any number, and keeps 32 bits of it.
            at.own::<Conf>().service.set(a.number::<u64>(0)? as u32)
        }),
        directive("userid_name", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().name.set(a.str(0).into())
        }),
        directive("userid_domain", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().domain.set(unless_none(a, "; domain="))
        }),
        directive("userid_path", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().path.set(format!("; path={}", a.str(0)))
        }),
        directive("userid_expires", IN_HTTP, conf::exactly(1), |at, a| {
            let expires = match a.str(0) {
                "max" => Expires::Max,
                "off" => Expires::Never,
                _ => match a.sec(0)? {
                    0 => Expires::Never,
                    seconds => Expires::After(seconds),
                },
            };
            at.own::<Conf>().expires.set(expires)
        }),
        directive("userid_flags", IN_HTTP, conf::between(1, 3), |at, a| {
            a.bits(at, FLAGS, |at| &mut at.own::<Conf>().flags)
        }),
        directive("userid_p3p", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().p3p.set(unless_none(a, ""))
        }),
        directive("userid_mark", IN_HTTP, conf::exactly(1), mark),
    ],
    variables: &[
        variable("uid_got", |request, out| {
            let plan = request.plan();
            let Some(conf) = plan.settings::<UserId>() else { return false };
            let uid = conf.got(request);
            uid.is_known() && uid.push(&conf.name, &uid.got, out)
        }),
        variable("uid_set", |request, out| {
            let plan = request.plan();
            let Some(conf) = plan.settings::<UserId>().filter(|conf| conf.sets()) else { return false };
            let uid = conf.made(request);
            uid.is_set() && uid.push(&conf.name, &uid.set, out)
        }),
        settable(
            "uid_reset",
            |request, out| {
                if let Some(Reset(value)) = request.kept::<Reset>() {
                    out.extend_from_slice(value);
                }
                true
            },
            |request, value| {
                request.forget::<Reset>();
                request.keep(Reset(value.into()));
            },
        ),
    ],
};

/// What `set $uid_reset` said.
struct Reset(Box<[u8]>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    /// Cookies are read only.
    Log,
    V1,
    On,
}
#[derive(Clone, Copy)]
enum Expires {
    Never,
    Max,
    After(u64),
}

settings! {
    /// As written.
    struct Conf {
        state: State,
        service: u32,
        name: String,
        domain: String,
        path: String,
        expires: Expires,
        flags: u32,
        p3p: String,
        mark: Option<u8>,
    }
}

fn unless_none(a: &Args<'_>, before: &str) -> String {
    match a.str(0) {
        "none" => String::new(),
        text => format!("{before}{text}"),
    }
}

/// What `userid_flags` can name; those with `SAMESITE` exclude one another.
const FLAGS: &[(&str, u32)] = &[
    ("off", 1),
    ("secure", 1 << 1),
    ("httponly", 1 << 2),
    ("samesite=strict", SAMESITE | 1 << 3),
    ("samesite=lax", SAMESITE | 1 << 4),
    ("samesite=none", SAMESITE | 1 << 5),
];
const SAMESITE: u32 = 1 << 6;

/// As they stand in the cookie.
fn flags(bits: u32) -> String {
    let set = FLAGS.iter().skip(1).filter(|(_, bit)| bits & bit == *bit);
    set.map(|(flag, _)| format!("; {flag}")).collect()
}

fn mark(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let mark = match a.bytes(0) {
        b"off" => None,
        [byte] if byte.is_ascii_alphanumeric() || *byte == b'=' => Some(*byte),
        _ => {
            return Err(Error::directive("value must be \"off\" or a single letter, digit or \"=\""));
        }
    };
    at.own::<Conf>().mark.set(mark)
}

/// As run.
struct UserId {
    state: State,
    service: Option<u32>,
    name: Box<str>,
    /// The cookie's attributes but for its end.
    place: Box<str>,
    flags: Box<str>,
    expires: Expires,
    p3p: Box<str>,
    mark: Option<u8>,
    /// `$cookie_name`, and `$uid_reset`.
    cookie: Index,
    reset: Index,
}

fn compiled(at: &Scope) -> Option<UserId> {
    let conf = at.conf::<Conf>()?;
    let state = conf.state.or(State::Off);
    let name = conf.name.or("uid".into());
    let names = at.shared::<Names>();
    let (domain, path) = (conf.domain.or(String::new()), conf.path.or("; path=/".into()));
    (state != State::Off).then(|| UserId {
        state,
        service: conf.service.written().copied(),
        cookie: names.index(format!("cookie_{name}").as_bytes()),
        reset: names.index(b"uid_reset"),
        name: name.into(),
        place: format!("{domain}{path}").into(),
        flags: flags(conf.flags.or(0)).into(),
        expires: conf.expires.or(Expires::Never),
        p3p: conf.p3p.or(String::new()).into(),
        mark: conf.mark.or(None),
    })
}

pub(crate) fn settings(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Settings>, Error> {
    Ok(compiled(at).map(|conf| Box::new(conf) as _))
}
pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    Ok(compiled(at).filter(UserId::sets).map(|conf| Box::new(conf) as _))
}

impl HeaderFilter for UserId {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        let uid = self.made(request);
        if !uid.is_set() {
            return Ok(());
        }
        let mut cookie = self.name.as_bytes().to_vec();
        cookie.push(b'=');
        uid.push_cookie(self.mark, &mut cookie);
        match self.expires {
            Expires::Never => {}
            Expires::Max => cookie.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT"),
            Expires::After(seconds) => {
                cookie.extend_from_slice(b"; expires=");
                uid::push_date(request.thread.clock.unix().as_secs().saturating_add(seconds), &mut cookie);
            }
        }
        cookie.extend_from_slice(self.place.as_bytes());
        cookie.extend_from_slice(self.flags.as_bytes());
        request.response.add(Known::Other, b"Set-Cookie", &cookie);
        if !self.p3p.is_empty() {
            request.response.add(Known::Other, b"P3P", self.p3p.as_bytes());
        }
        Ok(())
    }
}

impl UserId {
    fn sets(&self) -> bool {
        matches!(self.state, State::V1 | State::On)
    }
    /// What the client sent; looked at once for each pass through a location.
    fn got(&self, request: &mut Request) -> Uid {
        if let Some(uid) = request.kept_in_pass::<Uid>() {
            return uid.clone();
        }
        let mut cookie = Vec::new();
        let found = request.variable(self.cookie, &mut cookie);
        let uid = match Uid::read(&cookie) {
            _ if !found => Uid::default(),
            Ok(uid) => uid,
            Err(what) => {
                let line = crate::log::shown(request.header(Known::Cookie).unwrap_or_default());
                log_error!(request, "client sent {what} userid cookie \"{line}\"");
                Uid::default()
            }
        };
        request.keep_in_pass(uid.clone());
        uid
    }
    /// The same, with what the client is to be called from now on.
    fn made(&self, request: &mut Request) -> Uid {
        let mut uid = self.got(request);
        if uid.is_set() {
            return uid;
        }
        if uid.is_known() {
            let mut value = Vec::new();
            request.variable(self.reset, &mut value);
            if matches!(&value[..], b"" | b"0") {
                uid.keep(self.mark);
                self.remember(request, &uid);
                return uid;
            }
            uid.reset = true;
            if value == b"log" {
                let mut text = Vec::new();
                uid.push(&self.name, &uid.got, &mut text);
                let text = crate::log::shown(&text);
                request.note(crate::log::Level::Notice, format_args!("userid cookie \"{text}\" was reset"));
            }
        }
        let now = request.thread.clock.unix().as_secs() as u32;
        match self.state {
            State::V1 => uid.make_v1(self.service.unwrap_or(0), now),
            _ => {
                let place = match self.service {
                    Some(service) => service.to_be(),
                    None => uid::of_address(request.client.local_address()),
                };
                uid.make(place, now);
            }
        }
        self.remember(request, &uid);
        uid
    }
    fn remember(&self, request: &mut Request, uid: &Uid) {
        if let Some(kept) = request.kept_in_pass_mut::<Uid>() {
            kept.clone_from(uid);
        }
    }
}
