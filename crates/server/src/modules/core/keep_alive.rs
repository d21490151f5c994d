//! How long a client's connection stays open between its requests.

use std::time::Duration;

use conf::{Args, Directive, Error, Scope, directive};

use super::ANY;
use crate::http::request::Request;

pub(super) const DIRECTIVES: &[Directive] = &[
    directive("keepalive_timeout", ANY, conf::between(1, 2), keepalive_timeout),
    directive("keepalive_min_timeout", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().min_timeout.set(a.msec(0)?)
    }),
    directive("keepalive_requests", ANY, conf::exactly(1), |at, a| {
        at.own::<Conf>().requests.set(a.number(0)?)
    }),
    directive("keepalive_time", ANY, conf::exactly(1), |at, a| at.own::<Conf>().time.set(a.msec(0)?)),
    directive("keepalive_disable", ANY, conf::between(1, 2), |at, a| {
        a.bits(at, DISABLE, |at| &mut at.own::<Conf>().disable)
    }),
];

settings! {
    /// As written.
    struct Conf {
        timeout: u64,
        min_timeout: u64,
        header: u64,
        requests: u32,
        time: u64,
        disable: u32,
    }
}

/// As run.
pub struct KeepAlive {
    /// How long a connection may rest; zero: none stays open.
    pub timeout: Duration,
    /// How long it rests at least while the worker shuts down.
    pub min_timeout: Duration,
    /// What the `Keep-Alive` field says, in seconds.
    pub header: Option<u64>,
    /// How many requests a connection may bring.
    pub requests: u32,
    /// How old a connection may get.
    pub time: Duration,
    disable: Disable,
}

pub(super) fn compile(at: &Scope) -> KeepAlive {
    let none = Conf::default();
    let c = at.conf::<Conf>().unwrap_or(&none);
    KeepAlive {
        timeout: Duration::from_millis(c.timeout.or(75_000)),
        min_timeout: Duration::from_millis(c.min_timeout.or(0)),
        header: c.header.written().copied().filter(|seconds| *seconds > 0),
        requests: c.requests.or(1000),
        time: Duration::from_millis(c.time.or(3_600_000)),
        disable: Disable(c.disable.or(MSIE6)),
    }
}

impl KeepAlive {
    /// Whether this connection may stay open after the request, as far as the configuration says.
    pub fn allows(&self, request: &Request) -> bool {
        let client = &request.client;
        !self.timeout.is_zero()
            && client.requests < self.requests
            && client.opened.checked_add(self.time).is_none_or(|end| request.started <= end)
            && !self.disable.applies(request)
    }
}

/// Which old browsers get no keep-alive.
#[derive(Clone, Copy, Debug)]
struct Disable(u32);
/// What `keepalive_disable` can name: old MSIE after a POST, Safari on macOS.
const DISABLE: &[(&str, u32)] = &[("none", 1), ("msie6", MSIE6), ("safari", SAFARI)];
const MSIE6: u32 = 2;
const SAFARI: u32 = 4;

impl Disable {
    fn applies(self, request: &Request) -> bool {
        let disabled = |bit| self.0 & bit != 0;
        if !disabled(MSIE6 | SAFARI) {
            return false;
        }
        let Some(agent) = request.header(wire::Known::UserAgent) else { return false };
        let has = |text: &[u8]| memchr::memmem::find(agent, text).is_some();
        // The sixth with its second service pack can do it.
        let old = |at: usize| match agent.get(at + 5..at + 8) {
            Some([b'4' | b'5', b'.', _]) => true,
            Some([b'6', b'.', _]) => memchr::memmem::find(&agent[at + 8..], b"SV1").is_none(),
            _ => false,
        };
        let msie6 = disabled(MSIE6)
            && request.head.method == wire::Method::Post
            && memchr::memmem::find(agent, b"MSIE ").is_some_and(old)
            && !has(b"Opera");
        let other = || has(b"Gecko/") || has(b"Chrome/") || has(b"MSIE ") || has(b"Opera");
        msie6 || (disabled(SAFARI) && has(b"Safari/") && has(b"Mac OS X") && !other())
    }
}

fn keepalive_timeout(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let conf = at.own::<Conf>();
    conf.timeout.set(a.msec(0)?)?;
    // What the header says is inherited by itself.
    if a.words.len() == 2 { conf.header.set(a.sec(1)?) } else { Ok(()) }
}
