//! `tunnel_pass`: CONNECT opens a connection to a server, and bytes pass both ways (RFC 9110, section 9.3.6).

use std::sync::Arc;

use conf::{Args, Error, IF_LOCATION, IN_HTTP, LOCATION, SERVER, Scope, at_least, between, directive};
use wire::Method;

use super::Module;
use crate::http::phases::Next;
use crate::http::relay::gateway::{self, Gateway, Speaks};
use crate::http::relay::written::{again, relay_directives};
use crate::http::relay::{Frame, Message, Payload, Protocol, Reader};
use crate::http::request::Request;
use crate::http::steps::{Handler, Outcome};
use crate::http::variables::Template;
use crate::upstream::Group;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "tunnel",
    directives: &[
        directive("tunnel_pass", SERVER.or(LOCATION).or(IF_LOCATION), between(0, 1), pass),
        relay_directives!(@bind "tunnel", Passing),
        relay_directives!(@once "tunnel", Passing, "_socket_keepalive", socket_keepalive, flag),
        relay_directives!(@once "tunnel", Passing, "_socket_rcvbuf", socket_rcvbuf, size),
        relay_directives!(@once "tunnel", Passing, "_socket_sndbuf", socket_sndbuf, size),
        relay_directives!(@once "tunnel", Passing, "_connect_timeout", connect_timeout, msec),
        relay_directives!(@once "tunnel", Passing, "_send_timeout", send_timeout, msec),
        relay_directives!(@once "tunnel", Passing, "_read_timeout", read_timeout, msec),
        relay_directives!(@lowat "tunnel", Passing),
        relay_directives!(@once "tunnel", Passing, "_buffer_size", buffer_size, size),
        relay_directives!(@allow "tunnel", Passing),
        directive("tunnel_next_upstream", IN_HTTP, at_least(1), |at, a| {
            a.bits(at, AGAIN, |at| &mut at.own::<Passing>().0.once.next_upstream)
        }),
        relay_directives!(@once "tunnel", Passing, "_next_upstream_tries", next_upstream_tries, number),
        relay_directives!(@once "tunnel", Passing, "_next_upstream_timeout", next_upstream_timeout, msec),
    ],
    variables: &[],
};

/// What `tunnel_next_upstream` can name.
const AGAIN: &[(&str, u32)] =
    &[("error", again::ERROR), ("timeout", again::TIMEOUT), ("denied", again::DENIED), ("off", again::OFF)];

/// Where the request itself says whom it wants.
const AS_ASKED: &str = "$host:$request_port";

/// What all modules have that pass requests on.
type Passing = gateway::Passing<Tunnel>;

fn pass(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    match a.len() {
        0 => {
            let to = Template::parse(at, AS_ASKED)?;
            gateway::pass_to::<Tunnel>(at, a, to)
        }
        _ => gateway::pass::<Tunnel>(at, a),
    }
}

/// As run.
struct Tunnel(Gateway);
impl gateway::Module for Tunnel {
    const PREFIX: &'static str = "tunnel";
    const SHOWN: &'static str = "";
    const HIDDEN: &'static [&'static [u8]] = &[];
    const STREAMS: bool = true;
    /// The address is the client's word.
    const BLAMES_CLIENT: bool = true;
}

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let gateway = gateway::compile::<Tunnel>(at, String::new(), with)?;
    Ok(gateway.map(|gateway| Box::new(Tunnel(gateway)) as _))
}

impl Handler for Tunnel {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        if request.method != Method::Connect {
            return Next::Status(405).into();
        }
        Outcome::wait(self.0.answer(self, request))
    }
    fn passes_on(&self) -> bool {
        true
    }
    fn tunnels(&self) -> bool {
        true
    }
    fn asks(&self) -> Option<&Arc<Group>> {
        self.0.fixed()
    }
}

impl Protocol for Tunnel {
    fn reader(&self, _: &Message) -> Reader {
        Reader::Opened
    }
}

impl Speaks for Tunnel {
    fn gateway(&self) -> &Gateway {
        &self.0
    }
    /// Nothing is said to the server: what it gets is the client's.
    fn message(&self, request: &mut Request, _: Payload) -> Result<Message, u16> {
        let head = request.thread.buffer();
        Ok(Message { head, payload: Payload::Nothing, frame: Frame::Raw, method: Method::Connect })
    }
}
