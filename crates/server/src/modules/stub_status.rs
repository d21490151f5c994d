//! `stub_status`: the connection counters, in nginx's text.

use std::sync::atomic::Ordering::Relaxed;

use conf::{Error, LOCATION, SERVER, Scope, directive};

use super::Module;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::steps::{Handler, Outcome};
use crate::http::variables::{Variable, variable};
use crate::worker::Process;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "stub_status",
    directives: &[directive("stub_status", SERVER.or(LOCATION), conf::between(0, 1), Here::set)],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[
    variable("connections_active", |r, out| number(Counts::of(&r.thread.process).active, out)),
    variable("connections_reading", |r, out| number(Counts::of(&r.thread.process).reading, out)),
    variable("connections_writing", |r, out| number(Counts::of(&r.thread.process).writing, out)),
    variable("connections_waiting", |r, out| number(Counts::of(&r.thread.process).waiting, out)),
];
fn number(n: u64, out: &mut Vec<u8>) -> bool {
    wire::push_decimal(out, n);
    true
}

mark!(Here);

/// Answers with the counters.
struct StubStatus;

pub(crate) fn handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    Ok(Here::is_in(at).then(|| Box::new(StubStatus) as _))
}
impl Handler for StubStatus {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        answer(request).into()
    }
}

struct Counts {
    active: u64,
    accepted: u64,
    handled: u64,
    requests: u64,
    reading: u64,
    writing: u64,
    waiting: u64,
}
impl Counts {
    fn of(process: &Process) -> Counts {
        let counters = process.counters();
        let sum =
            |f: fn(&crate::worker::Counters) -> i64| counters.iter().map(|c| f(c)).sum::<i64>().max(0) as u64;
        let reading = sum(|c| c.reading.load(Relaxed));
        let writing = sum(|c| c.writing.load(Relaxed));
        let active = process.clients();
        Counts {
            active,
            accepted: process.accepted.load(Relaxed),
            handled: process.handled.load(Relaxed),
            requests: counters.iter().map(|c| c.requests.load(Relaxed)).sum(),
            reading,
            writing,
            waiting: active.saturating_sub(reading + writing),
        }
    }
}

fn answer(request: &mut Request) -> Next {
    if !matches!(request.method, wire::Method::Get | wire::Method::Head) {
        return Next::Status(405);
    }
    let c = Counts::of(&request.thread.process);
    let text = format!(
        "Active connections: {} \nserver accepts handled requests\n {} {} {} \nReading: {} Writing: {} Waiting: {} \n",
        c.active, c.accepted, c.handled, c.requests, c.reading, c.writing, c.waiting
    );
    request.response.status = 200;
    request.response.set_content_type(b"text/plain");
    request.response.content_length = Some(text.len() as u64);
    request.response.body = Body::Memory(text.into_bytes().into());
    Next::Respond
}
