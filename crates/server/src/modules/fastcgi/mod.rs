//! `fastcgi_pass`: a request is asked of a FastCGI application, such as PHP's.
//!
//! | file | does |
//! |---|---|
//! | `answer.rs` | the application's records become an answer |
//! | `names.rs` | `$fastcgi_script_name` and `$fastcgi_path_info` |

mod answer;
mod names;

use std::sync::Arc;

use conf::{Args, Error, IF_LOCATION, Inherit, LOCATION, Scope};
use wire::fastcgi::{put_begin, put_pair, put_params, put_stdin};

pub(crate) use self::names::Names;
pub(crate) use self::names::compile as names;
use super::Module;
use crate::http::relay::gateway::{self, Gateway, Passed, Speaks};
use crate::http::relay::written::relay_directives;
use crate::http::relay::{Frame, Message, Payload, Protocol, Reader, params};
use crate::http::request::Request;
use crate::http::steps::Handler;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module =
    Module { name: "fastcgi", directives: DIRECTIVES, variables: names::VARIABLES };

static DIRECTIVES: &[conf::Directive] = relay_directives!(
    "fastcgi",
    Passing,
    [
        directive("fastcgi_pass", LOCATION.or(IF_LOCATION), exactly(1), gateway::pass::<Fastcgi>),
        directive("fastcgi_param", IN_HTTP, between(2, 3), params::set::<Fastcgi>),
        directive("fastcgi_index", IN_HTTP, exactly(1), names::index),
        directive("fastcgi_split_path_info", IN_HTTP, exactly(1), names::split_path_info),
        directive("fastcgi_keep_conn", IN_HTTP, conf::flag(), |at, a| {
            at.own::<Conf>().keep_conn.set(a.flag(0)?)
        }),
        directive("fastcgi_catch_stderr", IN_HTTP, exactly(1), catch_stderr),
    ]
);

/// What all modules have that pass requests on.
type Passing = gateway::Passing<Fastcgi>;

/// As written.
#[derive(Default)]
struct Conf {
    keep_conn: conf::Setting<bool>,
    catch_stderr: Vec<Box<[u8]>>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.keep_conn.inherit(&outer.keep_conn);
        if self.catch_stderr.is_empty() {
            self.catch_stderr.clone_from(&outer.catch_stderr);
        }
    }
}

fn catch_stderr(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    at.own::<Conf>().catch_stderr.push(a.bytes(0).into());
    Ok(())
}

/// As run.
struct Fastcgi {
    gateway: Gateway,
    keep_conn: bool,
    catch_stderr: Arc<[Box<[u8]>]>,
}

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let none = Conf::default();
    let conf = at.conf::<Conf>().unwrap_or(&none);
    let keep_conn = conf.keep_conn.or(false);
    let Some(gateway) = gateway::compile::<Fastcgi>(at, format!("{keep_conn}"), with)? else {
        return Ok(None);
    };
    let catch_stderr = conf.catch_stderr.clone().into();
    Ok(Some(Box::new(Passed(Fastcgi { gateway, keep_conn, catch_stderr }))))
}

impl gateway::Module for Fastcgi {
    const PREFIX: &'static str = "fastcgi";
    const SHOWN: &'static str = "fastcgi://";
}

impl Protocol for Fastcgi {
    fn reader(&self, message: &Message) -> Reader {
        let answer = answer::Answer::new(message.method, self.keep_conn, self.catch_stderr.clone());
        Reader::Other(Box::new(answer))
    }
}

impl Speaks for Fastcgi {
    fn gateway(&self) -> &Gateway {
        &self.gateway
    }
    fn message(&self, request: &mut Request, payload: Payload) -> Result<Message, u16> {
        let mut pairs = request.thread.buffer();
        self.gateway.put_params(request, put_pair, &mut pairs);
        let mut head = request.thread.buffer();
        put_begin(self.keep_conn, &mut head);
        put_params(&pairs, &mut head);
        if payload == Payload::Nothing {
            put_stdin(&[], true, &mut head);
        }
        request.thread.give_buffer(pairs);
        Ok(Message { head, payload, frame: Frame::Records(put_stdin), method: request.method })
    }
    fn streams_unknown_length(&self) -> bool {
        true
    }
}
