//! `scgi_pass`: a request is asked of an SCGI application.

use std::sync::Arc;

use conf::{Error, IF_LOCATION, Inherit, LOCATION, Scope};

use super::Module;
use crate::http::phases::Next;
use crate::http::relay::gateway::{self, Gateway, Speaks};
use crate::http::relay::script::Script;
use crate::http::relay::written::relay_directives;
use crate::http::relay::{Frame, Kind, Message, Payload, Protocol, Reader, Written, params};
use crate::http::request::Request;
use crate::http::steps::{Handler, Outcome};
use crate::upstream::Group;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module { name: "scgi", directives: DIRECTIVES, variables: &[] };

static DIRECTIVES: &[conf::Directive] = relay_directives!(
    "scgi",
    Passing,
    [
        directive("scgi_pass", LOCATION.or(IF_LOCATION), exactly(1), gateway::pass::<Scgi>),
        directive("scgi_param", IN_HTTP, between(2, 3), params::set::<Scgi>),
    ]
);

/// What all modules have that pass requests on.
#[derive(Default)]
struct Passing(Written);
impl Inherit for Passing {
    fn inherit(&mut self, outer: &Passing) {
        self.0.inherit(&outer.0);
    }
}

/// As run.
struct Scgi {
    gateway: Gateway,
}
impl gateway::Module for Scgi {}

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let kind = Kind {
        prefix: "scgi",
        scheme: "scgi://",
        hidden: gateway::HIDDEN,
        transport: String::new(),
        only_asks: false,
    };
    let written = at.conf::<Passing>().map(|passing| &passing.0);
    let gateway = gateway::compile::<Scgi>(at, written, &kind, with)?;
    Ok(gateway.map(|gateway| Box::new(Scgi { gateway }) as _))
}

impl Handler for Scgi {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        Outcome::wait(self.gateway.answer(self, request))
    }
    fn passes_on(&self) -> bool {
        true
    }
    fn asks(&self) -> Option<&Arc<Group>> {
        self.gateway.fixed()
    }
}

impl Protocol for Scgi {
    fn reader(&self, message: &Message) -> Reader {
        Reader::Other(Box::new(Script::answer_to(message.method)))
    }
}

/// Name and value, each ended by a NUL.
fn put_pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for text in [name, value] {
        out.extend_from_slice(text);
        out.push(0);
    }
}

impl Speaks for Scgi {
    fn message(&self, request: &mut Request, payload: Payload) -> Result<Message, u16> {
        let length = match payload {
            Payload::Nothing => 0,
            Payload::Whole => request.body.read,
            Payload::Stream => request.body.declared(),
        };
        let mut pairs = request.thread.buffer();
        // The length comes first, and must be there.
        put_pair(b"CONTENT_LENGTH", length.to_string().as_bytes(), &mut pairs);
        self.gateway.put_params(request, put_pair, &mut pairs);
        let mut head = request.thread.buffer();
        wire::push_decimal(&mut head, pairs.len() as u64);
        head.push(b':');
        head.extend_from_slice(&pairs);
        head.push(b',');
        request.thread.give_buffer(pairs);
        Ok(Message { head, payload, frame: Frame::Raw, method: request.method })
    }
}
