//! `grpc_pass`: a request is asked of a gRPC server. Request and answer are streams, side by side.

use std::sync::Arc;

use conf::{Args, Error, IF_LOCATION, IN_HTTP, Inherit, LIMIT_EXCEPT, LOCATION, Position, Scope, Within};
use conf::{at_least, directive, exactly};

use super::Module;
use crate::http::phases::Next;
use crate::http::relay::create::{self, Create, HttpVersion, Place, Preset, SetHeaders, Value};
use crate::http::relay::gateway::address;
use crate::http::relay::target::group;
use crate::http::relay::tls::{self, SslWritten, Tls, ssl_directives};
use crate::http::relay::written::{AGAIN, IGNORED, relay_directives, take};
use crate::http::relay::{self, Asked, Kind, Message, Protocol, Reader, Written};
use crate::http::request::Request;
use crate::http::steps::{Handler, Outcome};
use crate::http::variables::Template;
use crate::resolver::Names;
use crate::upstream::{self, Group, group_number};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module { name: "grpc", directives: DIRECTIVES, variables: &[] };
/// `grpc_ssl_*`: how connections to servers are encrypted.
pub(crate) static SSL: Module =
    Module { name: "grpc", directives: ssl_directives!("grpc", Ssl), variables: &[] };

static DIRECTIVES: &[conf::Directive] = &[
    directive("grpc_pass", LOCATION.or(IF_LOCATION), exactly(1), pass),
    directive("grpc_set_header", IN_HTTP, exactly(2), |at, a| {
        let value = Template::compile_for_servers(at, a, 1)?;
        at.own::<Headers>().0.push((a.bytes(0).into(), value));
        Ok(())
    }),
    relay_directives!(@names "grpc", Relay, "_pass_header", pass_header),
    relay_directives!(@names "grpc", Relay, "_hide_header", hide_header),
    directive("grpc_ignore_headers", IN_HTTP, at_least(1), |at, a| {
        a.bits(at, IGNORED, |at| &mut at.own::<Relay>().0.once.ignore_headers)
    }),
    relay_directives!(@once "grpc", Relay, "_intercept_errors", intercept_errors, flag),
    relay_directives!(@once "grpc", Relay, "_buffer_size", buffer_size, size),
    relay_directives!(@once "grpc", Relay, "_connect_timeout", connect_timeout, msec),
    relay_directives!(@once "grpc", Relay, "_send_timeout", send_timeout, msec),
    relay_directives!(@once "grpc", Relay, "_read_timeout", read_timeout, msec),
    relay_directives!(@bind "grpc", Relay),
    relay_directives!(@once "grpc", Relay, "_socket_keepalive", socket_keepalive, flag),
    relay_directives!(@once "grpc", Relay, "_socket_rcvbuf", socket_rcvbuf, size),
    relay_directives!(@once "grpc", Relay, "_socket_sndbuf", socket_sndbuf, size),
    directive("grpc_next_upstream", IN_HTTP, at_least(1), |at, a| {
        a.bits(at, AGAIN, |at| &mut at.own::<Relay>().0.once.next_upstream)
    }),
    relay_directives!(@once "grpc", Relay, "_next_upstream_tries", next_upstream_tries, number),
    relay_directives!(@once "grpc", Relay, "_next_upstream_timeout", next_upstream_timeout, msec),
];

/// What all modules have that pass requests on.
#[derive(Default)]
struct Relay(Written);
impl Inherit for Relay {
    fn inherit(&mut self, outer: &Relay) {
        self.0.inherit(&outer.0);
    }
}

/// `grpc_set_header`: a block that has any takes none from around it.
#[derive(Default)]
struct Headers(Vec<(Box<[u8]>, Template)>);
impl Inherit for Headers {
    fn inherit(&mut self, outer: &Headers) {
        take(&mut self.0, &outer.0);
    }
}

/// `grpc_ssl_*`
#[derive(Default)]
struct Ssl(SslWritten);
impl Inherit for Ssl {
    fn inherit(&mut self, outer: &Ssl) {
        self.0.inherit(&outer.0);
    }
}

/// `grpc_pass`; only blocks that stand for their location inherit it.
#[derive(Default)]
struct Pass(Option<(Template, Position)>);
impl Inherit for Pass {
    fn inherit(&mut self, outer: &Pass) {
        if self.0.is_none() {
            self.0.clone_from(&outer.0);
        }
    }
    fn reaches(kind: Within) -> bool {
        kind == IF_LOCATION || kind == LIMIT_EXCEPT
    }
}

fn pass(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if at.own::<Pass>().0.is_some() {
        return Err(Error::directive("is duplicate"));
    }
    let to = Template::compile(at, a, 0)?;
    if let Some(text) = to.as_literal() {
        address(split_scheme(&String::from_utf8_lossy(text)).1).map_err(|what| a.error(what))?;
    }
    at.own::<Pass>().0 = Some((to, a.at()));
    Ok(())
}

const PLAIN: &str = "grpc://";
const ENCRYPTED: &str = "grpcs://";

/// Whether a URL's server is asked over TLS, and what follows the scheme.
fn split_scheme(url: &str) -> (bool, &str) {
    let after = |scheme: &str| {
        let has = url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        has.then(|| &url[scheme.len()..])
    };
    match (after(ENCRYPTED), after(PLAIN)) {
        (Some(rest), _) => (true, rest),
        (None, rest) => (false, rest.unwrap_or(url)),
    }
}
fn scheme(encrypted: bool) -> &'static str {
    if encrypted { ENCRYPTED } else { PLAIN }
}
/// What `:authority` says by default.
fn authority(server: &str) -> &str {
    if server.starts_with("unix:") { "localhost" } else { server }
}

/// As run.
struct Grpc {
    settings: Arc<relay::Settings>,
    create: Create,
    /// How connections are encrypted, where some may be.
    tls: Option<Arc<Tls>>,
    target: Target,
}
/// Whom to ask.
enum Target {
    /// The same for every request.
    Fixed(Found),
    /// Known when the variables are.
    Variable(Template, Names),
}
#[derive(Clone)]
struct Found {
    group: Arc<Group>,
    number: u32,
    authority: Arc<str>,
    encrypted: bool,
}

/// What nginx never passes on from a server unless told to.
const HIDDEN: [&[u8]; 7] = [
    b"Date",
    b"Server",
    b"X-Accel-Expires",
    b"X-Accel-Redirect",
    b"X-Accel-Limit-Rate",
    b"X-Accel-Buffering",
    b"X-Accel-Charset",
];
/// What is sent unless the configuration says otherwise.
const PRESETS: [Preset; 9] = [
    (b"Host", || Value::Nothing),
    (b"Content-Length", || Value::BodyLength),
    (b"TE", || Value::Trailers),
    (b"Connection", || Value::Nothing),
    (b"Proxy-Connection", || Value::Nothing),
    (b"Transfer-Encoding", || Value::Nothing),
    (b"Keep-Alive", || Value::Nothing),
    (b"Expect", || Value::Nothing),
    (b"Upgrade", || Value::Nothing),
];

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let Some((to, place)) = at.conf::<Pass>().and_then(|pass| pass.0.as_ref()) else { return Ok(None) };
    let target = match to.as_literal() {
        None => Target::Variable(to.clone(), Names::of(at)),
        Some(text) => {
            let text = String::from_utf8_lossy(text);
            let (encrypted, server) = split_scheme(&text);
            let found = address(server).and_then(|server| group(server, with));
            let group = found.map_err(|what| Error::emerg(what).at(place.clone()))?;
            let (number, authority) = (group_number(&group), authority(server).into());
            Target::Fixed(Found { group, number, authority, encrypted })
        }
    };
    let plain = matches!(&target, Target::Fixed(found) if !found.encrypted);
    let tls = match plain {
        true => None,
        false => {
            let none = Ssl::default();
            Some(tls::compile(at, &at.conf::<Ssl>().unwrap_or(&none).0, "grpc", true, with)?)
        }
    };
    let kind = Kind {
        prefix: "grpc",
        scheme: scheme(!plain),
        hidden: &HIDDEN,
        // What is encrypted is encrypted as this place has it.
        transport: if plain { String::new() } else { at.at.to_string() },
        only_asks: false,
        streams: true,
    };
    let keepalive = match &target {
        Target::Fixed(found) => found.group.keepalive.as_ref(),
        Target::Variable(..) => None,
    };
    let settings =
        Arc::new(relay::compile(at, at.conf::<Relay>().map(|relay| &relay.0), &kind, keepalive, with)?);
    let headers = at.conf::<Headers>().map_or(&[][..], |headers| &headers.0);
    let create = Create {
        version: HttpVersion::Http2,
        headers: SetHeaders::new(headers, &PRESETS),
        cache_headers: None,
        method: None,
        set_body: None,
    };
    Ok(Some(Box::new(Grpc { settings, create, tls, target })))
}

impl Grpc {
    async fn pass(&self, request: &mut Request) -> Next {
        if let Err(status) = relay::read_body(&self.settings, request, true).await {
            return Next::Status(status);
        }
        request.upstream.begin(self.settings.scheme);
        let found = match &self.target {
            Target::Fixed(found) => found.clone(),
            Target::Variable(template, names) => {
                match find(template, names, request, self.settings.minds_client()).await {
                    Ok(found) => found,
                    Err(status) => return Next::Status(status),
                }
            }
        };
        let Found { group, number, authority, encrypted } = found;
        let place = Place { host: authority.as_bytes(), uri: None, whole: false };
        let head = request.thread.buffer();
        let message = create::create(&self.create, &self.settings, request, &place, false, head);
        // As in nginx the error log names the server alone.
        request.upstream.uri.clear();
        let tls = self.tls.as_ref().filter(|_| encrypted);
        let secured = tls.map(|tls| Box::new(tls.secured(request, authority.as_bytes())));
        relay::ask(self, &self.settings, request, Asked { message, group, number, kept: None, secured }).await
    }
}

/// Fills in the variables of an address.
async fn find(
    template: &Template,
    names: &Names,
    request: &mut Request,
    minds_client: bool,
) -> Result<Found, u16> {
    let mut text = request.thread.buffer();
    template.render(request, &mut text);
    let url = String::from_utf8_lossy(&text).into_owned();
    request.thread.give_buffer(text);
    let (encrypted, server) = split_scheme(&url);
    request.upstream.set_scheme(scheme(encrypted));
    let parsed = address(server).map_err(|what| {
        log_error!(request, "{what}");
        500_u16
    })?;
    let group =
        upstream::find(request, names, parsed.host, parsed.port, parsed.default, minds_client).await?;
    Ok(Found { number: group_number(&group), group, authority: authority(server).into(), encrypted })
}

impl Handler for Grpc {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        Outcome::wait(self.pass(request))
    }
    fn passes_on(&self) -> bool {
        true
    }
    fn asks(&self) -> Option<&Arc<Group>> {
        match &self.target {
            Target::Fixed(found) => Some(&found.group),
            Target::Variable(..) => None,
        }
    }
}

impl Protocol for Grpc {
    fn reader(&self, _: &Message) -> Reader {
        Reader::Stream
    }
}

#[cfg(test)]
mod tests {
    use super::{authority, split_scheme};

    #[test]
    fn urls_are_taken_apart() {
        for (url, found) in
            [("a:1", (false, "a:1")), ("grpc://a:1", (false, "a:1")), ("GRPCS://unix:/a", (true, "unix:/a"))]
        {
            assert_eq!(split_scheme(url), found);
        }
        assert_eq!(authority("a:1"), "a:1");
        assert_eq!(authority("unix:/a"), "localhost");
    }
}
