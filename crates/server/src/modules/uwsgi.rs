//! `uwsgi_pass`: a request is asked of a uWSGI application server.

use std::sync::Arc;

use conf::{Error, IF_LOCATION, Inherit, LOCATION, Scope};

use super::Module;
use crate::http::relay::gateway::{self, Gateway, Passed, Speaks};
use crate::http::relay::script::Script;
use crate::http::relay::tls::{self, SslWritten, Tls, ssl_directives};
use crate::http::relay::written::relay_directives;
use crate::http::relay::{Frame, Message, Payload, Protocol, Reader, params};
use crate::http::request::Request;
use crate::http::steps::Handler;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module { name: "uwsgi", directives: DIRECTIVES, variables: &[] };
/// `uwsgi_ssl_*`: how connections to servers are encrypted.
pub(crate) static SSL: Module =
    Module { name: "uwsgi", directives: ssl_directives!("uwsgi", Ssl), variables: &[] };

/// As written.
#[derive(Default)]
struct Ssl(SslWritten);
impl Inherit for Ssl {
    fn inherit(&mut self, outer: &Ssl) {
        self.0.inherit(&outer.0);
    }
}

static DIRECTIVES: &[conf::Directive] = relay_directives!(
    "uwsgi",
    Passing,
    [
        directive("uwsgi_pass", LOCATION.or(IF_LOCATION), exactly(1), gateway::pass::<Uwsgi>),
        directive("uwsgi_param", IN_HTTP, between(2, 3), params::set::<Uwsgi>),
        directive("uwsgi_modifier1", IN_HTTP, exactly(1), |at, a| {
            at.own::<Conf>().modifier1.set(a.number_within(0, 0, 255)? as u8)
        }),
        directive("uwsgi_modifier2", IN_HTTP, exactly(1), |at, a| {
            at.own::<Conf>().modifier2.set(a.number_within(0, 0, 255)? as u8)
        }),
        directive("uwsgi_string", IN_HTTP, exactly(1), |at, a| {
            at.own::<Conf>().string.set(a.bytes(0).into())
        }),
    ]
);

/// What all modules have that pass requests on.
type Passing = gateway::Passing<Uwsgi>;

settings! {
    /// As written.
    struct Conf {
        modifier1: u8,
        modifier2: u8,
        string: Box<[u8]>,
    }
}

/// As run.
struct Uwsgi {
    gateway: Gateway,
    /// Which plugin of the application server answers, and how.
    modifiers: (u8, u8),
    /// What stands behind the parameters.
    string: Box<[u8]>,
}
impl gateway::Module for Uwsgi {
    const PREFIX: &'static str = "uwsgi";
    const SHOWN: &'static str = "uwsgi://";
    const SCHEME: &'static str = "uwsgi://";
    const ENCRYPTED: Option<&'static str> = Some("suwsgi://");
    // `Status` goes to the client, as nginx has it.
    const HIDDEN: &'static [&'static [u8]] = gateway::OUR_HEADERS;
    fn tls(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Arc<Tls>>, Error> {
        let none = Ssl::default();
        tls::compile(at, &at.conf::<Ssl>().unwrap_or(&none).0, "uwsgi", false, with).map(Some)
    }
}

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let none = Conf::default();
    let conf = at.conf::<Conf>().unwrap_or(&none);
    let modifiers = (conf.modifier1.or(0), conf.modifier2.or(0));
    let string = conf.string.written().cloned().unwrap_or_default();
    let gateway = gateway::compile::<Uwsgi>(at, String::new(), with)?;
    Ok(gateway.map(|gateway| Box::new(Passed(Uwsgi { gateway, modifiers, string })) as _))
}

impl Protocol for Uwsgi {
    fn reader(&self, message: &Message) -> Reader {
        Reader::Other(Box::new(Script::answer_to(message.method)))
    }
}

/// Name and value, each behind its length in two bytes, the lower first.
fn put_pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for text in [name, value] {
        // What is longer makes the whole too big, which is found out then.
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text);
    }
}

impl Speaks for Uwsgi {
    fn gateway(&self) -> &Gateway {
        &self.gateway
    }
    fn message(&self, request: &mut Request, payload: Payload) -> Result<Message, u16> {
        let mut pairs = request.thread.buffer();
        self.gateway.put_params(request, put_pair, &mut pairs);
        pairs.extend_from_slice(&self.string);
        let Ok(size) = u16::try_from(pairs.len()) else {
            log_alert!(request, "uwsgi request is too big: {}", pairs.len());
            request.thread.give_buffer(pairs);
            return Err(500);
        };
        let [low, high] = size.to_le_bytes();
        let mut head = request.thread.buffer();
        head.extend_from_slice(&[self.modifiers.0, low, high, self.modifiers.1]);
        head.extend_from_slice(&pairs);
        request.thread.give_buffer(pairs);
        Ok(Message { head, payload, frame: Frame::Raw, method: request.method })
    }
}
