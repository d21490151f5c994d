//! A location that passes its requests on as parameters and a body: FastCGI, SCGI, uwsgi.

use std::marker::PhantomData;
use std::sync::Arc;

use conf::{Args, Error, IF_LOCATION, Inherit, LIMIT_EXCEPT, Position, Scope, Within};
use wire::{Framing, Method};

use super::params::{Params, Put};
use super::protocol::{Message, Payload, Protocol};
use super::settings::{self, Kind, Settings};
use super::target::{Server, group};
use super::tls::Tls;
use super::written::Written;
use super::{Asked, Cache, Looked, ask, look, read_body};
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::steps::{Handler, Outcome};
use crate::http::variables::Template;
use crate::log::Level;
use crate::resolver::Names;
use crate::upstream::{self, Group, group_number, split};
use crate::worker::generation::Compiler;

/// A module of this kind.
pub trait Module: Send + Sync + 'static {
    /// What its directives begin with.
    const PREFIX: &'static str;
    /// The scheme that the log shows.
    const SHOWN: &'static str;
    /// What an address may begin with.
    const SCHEME: &'static str = "";
    /// What the address of a server begins with that is asked over TLS.
    const ENCRYPTED: Option<&'static str> = None;
    /// Headers of an answer that are not passed on unless the configuration says so.
    const HIDDEN: &'static [&'static [u8]] = FOR_US;
    /// See [`Kind::only_asks`].
    const ONLY_ASKS: bool = false;
    /// See [`Kind::streams`].
    const STREAMS: bool = false;
    /// Whether an address that is none is the client's mistake, of which the log says little.
    const BLAMES_CLIENT: bool = false;
    /// How connections are encrypted, where the module can do that.
    ///
    /// # Errors
    /// In nginx's words: files that cannot be read or do not fit.
    fn tls(_: &Scope, _: &mut Compiler<'_>) -> Result<Option<Arc<Tls>>, Error> {
        Ok(None)
    }
}

/// What an answer says to this server alone.
const FOR_US: &[&[u8]] = &[
    b"Status",
    b"X-Accel-Expires",
    b"X-Accel-Redirect",
    b"X-Accel-Limit-Rate",
    b"X-Accel-Buffering",
    b"X-Accel-Charset",
];
/// The same without the status.
pub const OUR_HEADERS: &[&[u8]] = FOR_US.split_at(1).1;

/// What all modules have that pass requests on, as written for the module `M`.
pub struct Passing<M>(pub Written, PhantomData<M>);
impl<M> Default for Passing<M> {
    fn default() -> Self {
        Passing(Written::default(), PhantomData)
    }
}
impl<M: Module> Inherit for Passing<M> {
    fn inherit(&mut self, outer: &Self) {
        self.0.inherit(&outer.0);
    }
}

/// `fastcgi_pass` and the like; only blocks that stand for their location inherit it. `M` is the module.
pub struct Pass<M> {
    to: Option<(Template, Position)>,
    module: PhantomData<M>,
}
impl<M> Default for Pass<M> {
    fn default() -> Self {
        Pass { to: None, module: PhantomData }
    }
}
impl<M: Module> Inherit for Pass<M> {
    fn inherit(&mut self, outer: &Self) {
        if self.to.is_none() {
            self.to.clone_from(&outer.to);
        }
    }
    fn reaches(kind: Within) -> bool {
        kind == IF_LOCATION || kind == LIMIT_EXCEPT
    }
}

/// Reads the address.
///
/// # Errors
/// nginx's words.
pub fn pass<M: Module>(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let to = Template::compile(at, a, 0)?;
    pass_to::<M>(at, a, to)
}

/// Takes the address that the directive has, or stands for.
///
/// # Errors
/// nginx's words.
pub fn pass_to<M: Module>(at: &mut Scope, a: &Args<'_>, to: Template) -> Result<(), Error> {
    if at.own::<Pass<M>>().to.is_some() {
        return Err(Error::directive("is duplicate"));
    }
    if let Some(text) = to.as_literal() {
        server::<M>(&String::from_utf8_lossy(text)).map_err(|what| a.error(what))?;
    }
    at.own::<Pass<M>>().to = Some((to, a.at()));
    Ok(())
}

/// Takes `host:port`, `unix:path` or the name of a group apart.
fn server<M: Module>(text: &str) -> Result<Server<'_>, String> {
    address(split_scheme::<M>(text).1)
}

/// Whether a server is asked over TLS, and its address without the scheme.
fn split_scheme<M: Module>(text: &str) -> (bool, &str) {
    match M::ENCRYPTED.and_then(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix(M::SCHEME).unwrap_or(text)),
    }
}

/// Takes an address without a scheme apart.
///
/// # Errors
/// nginx's words.
pub fn address(text: &str) -> Result<Server<'_>, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_suffix(':').unwrap_or(path);
        return match path {
            "" => Err(format!("no path in the unix domain socket in upstream \"{text}\"")),
            _ => Ok(Server { host: &text[..5 + path.len()], port: None, default: None }),
        };
    }
    let (host, port) = split(text).map_err(|what| format!("{what} in upstream \"{text}\""))?;
    Ok(Server { host, port, default: None })
}

/// Whom to ask.
enum Target {
    /// The same for every request; over TLS with this name.
    Fixed(Arc<Group>, u32, Option<Arc<str>>),
    /// Known when the variables are.
    Variable(Template, Names),
}

/// As run.
pub struct Gateway {
    /// What is the same whatever the protocol.
    pub settings: Arc<Settings>,
    params: Params,
    target: Target,
    /// How connections are encrypted, where some may be.
    tls: Option<Arc<Tls>>,
}

/// What a module has to say for itself.
pub trait Speaks: Protocol + Module {
    /// Whom it asks, and how.
    fn gateway(&self) -> &Gateway;
    /// The request to send.
    ///
    /// # Errors
    /// The status to answer with.
    fn message(&self, request: &mut Request, payload: Payload) -> Result<Message, u16>;
    /// Whether a body whose length is not known can be passed on as it comes.
    fn streams_unknown_length(&self) -> bool {
        false
    }
}

/// What answers the requests of a location whose module speaks so.
pub struct Passed<M>(pub M);
impl<M: Speaks> Handler for Passed<M> {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        Outcome::wait(self.0.gateway().answer(&self.0, request))
    }
    fn passes_on(&self) -> bool {
        true
    }
    fn asks(&self) -> Option<&Arc<Group>> {
        self.0.gateway().fixed()
    }
}

/// The gateway of a block, if it has one. `transport` is whatever else makes a connection differ from those of other
/// places.
///
/// # Errors
/// Unknown hosts, and nginx's rules about buffers.
pub fn compile<M: Module>(
    at: &Scope,
    transport: String,
    with: &mut Compiler<'_>,
) -> Result<Option<Gateway>, Error> {
    let written = at.conf::<Passing<M>>().map(|passing| &passing.0);
    let Some((to, place)) = at.conf::<Pass<M>>().and_then(|pass| pass.to.as_ref()) else {
        if let Some(written) = written.filter(|_| !M::ONLY_ASKS && !M::STREAMS) {
            settings::check(at, written, M::PREFIX)?;
        }
        return Ok(None);
    };
    let target = match to.as_literal() {
        None => Target::Variable(to.clone(), Names::of(at)),
        Some(text) => {
            let text = String::from_utf8_lossy(text);
            let found = server::<M>(&text).and_then(|server| group(server, with));
            let group = found.map_err(|what| Error::emerg(what).at(place.clone()))?;
            let number = group_number(&group);
            let (encrypted, host) = split_scheme::<M>(&text);
            Target::Fixed(group, number, encrypted.then(|| host.into()))
        }
    };
    let tls = match &target {
        Target::Fixed(_, _, None) => None,
        _ => M::tls(at, with)?,
    };
    let keepalive = match &target {
        Target::Fixed(group, ..) => group.keepalive.as_ref(),
        Target::Variable(..) => None,
    };
    let kind = Kind {
        prefix: M::PREFIX,
        scheme: match (&target, M::ENCRYPTED) {
            (Target::Fixed(_, _, Some(_)), Some(scheme)) => scheme,
            _ => M::SHOWN,
        },
        hidden: M::HIDDEN,
        // What is encrypted is encrypted as this place has it.
        transport: if tls.is_some() { at.at.to_string() } else { transport },
        only_asks: M::ONLY_ASKS,
        streams: M::STREAMS,
    };
    let settings = Arc::new(settings::compile(at, written, &kind, keepalive, with)?);
    Ok(Some(Gateway { settings, params: Params::compile::<M>(at)?, target, tls }))
}

impl Gateway {
    /// Asks the server; its answer becomes the request's response.
    pub async fn answer<P: Speaks>(&self, module: &P, request: &mut Request) -> Next {
        let known_length = request.body.framing != Framing::Chunked;
        let may_stream = known_length || module.streams_unknown_length();
        if let Err(status) = read_body(&self.settings, request, may_stream).await {
            return Next::Status(status);
        }
        request.upstream.begin(self.settings.scheme);
        let (group, number, host) = match &self.target {
            Target::Fixed(group, number, host) => (group.clone(), *number, host.clone()),
            Target::Variable(template, names) => {
                let minds_client = self.settings.minds_client();
                match find::<P>(template, names, request, minds_client).await {
                    Ok((group, host)) => (group.clone(), group_number(&group), host),
                    Err(status) => return Next::Status(status),
                }
            }
        };
        let kept = match &self.settings.cache {
            Some(cache) => match Box::pin(self.look(cache, module, request)).await {
                Looked::Not => None,
                Looked::Answered(next) => return next,
                Looked::Ask(kept) => Some(kept),
            },
            None => None,
        };
        let message = match self.message(module, request) {
            Ok(message) => message,
            Err(status) => return Next::Status(status),
        };
        let tls = self.tls.as_ref().zip(host);
        let secured = tls.map(|(tls, host)| Box::new(tls.secured(request, host.as_bytes())));
        ask(module, &self.settings, request, Asked { message, group, number, kept, secured }).await
    }
    async fn look(&self, cache: &Cache, protocol: &dyn Protocol, request: &mut Request) -> Looked {
        let mut key = Vec::new();
        cache.key.iter().for_each(|template| template.render(request, &mut key));
        look(cache, &self.settings, protocol, request, key).await
    }
    /// What may be kept is asked for whole, whatever the client wants of it.
    fn message<P: Speaks>(&self, module: &P, request: &mut Request) -> Result<Message, u16> {
        let converts = self.settings.cache.as_ref().is_some_and(|cache| cache.convert_head);
        let method = request.method;
        if method == Method::Head && converts && request.upstream.cache.keeps {
            request.method = Method::Get;
        }
        let message = module.message(request, self.payload(request));
        request.method = method;
        message
    }
    /// Appends the request's parameters.
    pub fn put_params(&self, request: &mut Request, put: Put, out: &mut Vec<u8>) {
        self.params.put(request, self.settings.pass_headers, put, out);
    }
    /// Whom it asks, if that is always the same.
    pub fn fixed(&self) -> Option<&Arc<Group>> {
        match &self.target {
            Target::Fixed(group, ..) => Some(group),
            Target::Variable(..) => None,
        }
    }
    fn payload(&self, request: &Request) -> Payload {
        match request.body.complete {
            _ if !self.settings.pass_body => Payload::Nothing,
            true => Payload::Whole,
            false => Payload::Stream,
        }
    }
}

/// Fills in the variables of an address.
async fn find<M: Module>(
    template: &Template,
    names: &Names,
    request: &mut Request,
    minds_client: bool,
) -> Result<(Arc<Group>, Option<Arc<str>>), u16> {
    let mut text = request.thread.buffer();
    template.render(request, &mut text);
    let address = String::from_utf8_lossy(&text).into_owned();
    request.thread.give_buffer(text);
    let server = server::<M>(&address).map_err(|what| {
        let level = if M::BLAMES_CLIENT { Level::Info } else { Level::Error };
        request.note(level, format_args!("{what}"));
        500_u16
    })?;
    let group =
        upstream::find(request, names, server.host, server.port, server.default, minds_client).await?;
    let (encrypted, host) = split_scheme::<M>(&address);
    if let Some(scheme) = M::ENCRYPTED.filter(|_| encrypted) {
        request.upstream.set_scheme(scheme);
    }
    Ok((group, encrypted.then(|| host.into())))
}
