//! `scgi_pass`: a request is asked of an SCGI application.

use conf::{Error, IF_LOCATION, LOCATION, Scope};

use super::Module;
use crate::http::relay::gateway::{self, Gateway, Passed, Speaks};
use crate::http::relay::script::Script;
use crate::http::relay::written::relay_directives;
use crate::http::relay::{Frame, Message, Payload, Protocol, Reader, params};
use crate::http::request::Request;
use crate::http::steps::Handler;
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
type Passing = gateway::Passing<Scgi>;

/// As run.
struct Scgi {
    gateway: Gateway,
}
impl gateway::Module for Scgi {
    const PREFIX: &'static str = "scgi";
    const SHOWN: &'static str = "scgi://";
}

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let gateway = gateway::compile::<Scgi>(at, String::new(), with)?;
    Ok(gateway.map(|gateway| Box::new(Passed(Scgi { gateway })) as _))
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
    fn gateway(&self) -> &Gateway {
        &self.gateway
    }
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
