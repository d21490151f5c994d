//! `set_real_ip_from`: the client behind a proxy that is trusted, in the place of the proxy.

use conf::{Args, Error, IN_HTTP, Inherit, List, Scope, Setting, directive};

use super::Module;
use crate::flow::Verdict;
use crate::http::request::Request;
use crate::http::steps::{Outcome, Step};
use crate::http::variables::variable;
use crate::network::{self, Network};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "realip",
    directives: &[
        directive("set_real_ip_from", IN_HTTP, conf::exactly(1), from),
        directive("real_ip_header", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().source.set(Source::read(a.str(0)))
        }),
        directive("real_ip_recursive", IN_HTTP, conf::flag(), |at, a| {
            at.own::<Conf>().recursive.set(a.flag(0)?)
        }),
    ],
    variables: &[
        variable("realip_remote_addr", |request, out| {
            match request.client.connected_from().ip() {
                Some(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
                None => out.extend_from_slice(b"unix:"),
            }
            true
        }),
        variable("realip_remote_port", |request, out| {
            let port = request.client.connected_from().address().map_or(0, |address| address.port());
            if port != 0 {
                wire::push_decimal(out, port.into());
            }
            true
        }),
    ],
};

/// As written.
#[derive(Default)]
struct Conf {
    from: List<Network>,
    source: Setting<Source>,
    recursive: Setting<bool>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.from.inherit(&outer.from);
        self.source.inherit(&outer.source);
        self.recursive.inherit(&outer.recursive);
    }
}

/// Where a proxy says who its client is.
#[derive(Clone)]
enum Source {
    /// All header lines of this name, the last address first.
    Forwarded,
    /// The first header of this name.
    Header(Box<[u8]>),
    /// What the connection began with.
    ProxyProtocol,
}
impl Source {
    fn read(name: &str) -> Source {
        match name {
            "X-Forwarded-For" => Source::Forwarded,
            "proxy_protocol" => Source::ProxyProtocol,
            name => Source::Header(name.as_bytes().into()),
        }
    }
}

fn from(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let text = a.str(0);
    if let Some(network) = Network::read(at, a, text) {
        at.own::<Conf>().from.push(network);
        return Ok(());
    }
    let unknown = |why: &str| a.error(format!("{why} in set_real_ip_from \"{text}\""));
    if text.is_empty() || text.contains('/') {
        return Err(unknown("host not found"));
    }
    let found = a.inputs().resolve(text, 0).map_err(|_| unknown("host not found"))?;
    for address in found {
        at.own::<Conf>().from.push(Network::of(address.ip()));
    }
    Ok(())
}

/// As run.
struct RealIp {
    from: Box<[Network]>,
    source: Source,
    recursive: bool,
}

/// After the head is read, and again in the location, whose settings may be others; but once for each request.
pub(crate) fn step(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|conf| !conf.from.is_empty()) else { return Ok(None) };
    Ok(Some(Box::new(RealIp {
        from: conf.from.as_slice().into(),
        source: conf.source.or(Source::Header(b"X-Real-IP"[..].into())),
        recursive: conf.recursive.or(false),
    })))
}

impl Step for RealIp {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        if !request.client.speaks_for_another() {
            self.replace(request);
        }
        Verdict::Next.into()
    }
}

impl RealIp {
    fn replace(&self, request: &mut Request) {
        let peer = request.client.peer;
        let named = |name: &'static [u8]| {
            let headers = request.head.headers.iter();
            let headers = headers.filter(|h| request.text(h.name).eq_ignore_ascii_case(name));
            headers.map(|h| request.text(h.value)).collect::<Vec<_>>()
        };
        let found = match &self.source {
            Source::Forwarded => {
                let lines = named(b"x-forwarded-for");
                network::forwarded(peer, lines.into_iter().rev(), &self.from, self.recursive)
            }
            Source::Header(name) => {
                let mut headers = request.head.headers.iter();
                let header = headers.find(|h| request.text(h.name).eq_ignore_ascii_case(name));
                let value = header.map(|h| request.text(h.value));
                network::forwarded(peer, value.into_iter(), &self.from, self.recursive)
            }
            Source::ProxyProtocol => request.client.proxied.as_ref().and_then(|proxied| {
                let trusted = self.from.iter().any(|network| network.includes(peer.ip()));
                trusted.then_some(proxied.source.into())
            }),
        };
        if let Some(found) = found {
            request.client.speak_for(found);
        }
    }
}
